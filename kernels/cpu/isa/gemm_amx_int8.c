/* gemm_amx_int8.c - the product of quantised rows and int8 panels on AMX tiles.
 *
 * TDPBUSD adds to C [16 rows, 16 columns], of 32-bit integers, the product of A [16 rows, 64 k], unsigned, and B [16 groups
 * of 4 k, 16 columns, 4], signed; nothing saturates. A panel's blocks of 64 k are B tiles as packed, and rows are zero up
 * to a whole block. Two by two C tiles use each loaded tile twice. The sums are put down where the answer goes and turned
 * into it there, by the vector units.
 */
#include "kernels/cpu/isa/amx.h"
#include "kernels/cpu/isa/int8.h"

enum { PANELS = 2, BLOCK_BYTES = TILE_ROWS * TILE_BYTES };

static const struct int8_panel *panel_at(const struct product_int8 *p, uint32_t panel) {
    return (const struct int8_panel *)(const void *)((const char *)p->b + panel * p->b_stride);
}

/* The sums of 16 rows or fewer, or of 16 and as many more, by one panel or two, from `row` and `panel` on. */
static inline __attribute__((always_inline)) void sums(const struct product_int8 *p, uint32_t row,
                                                       uint32_t panel, bool two_down, bool two_across) {
    const char *upper = (const char *)p->a + row * p->a_stride, *lower = upper + TILE_ROWS * p->a_stride;
    const int8_t *left = panel_at(p, panel)->weight,
                 *right = two_across ? panel_at(p, panel + 1)->weight : NULL;
    float *c = p->c + row * p->c_stride + panel * PANEL, *c_lower = c + TILE_ROWS * p->c_stride;
    const size_t pitch = p->c_stride * sizeof *c;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (uint32_t k = 0; k < p->k; k += INT8_BLOCK) {
        _tile_loadd(4, upper + k, p->a_stride);
        _tile_loadd(6, left, TILE_BYTES);
        _tile_dpbusd(0, 4, 6);
        if (two_across) {
            _tile_loadd(7, right, TILE_BYTES);
            _tile_dpbusd(1, 4, 7);
            right += BLOCK_BYTES;
        }
        if (two_down) {
            _tile_loadd(5, lower + k, p->a_stride);
            _tile_dpbusd(2, 5, 6);
        }
        if (two_down && two_across)
            _tile_dpbusd(3, 5, 7);
        left += BLOCK_BYTES;
    }
    _tile_stored(0, c, pitch);
    if (two_across)
        _tile_stored(1, c + PANEL, pitch);
    if (two_down)
        _tile_stored(2, c_lower, pitch);
    if (two_down && two_across)
        _tile_stored(3, c_lower + PANEL, pitch);
}

/* In place. */
static void scale_rows(const struct product_int8 *p, uint32_t row, uint32_t rows, uint32_t panel,
                       uint32_t panels) {
    for (uint32_t r = row; r < row + rows; r++)
        for (uint32_t n = panel; n < panel + panels; n++)
            for (int v = 0; v < PANEL; v += LANES) {
                float *c = p->c + r * p->c_stride + n * PANEL + v;
                v_store(c, int8_scaled(i_load(c), p->row[r], panel_at(p, n), v));
            }
}

/* `rows` rows, 32 or at most 16, over all panels. */
static void row_block(const struct product_int8 *p, uint32_t row, uint32_t rows) {
    for (uint32_t n = 0; n < p->panels; n += PANELS) {
        const bool two_across = n + PANELS <= p->panels;
        if (rows > TILE_ROWS && two_across)
            sums(p, row, n, true, true);
        else if (rows > TILE_ROWS)
            sums(p, row, n, true, false);
        else if (two_across)
            sums(p, row, n, false, true);
        else
            sums(p, row, n, false, false);
        scale_rows(p, row, rows, n, two_across ? PANELS : 1);
    }
}

static void product(const struct product_int8 *p) {
    uint32_t row = 0;
    const uint32_t last = p->rows % TILE_ROWS;
    if (p->rows >= TILE_ROWS)
        amx_configure(p->tiles, TILE_ROWS);
    for (; row + 2 * TILE_ROWS <= p->rows; row += 2 * TILE_ROWS)
        row_block(p, row, 2 * TILE_ROWS);
    if (row + TILE_ROWS <= p->rows) {
        row_block(p, row, TILE_ROWS);
        row += TILE_ROWS;
    }
    if (last) {
        amx_configure(p->tiles, last);
        row_block(p, row, last);
    }
}

/* Rows are bytes, as VNNI's. */
const struct int8_ops int8_amx = {
    .spread = 1, .speed = 16, .panels = PANELS, .quantise = quantise_avx512vnni, .product = product};
