/* wordpiece.h - BERT's words and pieces, as `tokenizers` has them: ChineseCLIP's.
 *
 * A word is cut greedily, each time the longest piece; what is not the beginning of a word has "##" before it. A word
 * that cannot be cut, or has more than 100 characters, is one unknown piece.
 */
#ifndef LIMOE_MODEL_TEXT_WORDPIECE_H
#define LIMOE_MODEL_TEXT_WORDPIECE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/text.h"
#include "limoe.h"
#include "model/text/vocab.h"

struct wordpiece {
    struct vocab vocab; /* its texts are in `bytes` */
    char *bytes;
};

/* Copies the pieces of `vocab`. NULL: no memory. Free with wordpiece_free. */
struct wordpiece *wordpiece_new(const struct vocab *vocab, struct limoe_error *err);
void wordpiece_free(struct wordpiece *pieces); /* NULL is fine */

/* What BertNormalizer does, a step each: control characters out and white space made spaces; spaces around Chinese
 * characters; accents off. */
void wordpiece_clean(struct text text, struct buffer *to);
void wordpiece_space_chinese(struct text text, struct buffer *to);
void wordpiece_strip_accents(struct text text, struct buffer *to);

/* The next word of the text from *at on, which moves behind it; false: there is none. Punctuation is a word each. */
bool wordpiece_next(struct text text, size_t *at, struct text *word);

/* Writes the first `capacity` ids of a word; returns how many. */
uint32_t wordpiece_encode(const struct wordpiece *pieces, struct text word, uint32_t unknown, int32_t *ids,
                          uint32_t capacity);

#endif
