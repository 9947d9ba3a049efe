/* backward.h - the gradients of the reference: kernels/backward.h as it reads.
 *
 * Sums along a row are made in double, so that what another backend differs by is its own. */
#ifndef LIMOE_KERNELS_REFERENCE_BACKWARD_H
#define LIMOE_KERNELS_REFERENCE_BACKWARD_H

#include "kernels/backward.h"

/* Of reference.c's instances in float32. */
extern const struct backward_ops reference_backward;

backward_repack_fn reference_repack;
backward_adamw_fn reference_adamw;
backward_linear_fn reference_backward_linear;
backward_activate_fn reference_activate;
backward_activation_fn reference_backward_activation;
backward_layernorm_fn reference_backward_layernorm;
backward_attention_fn reference_backward_attention;
backward_combine_fn reference_backward_combine;
backward_dispatch_fn reference_backward_dispatch;
backward_gate_fn reference_backward_gate;
backward_pool_fn reference_backward_pool;
backward_attention_pool_fn reference_backward_attention_pool;
backward_normalize_fn reference_backward_normalize;
backward_cross_entropy_fn reference_cross_entropy;

/* Of one row of y = LN(x): dx[width] +=, dweight and dbias (NULL: not wanted) likewise. dx must not be dy. */
void reference_backward_layernorm_row(const struct backward_norm *norm, const float *x, const float *dy,
                                      uint32_t width, float *dx);

#endif
