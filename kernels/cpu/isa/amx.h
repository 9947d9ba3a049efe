/* amx.h - how the tiles are laid out, for products of either type. */
#ifndef LIMOE_KERNELS_CPU_ISA_AMX_H
#define LIMOE_KERNELS_CPU_ISA_AMX_H

#include <immintrin.h>

#include "kernels/cpu/isa/isa.h"

enum { TILE_ROWS = 16, TILE_BYTES = 64 };

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Tiles 0-3: C, as 0 1 over 2 3. 4, 5: A. 6, 7: B. Below 16 rows only the upper half is used. */
static inline void amx_configure(uint32_t *tiles, uint32_t rows) {
    if (*tiles == rows)
        return;
    struct tile_config config = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.row_bytes[t] = TILE_BYTES;
        config.rows[t] = t < 6 ? (uint8_t)rows : TILE_ROWS;
    }
    _tile_loadconfig(&config);
    *tiles = rows;
}

#endif
