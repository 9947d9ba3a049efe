/* tokenizer.h - SentencePiece behind a plain C face (tokenizer.cpp is the project's only C++). */
#ifndef LIMOE_MODEL_TEXT_TOKENIZER_H
#define LIMOE_MODEL_TEXT_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/fingerprint.h"

#ifdef __cplusplus
extern "C" {
#endif

struct tokenizer;

/* Loads dir/tokenizer.model, whose vocabulary must be exactly `vocab` pieces, and adds its bytes to
 * `fingerprint` (NULL: to none). */
enum limoe_status tokenizer_open(const char *dir, uint32_t vocab, struct fingerprint *fingerprint,
                                 struct tokenizer **out, struct limoe_error *err);
/* Adds to the fingerprint what tokenizer_open would add, for callers that need no tokenizer. A file that
 * is not there counts as empty, which no tokenizer is. */
enum limoe_status tokenizer_fingerprint(const char *dir, struct fingerprint *fingerprint,
                                        struct limoe_error *err);
void tokenizer_close(struct tokenizer *tokenizer);

/* Encodes UTF-8 text, keeps at most `capacity` piece ids (no EOS added). Safe from many threads at once. */
enum limoe_status tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t size,
                                   int32_t *ids, uint32_t capacity, uint32_t *count, struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
