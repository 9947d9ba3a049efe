/* added.h - added tokens: texts that are one token wherever they stand, found before anything else is done.
 *
 * The leftmost match counts, the longest of those, as in `tokenizers`. Owned by a tokenizer; read-only once
 * finished.
 */
#ifndef LIMOE_MODEL_TEXT_ADDED_H
#define LIMOE_MODEL_TEXT_ADDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "limoe.h"

#define ADDED_MAX_SIZE 256u /* bytes of one: bounds the search at each place of a text */

struct added_token {
    char *text; /* [size], owned */
    uint32_t size;
    uint32_t id;
    bool left, right; /* takes the white space before, behind it */
};

struct added {
    struct added_token *token; /* [n], sorted by text once finished */
    size_t n, room;
    uint32_t first[257]; /* of each first byte; [256]: n */
};

void added_free(struct added *added);
/* Copies `text`, 1 to ADDED_MAX_SIZE bytes. `where` begins messages. LIMOE_CORRUPT or LIMOE_NO_MEMORY. */
enum limoe_status added_add(struct added *added, struct text text, uint32_t id, bool left, bool right,
                            const char *where, struct limoe_error *err);
/* Sorts them. LIMOE_CORRUPT when two have the same text. */
enum limoe_status added_finish(struct added *added, const char *where, struct limoe_error *err);

struct added_match {
    size_t begin, end; /* in the text, with the white space that it takes */
    uint32_t id;
};

/* The first match in text[from ..]; false: none. */
bool added_next(const struct added *added, struct text text, size_t from, struct added_match *match);

#endif
