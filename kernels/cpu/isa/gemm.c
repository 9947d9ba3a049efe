/* gemm.c - the product of act rows and packed panels in vector registers.
 *
 * Compiled once for each instruction set but AMX. A tile of ROWS x PANELS accumulators stays in registers
 * while k ascends: each step loads the panels' vectors once and broadcasts one element of each row, so every
 * output element is one chain, whatever tile it falls in. Tiles of fewer rows or panels are the same code
 * with smaller constants.
 */
#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/isa/vec.h"

enum { V = PANEL / LANES }; /* vectors across a panel */

#if defined(__AVX512F__)
#define ROWS   8 /* 24 accumulators of 32 registers */
#define PANELS 3
#elif defined(__AVX2__)
#define ROWS   6 /* 12 of 16 */
#define PANELS 1
#elif defined(ISA_NEON)
#define ROWS   5 /* 20 of 32: beside them 4 of a panel and one for each row */
#define PANELS 1
#else
#define ROWS   2 /* 8 of 16 */
#define PANELS 1
#endif

#include "kernels/cpu/isa/shapes.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 24")

INLINE void store_tile(const struct product *p, uint32_t row, uint32_t panel, int rows, int vectors,
                       const vf acc[ROWS][PANELS * V]) {
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++)
        v_store(p->c + (row + r) * p->c_stride + panel * PANEL + v * LANES, acc[r][v]);
}

#if !defined(__AVX512BF16__)
INLINE void tile_f32(const struct product *p, uint32_t row, uint32_t panel, int rows, int panels) {
    const int vectors = panels * V;
    const float *a = (const float *)p->a + row * p->a_stride;
    const char *b = (const char *)p->b + panel * p->b_stride;
    const size_t stride = p->b_stride;
    vf acc[ROWS][PANELS * V];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = v_zero();
    for (uint32_t k = 0; k < p->k; k++, b += PANEL * sizeof(float)) {
        vf w[PANELS * V];
        UNROLL for (int v = 0; v < vectors; v++) w[v] =
            v_load((const float *)(const void *)(b + v / V * stride) + v % V * LANES);
        UNROLL for (int n = 0; n < panels; n++) __builtin_prefetch(b + n * stride + AHEAD);
        UNROLL for (int r = 0; r < rows; r++) {
            vf x = v_set(a[r * p->a_stride + k]);
            UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = v_fma(x, w[v], acc[r][v]);
        }
    }
    store_tile(p, row, panel, rows, vectors, acc);
}
#endif

/* One step of two k: acc += x[2i] w[2i] and then x[2i + 1] w[2i + 1]; `first` and `second` are the row's. */
#if defined(__AVX512BF16__)
INLINE void step_bf16(const uint16_t *const *a, const char *const *b, int rows, int vectors, bool both,
                      vf acc[ROWS][PANELS * V]) {
    vi w[PANELS * V];
    UNROLL for (int v = 0; v < vectors; v++) w[v] = _mm512_loadu_si512(b[v]);
    UNROLL for (int r = 0; r < rows; r++) {
        int32_t pair = a[r][0];
        if (both)
            memcpy(&pair, a[r], sizeof pair);
        vi x = _mm512_set1_epi32(pair);
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] =
            _mm512_dpbf16_ps(acc[r][v], (__m512bh)x, (__m512bh)w[v]);
    }
}
#else
INLINE void step_bf16(const uint16_t *const *a, const char *const *b, int rows, int vectors, bool both,
                      vf acc[ROWS][PANELS * V]) {
    UNROLL for (int v = 0; v < vectors; v++) {
        const uint16_t *pair = (const uint16_t *)(const void *)b[v];
        vf even = v_pair_even(pair), odd = v_pair_odd(pair);
        UNROLL for (int r = 0; r < rows; r++) {
            acc[r][v] = v_fma(v_set(bf16_to_float(a[r][0])), even, acc[r][v]);
            if (both)
                acc[r][v] = v_fma(v_set(bf16_to_float(a[r][1])), odd, acc[r][v]);
        }
    }
}
#endif

INLINE void tile_bf16(const struct product *p, uint32_t row, uint32_t panel, int rows, int panels) {
    const int vectors = panels * V;
    const uint16_t *a[ROWS];
    const char *b[PANELS * V];
    vf acc[ROWS][PANELS * V];
    UNROLL for (int r = 0; r < rows; r++) a[r] = (const uint16_t *)p->a + (row + r) * p->a_stride;
    UNROLL for (int v = 0; v < vectors; v++) b[v] =
        (const char *)p->b + (panel + v / V) * p->b_stride + v % V * LANES * 4;
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = v_zero();
    for (uint32_t k = 0; k < p->k; k += 2) {
        UNROLL for (int v = 0; v < vectors; v += V) __builtin_prefetch(b[v] + AHEAD);
        if (k + 1 < p->k)
            step_bf16(a, b, rows, vectors, true, acc);
        else
            step_bf16(a, b, rows, vectors, false, acc);
        UNROLL for (int r = 0; r < rows; r++) a[r] += 2;
        UNROLL for (int v = 0; v < vectors; v++) b[v] += PANEL * 4;
    }
    store_tile(p, row, panel, rows, vectors, acc);
}

#if !defined(__AVX512BF16__) /* the float32 product would be the one of AVX-512 once more */
DEFINE_PRODUCT(isa_name(product_f32), product, tile_f32)
#endif
DEFINE_PRODUCT(isa_name(product_bf16), product, tile_bf16)
