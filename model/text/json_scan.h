/* json_scan.h - a reader of JSON for vocabularies: hundreds of thousands of values, none of which becomes a tree.
 *
 * The caller walks the document and says what it expects; each function returns a status, and a message that begins
 * with the file's name and ends with the byte. Strings stay where they are: escapes are undone in place, so the
 * bytes must be the caller's own, each may be read once, and texts live as long as they do. What is small and
 * varied goes to strict_json.h instead.
 */
#ifndef LIMOE_MODEL_TEXT_JSON_SCAN_H
#define LIMOE_MODEL_TEXT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "limoe.h"

struct json_scan {
    char *start, *at, *end;
    const char *where; /* begins messages */
    struct limoe_error *err;
};

/* Checks that all bytes are UTF-8. LIMOE_CORRUPT. */
enum limoe_status json_scan_begin(struct json_scan *scan, char *bytes, size_t size, const char *where,
                                  struct limoe_error *err);
/* After the value: nothing but white space may be left. LIMOE_CORRUPT. */
enum limoe_status json_scan_finish(struct json_scan *scan);

/* The next byte that is not white space; '\0' at the end. Nothing is taken. */
char json_scan_peek(struct json_scan *scan);
/* Takes `c`, one of {}[],: after white space. LIMOE_CORRUPT. */
enum limoe_status json_scan_take(struct json_scan *scan, char c);
/* For loops over elements or members: *more is whether another one begins here. `opened` is false the first time,
 * right behind the opening bracket; takes the comma, or the closing bracket `close`. LIMOE_CORRUPT. */
enum limoe_status json_scan_more(struct json_scan *scan, char close, bool *opened, bool *more);

/* A string; a lone surrogate is LIMOE_CORRUPT. */
enum limoe_status json_scan_string(struct json_scan *scan, struct text *text);
/* A whole number of at most `max`, without fraction or exponent; `what` is for the message. LIMOE_CORRUPT. */
enum limoe_status json_scan_integer(struct json_scan *scan, uint32_t max, struct text what, uint32_t *value);
/* A number. LIMOE_CORRUPT when it is none, or not finite. */
enum limoe_status json_scan_number(struct json_scan *scan, double *value);
/* Any value, unread: its brackets and strings are balanced, no more is known. LIMOE_CORRUPT. */
enum limoe_status json_scan_skip(struct json_scan *scan);

#endif
