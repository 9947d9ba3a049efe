/* gate.h - which experts a token goes to, and with what weight.
 *
 * logits = x W, without a bias; gates = softmax over ALL experts; then the top k (V-MoE, arXiv 2106.05974,
 * section 2.1: softmax first, so that for k = 1 the gate still carries a gradient). It is float32 in every
 * dtype, because a rounded logit sends tokens elsewhere. The arithmetic is that of two operations of
 * kernels.h, router_logits and gate, which each backend implements where the activations are.
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
