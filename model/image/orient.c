/* orient.c - turns a picture upright, from the eight ways that EXIF says a camera was held. No state, no
 * threads. */
#include "model/image/formats.h"

#include <stdlib.h>

/* Squares of this many pixels are turned at a time, so that both sides of the copy stay in the cache: row by
 * row, a 12 megapixel photo's columns would miss it on every pixel. */
#define TILE 32u

static void swap_pixels(uint8_t *a, uint8_t *b, uint32_t channels) {
    for (uint32_t c = 0; c < channels; c++) {
        uint8_t t = a[c];
        a[c] = b[c];
        b[c] = t;
    }
}

static void mirror_rows(struct image *image) {
    uint32_t channels = image->channels;
    for (uint32_t y = 0; y < image->height; y++) {
        uint8_t *row = image->pixels + (size_t)y * image->width * channels;
        for (uint32_t left = 0, right = image->width - 1; left < right; left++, right--)
            swap_pixels(row + (size_t)left * channels, row + (size_t)right * channels, channels);
    }
}

static void flip_rows(struct image *image) {
    size_t stride = (size_t)image->width * image->channels;
    for (uint32_t top = 0, bottom = image->height - 1; top < bottom; top++, bottom--) {
        uint8_t *a = image->pixels + top * stride, *b = image->pixels + bottom * stride;
        for (size_t i = 0; i < stride; i++) {
            uint8_t t = a[i];
            a[i] = b[i];
            b[i] = t;
        }
    }
}

/* Pixel (x, y) goes to (y, x). */
static enum limoe_status transpose(struct image *image, struct limoe_error *err) {
    uint32_t width = image->width, height = image->height, channels = image->channels;
    uint8_t *turned = malloc((size_t)width * height * channels);
    if (!turned) {
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to turn a picture of %u x %u pixels", width,
                          height);
    }
    for (uint32_t y0 = 0; y0 < height; y0 += TILE) {
        for (uint32_t x0 = 0; x0 < width; x0 += TILE) {
            for (uint32_t x = x0; x < width && x < x0 + TILE; x++) {
                for (uint32_t y = y0; y < height && y < y0 + TILE; y++) {
                    const uint8_t *from = image->pixels + ((size_t)y * width + x) * channels;
                    uint8_t *to = turned + ((size_t)x * height + y) * channels;
                    to[0] = from[0];
                    to[1] = from[1];
                    to[2] = from[2];
                    if (channels == 4)
                        to[3] = from[3];
                }
            }
        }
    }
    free(image->pixels);
    image->pixels = turned;
    image->width = height;
    image->height = width;
    return LIMOE_OK;
}

enum limoe_status image_orient(struct image *image, unsigned orientation, struct limoe_error *err) {
    if (orientation_turns(orientation)) {
        enum limoe_status status = transpose(image, err);
        if (status != LIMOE_OK)
            return status;
    }
    if (orientation_mirrors(orientation))
        mirror_rows(image);
    if (orientation_flips(orientation))
        flip_rows(image);
    return LIMOE_OK;
}
