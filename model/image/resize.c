/* resize.c - antialiased bicubic, bit for bit as Pillow's Image.resize does it at 8 bits a channel.
 *
 * Each output pixel is a weighted sum of the input pixels under a cubic (Keys 1981, a = -0.5), widened by the
 * reduction so that every input pixel counts; one axis after the other, rounded to 8 bits after each. Weights
 * are computed in double, normalised, and rounded to fixed point with PRECISION fractional bits; sums are
 * exact integers, so the order of summation cannot change the result, and that is what lets this file
 *  - keep no half-resized picture: each input row, once resized along x, is added to the output rows it
 * belongs to, so memory is that of the output and one row whatever the input's shape;
 *  - sum along x in the multiply-add of 16-bit pairs that every x86-64 and ARMv8 has: a weight of 24 bits is
 * split in a high and a low part, each summed by itself. Compilers vectorise `dot` as it stands.
 *
 * No state, no threads. */
#include "model/image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define PRECISION 22 /* fractional bits of a weight: 32 - 8 for the pixel - 2 for the sum's excess */
#define SUPPORT   2.0
#define LOW_BITS  11
#define LOW_MASK  ((1 << LOW_BITS) - 1)
#define LANES     8    /* windows are filled up to a multiple, with weights of zero */
#define BLOCK     4096 /* 255 * LOW_MASK * BLOCK < 2^31: so many products fit in 32 bits */

/* The weights of one axis. Output i sums the inputs first[i] … first[i] + count[i] - 1, with the weights from
 * offset[i] on. Both ends of these windows never decrease with i. */
struct axis {
    uint32_t outputs;
    uint32_t *first, *count;
    size_t *offset;
    int32_t *weight;
    int16_t *high, *low; /* weight = high * 2^LOW_BITS + low */
};

static uint32_t filled(uint32_t count) {
    return (count + LANES - 1) / LANES * LANES;
}

static double cubic(double x) {
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * -0.5;
    return 0;
}

static void axis_free(struct axis *axis) {
    free(axis->low);
    free(axis->high);
    free(axis->weight);
    free(axis->offset);
    free(axis->count);
    free(axis->first);
}

/* The windows of `outputs` pixels over [from, to) of an axis of `inputs` pixels. false: no memory. */
static bool axis_init(struct axis *axis, uint32_t inputs, double from, double to, uint32_t outputs) {
    double scale = (to - from) / outputs;
    double reduction = scale < 1 ? 1 : scale;
    double reach = SUPPORT * reduction;
    size_t widest = (size_t)ceil(reach) * 2 + LANES;
    *axis = (struct axis){.outputs = outputs};
    double *exact = calloc(widest, sizeof *exact);
    axis->first = malloc(outputs * sizeof *axis->first);
    axis->count = malloc(outputs * sizeof *axis->count);
    axis->offset = malloc(outputs * sizeof *axis->offset);
    axis->weight = malloc(outputs * widest * sizeof *axis->weight);
    axis->high = calloc(outputs * widest, sizeof *axis->high);
    axis->low = calloc(outputs * widest, sizeof *axis->low);
    bool done =
        exact && axis->first && axis->count && axis->offset && axis->weight && axis->high && axis->low;
    size_t used = 0;
    for (uint32_t i = 0; done && i < outputs; i++) {
        double centre = from + (i + 0.5) * scale;
        double low = centre - reach + 0.5, high = centre + reach + 0.5;
        uint32_t first = low < 0 ? 0 : (uint32_t)low;
        uint32_t end = high > inputs ? inputs : (uint32_t)high;
        double total = 0;
        for (uint32_t j = first; j < end; j++) {
            exact[j - first] = cubic((j - centre + 0.5) * (1 / reduction));
            total += exact[j - first];
        }
        axis->first[i] = first;
        axis->count[i] = end - first;
        axis->offset[i] = used;
        for (uint32_t j = 0; j < end - first; j++) {
            double weight = total != 0 ? exact[j] / total : exact[j];
            double fixed = weight * (1 << PRECISION);
            axis->weight[used + j] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
            axis->low[used + j] = (int16_t)(axis->weight[used + j] & LOW_MASK);
            axis->high[used + j] =
                (int16_t)((axis->weight[used + j] - axis->low[used + j]) / (1 << LOW_BITS));
        }
        used += filled(end - first);
    }
    free(exact);
    if (!done) {
        axis_free(axis);
        *axis = (struct axis){0};
    }
    return done;
}

static uint8_t to_pixel(int64_t sum) {
    sum = (sum + (1 << (PRECISION - 1))) >> PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Σ pixel[i] weight[i]; n at most BLOCK, a multiple of LANES. */
static int64_t dot(const int16_t *restrict pixel, const int16_t *restrict high, const int16_t *restrict low,
                   uint32_t n) {
    int32_t highs = 0, lows = 0;
    for (uint32_t i = 0; i < n; i++) {
        highs += pixel[i] * high[i];
        lows += pixel[i] * low[i];
    }
    return (int64_t)highs * (1 << LOW_BITS) + lows;
}

/* One row along x: planes[3, stride] → row[axis->outputs, 3]. */
static void resize_row(const struct axis *axis, const int16_t *planes, size_t stride, uint8_t *row) {
    for (uint32_t i = 0; i < axis->outputs; i++) {
        const int16_t *high = axis->high + axis->offset[i], *low = axis->low + axis->offset[i];
        uint32_t count = filled(axis->count[i]);
        for (uint32_t c = 0; c < 3; c++) {
            const int16_t *pixels = planes + c * stride + axis->first[i];
            int64_t sum = 0;
            for (uint32_t at = 0; at < count; at += BLOCK) {
                uint32_t n = count - at < BLOCK ? count - at : BLOCK;
                sum += dot(pixels + at, high + at, low + at, n);
            }
            row[3 * (size_t)i + c] = to_pixel(sum);
        }
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

/* Along x, then along y: each row, once resized, is added to the output rows whose windows it is under.
 * sums[height, width, 3], all zero. */
static void resize_rows_first(const struct image *image, const struct axis *x, const struct axis *y,
                              int16_t *planes, uint8_t *row, int32_t *sums, uint8_t *out) {
    size_t in_size = (size_t)image->width * 3, out_size = (size_t)x->outputs * 3;
    uint32_t last = y->outputs - 1, oldest = 0; /* outputs before `oldest` have all their rows */
    for (uint32_t j = y->first[0]; j < y->first[last] + y->count[last]; j++) {
        split_planes(image->pixels + j * in_size, image->width, planes);
        resize_row(x, planes, image->width, row);
        while (y->first[oldest] + y->count[oldest] <= j)
            oldest++;
        for (uint32_t i = oldest; i <= last && y->first[i] <= j; i++)
            add_row(sums + i * out_size, row, y->weight[y->offset[i] + j - y->first[i]], out_size);
    }
    for (size_t i = 0; i < out_size * y->outputs; i++)
        out[i] = to_pixel(sums[i]);
}

/* Along y, then along x, one output row at a time. sums[image->width, 3]. */
static void resize_columns_first(const struct image *image, const struct axis *x, const struct axis *y,
                                 int16_t *planes, uint8_t *row, int32_t *sums, uint8_t *out) {
    size_t in_size = (size_t)image->width * 3, out_size = (size_t)x->outputs * 3;
    for (uint32_t i = 0; i < y->outputs; i++) {
        memset(sums, 0, in_size * sizeof *sums);
        for (uint32_t j = 0; j < y->count[i]; j++)
            add_row(sums, image->pixels + (y->first[i] + j) * in_size, y->weight[y->offset[i] + j], in_size);
        for (size_t k = 0; k < in_size; k++)
            row[k] = to_pixel(sums[k]);
        split_planes(row, image->width, planes);
        resize_row(x, planes, image->width, out + i * out_size);
    }
}

enum limoe_status image_resize(const struct image *image, const double box[4], uint32_t width,
                               uint32_t height, uint8_t *out, struct limoe_error *err) {
    if (image->channels != 3 || width == 0 || height == 0 || !(box[0] >= 0) || !(box[1] >= 0) ||
        !(box[2] <= image->width) || !(box[3] <= image->height) || !(box[0] < box[2]) || !(box[1] < box[3])) {
        return limoe_fail(err, LIMOE_INVALID,
                          "resize [%g, %g, %g, %g] of a picture of %u x %u x %u to %u x %u", box[0], box[1],
                          box[2], box[3], image->width, image->height, image->channels, width, height);
    }
    /* The order shows, since each pass rounds to 8 bits. Pillow 13 begins with the columns where that saves
     * most. */
    int64_t rows_dropped = (int64_t)image->height - height, columns_dropped = (int64_t)image->width - width;
    bool columns_first = rows_dropped > 0 && rows_dropped > 2 * columns_dropped;
    size_t samples = 3 * (columns_first ? (size_t)image->width : (size_t)width * height);

    enum limoe_status status = LIMOE_OK;
    struct axis x = {0}, y = {0};
    int16_t *planes =
        calloc(3 * (size_t)image->width + LANES, sizeof *planes); /* a filled window ends past a plane */
    uint8_t *row = malloc(3 * (size_t)(columns_first ? image->width : width));
    int32_t *sums = calloc(samples, sizeof *sums);
    if (!planes || !row || !sums || !axis_init(&x, image->width, box[0], box[2], width) ||
        !axis_init(&y, image->height, box[1], box[3], height)) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory to resize %u x %u to %u x %u pixels",
                            image->width, image->height, width, height);
    } else if (columns_first) {
        resize_columns_first(image, &x, &y, planes, row, sums, out);
    } else {
        resize_rows_first(image, &x, &y, planes, row, sums, out);
    }
    axis_free(&y);
    axis_free(&x);
    free(sums);
    free(row);
    free(planes);
    return status;
}
