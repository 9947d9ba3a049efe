/* convolve.h - the inner loops of a resize, once for each instruction set. All of them give the same bits:
 * sums are exact integers. Internal to model/image/.
 *
 * A sum of pixels by weights fits in 32 bits, since no filter's weights add up to 2 without their signs;
 * what its parts come to on the way may wrap around. */
#ifndef LIMOE_MODEL_IMAGE_CONVOLVE_H
#define LIMOE_MODEL_IMAGE_CONVOLVE_H

#include "model/image/resize.h"

/* These run on the calling thread and touch only what their arguments name. */
struct convolve {
    const char *name; /* of the instruction set */

    /* One row along its axis: rgb[width, 3], which begins at axis_begin → row[axis->outputs, 3].
     * planes[convolve_planes(width)] is room to work in. */
    void (*along)(const struct axis *axis, const uint8_t *rgb, uint32_t width, int16_t *planes, uint8_t *row);

    /* sums[n] += weight * row[n] */
    void (*add)(int32_t *sums, const uint8_t *row, int32_t weight, size_t n);

    /* sums[n], with AXIS_PRECISION fractional bits, rounded to pixels out[n]. */
    void (*round)(const int32_t *sums, uint8_t *out, size_t n);

    /* out[n] = Σ weight[j] rows[j][n] over count rows, rounded. */
    void (*blend)(const uint8_t *const *rows, const int32_t *weight, uint32_t count, size_t n, uint8_t *out);
};

/* Elements of the planes of a row of `width` pixels: what a window reads past its end, by weights of zero, is
 * theirs, too. */
static inline size_t convolve_planes(uint32_t width) {
    return 3 * (size_t)width + AXIS_LANES;
}

/* The best that this machine has. */
const struct convolve *convolve_choose(void);

/* The i-th that this machine has, from the plainest on; NULL: there are no more. */
const struct convolve *convolve_at(size_t i);

extern const struct convolve convolve_generic, convolve_avx2;

#endif
