/* shapes.h - a product as register tiles of ROWS x PANELS and less, which the includer has defined.
 *
 * A tile's shape is named with constants, so that its accumulators are registers. */
#ifndef LIMOE_KERNELS_CPU_ISA_SHAPES_H
#define LIMOE_KERNELS_CPU_ISA_SHAPES_H

#include <stdint.h>

#define SHAPE(tile, r, n)                                                                                    \
    case (r)*PANELS + (n):                                                                                   \
        tile(p, row, panel, r, n);                                                                           \
        break;

#if PANELS == 3
#define SHAPES(tile, r) SHAPE(tile, r, 1) SHAPE(tile, r, 2) SHAPE(tile, r, 3)
#elif PANELS == 2
#define SHAPES(tile, r) SHAPE(tile, r, 1) SHAPE(tile, r, 2)
#else
#define SHAPES(tile, r) SHAPE(tile, r, 1)
#endif

#define SHAPES_TO_2(tile) SHAPES(tile, 1) SHAPES(tile, 2)
#define SHAPES_TO_5(tile) SHAPES_TO_2(tile) SHAPES(tile, 3) SHAPES(tile, 4) SHAPES(tile, 5)
#define SHAPES_TO_6(tile) SHAPES_TO_5(tile) SHAPES(tile, 6)
#define SHAPES_TO_8(tile) SHAPES_TO_6(tile) SHAPES(tile, 7) SHAPES(tile, 8)
#define SHAPES_PASTE(n)   SHAPES_TO_##n
#define SHAPES_UP_TO(n)   SHAPES_PASTE(n)
#define ALL_SHAPES        SHAPES_UP_TO(ROWS)

/* As few tiles as the rows fill, and those about equally high: a flat one waits for its own sums. */
static inline uint32_t rows_of_shape(uint32_t rest) {
    const uint32_t tiles = (rest + ROWS - 1) / ROWS;
    return (rest + tiles - 1) / tiles;
}

/* void name(const struct arguments *p). The panels of one tile are read by all rows before the next are touched: they
 * are what the nearest cache should hold. */
#define DEFINE_PRODUCT(name, arguments, tile)                                                                \
    void name(const struct arguments *p) {                                                                   \
        for (uint32_t panel = 0, panels; panel < p->panels; panel += panels) {                               \
            panels = p->panels - panel < PANELS ? p->panels - panel : PANELS;                                \
            for (uint32_t row = 0, rows; row < p->rows; row += rows) {                                       \
                rows = rows_of_shape(p->rows - row);                                                         \
                switch (rows * PANELS + panels) { ALL_SHAPES(tile) }                                         \
            }                                                                                                \
        }                                                                                                    \
    }

#endif
