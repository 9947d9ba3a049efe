/* axis.c - an axis's weights, computed as Pillow computes them.
 *
 * An output pixel lies under a filter, which is widened by the reduction so that every input pixel counts. Its
 * values at the inputs' centres are computed in double, normalised, and rounded to fixed point with
 * AXIS_PRECISION fractional bits. Every operation here decides about bits: none may be rearranged.
 *
 * No state, no threads. */
#include "model/image/resize.h"

#include <math.h>
#include <stdlib.h>

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1 : 0;
}

static double bilinear(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* Pillow has the two constants in single precision. */
static double hamming(double x) {
    x = fabs(x);
    if (x == 0)
        return 1;
    if (x >= 1)
        return 0;
    x *= M_PI;
    return sin(x) / x * (0.54f + 0.46f * cos(x));
}

/* Keys 1981, a = -0.5. */
static double bicubic(double x) {
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2)
        return (((x - 5) * x + 8) * x - 4) * -0.5;
    return 0;
}

static double sinc(double x) {
    if (x == 0)
        return 1;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x) {
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static const struct {
    double (*value)(double x);
    double support; /* it is zero beyond */
} filters[] = {
    [LIMOE_LANCZOS] = {lanczos, 3}, [LIMOE_BILINEAR] = {bilinear, 1}, [LIMOE_BICUBIC] = {bicubic, 2},
    [LIMOE_BOX] = {box, 0.5},       [LIMOE_HAMMING] = {hamming, 1},
};

void axis_free(struct axis *axis) {
    free(axis->low);
    free(axis->high);
    free(axis->weight);
    free(axis->offset);
    free(axis->count);
    free(axis->first);
    *axis = (struct axis){0};
}

static bool allocate(struct axis *axis, size_t outputs, size_t widest) {
    axis->first = malloc(outputs * sizeof *axis->first);
    axis->count = malloc(outputs * sizeof *axis->count);
    axis->offset = malloc(outputs * sizeof *axis->offset);
    axis->weight = malloc(outputs * widest * sizeof *axis->weight);
    axis->high = calloc(outputs * widest, sizeof *axis->high);
    axis->low = calloc(outputs * widest, sizeof *axis->low);
    return axis->first && axis->count && axis->offset && axis->weight && axis->high && axis->low;
}

/* exact[n], normalised by their total, as the weights from `at` on. */
static void round_weights(struct axis *axis, size_t at, const double *exact, uint32_t n, double total) {
    for (uint32_t j = 0; j < n; j++) {
        double weight = total != 0 ? exact[j] / total : exact[j];
        double fixed = weight * (1 << AXIS_PRECISION);
        axis->weight[at + j] = (int32_t)(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
        axis->low[at + j] = (int16_t)(axis->weight[at + j] & AXIS_LOW_MASK);
        axis->high[at + j] = (int16_t)((axis->weight[at + j] - axis->low[at + j]) / (1 << AXIS_LOW_BITS));
    }
}

bool axis_init(struct axis *axis, enum limoe_filter filter, const struct axis_scaling *scaling) {
    double scale = (scaling->to - scaling->from) / scaling->outputs;
    double reduction = scale < 1 ? 1 : scale;
    double reach = filters[filter].support * reduction;
    size_t widest = (size_t)ceil(reach) * 2 + AXIS_LANES;
    *axis = (struct axis){.outputs = scaling->wanted};
    double *exact = calloc(widest, sizeof *exact);
    if (!exact || !allocate(axis, scaling->wanted, widest)) {
        free(exact);
        axis_free(axis);
        return false;
    }
    size_t used = 0;
    for (uint32_t i = 0; i < scaling->wanted; i++) {
        double centre = scaling->from + ((scaling->start + i) + 0.5) * scale;
        double low = centre - reach + 0.5, high = centre + reach + 0.5;
        uint32_t first = low < 0 ? 0 : (uint32_t)low;
        uint32_t end = high > scaling->inputs ? scaling->inputs : (uint32_t)high;
        double total = 0;
        for (uint32_t j = first; j < end; j++) {
            exact[j - first] = filters[filter].value((j - centre + 0.5) * (1 / reduction));
            total += exact[j - first];
        }
        axis->first[i] = first;
        axis->count[i] = end - first;
        axis->widest = end - first > axis->widest ? end - first : axis->widest;
        axis->offset[i] = used;
        round_weights(axis, used, exact, end - first, total);
        used += axis_filled(end - first);
    }
    free(exact);
    return true;
}

static void reverse_weights(struct axis *axis, size_t at, uint32_t n) {
    for (size_t i = at, j = at + n - 1; i < j; i++, j--) {
        const int32_t weight = axis->weight[i];
        const int16_t high = axis->high[i], low = axis->low[i];
        axis->weight[i] = axis->weight[j];
        axis->high[i] = axis->high[j];
        axis->low[i] = axis->low[j];
        axis->weight[j] = weight;
        axis->high[j] = high;
        axis->low[j] = low;
    }
}

static void swap_outputs(struct axis *axis, uint32_t i, uint32_t j) {
    const uint32_t first = axis->first[i], count = axis->count[i];
    const size_t offset = axis->offset[i];
    axis->first[i] = axis->first[j];
    axis->count[i] = axis->count[j];
    axis->offset[i] = axis->offset[j];
    axis->first[j] = first;
    axis->count[j] = count;
    axis->offset[j] = offset;
}

void axis_reverse(struct axis *axis, uint32_t inputs) {
    for (uint32_t i = 0; i < axis->outputs; i++) {
        axis->first[i] = inputs - axis->first[i] - axis->count[i];
        reverse_weights(axis, axis->offset[i], axis->count[i]);
    }
    for (uint32_t i = 0, j = axis->outputs - 1; i < j; i++, j--)
        swap_outputs(axis, i, j);
}
