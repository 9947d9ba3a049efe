/* placement.h - where the model's square lies in a scaled picture. Internal to model/image/. */
#ifndef LIMOE_MODEL_IMAGE_PLACEMENT_H
#define LIMOE_MODEL_IMAGE_PLACEMENT_H

#include "model/image/image.h"

/* What the square shows of a picture, and where in the square that is. */
struct placement {
    struct image_scaling scaling;
    uint32_t x, y; /* of the window's first pixel; around the window is margin */
};

/* For an upright picture of width x height, each 1 … IMAGE_MAX_SIDE. */
struct placement image_place(uint32_t width, uint32_t height, const struct limoe_preprocess *how);

#endif
