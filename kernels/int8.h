/* int8.h - how numbers are rounded to 8 bits: the arithmetic that every backend, and a quantised checkpoint, has.
 *
 * Weights are symmetric. The rows of a matrix, its output channels, have a scale each, and so have those of a table of tokens:
 *     scale = max |w| / 127,   q = round(w / scale),   -127 <= q <= 127
 * Rows of activations use all 256 steps between their least and their greatest value, since what comes out of a
 * GELU lies almost wholly on one side of zero. Zero itself is among the steps:
 *     scale = (max(x, 0) - min(x, 0)) / 255,   zero = round(-min(x, 0) / scale),   q = round(x / scale) + zero
 * and 0 <= q <= 255. Division is multiplication by the reciprocal, and halves go to the even number.
 *
 * A product of such rows is sum (q - zero) w = sum q w - zero sum w: at most 255 * 128 * INT8_MOST_IN, which fits
 * 32 bits, however it is split. y = (sum * row's scale) * channel's scale, in float32.
 *
 * Where a scale would be below the least normal number, all is zero. A row that holds a NaN or an infinity has the
 * scale NaN, which makes all that is computed from it NaN.
 */
#ifndef LIMOE_KERNELS_INT8_H
#define LIMOE_KERNELS_INT8_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { INT8_MOST_IN = 65536 };

/* A row of activations: x[k] is about scale * (q[k] - zero). */
struct int8_row {
    float scale;
    int32_t zero;
};

/* To the nearest whole number, halves to the even one, for |v| < 2^22: adding 1.5 * 2^23 leaves no room for a fraction.
 * Unlike rintf, compilers vectorise it for any processor. */
static inline float int8_round(float v) {
    return (v + 0x1.8p23f) - 0x1.8p23f;
}

/* q[n] of one channel; returns its scale. The widest scale is also the best one: of 8 bits, clipping a channel's
 * greatest weights would cost more than finer steps gain. */
static inline float int8_weights(const float *w, size_t n, int8_t *q) {
    float most = 0, poison = 0;
    for (size_t i = 0; i < n; i++) {
        most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
        poison += w[i] * 0.0f;
    }
    const float scale = most * (1.0f / 127), inverse = 1 / scale;
    if (isnan(poison) || scale < FLT_MIN) {
        memset(q, 0, n);
        return isnan(poison) ? NAN : 0;
    }
    for (size_t i = 0; i < n; i++) {
        const float v = int8_round(w[i] * inverse);
        q[i] = (int8_t)(v > 127 ? 127 : v < -127 ? -127 : v);
    }
    return scale;
}

/* The row of activations between `low`, at most 0, and `high`, at least 0; where !(scale > 0), q is 0. */
static inline struct int8_row int8_row_between(float low, float high, bool finite) {
    const float scale = high * (1.0f / 255) - low * (1.0f / 255);
    if (!finite)
        return (struct int8_row){.scale = NAN};
    if (scale < FLT_MIN)
        return (struct int8_row){.scale = 0};
    return (struct int8_row){.scale = scale, .zero = (int32_t)int8_round(-low * (1 / scale))};
}

#endif
