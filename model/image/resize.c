/* resize.c - antialiased, bit for bit as Pillow's Image.resize does it at 8 bits a channel.
 *
 * Each output pixel is a weighted sum of the input pixels under a filter (axis.c); one axis after the other,
 * rounded to 8 bits after each. Sums are exact integers, so the order of summation cannot change the result,
 * and that is what lets this file
 *  - keep no half-resized picture: each input row, once resized along x, is added to the output rows it
 * belongs to, so memory is that of the window wanted and one row whatever the input's shape;
 *  - sum along x in the multiply-add of 16-bit pairs that every x86-64 and ARMv8 has: a weight of 24 bits is
 * split in a high and a low part, each summed by itself. Compilers vectorise `dot` as it stands.
 *
 * No state, no threads. */
#include "model/image/resize.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define BLOCK 4096 /* 255 * AXIS_LOW_MASK * BLOCK < 2^31: so many products fit in 32 bits */
/* Windows up to this are summed without planes: 512 x 512 pixels to 224 x 224 take 0.6 of the time by the
 * bilinear filter, 0.8 by the bicubic. */
#define SHORT 16

static uint8_t to_pixel(int64_t sum) {
    sum = (sum + (1 << (AXIS_PRECISION - 1))) >> AXIS_PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Σ pixel[i] weight[i]; n at most BLOCK, a multiple of AXIS_LANES. */
static int64_t dot(const int16_t *restrict pixel, const int16_t *restrict high, const int16_t *restrict low,
                   uint32_t n) {
    int32_t highs = 0, lows = 0;
    for (uint32_t i = 0; i < n; i++) {
        highs += pixel[i] * high[i];
        lows += pixel[i] * low[i];
    }
    return (int64_t)highs * (1 << AXIS_LOW_BITS) + lows;
}

/* One row along x: planes[3, stride], which begin at axis_begin, → row[axis->outputs, 3]. */
static void resize_planes(const struct axis *axis, const int16_t *planes, size_t stride, uint8_t *row) {
    for (uint32_t i = 0; i < axis->outputs; i++) {
        const int16_t *high = axis->high + axis->offset[i], *low = axis->low + axis->offset[i];
        uint32_t count = axis_filled(axis->count[i]);
        for (uint32_t c = 0; c < 3; c++) {
            const int16_t *pixels = planes + c * stride + (axis->first[i] - axis_begin(axis));
            int64_t sum = 0;
            for (uint32_t at = 0; at < count; at += BLOCK) {
                uint32_t n = count - at < BLOCK ? count - at : BLOCK;
                sum += dot(pixels + at, high + at, low + at, n);
            }
            row[3 * (size_t)i + c] = to_pixel(sum);
        }
    }
}

/* The same of rgb[., 3], one pixel after the other: a short window is over before `dot` pays for its sums. No
 * filter's weights add up to 2 without their signs, so that 32 bits hold a sum. */
static void resize_row_shortly(const struct axis *axis, const uint8_t *rgb, uint8_t *row) {
    for (uint32_t i = 0; i < axis->outputs; i++, row += 3) {
        const int32_t *weight = axis->weight + axis->offset[i];
        const uint8_t *pixel = rgb + 3 * (size_t)(axis->first[i] - axis_begin(axis));
        int32_t r = 0, g = 0, b = 0;
        for (uint32_t j = 0; j < axis->count[i]; j++, pixel += 3) {
            r += weight[j] * pixel[0];
            g += weight[j] * pixel[1];
            b += weight[j] * pixel[2];
        }
        row[0] = to_pixel(r);
        row[1] = to_pixel(g);
        row[2] = to_pixel(b);
    }
}

/* rgb[width, 3] → planes[3, width]. */
static void split_planes(const uint8_t *rgb, uint32_t width, int16_t *planes) {
    size_t stride = width;
    for (uint32_t x = 0; x < width; x++) {
        planes[x] = rgb[3 * (size_t)x];
        planes[stride + x] = rgb[3 * (size_t)x + 1];
        planes[2 * stride + x] = rgb[3 * (size_t)x + 2];
    }
}

static void add_row(int32_t *restrict sums, const uint8_t *restrict row, int32_t weight, size_t n) {
    for (size_t i = 0; i < n; i++)
        sums[i] += weight * row[i];
}

static void to_pixels(const int32_t *restrict sums, uint8_t *restrict out, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = to_pixel(sums[i]);
}

/* A resize at work. `width` input columns, from axis_begin(&x) on, are all that it looks at. */
struct resize {
    const struct image *image;
    struct axis x, y;
    uint32_t width;
    int16_t *planes; /* [3, width], and room for a window that is filled past its end */
    uint8_t *row;
    int32_t *sums;
    uint8_t *out;
    size_t stride; /* of out, in bytes */
};

static const uint8_t *input_row(const struct resize *r, uint32_t y) {
    return r->image->pixels + 3 * ((size_t)y * r->image->width + axis_begin(&r->x));
}

/* Along x: rgb[width, 3] → row[x.outputs, 3]. */
static void resize_row(const struct resize *r, const uint8_t *rgb, uint8_t *row) {
    if (r->x.widest <= SHORT) {
        resize_row_shortly(&r->x, rgb, row);
        return;
    }
    split_planes(rgb, r->width, r->planes);
    resize_planes(&r->x, r->planes, r->width, row);
}

/* Along x, then along y: each row, once resized, is added to the output rows whose windows it is under.
 * sums[y.outputs, x.outputs, 3], all zero. */
static void resize_rows_first(const struct resize *r) {
    const struct axis *y = &r->y;
    size_t row_size = (size_t)r->x.outputs * 3;
    uint32_t oldest = 0; /* outputs before it have all their rows */
    for (uint32_t j = axis_begin(y); j < axis_end(y); j++) {
        resize_row(r, input_row(r, j), r->row);
        while (y->first[oldest] + y->count[oldest] <= j)
            oldest++;
        for (uint32_t i = oldest; i < y->outputs && y->first[i] <= j; i++)
            add_row(r->sums + i * row_size, r->row, y->weight[y->offset[i] + j - y->first[i]], row_size);
    }
    for (uint32_t i = 0; i < y->outputs; i++)
        to_pixels(r->sums + i * row_size, r->out + i * r->stride, row_size);
}

/* Along y, then along x, one output row at a time. sums[width, 3]. */
static void resize_columns_first(const struct resize *r) {
    const struct axis *y = &r->y;
    size_t row_size = (size_t)r->width * 3;
    for (uint32_t i = 0; i < y->outputs; i++) {
        memset(r->sums, 0, row_size * sizeof *r->sums);
        for (uint32_t j = 0; j < y->count[i]; j++)
            add_row(r->sums, input_row(r, y->first[i] + j), y->weight[y->offset[i] + j], row_size);
        to_pixels(r->sums, r->row, row_size);
        resize_row(r, r->row, r->out + i * r->stride);
    }
}

/* The order shows, since each pass rounds to 8 bits. Pillow 13 begins with the columns where that saves most. */
static bool begins_with_columns(const struct image *image, const struct image_scaling *scaling) {
    int64_t rows_dropped = (int64_t)image->height - scaling->height;
    int64_t columns_dropped = (int64_t)image->width - scaling->width;
    return rows_dropped > 0 && rows_dropped > 2 * columns_dropped;
}

static enum limoe_status resize(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                                size_t stride, struct limoe_error *err) {
    const bool columns_first = begins_with_columns(image, scaling);
    const struct axis_scaling x = resize_axis_x(image, scaling), y = resize_axis_y(image, scaling);
    struct resize r = {.image = image, .out = out, .stride = stride};
    bool enough = axis_init(&r.x, scaling->filter, &x) && axis_init(&r.y, scaling->filter, &y);
    if (enough) {
        r.width = axis_end(&r.x) - axis_begin(&r.x);
        const size_t row = columns_first ? r.width : scaling->columns;
        r.planes = calloc(3 * (size_t)r.width + AXIS_LANES, sizeof *r.planes);
        r.row = malloc(3 * row);
        r.sums = calloc(3 * row * (columns_first ? 1 : scaling->rows), sizeof *r.sums);
        enough = r.planes && r.row && r.sums;
    }
    if (enough) {
        if (columns_first)
            resize_columns_first(&r);
        else
            resize_rows_first(&r);
    }
    free(r.sums);
    free(r.row);
    free(r.planes);
    axis_free(&r.y);
    axis_free(&r.x);
    if (!enough)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to resize %u x %u to %u x %u pixels", image->width,
                          image->height, scaling->columns, scaling->rows);
    return LIMOE_OK;
}

static bool is_sound(const struct image *image, const struct image_scaling *s) {
    return image->channels == 3 && s->box[0] >= 0 && s->box[1] >= 0 && s->box[2] <= image->width &&
           s->box[3] <= image->height && s->box[0] < s->box[2] && s->box[1] < s->box[3] && s->columns > 0 &&
           s->rows > 0 && s->left < s->width && s->top < s->height && s->columns <= s->width - s->left &&
           s->rows <= s->height - s->top && s->filter >= LIMOE_NEAREST && s->filter <= LIMOE_HAMMING;
}

static bool changes_nothing(const struct image *image, const struct image_scaling *s) {
    return s->width == image->width && s->height == image->height && s->box[2] - s->box[0] == image->width &&
           s->box[3] - s->box[1] == image->height;
}

enum limoe_status image_scale(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                              size_t stride, struct limoe_error *err) {
    const double *box = scaling->box;
    if (!is_sound(image, scaling)) {
        return limoe_fail(err, LIMOE_INVALID,
                          "resize [%g, %g, %g, %g] of a picture of %u x %u x %u to %u x %u, of which %u x %u "
                          "from (%u, %u) on, by filter %d",
                          box[0], box[1], box[2], box[3], image->width, image->height, image->channels,
                          scaling->width, scaling->height, scaling->columns, scaling->rows, scaling->left,
                          scaling->top, (int)scaling->filter);
    }
    if (changes_nothing(image, scaling)) {
        for (size_t i = 0; i < scaling->rows; i++)
            memcpy(out + i * stride, image->pixels + 3 * ((scaling->top + i) * image->width + scaling->left),
                   3 * (size_t)scaling->columns);
        return LIMOE_OK;
    }
    return scaling->filter == LIMOE_NEAREST ? resize_nearest(image, scaling, out, stride, err)
                                            : resize(image, scaling, out, stride, err);
}

enum limoe_status image_resize(const struct image *image, const double box[4], uint32_t width,
                               uint32_t height, uint8_t *out, struct limoe_error *err) {
    const struct image_scaling scaling = {
        .box = {box[0], box[1], box[2], box[3]},
        .width = width,
        .height = height,
        .columns = width,
        .rows = height,
        .filter = LIMOE_BICUBIC,
    };
    return image_scale(image, &scaling, out, 3 * (size_t)width, err);
}
