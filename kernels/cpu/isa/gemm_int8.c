/* gemm_int8.c - the product of quantised rows and int8 panels in vector registers.
 *
 * Compiled once for each instruction set but AMX. As in gemm.c a tile of ROWS x PANELS accumulators stays in
 * registers while k ascends, in groups of four. The sums are of 32-bit integers, so that neither their order nor
 * how a tile is cut can change them:
 *   VNNI             VPDPBUSD adds the four products of a group to a column's sum; it saturates nothing
 *   AVX-512, AVX2    VPMADDWD on 16 bits, the group's even and odd k apart: a weight's byte becomes a word by shifts
 *                    within its column, and rows come as words in that order (quantise.c). VPMADDUBSW would do it
 *                    on bytes, but saturates
 *   others           plain C
 */
#include "kernels/cpu/isa/int8.h"

enum { V = PANEL / LANES }; /* vectors across a panel */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 24")

/* A group is multiplied in STEPS. What a step reads of a row stands everywhere in a vector; of the weights it is that
 * of LANES columns. */
#if defined(__AVX512VNNI__)

#define ROWS   8 /* 24 accumulators of 32 registers */
#define PANELS 3
enum { SPREAD = 1, SPEED = 4, STEPS = 1 };

INLINE vi row_part(const uint8_t *a, int step) {
    (void)step;
    int32_t group;
    memcpy(&group, a, sizeof group);
    return i_set(group);
}
INLINE vi weight_part(const int8_t *b, int step) {
    (void)step;
    return i_load(b);
}
/* The intrinsic's builtin makes GCC 12 copy an accumulator before and after each instruction. */
INLINE vi add_products(vi acc, vi x, vi w) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
    return acc;
}

#elif defined(__AVX2__)

#if defined(__AVX512F__)
#define ROWS           8 /* 16 accumulators of 32 registers */
#define PANELS         2
#define SHIFT_LEFT(v)  _mm512_slli_epi16(v, 8)
#define SHIFT_RIGHT(v) _mm512_srai_epi16(v, 8)
#define MULTIPLY(a, b) _mm512_madd_epi16(a, b)
#else
#define ROWS           5 /* 10 of 16 */
#define PANELS         1
#define SHIFT_LEFT(v)  _mm256_slli_epi16(v, 8)
#define SHIFT_RIGHT(v) _mm256_srai_epi16(v, 8)
#define MULTIPLY(a, b) _mm256_madd_epi16(a, b)
#endif
enum { SPREAD = 2, SPEED = 2, STEPS = 2 }; /* words of k 0 and 2, then of k 1 and 3 */

INLINE vi row_part(const uint8_t *a, int step) {
    int32_t pair;
    memcpy(&pair, a + step * sizeof pair, sizeof pair);
    return i_set(pair);
}
INLINE vi weight_part(const int8_t *b, int step) {
    vi bytes = i_load(b);
    return step == 0 ? SHIFT_RIGHT(SHIFT_LEFT(bytes)) : SHIFT_RIGHT(bytes);
}
INLINE vi add_products(vi acc, vi x, vi w) {
    vi both = MULTIPLY(x, w);
    __asm__("vpaddd %1, %0, %0"
            : "+v"(acc)
            : "v"(both)); /* kept from adding the steps up first, in more registers */
    return acc;
}

#else

#define ROWS   2
#define PANELS 1
enum { SPREAD = 1, SPEED = 1, STEPS = INT8_GROUP };

INLINE vi row_part(const uint8_t *a, int step) {
    return i_set(a[step]);
}
INLINE vi weight_part(const int8_t *b, int step) {
    return i_load(b) << (24 - 8 * step) >> 24;
}
INLINE vi add_products(vi acc, vi x, vi w) {
    return acc + x * w;
}

#endif

#include "kernels/cpu/isa/shapes.h"

INLINE void multiply(const uint8_t *a, size_t a_stride, const int8_t *const *b, int step, int rows,
                     int vectors, vi acc[ROWS][PANELS * V]) {
    vi w[PANELS * V];
    UNROLL for (int v = 0; v < vectors; v++) w[v] = weight_part(b[v / V] + v % V * LANES * INT8_GROUP, step);
    UNROLL for (int r = 0; r < rows; r++) {
        vi x = row_part(a + r * a_stride, step);
        UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = add_products(acc[r][v], x, w[v]);
    }
}

INLINE void tile(const struct product_int8 *p, uint32_t row, uint32_t panel, int rows, int panels) {
    const int vectors = panels * V;
    const uint32_t groups = (p->k + INT8_GROUP - 1) / INT8_GROUP;
    const uint8_t *a = (const uint8_t *)p->a + row * p->a_stride;
    const char *first = (const char *)p->b + panel * p->b_stride;
    const int8_t *b[PANELS];
    vi acc[ROWS][PANELS * V];
    UNROLL for (int n = 0; n < panels; n++) b[n] =
        ((const struct int8_panel *)(const void *)(first + n * p->b_stride))->weight;
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) acc[r][v] = i_zero();
    for (uint32_t g = 0; g < groups; g++) {
        UNROLL for (int s = 0; s < STEPS; s++) multiply(a, p->a_stride, b, s, rows, vectors, acc);
        a += INT8_GROUP * SPREAD;
        UNROLL for (int n = 0; n < panels; n++) {
            __builtin_prefetch((const char *)b[n] + AHEAD);
            b[n] += INT8_GROUP * PANEL;
        }
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < vectors; v++) v_store(
        p->c + (row + r) * p->c_stride + (panel * V + v) * LANES,
        int8_scaled(acc[r][v], p->row[row + r],
                    (const struct int8_panel *)(const void *)(first + v / V * p->b_stride), v % V * LANES));
}

static DEFINE_PRODUCT(product, product_int8, tile)

    const struct int8_ops isa_name(int8) = {.spread = SPREAD,
                                            .speed = SPEED,
                                            .panels = PANELS,
                                            .quantise = isa_name(quantise),
                                            .product = product};
