/* scaler.h - a resize that is given its picture row by row, in the order that files have. It holds no more
 * of the picture than the rows that a filter spans, and looks at each once. Internal to model/image/. */
#ifndef LIMOE_MODEL_IMAGE_SCALER_H
#define LIMOE_MODEL_IMAGE_SCALER_H

#include "base/error.h"
#include "model/image/convolve.h"

/* Axes are the file's: `along` its rows, and `across` them. Outputs are counted along them, too; where they
 * belong in the upright picture is what the steps say. It owns what it points to, but for rows and `out`. */
struct scaler {
    const struct convolve *ops;
    struct axis along, across;
    bool across_first;
    uint32_t width;                    /* of the part of a row, from axis_begin(&along) on, that counts */
    uint32_t row;                      /* the next to be taken */
    uint32_t done;                     /* outputs across that are written */
    uint8_t *out;                      /* of output (0, 0) */
    ptrdiff_t step_along, step_across; /* bytes from one output to the next */
    int16_t *planes;                   /* [convolve_planes(width)] */
    uint8_t *line;                     /* [along.outputs, 3] */

    /* Rows first: sums of the outputs across that have begun, of output i at i % most. */
    int32_t *sums; /* [most, along.outputs, 3] */
    uint32_t begun, most;

    /* Columns first: the latest rows, row j at j % across.widest. */
    const uint8_t **rows, **window; /* [across.widest] */
    uint8_t *blended;               /* [width, 3] */
};

/* The picture lies in the file as `shape` says; `scaling` is about the picture upright, by any filter but
 * nearest, and has been found sound. `out` and `stride` are image_scale's. On failure nothing is left to
 * end. */
enum limoe_status scaler_begin(struct scaler *scaler, const struct image_shape *shape,
                               const struct image_scaling *scaling, uint8_t *out, size_t stride,
                               struct limoe_error *err);

/* How many rows, the one that is taken included, must stay where they are. */
static inline uint32_t scaler_held(const struct scaler *scaler) {
    return scaler->across_first ? scaler->across.widest : 1;
}

/* The next row, rgb[shape.width, 3]. When all have been taken the window is written. */
void scaler_take(struct scaler *scaler, const uint8_t *rgb);

void scaler_end(struct scaler *scaler); /* all zero is fine, too */

#endif
