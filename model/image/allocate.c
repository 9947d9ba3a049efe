/* allocate.c - a picture's memory, given only to one that keeps the limits. The caller owns the image; no
 * threads. */
#include "model/image/formats.h"

#include <inttypes.h>
#include <stdlib.h>

enum limoe_status image_check(const char *format, const struct input *input, uint64_t width, uint64_t height,
                              struct limoe_error *err) {
    if (width == 0 || height == 0) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "%s: %" PRIu64 " x %" PRIu64 " pixels: nothing to see",
                          format, width, height);
    }
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE) {
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "%s: %" PRIu64 " x %" PRIu64 " pixels; a side may have at most %u", format, width,
                          height, IMAGE_MAX_SIDE);
    }
    if (width * height > input->max_pixels) {
        return limoe_fail(err, LIMOE_TOO_LARGE,
                          "%s: %" PRIu64 " x %" PRIu64 " is %" PRIu64 " pixels; at most %" PRIu64
                          " are accepted",
                          format, width, height, width * height, input->max_pixels);
    }
    if (width * height > input->found_pixels) {
        return limoe_fail(err, LIMOE_BAD_IMAGE,
                          "%s: %" PRIu64 " x %" PRIu64 " pixels, where its first header says at most %" PRIu64
                          " in all",
                          format, width, height, input->found_pixels);
    }
    return LIMOE_OK;
}

enum limoe_status image_allocate(const char *format, const struct input *input, uint64_t width,
                                 uint64_t height, uint32_t channels, struct image *out,
                                 struct limoe_error *err) {
    enum limoe_status status = image_check(format, input, width, height, err);
    if (status != LIMOE_OK)
        return status;
    out->pixels = calloc((size_t)(width * height), channels);
    if (!out->pixels) {
        return limoe_fail(err, LIMOE_NO_MEMORY, "%s: no memory for %" PRIu64 " x %" PRIu64 " pixels", format,
                          width, height);
    }
    out->width = (uint32_t)width;
    out->height = (uint32_t)height;
    out->channels = channels;
    return LIMOE_OK;
}

void *image_allocate_within(uint64_t *budget, size_t size) {
    if (size > *budget)
        return NULL;
    *budget -= size;
    return calloc(1, size);
}

enum limoe_status image_truncated(const char *format, const struct input *input, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_BAD_IMAGE, "%s: truncated after %zu bytes", format, input->size);
}

void image_free(struct image *image) {
    free(image->pixels);
    *image = (struct image){0};
}
