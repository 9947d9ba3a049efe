/* decode.c - a file's bytes to an upright picture, by the reader of its format. No state, no threads. */
#include "model/image/formats.h"

#include <stdio.h>

#define ACCEPTED "accepted are JPEG, PNG, WebP, HEIC, AVIF, GIF, TIFF, BMP, PNM, TGA and PSD"

static enum limoe_status unknown_type(const uint8_t *bytes, size_t size, struct limoe_error *err) {
    char hex[3 * 12 + 1] = "";
    for (size_t i = 0; i < size && i < 12; i++)
        snprintf(hex + 3 * i, 4, " %02x", bytes[i]);
    return limoe_fail(err, LIMOE_BAD_IMAGE,
                      "not a picture of a known type (%zu bytes, beginning%s); " ACCEPTED, size, hex);
}

void limoe_image_prepare(void) {
    image_prepare_heif();
    image_prepare_tiff();
}

enum limoe_status image_decode(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                               struct image *out, struct limoe_error *err) {
    *out = (struct image){0};
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : LIMOE_MAX_BYTES;
    struct input input = {
        .bytes = bytes,
        .size = size,
        .max_pixels = limits && limits->max_pixels ? limits->max_pixels : LIMOE_MAX_PIXELS,
        .found_pixels = limits && limits->found_pixels ? limits->found_pixels : UINT64_MAX,
    };
    if (size == 0)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "the picture is empty (0 bytes); " ACCEPTED);
    if (size > max_bytes) {
        return limoe_fail(err, LIMOE_TOO_LARGE, "the picture has %zu bytes; at most %zu are accepted", size,
                          max_bytes);
    }

    const struct image_format *format = image_find_format(bytes, size);
    if (!format)
        return unknown_type(bytes, size, err);
    if (!format->read)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s pictures are not supported; " ACCEPTED, format->name);

    unsigned orientation = 1;
    enum limoe_status status = format->read(&input, out, &orientation, err);
    if (status == LIMOE_OK)
        status = image_orient(out, orientation, err);
    if (status != LIMOE_OK)
        image_free(out);
    return status;
}
