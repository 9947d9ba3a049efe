/* image.h - from a picture's bytes to the pixels the model sees.
 *
 * decode (one file per format family) → orient (EXIF) → composite on the background, or drop alpha →
 * resize. */
#ifndef LIMOE_MODEL_IMAGE_IMAGE_H
#define LIMOE_MODEL_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

/* A decoded picture, 8 bits a channel, rows top to bottom without gaps. Free with image_free. */
struct image {
    uint8_t *pixels;        /* [height, width, channels] */
    uint32_t width, height; /* at least 1 */
    uint32_t channels;      /* 3 (RGB) or 4 (RGBA, not premultiplied) */
};

/* A picture as it lies in its file. */
struct image_shape {
    uint32_t width, height, channels; /* as an image's */
    unsigned orientation;             /* EXIF's, 1 to 8 */
};

void image_free(struct image *image); /* leaves an empty image; an empty image is fine */

/* Finds the format by its first bytes, checks limits from the header, decodes, applies EXIF orientation. */
enum limoe_status image_decode(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                               struct image *out, struct limoe_error *err);

/* RGB in place of RGBA: over the background, (c a + b (255 - a)) / 255 rounded as Pillow does; NULL:
 * whatever the alpha, as Pillow's convert("RGB") does. RGB stays as it is. */
void image_flatten(struct image *image, const uint8_t *background);

/* A box of a picture, scaled to width x height, and the window of that which is wanted: what lies outside it
 * is not computed, and takes no memory. */
struct image_scaling {
    double box[4];                     /* [x0, y0, x1, y1), in pixels, within the picture */
    uint32_t width, height;            /* that the box is scaled to */
    uint32_t left, top, columns, rows; /* the window, within width x height, not empty */
    enum limoe_filter filter;
};

/* Pillow's Image.resize of an RGB picture, bit for bit as Pillow 13: antialiased (but nearest), in 8-bit
 * fixed point. Writes the window's rows to `out`, each `stride` bytes after the one before. */
enum limoe_status image_scale(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                              size_t stride, struct limoe_error *err);

/* The same with the bicubic filter, all of it: out[height, width, 3]. */
enum limoe_status image_resize(const struct image *image, const double box[4], uint32_t width,
                               uint32_t height, uint8_t *out, struct limoe_error *err);

/* All of it: writes pixels[size, size, 3] as `how` says. */
enum limoe_status image_preprocess(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                                   const struct limoe_preprocess *how, uint8_t *pixels,
                                   struct limoe_error *err);

#endif
