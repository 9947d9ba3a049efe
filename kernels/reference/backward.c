/* backward.c - the reference's table of gradients, and what belongs to no layer: weights put anew, the optimizer. */
#include "kernels/reference/backward.h"

#include "kernels/reference/reference.h"

void reference_repack(struct kernels *k, struct kernels_matrix *m, const float *weight, const float *bias) {
    (void)k;
    const size_t channels = (size_t)m->groups * m->out;
    memcpy(m->weight, weight, channels * m->in * sizeof *weight);
    if (m->bias)
        memcpy(m->bias, bias, channels * sizeof *bias);
}

void reference_adamw(struct kernels *k, const struct adamw *how, size_t n, const float *g, float *w, float *m,
                     float *v) {
    (void)k;
    adamw_step(how, n, g, w, m, v);
}

const struct backward_ops reference_backward = {
    .repack = reference_repack,
    .adamw = reference_adamw,
    .linear = reference_backward_linear,
    .activate = reference_activate,
    .activation = reference_backward_activation,
    .layernorm = reference_backward_layernorm,
    .attention = reference_backward_attention,
    .combine = reference_backward_combine,
    .dispatch = reference_backward_dispatch,
    .gate = reference_backward_gate,
    .pool = reference_backward_pool,
    .attention_pool = reference_backward_attention_pool,
    .normalize = reference_backward_normalize,
    .cross_entropy = reference_cross_entropy,
};
