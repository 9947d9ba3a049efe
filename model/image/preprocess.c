/* preprocess.c - a file's bytes to a square of pixels, as tests/preprocess/pillow_reference.py defines it.
 * No state, no threads. */
#include "model/image/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* One side of a picture fitted by `scale`: at least one pixel, halves to even. */
static uint32_t fitted(uint32_t side, double scale) {
    double pixels = nearbyint(side * scale);
    return pixels < 1 ? 1 : (uint32_t)pixels;
}

static enum limoe_status pad(const struct image *image, uint32_t size, const uint8_t background[3],
                             uint8_t *pixels, struct limoe_error *err) {
    uint32_t longest = image->width > image->height ? image->width : image->height;
    double scale = size / (double)longest;
    uint32_t width = fitted(image->width, scale), height = fitted(image->height, scale);
    double whole[4] = {0, 0, image->width, image->height};
    uint8_t *small = malloc((size_t)width * height * 3);
    if (!small)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u x %u pixels", width, height);
    enum limoe_status status = image_resize(image, whole, width, height, small, err);
    if (status == LIMOE_OK) {
        for (size_t i = 0; i < (size_t)size * size; i++)
            memcpy(pixels + 3 * i, background, 3);
        size_t left = (size - width) / 2, top = (size - height) / 2;
        for (size_t y = 0; y < height; y++)
            memcpy(pixels + ((top + y) * size + left) * 3, small + y * width * 3, (size_t)width * 3);
    }
    free(small);
    return status;
}

enum limoe_status image_preprocess(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                                   const struct config *config, uint8_t *pixels, struct limoe_error *err) {
    uint32_t side = config->image.size;
    struct image image;
    enum limoe_status status = image_decode(bytes, size, limits, &image, err);
    if (status == LIMOE_OK)
        status = image_flatten(&image, config->image.background, err);
    if (status != LIMOE_OK)
        goto out;
    double w = image.width, h = image.height, shortest = w < h ? w : h;
    double whole[4] = {0, 0, w, h};
    double middle[4] = {(w - shortest) / 2, (h - shortest) / 2, (w + shortest) / 2, (h + shortest) / 2};
    switch (config->image.resize) {
    case CONFIG_PAD:
        status = pad(&image, side, config->image.background, pixels, err);
        break;
    case CONFIG_SQUASH:
        status = image_resize(&image, whole, side, side, pixels, err);
        break;
    case CONFIG_CROP:
        status = image_resize(&image, middle, side, side, pixels, err);
        break;
    }
out:
    image_free(&image);
    return status;
}
