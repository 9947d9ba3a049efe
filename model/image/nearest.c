/* nearest.c - the pixel under each output pixel's centre, bit for bit as Pillow's Image.resize takes it.
 *
 * Pillow adds up the centres one after the other, in double, and does not multiply; what their last bits come
 * to decides about pixels on an edge. A centre that has crept past the end of the picture takes black.
 *
 * No state, no threads. */
#include "model/image/resize.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Where the wanted outputs of an axis come from; -1: from nowhere. */
static void find(const struct axis_scaling *axis, int64_t *at) {
    double step = (axis->to - axis->from) / axis->outputs, centre = axis->from + step * 0.5;
    for (uint32_t i = 0; i < axis->start; i++)
        centre += step;
    for (uint32_t i = 0; i < axis->wanted; i++, centre += step)
        at[i] = centre < axis->inputs ? (int64_t)centre : -1;
}

static void copy_row(const uint8_t *from, const int64_t *x, uint32_t columns, uint8_t *out) {
    for (uint32_t i = 0; i < columns; i++, out += 3)
        if (x[i] < 0)
            memset(out, 0, 3);
        else
            memcpy(out, from + 3 * x[i], 3);
}

enum limoe_status resize_nearest(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                                 size_t stride, struct limoe_error *err) {
    const size_t columns = scaling->columns, rows = scaling->rows;
    const struct axis_scaling x = resize_axis_x(image->width, scaling);
    const struct axis_scaling y = resize_axis_y(image->height, scaling);
    int64_t *from = malloc((columns + rows) * sizeof *from);
    if (!from)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to resize to %zu x %zu pixels", columns, rows);
    find(&x, from);
    find(&y, from + columns);
    for (size_t i = 0; i < rows; i++) {
        const int64_t row = from[columns + i];
        if (row < 0)
            memset(out + i * stride, 0, 3 * columns);
        else
            copy_row(image->pixels + 3 * (size_t)row * image->width, from, scaling->columns,
                     out + i * stride);
    }
    free(from);
    return LIMOE_OK;
}
