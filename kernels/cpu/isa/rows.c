/* rows.c - everything but the matrix product: epilogues, LayerNorm, softmax and their kin, a row at a time.
 *
 * Compiled once for each instruction set. Elementwise work goes over whole vectors and ends in one partial
 * vector of the same instructions. Sums run in SUMS vectors side by side, then fold: their shape depends on
 * the width alone.
 */
#include <math.h>

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/phi.h"
#include "kernels/cpu/isa/vec.h"

#define LOG2_E 1.44269504f
#define INLINE static inline __attribute__((always_inline))

/* ---- act rows */

INLINE vf load_act(const void *x, size_t i, size_t n, bool bf16) {
    if (bf16) {
        const uint16_t *p = (const uint16_t *)x + i;
        return n - i >= LANES ? v_load_bf16(p) : v_load_bf16_part(p, n - i);
    }
    const float *p = (const float *)x + i;
    return n - i >= LANES ? v_load(p) : v_load_part(p, n - i);
}

INLINE vf load(const float *x, size_t i, size_t n) {
    return load_act(x, i, n, false);
}

INLINE void store_act(void *x, size_t i, size_t n, vf v, bool bf16) {
    if (bf16) {
        uint16_t *p = (uint16_t *)x + i;
        if (n - i >= LANES)
            v_store_bf16(p, v);
        else
            v_store_bf16_part(p, v, n - i);
    } else {
        float *p = (float *)x + i;
        if (n - i >= LANES)
            v_store(p, v);
        else
            v_store_part(p, v, n - i);
    }
}

INLINE void store(float *x, size_t i, size_t n, vf v) {
    store_act(x, i, n, v, false);
}

/* ---- epilogues */

enum { COLUMN_VECTORS = 2 }; /* side by side: a cache line of bfloat16 in AVX-512 */

/* v/2 (1 + tanh u) = v / (1 + 2^(-2u log2 e)), u = sqrt(2/pi) (v + 0.044715 v^3) */
INLINE vf gelu_tanh(vf v) {
    return v_over_1_plus_exp2(v, v * v_fma(v * v, v_set(-0.10294324f), v_set(-2.3022082f)));
}

INLINE vf gelu_erf(vf v) {
    return v * v_phi(v);
}

INLINE vf quick_gelu(vf v) {
    return v_over_1_plus_exp2(v, v * v_set(-2.455467f));
}

INLINE vf activate(vf v, enum kernels_epilogue kind) {
    return kind == KERNELS_GELU_TANH    ? gelu_tanh(v)
           : kind == KERNELS_GELU_ERF   ? gelu_erf(v)
           : kind == KERNELS_QUICK_GELU ? quick_gelu(v)
                                        : v;
}

/* Columns i .. i + columns - 1 of all rows: `vectors` vectors, the last of which may be partial. */
INLINE void finish_columns(const struct epilogue *e, enum kernels_epilogue kind, bool bf16, size_t i,
                           size_t columns, int vectors) {
    vf bias[COLUMN_VECTORS];
    for (int v = 0; v < vectors; v++)
        bias[v] = e->bias ? load(e->bias + i, (size_t)v * LANES, columns) : v_zero();
    const float *c = e->c + i;
    char *y = (char *)e->y + i * (bf16 ? 2 : 4);
    for (size_t r = 0; r < e->rows; r++, c += e->c_stride, y += e->y_stride * (bf16 ? 2 : 4)) {
        vf out[COLUMN_VECTORS];
        for (int v = 0; v < vectors; v++) {
            out[v] = activate(v_load(c + v * LANES) + bias[v], kind); /* the product's panels are whole */
            if (kind == KERNELS_ADD_F32)
                out[v] = out[v] + load((const float *)(const void *)y, (size_t)v * LANES, columns);
        }
        for (int v = 0; v < vectors; v++)
            store_act(y, (size_t)v * LANES, columns, out[v], bf16);
    }
}

INLINE void finish(const struct epilogue *e, enum kernels_epilogue kind, bool bf16) {
    size_t i = 0;
    for (; i + COLUMN_VECTORS * LANES <= e->columns; i += COLUMN_VECTORS * LANES)
        finish_columns(e, kind, bf16, i, COLUMN_VECTORS * LANES, COLUMN_VECTORS);
    for (; i < e->columns; i += LANES)
        finish_columns(e, kind, bf16, i, e->columns - i < LANES ? e->columns - i : LANES, 1);
}

INLINE void finish_act(const struct epilogue *e, enum kernels_epilogue kind) {
    if (e->bf16)
        finish(e, kind, true);
    else
        finish(e, kind, false);
}

static void epilogue(const struct epilogue *e) {
    switch (e->kind) {
    case KERNELS_STORE:
        finish_act(e, KERNELS_STORE);
        break;
    case KERNELS_STORE_F32:
        finish(e, KERNELS_STORE_F32, false);
        break;
    case KERNELS_ADD_F32:
        finish(e, KERNELS_ADD_F32, false);
        break;
    case KERNELS_GELU_TANH:
        finish_act(e, KERNELS_GELU_TANH);
        break;
    case KERNELS_GELU_ERF:
        finish_act(e, KERNELS_GELU_ERF);
        break;
    case KERNELS_QUICK_GELU:
        finish_act(e, KERNELS_QUICK_GELU);
        break;
    }
}

/* ---- sums along a row */

enum { SUMS = 4 };

INLINE float fold(vf sum[SUMS]) {
    return v_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static float row_sum(const float *x, size_t n) {
    vf sum[SUMS] = {v_zero(), v_zero(), v_zero(), v_zero()};
    size_t i = 0;
    for (; i + SUMS * LANES <= n; i += SUMS * LANES)
        for (int s = 0; s < SUMS; s++)
            sum[s] = sum[s] + v_load(x + i + s * LANES);
    for (int s = 0; i < n; i += LANES, s++)
        sum[s] = sum[s] + load(x, i, n);
    return fold(sum);
}

/* Of (x - mean)^2. */
static float row_squares(const float *x, float mean, size_t n) {
    vf sum[SUMS] = {v_zero(), v_zero(), v_zero(), v_zero()}, m = v_set(mean);
    size_t i = 0;
    for (; i + SUMS * LANES <= n; i += SUMS * LANES)
        for (int s = 0; s < SUMS; s++) {
            vf d = v_load(x + i + s * LANES) - m;
            sum[s] = v_fma(d, d, sum[s]);
        }
    for (int s = 0; i < n; i += LANES, s++) {
        /* places beyond the row would hold 0 - mean */
        vf d = n - i >= LANES ? v_load(x + i) - m : v_load_part_or(x + i, n - i, mean) - m;
        sum[s] = v_fma(d, d, sum[s]);
    }
    return fold(sum);
}

static float sum_squares(const float *x, size_t n) {
    return row_squares(x, 0, n);
}

INLINE void normalise(const float *x, const float *weight, const float *bias, float mean, float scale,
                      size_t n, bool bf16, void *out_act, float *out_f32) {
    vf m = v_set(mean), s = v_set(scale);
    for (size_t i = 0; i < n; i += LANES) {
        vf v = v_fma((load(x, i, n) - m) * s, load(weight, i, n), load(bias, i, n));
        if (out_f32)
            store(out_f32, i, n, v);
        if (out_act)
            store_act(out_act, i, n, v, bf16);
    }
}

static void layernorm(const float *x, const float *weight, const float *bias, float eps, size_t width,
                      bool bf16, void *out_act, float *out_f32) {
    float mean = row_sum(x, width) / (float)width;
    float scale = 1.0f / sqrtf(row_squares(x, mean, width) / (float)width + eps);
    if (bf16)
        normalise(x, weight, bias, mean, scale, width, true, out_act, out_f32);
    else
        normalise(x, weight, bias, mean, scale, width, false, out_act, out_f32);
}

/* ---- softmax */

/* n > 0 */
static float row_greatest(const float *x, size_t n) {
    vf most = n >= LANES ? v_load(x) : v_load_part_or(x, n, -INFINITY);
    for (size_t i = LANES; i < n; i += LANES)
        most = v_max(most, n - i >= LANES ? v_load(x + i) : v_load_part_or(x + i, n - i, -INFINITY));
    return v_greatest(most);
}

INLINE void weigh(const struct exponents *e, bool bf16) {
    vf scale = v_set(e->scale * LOG2_E);
    for (size_t r = 0; r < e->rows; r++) {
        const float *score = e->score + r * e->score_stride;
        char *p = (char *)e->p + r * e->padded * (bf16 ? 2 : 4);
        size_t length = e->length + r * e->longer, i = 0;
        vf most = v_set(row_greatest(score, length)), sum = v_zero();
        for (; i < length; i += LANES) {
            size_t left = length - i;
            vf s = left >= LANES ? v_load(score + i) : v_load_part_or(score + i, left, -INFINITY);
            vf w = v_exp2((s - most) * scale); /* 0 where there is no score */
            sum = sum + w;
            store_act(p, i, e->padded, w, bf16);
        }
        for (; i < e->padded; i += LANES)
            store_act(p, i, e->padded, v_zero(), bf16);
        e->sum[r] = v_sum(sum);
    }
}

static void exponents(const struct exponents *e) {
    if (e->bf16)
        weigh(e, true);
    else
        weigh(e, false);
}

static void softmax(float *x, size_t n) {
    vf most = v_set(row_greatest(x, n)), sum = v_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = n - i >= LANES ? v_load(x + i) : v_load_part_or(x + i, n - i, -INFINITY);
        vf w = v_exp2((v - most) * v_set(LOG2_E));
        sum = sum + w;
        store(x, i, n, w);
    }
    vf total = v_set(v_sum(sum));
    for (size_t i = 0; i < n; i += LANES)
        store(x, i, n, load(x, i, n) / total);
}

/* With w = exp(x - max x) and S = sum w, p = w / S and -sum p ln p = ln S - (sum w (x - max x)) / S: one
 * logarithm, and two terms that are not negative. What lies further down than `least`, -inf too, is
 * taken for it: there w is 0 in float32, and so is 0 times a finite number. */
static float softmax_entropy(const float *x, size_t n) {
    const vf least = v_set(-200);
    vf most = v_set(row_greatest(x, n)), sum = v_zero(), weighted = v_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = n - i >= LANES ? v_load(x + i) : v_load_part_or(x + i, n - i, -INFINITY);
        vf below = v_max(least, v - most);
        vf w = v_exp2(below * v_set(LOG2_E));
        sum = sum + w;
        weighted = v_fma(w, below, weighted);
    }
    float total = v_sum(sum);
    return logf(total) - v_sum(weighted) / total;
}

/* ---- the rest */

static void divide(const float *x, float divisor, size_t n, bool bf16, void *out_act) {
    for (size_t i = 0; i < n; i += LANES)
        store_act(out_act, i, n, load(x, i, n) / v_set(divisor), bf16);
}

static void combine(const void *const *y_act, const float *gate, uint32_t terms, size_t n, bool bf16,
                    float *x) {
    for (size_t i = 0; i < n; i += LANES) {
        vf sum = v_zero();
        for (uint32_t j = 0; j < terms; j++)
            sum = v_fma(v_set(gate[j]), load_act(y_act[j], i, n, bf16), sum);
        store(x, i, n, load(x, i, n) + sum);
    }
}

static void mean(const float *x, size_t rows, size_t width, bool bf16, void *out_act, float *out_f32) {
    for (size_t i = 0; i < width; i += LANES) {
        vf sum = v_zero();
        for (size_t r = 0; r < rows; r++)
            sum = sum + load(x + r * width, i, width);
        vf v = sum / v_set((float)rows);
        if (out_f32)
            store(out_f32, i, width, v);
        if (out_act)
            store_act(out_act, i, width, v, bf16);
    }
}

#if defined(__AVX512F__)
/* 16 rows of 16 words, in four rounds: words, pairs of words, then quarters and halves of a vector. */
INLINE void transpose_block(const char *x, size_t stride, uint32_t rows, size_t n, uint32_t *out) {
    __mmask16 mask = (__mmask16)((1u << n) - 1u);
    vi a[PANEL], b[PANEL];
    for (uint32_t r = 0; r < PANEL; r++)
        a[r] = r < rows ? _mm512_maskz_loadu_epi32(mask, x + r * stride) : _mm512_setzero_si512();
    for (int i = 0; i < PANEL; i += 2) {
        b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
    }
    for (int i = 0; i < PANEL; i += 4) { /* a[i + j]: word j of every quarter, of rows i to i + 3 */
        a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]);
        a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
        a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]);
        a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
    }
    for (int j = 0; j < 4; j++) {
        b[j] = _mm512_shuffle_i32x4(a[j], a[j + 4], 0x88);
        b[j + 4] = _mm512_shuffle_i32x4(a[j], a[j + 4], 0xdd);
        b[j + 8] = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0x88);
        b[j + 12] = _mm512_shuffle_i32x4(a[j + 8], a[j + 12], 0xdd);
    }
    for (int j = 0; j < 4; j++) {
        a[j] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0x88);
        a[j + 8] = _mm512_shuffle_i32x4(b[j], b[j + 8], 0xdd);
        a[j + 4] = _mm512_shuffle_i32x4(b[j + 4], b[j + 12], 0x88);
        a[j + 12] = _mm512_shuffle_i32x4(b[j + 4], b[j + 12], 0xdd);
    }
    for (size_t i = 0; i < n; i++)
        _mm512_storeu_si512(out + i * PANEL, a[i]);
}

static void transpose(const void *x, size_t stride, uint32_t rows, size_t n, uint32_t *out) {
    for (size_t i = 0; i < n; i += PANEL)
        transpose_block((const char *)x + i * 4, stride, rows, n - i < PANEL ? n - i : PANEL,
                        out + i * PANEL);
}
#else
static void transpose(const void *x, size_t stride, uint32_t rows, size_t n, uint32_t *out) {
    for (uint32_t r = 0; r < PANEL; r++) {
        const char *row = (const char *)x + r * stride;
        for (size_t i = 0; i < n; i++) {
            out[i * PANEL + r] = 0;
            if (r < rows)
                memcpy(out + i * PANEL + r, row + i * 4, 4);
        }
    }
}
#endif

const struct row_ops isa_name(rows) = {
    .epilogue = epilogue,
    .exponents = exponents,
    .layernorm = layernorm,
    .divide = divide,
    .combine = combine,
    .mean = mean,
    .sum_squares = sum_squares,
    .softmax = softmax,
    .softmax_entropy = softmax_entropy,
    .transpose = transpose,
};
