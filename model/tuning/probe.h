/* probe.h - a linear layer on embeddings: logits = W x + b. */
#ifndef LIMOE_MODEL_TUNING_PROBE_H
#define LIMOE_MODEL_TUNING_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* Embeddings with their classes. */
struct probe_set {
    const float *x;        /* [n, embed], unit vectors */
    const uint32_t *label; /* [n], below classes */
    size_t n;
    uint32_t classes, embed;
};

/* Lowers the mean cross-entropy by `steps` of AdamW, all of the set in each, with warm-up and a cosine. weight
 * [classes, embed] and bias [classes] are where it begins, and what comes out. The same bits at any number of threads. k has
 * gradients. */
enum limoe_status probe_train(struct kernels *k, const struct probe_set *set, double rate, uint32_t steps,
                              float *weight, float *bias, struct limoe_error *err);

/* logits[n, classes] of embeddings x[n, embed]. */
void probe_logits(struct kernels *k, const float *x, size_t n, uint32_t embed, const float *weight,
                  const float *bias, uint32_t classes, float *logits);

#endif
