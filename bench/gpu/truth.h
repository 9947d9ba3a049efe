/* truth.h - what operations of kernels.h should come to, in double precision, and how far others are from it.
 *
 * Operands are the float32 values that the operation was given. What an operation rounds on its way (to act)
 * is not rounded here: the limits that results are held to leave room for it.
 */
#ifndef LIMOE_BENCH_GPU_TRUTH_H
#define LIMOE_BENCH_GPU_TRUTH_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* ||out - want|| / ||want||, gathered piece by piece. */
struct distance {
    double error, size;
};
void distance_add(struct distance *d, const float *out, const double *want, size_t n);
/* NaN where any part was not a number: it passes no comparison. */
double distance_relative(const struct distance *d);

/* v after the epilogue; KERNELS_ADD_F32 adds nothing. */
double truth_activate(double v, enum kernels_epilogue epilogue);

/* y[out] = epilogue(x W^T + b) of one row; weight [out, in] and bias [out] are bfloat16. */
void truth_linear_row(const float *x, const uint16_t *weight, const uint16_t *bias, uint32_t out, uint32_t in,
                      enum kernels_epilogue epilogue, double *y);

/* The sum of sign[f] * (row f of W, and b): what it makes of every x is the signed sum of y, so that one
 * number per row stands for all of its elements (Freivalds, "Probabilistic machines can use less running
 * time"). folded [in + 1], the last of the biases. */
void truth_fold(const uint16_t *weight, const uint16_t *bias, uint32_t out, uint32_t in, const float *sign,
                double *folded);

/* out[d]: query row `row` of one head among rows begin … end - 1 of qkv [rows, 3 width]. */
void truth_attention_row(const float *qkv, uint32_t width, uint32_t heads, uint32_t head, size_t begin,
                         size_t end, size_t row, const struct kernels_qk_norm *norm, double *out);

/* Host arrays; out may be x. */
void truth_layernorm_row(const float *x, const float *weight, const float *bias, double eps, uint32_t width,
                         double *out);

#endif
