/* text.h - slices of UTF-8, and what those who parse requests ask of them. */
#ifndef LIMOE_BASE_TEXT_H
#define LIMOE_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* UTF-8 that someone else owns; not NUL-terminated, NUL-free once it has passed text_check or json_read. */
struct text {
    const char *data;
    size_t size;
};

struct text text_of(const char *string); /* a C string as a slice */
bool text_equal(struct text a, struct text b);
bool text_is(struct text text, const char *string);
/* Below, at or above 0 as a comes before b, is b or comes after it, in the order of bytes. */
int text_compare(struct text a, struct text b);
/* Where `name` is, or would be, among n names that ascend, of which name_at tells one. */
size_t text_place(struct text name, const void *list, size_t n,
                  struct text (*name_at)(const void *list, size_t i), bool *found);

/* Length in bytes of the well-formed sequence (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF)
 * that begins text[0..size), or 0. `size` is at least 1. */
size_t text_sequence(const char *text, size_t size);

/* Byte offset of the first NUL or ill-formed sequence, or `size` when there is none. */
size_t text_check(const char *text, size_t size);

/* True when nothing but white space (ASCII, U+00A0, U+3000) is there: nobody would see a label in it. */
bool text_blank(struct text text);

/* A list with commas between its members, "cat, dog": how many there are (at least one, if an empty one), and
 * the first of them without the blanks around it; *rest becomes what follows its comma. */
size_t text_comma_count(struct text list);
struct text text_comma_next(struct text *rest);

/* Takes the end off a text that has something before it. False: it has no such end, and is left alone. */
bool text_take_suffix(struct text *text, const char *suffix);

/* Copies `text` for use inside a message: at most `limit` - 1 bytes, cut between characters and ended with
 * "…" when it does not fit, control characters (U+0000 to U+001F, U+007F to U+009F) and what is no UTF-8 as
 * "?". `limit` is at least 4. Returns `out`. */
char *text_quote(struct text text, char *out, size_t limit);

#endif
