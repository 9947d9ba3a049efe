/* resize.h - what a resize is made of: the weights of an axis (axis.c), and the filter that has none
 * (nearest.c). Internal to model/image/. */
#ifndef LIMOE_MODEL_IMAGE_RESIZE_H
#define LIMOE_MODEL_IMAGE_RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/image/image.h"

#define AXIS_PRECISION 22 /* fractional bits of a weight: 32 - 8 for the pixel - 2 for the sum's excess */
#define AXIS_LOW_BITS  11
#define AXIS_LOW_MASK  ((1 << AXIS_LOW_BITS) - 1)
#define AXIS_LANES     16 /* windows are filled up to a multiple, with weights of zero */

/* The pixels [from, to) of an axis of `inputs`, resized to `outputs`, of which [start, start + wanted) are
 * computed. */
struct axis_scaling {
    uint32_t inputs;
    double from, to;
    uint32_t outputs, start, wanted;
};

static inline struct axis_scaling resize_axis_x(uint32_t width, const struct image_scaling *s) {
    return (struct axis_scaling){width, s->box[0], s->box[2], s->width, s->left, s->columns};
}

static inline struct axis_scaling resize_axis_y(uint32_t height, const struct image_scaling *s) {
    return (struct axis_scaling){height, s->box[1], s->box[3], s->height, s->top, s->rows};
}

/* Output i (counted from `start`) sums the inputs first[i] … first[i] + count[i] - 1, with the weights from
 * offset[i] on. Both ends of these windows never decrease with i. */
struct axis {
    uint32_t outputs; /* the wanted ones */
    uint32_t *first, *count;
    uint32_t widest; /* of the counts */
    size_t *offset;
    int32_t *weight;
    int16_t *high, *low; /* weight = high * 2^AXIS_LOW_BITS + low */
};

/* Any filter but nearest. false: no memory, and nothing to free. */
bool axis_init(struct axis *axis, enum limoe_filter filter, const struct axis_scaling *scaling);
void axis_free(struct axis *axis);

/* The same outputs of the same inputs, both counted from the other end. */
void axis_reverse(struct axis *axis, uint32_t inputs);

static inline uint32_t axis_filled(uint32_t count) {
    return (count + AXIS_LANES - 1) / AXIS_LANES * AXIS_LANES;
}

/* The inputs that any output sums: from the first's first to the last's end. */
static inline uint32_t axis_begin(const struct axis *axis) {
    return axis->first[0];
}

static inline uint32_t axis_end(const struct axis *axis) {
    return axis->first[axis->outputs - 1] + axis->count[axis->outputs - 1];
}

/* Whether any pixel of a picture of width x height is a sum of several: not by the nearest filter, nor
 * where size and box stay as they are. */
bool scaling_filters(uint32_t width, uint32_t height, const struct image_scaling *scaling);

/* image_scale by LIMOE_NEAREST. */
enum limoe_status resize_nearest(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                                 size_t stride, struct limoe_error *err);

#endif
