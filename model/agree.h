/* agree.h - how ranks agree: all of them open the same model, or none does. */
#ifndef LIMOE_MODEL_AGREE_H
#define LIMOE_MODEL_AGREE_H

#include <stdint.h>

#include "experts/exchange.h"
#include "experts/placement.h"
#include "limoe.h"
#include "model/checkpoint/fingerprint.h"

/* What must be the same on every rank: else their answers would differ, or what they exchange would not
 * fit. */
struct terms {
    char version[32], backend[32];
    char inputs[FINGERPRINT_DIGITS + 1]; /* of config.json and tokenizer.model */
    uint32_t dtype;
    uint64_t placement; /* a digest */
};

struct terms agree_terms(void); /* this program's version; the rest is empty */
uint64_t agree_digest(const struct placement *p);

/* What ranks tell each other when they agree: the bytes of what one says and of what all have said. */
size_t agree_bytes(uint32_t ranks);

/* Collective; does nothing with one rank. `status` is how it went on this rank; with LIMOE_OK, *err is not
 * read. LIMOE_OK if all went well everywhere, on equal terms (NULL: not compared). Else every rank fails,
 * with the message of the first rank that did, or with LIMOE_LOST. */
enum limoe_status agree(const struct exchange *x, enum limoe_status status, const struct terms *terms,
                        struct limoe_error *err);

#endif
