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

enum limoe_status image_open(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                             struct input *input, const struct image_format **format,
                             struct limoe_error *err) {
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : LIMOE_MAX_BYTES;
    *input = (struct input){
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

    *format = image_find_format(bytes, size);
    if (!*format)
        return unknown_type(bytes, size, err);
    if (!(*format)->read && !(*format)->stream) {
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s pictures are not supported; " ACCEPTED,
                          (*format)->name);
    }
    return LIMOE_OK;
}

/* A sink that makes one piece of the rows. */
struct whole {
    struct image_sink sink; /* first, so that it is this, too */
    struct image *image;
    uint8_t *next; /* row */
    unsigned orientation;
};

static enum limoe_status begin(struct image_sink *sink, const char *format, const struct input *input,
                               const struct image_shape *shape, struct limoe_error *err) {
    struct whole *whole = (struct whole *)sink;
    enum limoe_status status =
        image_allocate(format, input, shape->width, shape->height, shape->channels, whole->image, err);
    whole->orientation = shape->orientation;
    whole->next = whole->image->pixels;
    sink->end_column = shape->width;
    return status;
}

static uint8_t *room(struct image_sink *sink) {
    return ((struct whole *)sink)->next;
}

static void take(struct image_sink *sink) {
    struct whole *whole = (struct whole *)sink;
    whole->next += (size_t)whole->image->width * whole->image->channels;
}

enum limoe_status image_read(const struct image_format *format, const struct input *input, struct image *out,
                             unsigned *orientation, struct limoe_error *err) {
    *orientation = 1;
    if (format->read)
        return format->read(input, out, orientation, err);
    struct whole whole = {
        .sink = {.begin = begin, .room = room, .take = take}, .image = out, .orientation = 1};
    enum limoe_status status = format->stream(input, &whole.sink, err);
    *orientation = whole.orientation;
    return status;
}

enum limoe_status image_decode(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                               struct image *out, struct limoe_error *err) {
    struct input input;
    const struct image_format *format = NULL;
    unsigned orientation;
    *out = (struct image){0};
    enum limoe_status status = image_open(bytes, size, limits, &input, &format, err);
    if (status != LIMOE_OK || !format)
        return status;
    status = image_read(format, &input, out, &orientation, err);
    if (status == LIMOE_OK)
        status = image_orient(out, orientation, err);
    if (status != LIMOE_OK)
        image_free(out);
    return status;
}
