/* text.h - a text to the token ids of a model, whatever its tokenizer. */
#ifndef LIMOE_MODEL_TEXT_TEXT_H
#define LIMOE_MODEL_TEXT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/fingerprint.h"
#include "model/text/tokenizer.h"

/* Opens the tokenizer of a folder of the config's format: limoe's own is SentencePiece in tokenizer.model; a "limoe-2"
 * without that file has a Hugging Face tokenizer, as it came from. The tokenizer's vocabulary must fit. A model that
 * takes no texts has none: *out is NULL. */
enum limoe_status text_open(const char *dir, const struct config *config, struct fingerprint *fingerprint,
                            struct tokenizer **out, struct limoe_error *err);

/* Adds to `fingerprint` what text_open would have, for who needs no tokenizer. */
enum limoe_status text_fingerprint(const char *dir, const struct config *config,
                                   struct fingerprint *fingerprint, struct limoe_error *err);

/* Writes at most config->text.length ids and their number: start and end tokens included, where the model has them, and
 * where it attends to padding, that too. Where a text is read at its end token and no token sees those behind it, nothing
 * stands behind the first end token. */
enum limoe_status text_encode(const struct tokenizer *tokenizer, const struct config *config,
                              const char *text, size_t size, int32_t *tokens, uint32_t *length,
                              struct limoe_error *err);

#endif
