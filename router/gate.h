/* gate.h - which experts a token goes to, and with what weight.
 *
 * logits = x W, without a bias; gates = softmax over ALL experts; then the top k (V-MoE, arXiv 2106.05974,
 * section 2.1: softmax first, so that for k = 1 the gate still carries a gradient). float32 in every dtype: a
 * rounded logit sends tokens elsewhere.
 */
#ifndef LIMOE_ROUTER_GATE_H
#define LIMOE_ROUTER_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct gate {
    const float *weight; /* [experts, width] */
    uint32_t width, experts, top_k;
    bool renormalize; /* divide the kept gates by their sum */
};

/* Routes x [rows, width]. logits [rows, experts] is scratch; expert and weight [rows, top_k], by descending
 * gate, ties to the lower index. */
void gate_route(struct kernels *k, const struct gate *gate, const float *x, size_t rows, float *logits,
                int32_t *expert, float *weight);

#endif
