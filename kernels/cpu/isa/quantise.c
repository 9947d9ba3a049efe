/* quantise.c - a row of activations to 8 bits (kernels/int8.h), in the form that the instruction set's product reads.
 *
 * Compiled once for each instruction set that has a product of its own. The least and the greatest value and each
 * rounding are the same whatever the width of a vector, so that so are the numbers.
 */
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/vec.h"

#define INLINE static inline __attribute__((always_inline))

INLINE vf load(const float *x, size_t i, size_t n) {
    return n - i >= LANES ? v_load(x + i) : v_load_part(x + i, n - i);
}

/* Writes round(x) + zero, at most 255, of elements i .. i + LANES - 1. What is exact in float32 stays so: |round(x)|
 * <= 256. */
#if defined(__AVX512VNNI__)

enum { SPREAD = 1 };

INLINE void put(void *q, size_t i, vf x, float zero) {
    vf v = v_min(v_set(255.0f), v_round(x) + v_set(zero));
    _mm_storeu_si128((__m128i *)(void *)((uint8_t *)q + i), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

#elif defined(__AVX512F__)

enum { SPREAD = 2 };

INLINE void put(void *q, size_t i, vf x, float zero) {
    vf v = v_min(v_set(255.0f), v_round(x) + v_set(zero));
    __m256i words = _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(v));
    words = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(words, 0xd8), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)q + i), words);
}

#elif defined(__AVX2__)

enum { SPREAD = 2 };

INLINE void put(void *q, size_t i, vf x, float zero) {
    vi v = _mm256_cvtps_epi32(v_min(v_set(255.0f), v_round(x) + v_set(zero)));
    __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    words = _mm_shufflehi_epi16(_mm_shufflelo_epi16(words, 0xd8), 0xd8);
    _mm_storeu_si128((__m128i *)(void *)((uint16_t *)q + i), words);
}

#else

enum { SPREAD = 1 };

INLINE void put(void *q, size_t i, vf x, float zero) {
    vf v = v_min(v_set(255.0f), v_round(x) + v_set(zero));
    for (size_t lane = 0; lane < LANES; lane++)
        ((uint8_t *)q)[i + lane] = (uint8_t)v[lane];
}

#endif

void isa_name(quantise)(const float *x, size_t n, void *q, struct int8_row *row) {
    const size_t padded = (n + INT8_BLOCK - 1) / INT8_BLOCK * INT8_BLOCK;
    vf low = v_zero(), high = v_zero(), poison = v_zero();
    for (size_t i = 0; i < n; i += LANES) {
        vf v = load(x, i, n);
        low = v_min(low, v);
        high = v_max(high, v);
        poison = v_fma(v, v_zero(), poison);
    }
    *row = int8_row_between(-v_greatest(-low), v_greatest(high), !isnan(v_sum(poison)));
    size_t done = 0;
    if (row->scale > 0) {
        const vf inverse = v_set(1 / row->scale);
        const float zero = (float)row->zero;
        for (; done < n; done += LANES)
            put(q, done, load(x, done, n) * inverse, zero);
    }
    memset((char *)q + done * SPREAD, 0, (padded - done) * SPREAD);
}
