/* truth.c - plain loops in double precision: each formula as kernels.h states it. No state. */
#include "bench/gpu/truth.h"

#include <math.h>
#include <stdlib.h>

#include "bench/gpu/arrays.h"
#include "kernels/number.h"

void distance_add(struct distance *d, const float *out, const double *want, size_t n) {
    for (size_t i = 0; i < n; i++) {
        d->error += (out[i] - want[i]) * (out[i] - want[i]);
        d->size += want[i] * want[i];
    }
}

double distance_relative(const struct distance *d) {
    return sqrt(d->error / d->size);
}

double truth_activate(double v, enum kernels_epilogue epilogue) {
    switch (epilogue) {
    case KERNELS_GELU_TANH:
        return 0.5 * v * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    case KERNELS_GELU_ERF:
        return 0.5 * v * (1 + erf(v * M_SQRT1_2));
    case KERNELS_QUICK_GELU:
        return v / (1 + exp(-1.702 * v));
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        break;
    }
    return v;
}

void truth_linear_row(const float *x, const uint16_t *weight, const uint16_t *bias, uint32_t out, uint32_t in,
                      enum kernels_epilogue epilogue, double *y) {
    for (uint32_t f = 0; f < out; f++) {
        const uint16_t *w = weight + (size_t)f * in;
        double sum[4] = {0};
        for (uint32_t i = 0; i < in; i++)
            sum[i % 4] += (double)x[i] * bf16_to_float(w[i]);
        y[f] = truth_activate(sum[0] + sum[1] + (sum[2] + sum[3]) + bf16_to_float(bias[f]), epilogue);
    }
}

void truth_fold(const uint16_t *weight, const uint16_t *bias, uint32_t out, uint32_t in, const float *sign,
                double *folded) {
    for (uint32_t i = 0; i <= in; i++)
        folded[i] = 0;
    for (uint32_t f = 0; f < out; f++) {
        for (uint32_t i = 0; i < in; i++)
            folded[i] += sign[f] * bf16_to_float(weight[(size_t)f * in + i]);
        folded[in] += sign[f] * bf16_to_float(bias[f]);
    }
}

void truth_layernorm_row(const float *x, const float *weight, const float *bias, double eps, uint32_t width,
                         double *out) {
    double mean = 0, squares = 0;
    for (uint32_t c = 0; c < width; c++)
        mean += x[c] / (double)width;
    for (uint32_t c = 0; c < width; c++)
        squares += (x[c] - mean) * (x[c] - mean);
    const double scale = 1 / sqrt(squares / width + eps);
    for (uint32_t c = 0; c < width; c++)
        out[c] = (x[c] - mean) * scale * weight[c] + bias[c];
}

/* A head's part of a row, normalised where there is something to normalise by. */
static void load_head(const float *from, uint32_t d, const float *weight, const float *bias, float eps,
                      double *to) {
    if (weight) {
        truth_layernorm_row(from, weight, bias, eps, d, to);
        return;
    }
    for (uint32_t c = 0; c < d; c++)
        to[c] = from[c];
}

void truth_attention_row(const float *qkv, uint32_t width, uint32_t heads, uint32_t head, size_t begin,
                         size_t end, size_t row, const struct kernels_qk_norm *norm, double *out) {
    const uint32_t d = width / heads;
    const size_t pitch = 3 * (size_t)width, length = end - begin;
    const float *const keys = qkv + begin * pitch + width + (size_t)head * d, *const values = keys + width;
    const struct kernels_qk_norm n = norm ? *norm : (struct kernels_qk_norm){0};
    double *score = array_alloc((length + 2 * d) * sizeof *score), *q = score + length, *key = q + d;
    double most = -INFINITY, sum = 0;
    load_head(qkv + row * pitch + (size_t)head * d, d, n.q_weight, n.q_bias, n.eps, q);
    for (size_t j = 0; j < length; j++) {
        load_head(keys + j * pitch, d, n.k_weight, n.k_bias, n.eps, key);
        score[j] = 0;
        for (uint32_t c = 0; c < d; c++)
            score[j] += q[c] * key[c];
        score[j] /= sqrt(d);
        most = fmax(most, score[j]);
    }
    for (uint32_t c = 0; c < d; c++)
        out[c] = 0;
    for (size_t j = 0; j < length; j++) {
        const double e = exp(score[j] - most);
        sum += e;
        for (uint32_t c = 0; c < d; c++)
            out[c] += e * values[j * pitch + c];
    }
    for (uint32_t c = 0; c < d; c++)
        out[c] /= sum;
    free(score);
}
