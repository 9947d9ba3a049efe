/* components.h - the parts of a tokenizer.json that say what is done to a text, vocabulary and merges aside. */
#ifndef LIMOE_MODEL_TEXT_COMPONENTS_H
#define LIMOE_MODEL_TEXT_COMPONENTS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "model/text/bpe_text.h"

/* Normaliser, pre-tokenizer and model into the tokenizer. LIMOE_UNSUPPORTED names what is not known;
 * LIMOE_CORRUPT. */
enum limoe_status components_read(const cJSON *root, struct bpe_text *t, struct limoe_error *err);

/* The same of a Unigram tokenizer: its rules of normalisation in base64 (NULL: none), and the id of the unknown piece.
 * Its added tokens must have punctuation in them. */
enum limoe_status components_unigram(const cJSON *root, const char **charsmap, uint32_t *unknown,
                                     struct limoe_error *err);

/* Whether a WordPiece tokenizer is BERT's. */
enum limoe_status components_wordpiece(const cJSON *root, struct limoe_error *err);

/* The ids that the post-processor puts before and behind a text; -1: none. */
enum limoe_status components_frame(const cJSON *root, int32_t *start, int32_t *end, struct limoe_error *err);

/* Which side "padding" fills; if there is none, the left, as Gemma's tokenizers do. */
bool components_pad_left(const cJSON *root);

#endif
