/* gradients.c - gradients a row at a time, but for the matrix products.
 *
 * Compiled once for each instruction set, as rows.c is. Sums along a row run in one vector, lanes side by side, and fold
 * at the end: their shape depends on the width alone.
 */
#include <math.h>

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/phi.h"
#include "kernels/cpu/isa/vec.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *x, size_t i, size_t n) {
    return n - i >= LANES ? v_load(x + i) : v_load_part(x + i, n - i);
}

INLINE void store(float *x, size_t i, size_t n, vf v) {
    if (n - i >= LANES)
        v_store(x + i, v);
    else
        v_store_part(x + i, v, n - i);
}

/* ---- slopes of activations */

/* Further out a slope is 0 or 1 in float32, and its terms would overflow. A NaN stays. */
INLINE vf within(vf v) {
    return v_min(v_set(60.0f), v_max(v_set(-60.0f), v));
}

/* Of v s(t(v)), s the logistic function of t = -x ln 2: s (1 + v (1 - s) t'). */
INLINE vf gated_slope(vf v, vf x, vf slope) {
    vf s = v_over_1_plus_exp2(v_set(1.0f), x);
    return s * v_fma(v * (v_set(1.0f) - s), slope, v_set(1.0f));
}

/* t = 2 sqrt(2/pi) (v + 0.044715 v^3) */
INLINE vf gelu_tanh_slope(vf v) {
    vf square = v * v;
    return gated_slope(v, v * v_fma(square, v_set(-0.10294324f), v_set(-2.3022082f)),
                       v_fma(square, v_set(0.21406859f), v_set(1.5957691f)));
}

/* Phi(v) + v phi(v), phi(v) = 2^(-v^2 / (2 ln 2)) / sqrt(2 pi) */
INLINE vf gelu_erf_slope(vf v) {
    vf density = v_set(0.39894228f) * v_exp2(v * v * v_set(-0.72134752f));
    return v_fma(v, density, v_phi(v));
}

INLINE vf quick_gelu_slope(vf v) {
    return gated_slope(v, v * v_set(-2.455467f), v_set(1.702f));
}

INLINE void slopes(enum kernels_epilogue kind, const float *v, const float *dy, size_t n, float *dv) {
    for (size_t i = 0; i < n; i += LANES) {
        vf at = within(load(v, i, n));
        vf slope = kind == KERNELS_GELU_TANH  ? gelu_tanh_slope(at)
                   : kind == KERNELS_GELU_ERF ? gelu_erf_slope(at)
                                              : quick_gelu_slope(at);
        store(dv, i, n, load(dy, i, n) * slope);
    }
}

static void activation(enum kernels_epilogue kind, const float *v, const float *dy, size_t n, float *dv) {
    switch (kind) {
    case KERNELS_GELU_TANH:
        slopes(KERNELS_GELU_TANH, v, dy, n, dv);
        break;
    case KERNELS_GELU_ERF:
        slopes(KERNELS_GELU_ERF, v, dy, n, dv);
        break;
    case KERNELS_QUICK_GELU:
        slopes(KERNELS_QUICK_GELU, v, dy, n, dv);
        break;
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        for (size_t i = 0; i < n; i += LANES)
            store(dv, i, n, load(dy, i, n));
        break;
    }
}

/* ---- rows */

static float dot(const float *a, const float *b, size_t n) {
    vf sum = v_zero();
    for (size_t i = 0; i < n; i += LANES)
        sum = v_fma(load(a, i, n), load(b, i, n), sum);
    return v_sum(sum);
}

static void add_scaled(const float *x, float by, size_t n, float *y) {
    for (size_t i = 0; i < n; i += LANES)
        store(y, i, n, v_fma(load(x, i, n), v_set(by), load(y, i, n)));
}

static void moments(const float *x, float eps, size_t n, float *mean, float *scale) {
    vf sum = v_zero(), squares = v_zero();
    for (size_t i = 0; i < n; i += LANES)
        sum = sum + load(x, i, n);
    *mean = v_sum(sum) / (float)n;
    for (size_t i = 0; i < n; i += LANES) { /* places beyond the row would hold 0 - mean */
        vf d = (n - i >= LANES ? v_load(x + i) : v_load_part_or(x + i, n - i, *mean)) - v_set(*mean);
        squares = v_fma(d, d, squares);
    }
    *scale = 1.0f / sqrtf(v_sum(squares) / (float)n + eps);
}

/* With g = dy weight and n = (x - mean) scale: scale (g - mean(g) - n mean(g n)). Beyond the row g is 0. */
static void layernorm(const struct norm_row *r, size_t n, bool add, float *dx) {
    vf sum = v_zero(), product = v_zero(), mean = v_set(r->mean), scale = v_set(r->scale);
    for (size_t i = 0; i < n; i += LANES) {
        vf g = load(r->dy, i, n) * load(r->weight, i, n);
        sum = sum + g;
        product = v_fma(g, (load(r->x, i, n) - mean) * scale, product);
    }
    vf g_mean = v_set(v_sum(sum) / (float)n), gn_mean = v_set(v_sum(product) / (float)n);
    for (size_t i = 0; i < n; i += LANES) {
        vf g = load(r->dy, i, n) * load(r->weight, i, n), x = (load(r->x, i, n) - mean) * scale;
        vf d = scale * (g - g_mean - x * gn_mean);
        if (add)
            d = d + load(dx, i, n);
        store(dx, i, n, d);
    }
}

static void softmax(const float *p, float by, size_t n, float *dp) {
    vf mean = v_set(dot(p, dp, n));
    for (size_t i = 0; i < n; i += LANES)
        store(dp, i, n, v_set(by) * load(p, i, n) * (load(dp, i, n) - mean));
}

const struct gradient_ops isa_name(gradients) = {
    .activation = activation,
    .dot = dot,
    .add_scaled = add_scaled,
    .moments = moments,
    .layernorm = layernorm,
    .softmax = softmax,
};
