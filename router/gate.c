/* gate.c - the router's two operations in order. Owns nothing; runs on the caller's thread. */
#include "router/gate.h"

void gate_route(struct kernels *k, const struct gate *gate, const float *x, size_t rows, float *logits,
                int32_t *expert, float *weight) {
    k->ops->router_logits(k, x, gate->weight, rows, gate->width, gate->experts, logits);
    k->ops->gate(k, logits, rows, gate->experts, gate->top_k, gate->renormalize, expert, weight);
}
