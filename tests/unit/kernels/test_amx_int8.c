/* The int8 product on AMX tiles, whatever the processor: its source is compiled here with the tiles' instructions as
 * functions in C, as Intel's manual has them, and compared with the plain C product to the bit. Only an AMX processor
 * tells whether its instructions do what the manual says; there test_int8.c runs the same on them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <immintrin.h> /* before its names are given to what stands below */

enum { TILES = 8, TILE_MOST_ROWS = 16, TILE_MOST_BYTES = 64 };

/* What a processor keeps: a thread's tiles and their sizes. */
static struct {
    uint8_t rows[TILES];
    uint16_t bytes[TILES];
    unsigned char at[TILES][TILE_MOST_ROWS][TILE_MOST_BYTES];
} tile;

static void tile_loadconfig(const void *config) {
    const unsigned char *c = config;
    assert_int_equal(c[0], 1);
    memset(&tile, 0, sizeof tile);
    for (int t = 0; t < TILES; t++) {
        memcpy(&tile.bytes[t], c + 16 + 2 * t, 2);
        tile.rows[t] = c[48 + t];
        assert_in_range(tile.rows[t], 1, TILE_MOST_ROWS);
        assert_in_range(tile.bytes[t], 4, TILE_MOST_BYTES);
    }
}

static void tile_zero(int t) {
    assert_true(tile.rows[t]);
    memset(tile.at[t], 0, sizeof tile.at[t]);
}

static void tile_load(int t, const void *from, size_t stride) {
    assert_true(tile.rows[t]);
    for (int r = 0; r < tile.rows[t]; r++)
        memcpy(tile.at[t][r], (const char *)from + r * stride, tile.bytes[t]);
}

static void tile_store(int t, void *to, size_t stride) {
    for (int r = 0; r < tile.rows[t]; r++)
        memcpy((char *)to + r * stride, tile.at[t][r], tile.bytes[t]);
}

/* Unsigned bytes of a by signed ones of b, four at a time. */
static void tile_dpbusd(int c, int a, int b) {
    assert_int_equal(tile.rows[c], tile.rows[a]);
    assert_int_equal(tile.bytes[a] / 4, tile.rows[b]);
    assert_int_equal(tile.bytes[c], tile.bytes[b]);
    for (int m = 0; m < tile.rows[c]; m++)
        for (int n = 0; n < tile.bytes[c] / 4; n++) {
            int32_t sum;
            memcpy(&sum, &tile.at[c][m][4 * n], sizeof sum);
            for (int k = 0; k < tile.bytes[a]; k++)
                sum += tile.at[a][m][k] * (int8_t)tile.at[b][k / 4][4 * n + k % 4];
            memcpy(&tile.at[c][m][4 * n], &sum, sizeof sum);
        }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#define _tile_loadconfig tile_loadconfig
#define _tile_zero       tile_zero
#define _tile_loadd      tile_load
#define _tile_stored     tile_store
#define _tile_dpbusd     tile_dpbusd
#define int8_amx         int8_amx_in_c
#include "kernels/cpu/isa/gemm_amx_int8.c"

/* splitmix64 */
static uint32_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32);
}

static size_t panel_bytes(uint32_t k) {
    return sizeof(struct int8_panel) + (k + INT8_BLOCK - 1) / INT8_BLOCK * INT8_BLOCK * PANEL;
}

static void fill_panel(struct int8_panel *panel, uint32_t k, uint64_t *state) {
    memset(panel, 0, panel_bytes(k));
    for (int c = 0; c < PANEL; c++) {
        panel->scale[c] = (float)(draw(state) % 1000 + 1) * 1e-4f;
        for (uint32_t i = 0; i < k; i++) {
            const int8_t w = (int8_t)draw(state);
            panel->weight[(i / 4 * PANEL + c) * 4 + i % 4] = w;
            panel->sum[c] += w;
        }
    }
}

static void check(uint32_t rows, uint32_t panels, uint32_t k) {
    uint64_t state = rows * 1000 + panels * 100 + k;
    const size_t stride = (k + INT8_BLOCK - 1) / INT8_BLOCK * INT8_BLOCK, n = (size_t)rows * panels * PANEL;
    uint8_t *a = calloc(rows, stride);
    char *b = malloc(panels * panel_bytes(k));
    struct int8_row *row = malloc(rows * sizeof *row);
    float *got = calloc(n, sizeof *got), *want = calloc(n, sizeof *want);
    uint32_t tiles = 0;
    assert_true(a && b && row && got && want);
    for (uint32_t r = 0; r < rows; r++) {
        row[r] = (struct int8_row){(float)(draw(&state) % 1000 + 1) * 1e-3f, (int32_t)(draw(&state) % 256)};
        for (uint32_t i = 0; i < k; i++)
            a[r * stride + i] = (uint8_t)draw(&state);
    }
    for (uint32_t p = 0; p < panels; p++)
        fill_panel((struct int8_panel *)(void *)(b + p * panel_bytes(k)), k, &state);
    struct product_int8 p = {.a = a,
                             .a_stride = stride,
                             .row = row,
                             .b = b,
                             .b_stride = panel_bytes(k),
                             .rows = rows,
                             .panels = panels,
                             .k = k,
                             .c = got,
                             .c_stride = (size_t)panels * PANEL,
                             .tiles = &tiles};
    int8_amx_in_c.product(&p);
    p.c = want;
    int8_generic.product(&p);
    assert_memory_equal(got, want, n * sizeof *got);
    free(want);
    free(got);
    free(row);
    free(b);
    free(a);
}

static void tiles_have_the_bits_of_plain_c(void **state) {
    static const uint32_t rows[] = {1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 64, 70},
                          ks[] = {1, 63, 64, 65, 192};
    (void)state;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (uint32_t panels = 1; panels <= 5; panels++)
            for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
                check(rows[r], panels, ks[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_have_the_bits_of_plain_c)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
