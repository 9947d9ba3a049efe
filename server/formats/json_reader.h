/* json_reader.h - a strict reader of JSON (RFC 8259), made for bodies that carry megabytes of base64.
 *
 * Strings without escapes stay where they are in the body, the tree lives in the request's arena, and what
 * other readers let through is refused, with its place: ill-formed UTF-8, \u0000, lone surrogates, duplicate
 * names, anything after the value, deep nesting. A UTF-8 byte order mark before the value is skipped, as
 * Windows' editors write one; other encodings' marks are refused by the encoding's name. (cJSON copies each
 * string, ends it at \u0000 and does not look at its UTF-8. Without those checks it takes 0.79 ms for a
 * string of 1 MiB, this reader with them 0.09 ms.)
 */
#ifndef LIMOE_SERVER_FORMATS_JSON_READER_H
#define LIMOE_SERVER_FORMATS_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/text.h"

#define JSON_MAX_DEPTH   32
#define JSON_MAX_VALUES  65536u /* values of one body: bounds the tree at 6 MB whatever the body's size */
#define JSON_MAX_MEMBERS 64u    /* members of one object */

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
    enum json_type type;
    struct text name;         /* as a member of an object */
    struct text string;       /* JSON_STRING; of a JSON_NUMBER, as it is written */
    double number;            /* JSON_NUMBER */
    struct json_value *child; /* first element or member */
    struct json_value *next;  /* sibling */
    size_t count;             /* of elements or members */
};

struct json_error {
    size_t offset, line, column; /* bytes from 0; line and column from 1, the column in bytes; all counted
                                  * from behind a byte order mark */
    bool no_memory;              /* not the body's fault */
    char message[160];
};

/* Reads one value that fills bytes[size] but for white space. The bytes must outlive the tree. */
bool json_read(const char *bytes, size_t size, struct arena *arena, struct json_value **out,
               struct json_error *error);

/* The same of a body that may have more in it. Members are compared with each other, so their number is small. */
struct json_limits {
    size_t values, members; /* of the body; of one object */
};
bool json_read_within(const char *bytes, size_t size, const struct json_limits *limits, struct arena *arena,
                      struct json_value **out, struct json_error *error);

/* Whether bytes[size] begin as an array or an object does, a byte order mark and white space aside: a body
 * that says nothing of its kind is JSON then. */
bool json_begins(const char *bytes, size_t size);

/* The member of that name; NULL: there is none, or `object` is no object, or NULL itself. */
const struct json_value *json_member(const struct json_value *object, struct text name);
/* The same where null says no more than absence. */
const struct json_value *json_given(const struct json_value *object, struct text name);

/* "a string", "an array" … for messages. */
const char *json_type_name(enum json_type type);

#endif
