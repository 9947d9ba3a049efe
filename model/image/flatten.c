/* flatten.c - RGBA to RGB, in place: over the background, or as if it were opaque. No state, no threads. */
#include "model/image/formats.h"

static void over(const uint8_t from[4], const uint8_t background[3], uint8_t to[3]) {
    const uint32_t a = from[3], rest = 255 - a;
    for (int c = 0; c < 3; c++)
        to[c] = divide255(from[c] * a + background[c] * rest);
}

void image_flatten_pixels(uint8_t *pixels, size_t n, const uint8_t *background) {
    const uint8_t *from = pixels;
    uint8_t *to = pixels; /* never ahead of `from`; of what is there, nothing is read again */
    for (size_t i = 0; i < n; i++, from += 4, to += 3) {
        uint8_t rgb[3];
        if (background && from[3] != 255)
            over(from, background, rgb);
        else
            memcpy(rgb, from, 3);
        memcpy(to, rgb, 3);
    }
}

void image_flatten(struct image *image, const uint8_t *background) {
    if (image->channels != 4)
        return;
    image_flatten_pixels(image->pixels, (size_t)image->width * image->height, background);
    image->channels = 3;
}
