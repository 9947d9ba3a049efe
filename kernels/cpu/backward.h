/* backward.h - what the gradients of the cpu backend share.
 *
 * They stand on the forward's products: dx = dy W and dW = dy^T x are linears whose matrix is packed for the call, to
 * self->room, which struct cpu owns. */
#ifndef LIMOE_KERNELS_CPU_BACKWARD_H
#define LIMOE_KERNELS_CPU_BACKWARD_H

#include "kernels/backward.h"
#include "kernels/cpu/cpu.h"

/* Of cpu.c's instances in float32. */
extern const struct backward_ops cpu_backward;

/* At least n floats of self->room, aligned to 64; NULL (and no_memory set) when there are none. What it held is lost. */
float *cpu_room(struct cpu *self, size_t n);

/* Rows in heads: row i is `width` elements from x + i / heads * stride + i % heads * width on. */
struct head_layout {
    size_t rows; /* heads counted */
    uint32_t width, heads;
    size_t stride;
};

static inline size_t head_at(const struct head_layout *l, size_t row) {
    return row / l->heads * l->stride + row % l->heads * l->width;
}

/* Of y = LN(x) over such rows: dx += or, where `add` is not set, dx =, which may be dy then. Uses the room. */
void cpu_norm_gradient(struct cpu *self, const struct backward_norm *norm, const struct head_layout *layout,
                       const float *x, const float *dy, bool add, float *dx);

backward_repack_fn cpu_repack;
backward_adamw_fn cpu_adamw;
backward_linear_fn cpu_backward_linear;
backward_activate_fn cpu_activate;
backward_activation_fn cpu_backward_activation;
backward_layernorm_fn cpu_backward_layernorm;
backward_attention_fn cpu_backward_attention;
backward_combine_fn cpu_backward_combine;
backward_dispatch_fn cpu_backward_dispatch;
backward_gate_fn cpu_backward_gate;
backward_pool_fn cpu_backward_pool;
backward_attention_pool_fn cpu_backward_attention_pool;
backward_normalize_fn cpu_backward_normalize;
backward_cross_entropy_fn cpu_cross_entropy;

#endif
