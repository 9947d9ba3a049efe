/* psd.c - the merged picture of a Photoshop file: grey, palette or RGB, of 8 or 16 bits, plain or PackBits.
 * A fourth channel beside RGB is alpha. Layers are not read. No state, no threads.
 *
 * stb_image unpacks the channels. It reads RGB alone, packed samples of 8 bits alone, and takes alpha for a
 * mix with white that it undoes. So it is shown, under a header of its own, the colours without alpha, then
 * the alpha as a picture of one channel; and samples of 16 bits as two of 8, of which the first is the high
 * byte. */
#include "model/image/stb.h"

#include <stdlib.h>

#define GREY    1u
#define PALETTE 2u
#define RGB     3u
#define DUOTONE 8u /* its grey is the picture; the inks are not kept in the open */

#define RAW      0u
#define PACKBITS 1u

#define HEADER 40 /* bytes: of the file's 26, and of three lengths and the compression */

#define BYTES(v) (uint8_t)((v) >> 24), (uint8_t)((v) >> 16), (uint8_t)((v) >> 8), (uint8_t)(v)

struct header {
    uint32_t channels, width, height, depth, mode, compression;
    const uint8_t *palette; /* 256 reds, 256 greens, 256 blues */
    const uint8_t *sizes;   /* PACKBITS: bytes of each row of each channel, 2 bytes each */
    struct cursor data;     /* behind them: channel by channel, each from its first row */
};

/* Takes a block that its length precedes. NULL: the file ends first. */
static const uint8_t *take_block(struct cursor *cursor, uint32_t *length) {
    const uint8_t *size = cursor_take(cursor, 4);
    *length = size ? be32(size) : 0;
    return size ? cursor_take(cursor, *length) : NULL;
}

static enum limoe_status read_header(struct cursor *cursor, const struct input *input, struct header *header,
                                     struct limoe_error *err) {
    const uint8_t *head = cursor_take(cursor, 26);
    if (!head)
        return image_truncated("PSD", input, err);
    if (be16(head + 4) != 1)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "PSD: version %u; 1 is accepted", be16(head + 4));
    header->channels = be16(head + 12);
    header->height = be32(head + 14);
    header->width = be32(head + 18);
    header->depth = be16(head + 22);
    header->mode = be16(head + 24);
    if (header->mode != GREY && header->mode != PALETTE && header->mode != RGB && header->mode != DUOTONE) {
        return limoe_fail(
            err, LIMOE_UNSUPPORTED,
            "PSD: colour mode %u%s; accepted are 1 (grey), 2 (palette), 3 (RGB) and 8 (duotone)",
            header->mode, header->mode == 4 ? " (CMYK, for print)" : "");
    }
    if (header->depth != 8 && (header->depth != 16 || header->mode == PALETTE)) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "PSD: %u bits a channel; accepted are 8, and 16 without palette", header->depth);
    }
    if (header->channels < (header->mode == RGB ? 3 : 1) || header->channels > 56) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PSD: %u channels in colour mode %u", header->channels,
                          header->mode);
    }
    uint32_t mode_size, length;
    header->palette = take_block(cursor, &mode_size);
    if (!header->palette || !take_block(cursor, &length) ||
        !take_block(cursor, &length)) /* resources, layers */
        return image_truncated("PSD", input, err);
    if (header->mode == PALETTE && mode_size < 768)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PSD: a palette of %u bytes; 768 are needed", mode_size);
    const uint8_t *compression = cursor_take(cursor, 2);
    if (!compression)
        return image_truncated("PSD", input, err);
    header->compression = be16(compression);
    if (header->compression != RAW && header->compression != PACKBITS) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "PSD: compression %u; accepted are 0 (none) and 1 (PackBits)", header->compression);
    }
    return LIMOE_OK;
}

/* The bytes of the first n channels; false: the file ends before. */
static bool skip_channels(const struct header *header, uint32_t n, struct cursor *cursor) {
    size_t rows = (size_t)header->height * n;
    if (header->compression == RAW)
        return cursor_take(cursor, rows * header->width * (header->depth / 8)) != NULL;
    size_t size = 0;
    for (size_t i = 0; i < rows; i++)
        size += be16(header->sizes + 2 * i);
    return cursor_take(cursor, size) != NULL;
}

/* Decodes `count` channels from `first` on to *pixels, four bytes for each, or for each two where samples
 * have 16 bits: as many channels, and what is of no use. */
static enum limoe_status read_channels(const struct header *header, const struct input *input, uint32_t first,
                                       uint32_t count, uint8_t **pixels, struct limoe_error *err) {
    struct cursor data = header->data;
    *pixels = NULL;
    if (!skip_channels(header, first, &data))
        return image_truncated("PSD", input, err);
    uint32_t width = header->width * (header->depth / 8), height = header->height;
    const uint8_t fields[] = {0, (uint8_t)count, BYTES(height), BYTES(width), 0, 8, 0, RGB};
    uint8_t head[HEADER] = "8BPS\0\1"; /* then no palette, resources and layers */
    memcpy(head + 12, fields, sizeof fields);
    head[HEADER - 1] = (uint8_t)header->compression;
    struct source source = {0};
    source_add(&source, head, sizeof head);
    source_add(&source, NULL, header->compression == PACKBITS ? (size_t)height * count * 2 : 0);
    source_add(&source, data.at, cursor_left(&data));
    return image_read_stb("PSD", input, &source, width, height, 4, pixels, err);
}

static void put_colours(const struct header *header, const uint8_t *from, struct image *out) {
    size_t n = (size_t)out->width * out->height, step = header->depth / 2; /* 4 bytes, or twice as many */
    uint8_t *to = out->pixels;
    for (size_t i = 0; i < n; i++, from += step, to += out->channels) {
        for (uint32_t c = 0; c < 3; c++) {
            to[c] = header->mode == RGB       ? from[c]
                    : header->mode == PALETTE ? header->palette[256 * c + from[0]]
                                              : from[0];
        }
    }
}

static void put_alpha(const struct header *header, const uint8_t *from, struct image *out) {
    size_t n = (size_t)out->width * out->height, step = header->depth / 2;
    for (size_t i = 0; i < n; i++)
        out->pixels[4 * i + 3] = from[step * i];
}

enum limoe_status image_read_psd(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct cursor cursor = cursor_over(input);
    struct header header = {0};
    uint8_t *channels;
    enum limoe_status status = read_header(&cursor, input, &header, err);
    bool alpha = header.mode == RGB && header.channels == 4;
    if (status == LIMOE_OK)
        status = image_check("PSD", input, header.width, header.height, err);
    if (status != LIMOE_OK)
        return status;
    size_t rows = (size_t)header.height * header.channels;
    header.sizes = cursor_take(&cursor, header.compression == PACKBITS ? 2 * rows : 0);
    if (!header.sizes)
        return image_truncated("PSD", input, err);
    header.data = cursor;
    status = image_allocate("PSD", input, header.width, header.height, alpha ? 4 : 3, out, err);
    if (status == LIMOE_OK)
        status = read_channels(&header, input, 0, header.mode == RGB ? 3 : 1, &channels, err);
    if (status == LIMOE_OK) {
        put_colours(&header, channels, out);
        free(channels);
        status = alpha ? read_channels(&header, input, 3, 1, &channels, err) : LIMOE_OK;
        if (status == LIMOE_OK && alpha) {
            put_alpha(&header, channels, out);
            free(channels);
        }
    }
    return status;
}
