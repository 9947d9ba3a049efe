/* dot.c - dot products in double, several rows at a time: one row's sums wait for each other, and would
 * leave the multipliers idle. No state, no threads.
 *
 * Both factors of a product are float, so it is exact in double. Adding it is then one rounding whether the
 * processor fuses the two or not, and every path below gives the same bits.
 */
#include "kernels/dot.h"

#include <string.h>

enum { LANES = 8, ROWS = 4 };

#define INLINE static inline __attribute__((always_inline))

/* The sums of one row, as four lanes and four: the widest double vector that is common. */
typedef float floats __attribute__((vector_size(4 * sizeof(float))));
typedef double doubles __attribute__((vector_size(4 * sizeof(double))));

/* LANES elements of a times as many of each of `rows` rows, which lie `stride` apart. */
INLINE void add_products(const float *a, const float *b, size_t stride, size_t rows,
                         doubles partial[ROWS][2]) {
    for (size_t half = 0; half < 2; half++) {
        floats x, y;
        memcpy(&x, a + 4 * half, sizeof x);
        const doubles wide = __builtin_convertvector(x, doubles);
        for (size_t r = 0; r < rows; r++) {
            memcpy(&y, b + r * stride + 4 * half, sizeof y);
            partial[r][half] += wide * __builtin_convertvector(y, doubles);
        }
    }
}

/* What is left of vectors that do not end with a full set of lanes is filled up with zeros, whose product
 * changes no sum. */
INLINE void dot_few(const float *a, const float *b, size_t rows, size_t width, float *cosine) {
    doubles partial[ROWS][2] = {{{0}}};
    size_t i = 0;
    for (; i + LANES <= width; i += LANES)
        add_products(a + i, b + i, width, rows, partial);
    if (i < width) {
        float a_end[LANES] = {0}, b_end[ROWS][LANES] = {{0}};
        memcpy(a_end, a + i, (width - i) * sizeof *a);
        for (size_t r = 0; r < rows; r++)
            memcpy(b_end[r], b + r * width + i, (width - i) * sizeof *b);
        add_products(a_end, b_end[0], LANES, rows, partial);
    }
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t lane = 0; lane < LANES; lane++)
            sum += partial[r][lane / 4][lane % 4];
        cosine[r] = (float)sum;
    }
}

INLINE void dot_all(const float *a, const float *rows, size_t n, size_t width, float *cosine) {
    size_t i = 0;
    for (; i + ROWS <= n; i += ROWS)
        dot_few(a, rows + i * width, ROWS, width, cosine + i);
    for (; i < n; i++)
        dot_few(a, rows + i * width, 1, width, cosine + i);
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static void dots_avx2(const float *a, const float *rows, size_t n,
                                                      size_t width, float *cosine) {
    dot_all(a, rows, n, width, cosine);
}

/* Rows are summed four at a time; of those that are left the last stands for the others. */
__attribute__((target("avx2"))) static void dots_int8_avx2(const int16_t *a, const int8_t *rows, size_t n,
                                                           size_t width, int32_t *sum) {
    for (size_t i = 0; i < n; i += ROWS) {
        __m256i partial[ROWS] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                                 _mm256_setzero_si256()};
        const int8_t *b[ROWS];
        for (size_t r = 0; r < ROWS; r++)
            b[r] = rows + (i + r < n ? i + r : n - 1) * width;
        for (size_t j = 0; j < width; j += DOT_INT8_STEP) {
            const __m256i x = _mm256_loadu_si256((const __m256i *)(a + j));
            for (size_t r = 0; r < ROWS; r++) {
                const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b[r] + j)));
                partial[r] = _mm256_add_epi32(partial[r], _mm256_madd_epi16(x, y));
            }
        }
        const __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(partial[0], partial[1]),
                                                _mm256_hadd_epi32(partial[2], partial[3]));
        int32_t all[ROWS];
        _mm_storeu_si128((__m128i *)all,
                         _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
        memcpy(sum + i, all, (n - i < ROWS ? n - i : ROWS) * sizeof *all);
    }
}

/* Four rows of a width that is a multiple of LANES, in 512 bits and with fused products: what the compilers
 * do not find by themselves. */
__attribute__((target("avx512f"))) static void dots_avx512(const float *a, const float *rows, size_t n,
                                                           size_t width, float *cosine) {
    size_t i = 0;
    for (; width % LANES == 0 && i + ROWS <= n; i += ROWS) {
        const float *b = rows + i * width;
        __m512d partial[ROWS] = {_mm512_setzero_pd(), _mm512_setzero_pd(), _mm512_setzero_pd(),
                                 _mm512_setzero_pd()};
        for (size_t j = 0; j < width; j += LANES) {
            const __m512d x = _mm512_cvtps_pd(_mm256_loadu_ps(a + j));
            for (size_t r = 0; r < ROWS; r++)
                partial[r] =
                    _mm512_fmadd_pd(x, _mm512_cvtps_pd(_mm256_loadu_ps(b + r * width + j)), partial[r]);
        }
        for (size_t r = 0; r < ROWS; r++) {
            double lane[LANES], sum = 0;
            _mm512_storeu_pd(lane, partial[r]);
            for (size_t l = 0; l < LANES; l++)
                sum += lane[l];
            cosine[i + r] = (float)sum;
        }
    }
    dot_all(a, rows + i * width, n - i, width, cosine + i);
}
#endif

void dot_rows(const float *a, const float *rows, size_t n, size_t width, float *cosine) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        dots_avx512(a, rows, n, width, cosine);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        dots_avx2(a, rows, n, width, cosine);
        return;
    }
#endif
    dot_all(a, rows, n, width, cosine);
}

void dot_rows_int8(const int16_t *a, const int8_t *rows, size_t n, size_t width, int32_t *sum) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        dots_int8_avx2(a, rows, n, width, sum);
        return;
    }
#endif
    for (size_t i = 0; i < n; i++) {
        int32_t all = 0;
        for (size_t j = 0; j < width; j++)
            all += (int32_t)a[j] * rows[i * width + j];
        sum[i] = all;
    }
}
