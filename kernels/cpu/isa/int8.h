/* int8.h - vectors of 32-bit integers beside vec.h's of float32, and what becomes of a sum of 8-bit products.
 *
 * The generic forms are the operators of GCC's vector extensions. */
#ifndef LIMOE_KERNELS_CPU_ISA_INT8_H
#define LIMOE_KERNELS_CPU_ISA_INT8_H

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/vec.h"

#if defined(__AVX512F__)

static inline vi i_zero(void) {
    return _mm512_setzero_si512();
}
static inline vi i_set(int32_t v) {
    return _mm512_set1_epi32(v);
}
static inline vi i_load(const void *p) {
    return _mm512_loadu_si512(p);
}
/* acc - a * b */
static inline vi i_subtract_product(vi acc, vi a, vi b) {
    return _mm512_sub_epi32(acc, _mm512_mullo_epi32(a, b));
}
static inline vf i_to_float(vi a) {
    return _mm512_cvtepi32_ps(a);
}

#elif defined(__AVX2__)

static inline vi i_zero(void) {
    return _mm256_setzero_si256();
}
static inline vi i_set(int32_t v) {
    return _mm256_set1_epi32(v);
}
static inline vi i_load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline vi i_subtract_product(vi acc, vi a, vi b) {
    return _mm256_sub_epi32(acc, _mm256_mullo_epi32(a, b));
}
static inline vf i_to_float(vi a) {
    return _mm256_cvtepi32_ps(a);
}

#else

static inline vi i_zero(void) {
    return (vi){0, 0, 0, 0};
}
static inline vi i_set(int32_t v) {
    return (vi){v, v, v, v};
}
static inline vi i_load(const void *p) {
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline vi i_subtract_product(vi acc, vi a, vi b) {
    return acc - a * b;
}
static inline vf i_to_float(vi a) {
    return __builtin_convertvector(a, vf);
}

#endif

/* y of LANES columns from column `at` of the panel on: exact up to the conversion, then two multiplications. */
static inline vf int8_scaled(vi acc, struct int8_row row, const struct int8_panel *panel, int at) {
    vi sum = i_subtract_product(acc, i_set(row.zero), i_load(panel->sum + at));
    return i_to_float(sum) * v_set(row.scale) * v_load(panel->scale + at);
}

#endif
