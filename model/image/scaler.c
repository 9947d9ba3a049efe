/* scaler.c - antialiased, bit for bit as Pillow's Image.resize does it at 8 bits a channel.
 *
 * Each output pixel is a weighted sum of the input pixels under a filter (axis.c); one axis after the other,
 * rounded to 8 bits after each. Sums are exact integers, so the order of summation cannot change the result:
 * an input row is resized as soon as it is there, and added to the output rows that it belongs to. Where the
 * columns come first, the rows under the filter are held instead.
 *
 * A picture that its file has on its side, or mirrored, is resized as it lies there: the axes change places,
 * or are read from their ends, and pixels are written where they belong.
 *
 * No state, no threads. */
#include "model/image/scaler.h"

#include <stdlib.h>
#include <string.h>

#include "model/image/formats.h"

/* The order shows, since each pass rounds to 8 bits. Pillow 13 begins with the columns where that saves
 * most. */
static bool begins_with_columns(uint32_t width, uint32_t height, const struct image_scaling *scaling) {
    const int64_t rows_dropped = (int64_t)height - scaling->height;
    const int64_t columns_dropped = (int64_t)width - scaling->width;
    return rows_dropped > 0 && rows_dropped > 2 * columns_dropped;
}

/* The most outputs that any input belongs to. */
static uint32_t most_at_once(const struct axis *axis) {
    uint32_t most = 1;
    for (uint32_t i = 0, begun = 0; i < axis->outputs; i++) {
        while (begun < axis->outputs && axis->first[begun] < axis->first[i] + axis->count[i])
            begun++;
        most = begun - i > most ? begun - i : most;
    }
    return most;
}

static bool allocate(struct scaler *s) {
    const size_t line = 3 * (size_t)s->along.outputs;
    s->planes = calloc(convolve_planes(s->width), sizeof *s->planes);
    s->line = malloc(line);
    if (!s->planes || !s->line)
        return false;
    if (!s->across_first) {
        s->most = most_at_once(&s->across);
        s->sums = malloc(s->most * line * sizeof *s->sums);
        return s->sums != NULL;
    }
    s->rows = malloc(s->across.widest * sizeof *s->rows);
    s->window = malloc(s->across.widest * sizeof *s->window);
    s->blended = malloc(3 * (size_t)s->width);
    return s->rows && s->window && s->blended;
}

/* One axis of the upright picture: its weights, the step between its outputs, and where the first of them
 * lies. */
struct side {
    struct axis_scaling scaling;
    bool reversed;
    struct axis *axis;
    ptrdiff_t *step;
};

static bool begin_side(struct scaler *s, enum limoe_filter filter, const struct side *side, ptrdiff_t step) {
    if (!axis_init(side->axis, filter, &side->scaling))
        return false;
    *side->step = step;
    if (side->reversed) {
        axis_reverse(side->axis, side->scaling.inputs);
        *side->step = -step;
        s->out += (ptrdiff_t)(side->scaling.wanted - 1) * step;
    }
    return true;
}

enum limoe_status scaler_begin(struct scaler *s, const struct image_shape *shape,
                               const struct image_scaling *scaling, uint8_t *out, size_t stride,
                               struct limoe_error *err) {
    const bool turned = orientation_turns(shape->orientation);
    const uint32_t width = turned ? shape->height : shape->width;
    const uint32_t height = turned ? shape->width : shape->height;
    *s = (struct scaler){.ops = convolve_choose(), .out = out};
    s->across_first = begins_with_columns(width, height, scaling) != turned;
    const struct side x = {.scaling = resize_axis_x(width, scaling),
                           .reversed = orientation_mirrors(shape->orientation),
                           .axis = turned ? &s->across : &s->along,
                           .step = turned ? &s->step_across : &s->step_along};
    const struct side y = {.scaling = resize_axis_y(height, scaling),
                           .reversed = orientation_flips(shape->orientation),
                           .axis = turned ? &s->along : &s->across,
                           .step = turned ? &s->step_along : &s->step_across};
    bool enough =
        begin_side(s, scaling->filter, &x, 3) && begin_side(s, scaling->filter, &y, (ptrdiff_t)stride);
    if (enough) {
        s->width = axis_end(&s->along) - axis_begin(&s->along);
        enough = allocate(s);
    }
    if (enough)
        return LIMOE_OK;
    scaler_end(s);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to resize %u x %u to %u x %u pixels", width, height,
                      scaling->columns, scaling->rows);
}

void scaler_end(struct scaler *s) {
    free(s->blended);
    free(s->window);
    free(s->rows);
    free(s->sums);
    free(s->line);
    free(s->planes);
    axis_free(&s->across);
    axis_free(&s->along);
    *s = (struct scaler){0};
}

/* The line is the next output across. */
static void write_line(struct scaler *s) {
    uint8_t *to = s->out + (ptrdiff_t)s->done++ * s->step_across;
    if (s->step_along == 3) {
        memcpy(to, s->line, 3 * (size_t)s->along.outputs);
        return;
    }
    const uint8_t *pixel = s->line;
    for (uint32_t i = 0; i < s->along.outputs; i++, pixel += 3, to += s->step_along)
        memcpy(to, pixel, 3);
}

/* Whether the next output across has all its rows with row j. */
static bool is_complete(const struct scaler *s, uint32_t j) {
    return s->done < s->across.outputs && s->across.first[s->done] + s->across.count[s->done] == j + 1;
}

static void take_rows_first(struct scaler *s, uint32_t j, const uint8_t *rgb) {
    const struct axis *across = &s->across;
    const size_t n = 3 * (size_t)s->along.outputs;
    s->ops->along(&s->along, rgb, s->width, s->planes, s->line);
    for (uint32_t i = s->done; i < across->outputs && across->first[i] <= j; i++) {
        int32_t *sums = s->sums + i % s->most * n;
        if (i == s->begun) {
            memset(sums, 0, n * sizeof *sums);
            s->begun++;
        }
        s->ops->add(sums, s->line, across->weight[across->offset[i] + j - across->first[i]], n);
    }
    while (is_complete(s, j)) {
        s->ops->round(s->sums + s->done % s->most * n, s->line, n);
        write_line(s);
    }
}

static void take_columns_first(struct scaler *s, uint32_t j, const uint8_t *rgb) {
    const struct axis *across = &s->across;
    s->rows[j % across->widest] = rgb;
    while (is_complete(s, j)) {
        const uint32_t first = across->first[s->done], count = across->count[s->done];
        for (uint32_t i = 0; i < count; i++)
            s->window[i] = s->rows[(first + i) % across->widest];
        s->ops->blend(s->window, across->weight + across->offset[s->done], count, 3 * (size_t)s->width,
                      s->blended);
        s->ops->along(&s->along, s->blended, s->width, s->planes, s->line);
        write_line(s);
    }
}

void scaler_take(struct scaler *s, const uint8_t *rgb) {
    const uint32_t j = s->row++;
    if (j < axis_begin(&s->across) || j >= axis_end(&s->across))
        return;
    const uint8_t *part = rgb + 3 * (size_t)axis_begin(&s->along);
    if (s->across_first)
        take_columns_first(s, j, part);
    else
        take_rows_first(s, j, part);
}
