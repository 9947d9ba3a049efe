/* flatten.c - RGBA to RGB, in place: over the background, or as if it were opaque. No state, no threads. */
#include "model/image/formats.h"

enum limoe_status image_flatten(struct image *image, const uint8_t background[3], struct limoe_error *err) {
    if (image->channels == 3)
        return LIMOE_OK;
    if (image->channels != 4) {
        return limoe_fail(err, LIMOE_INTERNAL, "a picture with %u channels to flatten; 3 or 4 were expected",
                          image->channels);
    }
    size_t n = (size_t)image->width * image->height;
    const uint8_t *from = image->pixels;
    uint8_t *to = image->pixels; /* never ahead of `from` */
    for (size_t i = 0; i < n; i++, from += 4, to += 3) {
        uint32_t a = from[3], rest = 255 - a;
        uint8_t r = divide255(from[0] * a + background[0] * rest);
        uint8_t g = divide255(from[1] * a + background[1] * rest);
        uint8_t b = divide255(from[2] * a + background[2] * rest);
        to[0] = r;
        to[1] = g;
        to[2] = b;
    }
    image->channels = 3;
    return LIMOE_OK;
}

void image_drop_alpha(struct image *image) {
    if (image->channels != 4)
        return;
    size_t n = (size_t)image->width * image->height;
    const uint8_t *from = image->pixels;
    uint8_t *to = image->pixels; /* never ahead of `from` */
    for (size_t i = 0; i < n; i++, from += 4, to += 3) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
    }
    image->channels = 3;
}
