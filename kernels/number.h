/* number.h - the number formats of a checkpoint, and tensors that hold them at any alignment.
 *
 * bfloat16 is the upper half of a float32. Rounding to it is to nearest, ties to even, everywhere in limoe.
 */
#ifndef LIMOE_KERNELS_NUMBER_H
#define LIMOE_KERNELS_NUMBER_H

#include <string.h>

#include "kernels/kernels.h"

static inline uint32_t float_bits(float v) {
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

static inline float float_from_bits(uint32_t u) {
    float v;
    memcpy(&v, &u, sizeof v);
    return v;
}

static inline float bf16_to_float(uint16_t b) {
    return float_from_bits((uint32_t)b << 16);
}

static inline uint16_t bf16_from_float(float v) {
    uint32_t u = float_bits(v);
    if ((u & 0x7fffffffu) > 0x7f800000u) /* the carry below could turn a NaN into an infinity */
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline float f16_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 31u, fraction = h & 0x3ffu;
    if (exponent == 31)
        return float_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24, exact in float32 */
        float v = (float)fraction * 0x1p-24f;
        return sign ? -v : v;
    }
    return float_from_bits(sign | (exponent + 112u) << 23 | fraction << 13);
}

static inline size_t storage_size(enum kernels_storage storage) {
    return storage == KERNELS_F32 ? 4 : storage == KERNELS_I8 ? 1 : 2;
}

/* Row by row: a division for each element would take longer than all else. */
static inline void int8_read(const struct kernels_int8 *t, size_t first, size_t n, float *out) {
    for (size_t at = first, end = first + n; at < end;) {
        const size_t row = at / t->row, left = (row + 1) * t->row - at,
                     piece = left < end - at ? left : end - at;
        for (size_t i = 0; i < piece; i++)
            out[i] = (float)t->value[at + i] * t->scale[row];
        at += piece;
        out += piece;
    }
}

/* out[n] = elements first .. first + n - 1 of the tensor. */
static inline void tensor_read(struct kernels_tensor t, size_t first, size_t n, float *out) {
    if (t.storage == KERNELS_I8) {
        int8_read(t.host, first, n, out);
        return;
    }
    const unsigned char *p = (const unsigned char *)t.host + first * storage_size(t.storage);
    if (t.storage == KERNELS_F32) {
        memcpy(out, p, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        out[i] = t.storage == KERNELS_BF16 ? bf16_to_float(h) : f16_to_float(h);
    }
}

#endif
