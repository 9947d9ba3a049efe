/* sentencepiece.h - whether a file is a SentencePiece model that the library can be trusted with. */
#ifndef LIMOE_MODEL_TEXT_SENTENCEPIECE_H
#define LIMOE_MODEL_TEXT_SENTENCEPIECE_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Checks a serialised ModelProto for all that the library takes on trust. `where`, the file's name, begins
 * every message. Fails with LIMOE_CORRUPT, LIMOE_UNSUPPORTED (a model that is neither unigram nor BPE) or
 * LIMOE_NO_MEMORY. */
enum limoe_status sentencepiece_check(const uint8_t *bytes, size_t size, const char *where,
                                      struct limoe_error *err);

/* The same of its rules of normalisation alone: a double array (Darts) behind its size, and the replacements. No bytes
 * are no rules. */
enum limoe_status sentencepiece_check_charsmap(const uint8_t *bytes, size_t size, const char *where,
                                               struct limoe_error *err);

#ifdef __cplusplus
}
#endif
#endif
