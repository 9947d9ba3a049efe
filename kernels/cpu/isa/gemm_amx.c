/* gemm_amx.c - the bfloat16 product on AMX tiles.
 *
 * A tile holds 16 rows of 64 bytes. TDPBF16PS adds to C [16 rows, 16 columns] the product of A [16 rows, 32
 * k] and B [16 pairs of k, 16 columns, 2], pair after pair, so an output element is one chain in ascending k
 * and does not see the other rows. Act rows are read where they lie; a panel's blocks of 32 k are B tiles as
 * packed. Four C tiles are kept going: 2 x 2 over 32 rows, or 1 x 4 over 16 or fewer.
 *
 * Configuring the tiles takes as long as ten products, so the configuration stays from one call to the next
 * until its number of rows changes. A thread releases the tiles after its last product: nothing is left for a
 * context switch to save.
 * When k is no multiple of 32 the last block of A is copied out and filled up with zeros: what follows a row
 * in memory could be a NaN, and NaN times the panel's zeros is not zero.
 */
#include <immintrin.h>

#include "isa.h"
#include "number.h"

enum { TILE_ROWS = 16, TILE_BYTES = 64, TILE_ELEMENTS = TILE_ROWS * TILE_BYTES / 2 };

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Tiles 0-3: C. 4: A. 5: the lower A of 2 x 2, or a third B. 6, 7: B. Below 16 rows there is only 1 x 4. */
static void configure(uint32_t *tiles, uint32_t rows) {
    if (*tiles == rows)
        return;
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = TILE_BYTES;
        config.rows[t] = t < 5 ? (uint8_t)rows : TILE_ROWS;
    }
    _tile_loadconfig(&config);
    *tiles = rows;
}

void finish_amx(uint32_t *tiles) {
    if (*tiles)
        _tile_release();
    *tiles = 0;
}

/* The last, short block of k of up to 32 rows. */
struct tail {
    _Alignas(64) uint16_t a[2 * TILE_ROWS][K_BLOCK];
};

static void copy_tail(const uint16_t *a, size_t stride, uint32_t rows, uint32_t k, struct tail *tail) {
    memset(tail, 0, sizeof *tail);
    for (uint32_t r = 0; r < rows; r++)
        memcpy(tail->a[r], a + r * stride, k * sizeof *a);
}

/* 32 rows, two panels. */
static void tile_2x2(const uint16_t *a, size_t stride, const struct tail *tail, uint32_t k, const uint16_t *b,
                     size_t panel, float *c, size_t c_stride) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    uint32_t blocks = (k + K_BLOCK - 1) / K_BLOCK, whole = k / K_BLOCK;
    const uint16_t *low = a, *high = a + TILE_ROWS * stride;
    size_t pitch = stride * sizeof *a;
    for (uint32_t i = 0; i < blocks; i++) {
        if (i == whole) {
            low = tail->a[0];
            high = tail->a[TILE_ROWS];
            pitch = TILE_BYTES;
        }
        _tile_loadd(4, low, pitch);
        _tile_loadd(6, b, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + panel, TILE_BYTES);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, high, pitch);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        low += K_BLOCK;
        high += K_BLOCK;
        b += TILE_ELEMENTS;
    }
    size_t c_pitch = c_stride * sizeof *c;
    _tile_stored(0, c, c_pitch);
    _tile_stored(1, c + PANEL, c_pitch);
    _tile_stored(2, c + TILE_ROWS * c_stride, c_pitch);
    _tile_stored(3, c + TILE_ROWS * c_stride + PANEL, c_pitch);
}

/* 32 rows, one panel. */
static void tile_2x1(const uint16_t *a, size_t stride, const struct tail *tail, uint32_t k, const uint16_t *b,
                     float *c, size_t c_stride) {
    _tile_zero(0);
    _tile_zero(2);
    uint32_t blocks = (k + K_BLOCK - 1) / K_BLOCK, whole = k / K_BLOCK;
    const uint16_t *low = a, *high = a + TILE_ROWS * stride;
    size_t pitch = stride * sizeof *a;
    for (uint32_t i = 0; i < blocks; i++) {
        if (i == whole) {
            low = tail->a[0];
            high = tail->a[TILE_ROWS];
            pitch = TILE_BYTES;
        }
        _tile_loadd(6, b, TILE_BYTES);
        _tile_loadd(4, low, pitch);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(5, high, pitch);
        _tile_dpbf16ps(2, 5, 6);
        low += K_BLOCK;
        high += K_BLOCK;
        b += TILE_ELEMENTS;
    }
    _tile_stored(0, c, c_stride * sizeof *c);
    _tile_stored(2, c + TILE_ROWS * c_stride, c_stride * sizeof *c);
}

/* 16 rows or fewer, four panels. */
static void tile_1x4(const uint16_t *a, size_t stride, const struct tail *tail, uint32_t k, const uint16_t *b,
                     size_t panel, float *c, size_t c_stride) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    uint32_t blocks = (k + K_BLOCK - 1) / K_BLOCK, whole = k / K_BLOCK;
    size_t pitch = stride * sizeof *a;
    for (uint32_t i = 0; i < blocks; i++) {
        if (i == whole) {
            a = tail->a[0];
            pitch = TILE_BYTES;
        }
        _tile_loadd(4, a, pitch);
        _tile_loadd(5, b, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 5);
        _tile_loadd(6, b + panel, TILE_BYTES);
        _tile_dpbf16ps(1, 4, 6);
        _tile_loadd(7, b + 2 * panel, TILE_BYTES);
        _tile_dpbf16ps(2, 4, 7);
        _tile_loadd(5, b + 3 * panel, TILE_BYTES);
        _tile_dpbf16ps(3, 4, 5);
        a += K_BLOCK;
        b += TILE_ELEMENTS;
    }
    _tile_stored(0, c, c_stride * sizeof *c);
    _tile_stored(1, c + PANEL, c_stride * sizeof *c);
    _tile_stored(2, c + 2 * PANEL, c_stride * sizeof *c);
    _tile_stored(3, c + 3 * PANEL, c_stride * sizeof *c);
}

/* 16 rows or fewer, two panels. */
static void tile_1x2(const uint16_t *a, size_t stride, const struct tail *tail, uint32_t k, const uint16_t *b,
                     size_t panel, float *c, size_t c_stride) {
    _tile_zero(0);
    _tile_zero(1);
    uint32_t blocks = (k + K_BLOCK - 1) / K_BLOCK, whole = k / K_BLOCK;
    size_t pitch = stride * sizeof *a;
    for (uint32_t i = 0; i < blocks; i++) {
        if (i == whole) {
            a = tail->a[0];
            pitch = TILE_BYTES;
        }
        _tile_loadd(4, a, pitch);
        _tile_loadd(6, b, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + panel, TILE_BYTES);
        _tile_dpbf16ps(1, 4, 7);
        a += K_BLOCK;
        b += TILE_ELEMENTS;
    }
    _tile_stored(0, c, c_stride * sizeof *c);
    _tile_stored(1, c + PANEL, c_stride * sizeof *c);
}

/* 16 rows or fewer, one panel. */
static void tile_1x1(const uint16_t *a, size_t stride, const struct tail *tail, uint32_t k, const uint16_t *b,
                     float *c, size_t c_stride) {
    _tile_zero(0);
    uint32_t blocks = (k + K_BLOCK - 1) / K_BLOCK, whole = k / K_BLOCK;
    size_t pitch = stride * sizeof *a;
    for (uint32_t i = 0; i < blocks; i++) {
        if (i == whole) {
            a = tail->a[0];
            pitch = TILE_BYTES;
        }
        _tile_loadd(4, a, pitch);
        _tile_loadd(6, b, TILE_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        a += K_BLOCK;
        b += TILE_ELEMENTS;
    }
    _tile_stored(0, c, c_stride * sizeof *c);
}

/* `rows` rows, 32 or at most 16, over all panels. */
static void row_block(const struct product *p, uint32_t row, uint32_t rows) {
    const uint16_t *a = (const uint16_t *)p->a + row * p->a_stride, *b = p->b;
    float *c = p->c + row * p->c_stride;
    size_t panel = p->b_stride / sizeof(uint16_t);
    struct tail tail;
    uint32_t n = 0;
    if (p->k % K_BLOCK)
        copy_tail(a + p->k / K_BLOCK * K_BLOCK, p->a_stride, rows, p->k % K_BLOCK, &tail);
    if (rows > TILE_ROWS) {
        for (; n + 2 <= p->panels; n += 2)
            tile_2x2(a, p->a_stride, &tail, p->k, b + n * panel, panel, c + n * PANEL, p->c_stride);
        if (n < p->panels)
            tile_2x1(a, p->a_stride, &tail, p->k, b + n * panel, c + n * PANEL, p->c_stride);
        return;
    }
    for (; n + 4 <= p->panels; n += 4)
        tile_1x4(a, p->a_stride, &tail, p->k, b + n * panel, panel, c + n * PANEL, p->c_stride);
    if (n + 2 <= p->panels) {
        tile_1x2(a, p->a_stride, &tail, p->k, b + n * panel, panel, c + n * PANEL, p->c_stride);
        n += 2;
    }
    if (n < p->panels)
        tile_1x1(a, p->a_stride, &tail, p->k, b + n * panel, c + n * PANEL, p->c_stride);
}

void product_bf16_amx(const struct product *p) {
    uint32_t row = 0, last = p->rows % TILE_ROWS;
    if (p->rows >= TILE_ROWS)
        configure(p->tiles, TILE_ROWS);
    for (; row + 2 * TILE_ROWS <= p->rows; row += 2 * TILE_ROWS)
        row_block(p, row, 2 * TILE_ROWS);
    if (row + TILE_ROWS <= p->rows) {
        row_block(p, row, TILE_ROWS);
        row += TILE_ROWS;
    }
    if (last) {
        configure(p->tiles, last);
        row_block(p, row, last);
    }
}
