/* decode.c - which reader a picture goes to.
 *
 * Formats are told apart by their first bytes alone: names and Content-Type headers lie. No state, no
 * threads. */
#include "formats.h"

#include <stdio.h>

#define ACCEPTED "accepted are JPEG, PNG, WebP, GIF, BMP, PNM, TGA and PSD"

struct signature {
    size_t offset;
    const char *magic;
    size_t length;
    const char *name;
    image_reader *read; /* NULL: known, so that the message can name it, but not read */
};

#define MAGIC(text) text, sizeof(text) - 1

static const struct signature signatures[] = {
    {0, MAGIC("\xFF\xD8\xFF"), "JPEG", image_read_jpeg},
    {0, MAGIC("\x89PNG\r\n\x1A\n"), "PNG", image_read_png},
    {8, MAGIC("WEBP"), "WebP", image_read_webp},
    {0, MAGIC("GIF87a"), "GIF", image_read_gif},
    {0, MAGIC("GIF89a"), "GIF", image_read_gif},
    {0, MAGIC("BM"), "BMP", image_read_bmp},
    {0, MAGIC("P1"), "PNM", image_read_pnm},
    {0, MAGIC("P2"), "PNM", image_read_pnm},
    {0, MAGIC("P3"), "PNM", image_read_pnm},
    {0, MAGIC("P4"), "PNM", image_read_pnm},
    {0, MAGIC("P5"), "PNM", image_read_pnm},
    {0, MAGIC("P6"), "PNM", image_read_pnm},
    {0, MAGIC("8BPS"), "PSD", image_read_psd},
    {0, MAGIC("II*\0"), "TIFF", NULL},
    {0, MAGIC("MM\0*"), "TIFF", NULL},
    {4, MAGIC("ftypavif"), "AVIF", NULL},
    {4, MAGIC("ftyp"), "HEIF or ISO media", NULL},
    {0, MAGIC("\xFF\x0A"), "JPEG XL", NULL},
    {0, MAGIC("\0\0\0\x0CJXL "), "JPEG XL", NULL},
    {0, MAGIC("\0\0\0\x0CjP  "), "JPEG 2000", NULL},
    {0, MAGIC("\0\0\1\0"), "ICO", NULL},
    {0, MAGIC("%PDF"), "PDF", NULL},
    {0, MAGIC("<svg"), "SVG", NULL},
    {0, MAGIC("<?xml"), "XML", NULL},
};

static const struct signature *find_signature(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *s = &signatures[i];
        if (size >= s->offset + s->length && memcmp(bytes + s->offset, s->magic, s->length) == 0) {
            return s;
        }
    }
    return NULL;
}

static enum limoe_status unknown_type(const uint8_t *bytes, size_t size, struct limoe_error *err) {
    char hex[3 * 12 + 1] = "";
    for (size_t i = 0; i < size && i < 12; i++) {
        snprintf(hex + 3 * i, 4, " %02x", bytes[i]);
    }
    return limoe_fail(err, LIMOE_BAD_IMAGE,
                      "not a picture of a known type (%zu bytes, beginning%s); " ACCEPTED, size, hex);
}

enum limoe_status image_decode(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                               struct image *out, struct limoe_error *err) {
    *out = (struct image){0};
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : LIMOE_MAX_BYTES;
    struct input input = {
        .bytes = bytes,
        .size = size,
        .max_pixels = limits && limits->max_pixels ? limits->max_pixels : LIMOE_MAX_PIXELS,
    };
    if (size == 0) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "the picture is empty (0 bytes); " ACCEPTED);
    }
    if (size > max_bytes) {
        return limoe_fail(err, LIMOE_TOO_LARGE, "the picture has %zu bytes; at most %zu are accepted", size,
                          max_bytes);
    }

    image_reader *read;
    const struct signature *signature = find_signature(bytes, size);
    if (signature && !signature->read) {
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s pictures are not supported; " ACCEPTED,
                          signature->name);
    } else if (signature) {
        read = signature->read;
    } else if (image_looks_like_tga(bytes, size)) {
        read = image_read_tga;
    } else {
        return unknown_type(bytes, size, err);
    }

    unsigned orientation = 1;
    enum limoe_status status = read(&input, out, &orientation, err);
    if (status == LIMOE_OK) {
        status = image_orient(out, orientation, err);
    }
    if (status != LIMOE_OK) {
        image_free(out);
    }
    return status;
}
