/* gemm_amx.c - the bfloat16 product on AMX tiles.
 *
 * A tile holds 16 rows of 64 bytes. TDPBF16PS adds to C [16 rows, 16 columns] the product of A [16 rows, 32
 * k] and B [16 pairs of k, 16 columns, 2], pair after pair, so an output element is one chain in ascending k
 * and does not see the other rows. Act rows are read where they lie; a panel's blocks of 32 k are B tiles as
 * packed.
 *
 * Two by two C tiles use each loaded tile twice. A long k is cut into stretches that fit the nearest cache
 * beside their rows, with C put down and taken up again between them: exact, since C is float32 in both
 * places (768 -> 192: 1.27 times as fast over 64 rows).
 *
 * Configuring the tiles takes as long as ten products, so the configuration stays from one call to the next
 * until its number of rows changes. A thread releases the tiles after its last product: nothing is left for a
 * context switch to save.
 *
 * When k is no multiple of 32 the last block of A is copied out and filled up with zeros: what follows a row
 * in memory could be a NaN, and NaN times the panel's zeros is not zero.
 */
#include "kernels/cpu/isa/amx.h"
#include "kernels/number.h"

enum {
    TILE_ELEMENTS = TILE_ROWS * TILE_BYTES / 2,
    STRETCH = 8, /* blocks of k: 16 KiB of two panels, 16 KiB of 32 rows */
};

void product_finish_amx(uint32_t *tiles) {
    if (*tiles)
        _tile_release();
    *tiles = 0;
}

/* The last, short block of k of up to 32 rows. */
struct tail {
    _Alignas(64) uint16_t a[2 * TILE_ROWS][K_BLOCK];
};

static void copy_tail(const struct product *p, uint32_t row, uint32_t rows, struct tail *tail) {
    const uint16_t *a = (const uint16_t *)p->a + row * p->a_stride + p->k / K_BLOCK * K_BLOCK;
    memset(tail, 0, sizeof *tail);
    for (uint32_t r = 0; r < rows; r++)
        memcpy(tail->a[r], a + r * p->a_stride, p->k % K_BLOCK * sizeof *a);
}

/* Blocks from .. to - 1 of k, one or two A tiles by one or two panels. */
static inline __attribute__((always_inline)) void tile(const struct product *p, uint32_t row, uint32_t panel,
                                                       const struct tail *tail, uint32_t from, uint32_t to,
                                                       bool two_down, bool two_across) {
    const uint16_t *upper = (const uint16_t *)p->a + row * p->a_stride + from * K_BLOCK;
    const uint16_t *lower = upper + TILE_ROWS * p->a_stride;
    size_t b_panel = p->b_stride / sizeof(uint16_t), pitch = p->a_stride * sizeof(uint16_t);
    const uint16_t *b = (const uint16_t *)p->b + panel * b_panel + from * TILE_ELEMENTS;
    float *c = p->c + row * p->c_stride + panel * PANEL, *c_lower = c + TILE_ROWS * p->c_stride;
    size_t c_pitch = p->c_stride * sizeof *c;
    if (from == 0) {
        _tile_zero(0);
        if (two_across)
            _tile_zero(1);
        if (two_down)
            _tile_zero(2);
        if (two_down && two_across)
            _tile_zero(3);
    } else {
        _tile_loadd(0, c, c_pitch);
        if (two_across)
            _tile_loadd(1, c + PANEL, c_pitch);
        if (two_down)
            _tile_loadd(2, c_lower, c_pitch);
        if (two_down && two_across)
            _tile_loadd(3, c_lower + PANEL, c_pitch);
    }
    for (uint32_t i = from; i < to; i++) {
        if (i == p->k / K_BLOCK) {
            upper = tail->a[0];
            lower = tail->a[TILE_ROWS];
            pitch = TILE_BYTES;
        }
        _tile_loadd(4, upper, pitch);
        _tile_loadd(6, b, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        if (two_across) {
            _tile_loadd(7, b + b_panel, TILE_BYTES);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (two_down) {
            _tile_loadd(5, lower, pitch);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (two_down && two_across)
            _tile_dpbf16ps(3, 5, 7);
        upper += K_BLOCK;
        lower += K_BLOCK;
        b += TILE_ELEMENTS;
    }
    _tile_stored(0, c, c_pitch);
    if (two_across)
        _tile_stored(1, c + PANEL, c_pitch);
    if (two_down)
        _tile_stored(2, c_lower, c_pitch);
    if (two_down && two_across)
        _tile_stored(3, c_lower + PANEL, c_pitch);
}

/* `rows` rows, 32 or at most 16, over all panels. */
static void row_block(const struct product *p, uint32_t row, uint32_t rows, uint32_t from, uint32_t to) {
    struct tail tail;
    uint32_t n = 0;
    if (to > p->k / K_BLOCK)
        copy_tail(p, row, rows, &tail);
    for (; n + 2 <= p->panels; n += 2)
        if (rows > TILE_ROWS)
            tile(p, row, n, &tail, from, to, true, true);
        else
            tile(p, row, n, &tail, from, to, false, true);
    if (n < p->panels) {
        if (rows > TILE_ROWS)
            tile(p, row, n, &tail, from, to, true, false);
        else
            tile(p, row, n, &tail, from, to, false, false);
    }
}

void product_bf16_amx(const struct product *p) {
    uint32_t blocks = (p->k + K_BLOCK - 1) / K_BLOCK, last = p->rows % TILE_ROWS;
    for (uint32_t from = 0, to; from < blocks; from = to) {
        uint32_t row = 0;
        to = blocks - from > STRETCH ? from + STRETCH : blocks;
        if (p->rows >= TILE_ROWS)
            amx_configure(p->tiles, TILE_ROWS);
        for (; row + 2 * TILE_ROWS <= p->rows; row += 2 * TILE_ROWS)
            row_block(p, row, 2 * TILE_ROWS, from, to);
        if (row + TILE_ROWS <= p->rows) {
            row_block(p, row, TILE_ROWS, from, to);
            row += TILE_ROWS;
        }
        if (last) {
            amx_configure(p->tiles, last);
            row_block(p, row, last, from, to);
        }
    }
}
