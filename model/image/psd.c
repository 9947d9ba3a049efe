/* psd.c - the merged picture of a Photoshop file: grey, palette or RGB, of 8 or 16 bits, plain or PackBits.
 * A fourth channel beside RGB is alpha. Layers are not read. No state, no threads. */
#include "formats.h"

#include <stdlib.h>

#define GREY    1u
#define PALETTE 2u
#define RGB     3u
#define DUOTONE 8u /* its grey is the picture; the inks are not kept in the open */

#define RAW      0u
#define PACKBITS 1u

struct header {
    uint32_t channels, width, height, depth, mode, compression;
    const uint8_t *palette; /* 256 reds, 256 greens, 256 blues */
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
    if (!head) {
        return image_truncated("PSD", input, err);
    }
    if (be16(head + 4) != 1) {
        return limoe_fail(err, LIMOE_UNSUPPORTED, "PSD: version %u; 1 is accepted", be16(head + 4));
    }
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
        !take_block(cursor, &length)) { /* resources, layers */
        return image_truncated("PSD", input, err);
    }
    if (header->mode == PALETTE && mode_size < 768) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PSD: a palette of %u bytes; 768 are needed", mode_size);
    }
    const uint8_t *compression = cursor_take(cursor, 2);
    if (!compression) {
        return image_truncated("PSD", input, err);
    }
    header->compression = be16(compression);
    if (header->compression != RAW && header->compression != PACKBITS) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "PSD: compression %u; accepted are 0 (none) and 1 (PackBits)", header->compression);
    }
    return LIMOE_OK;
}

/* PackBits: a count below 128 announces so many bytes and one, above 128 one byte 257 - count times. */
static bool unpack(const uint8_t *from, size_t size, uint8_t *to, size_t n) {
    struct cursor cursor = {from, from + size};
    size_t done = 0;
    while (done < n) {
        const uint8_t *count = cursor_take(&cursor, 1);
        if (!count) {
            return false;
        }
        if (*count == 128) {
            continue;
        }
        size_t run = *count < 128 ? *count + 1u : 257u - *count;
        const uint8_t *bytes = cursor_take(&cursor, *count < 128 ? run : 1);
        if (!bytes || run > n - done) {
            return false;
        }
        if (*count < 128) {
            memcpy(to + done, bytes, run);
        } else {
            memset(to + done, *bytes, run);
        }
        done += run;
    }
    return true;
}

static void put_row(const struct header *header, uint32_t channel, const uint8_t *row, uint8_t *to,
                    uint32_t channels) {
    uint32_t step = header->depth / 8; /* 16 bits: the high byte, which comes first */
    for (uint32_t x = 0; x < header->width; x++, to += channels) {
        uint8_t value = row[(size_t)x * step];
        if (header->mode == RGB) {
            to[channel] = value;
        } else if (header->mode == PALETTE) {
            for (int c = 0; c < 3; c++) {
                to[c] = header->palette[256 * c + value];
            }
        } else {
            memset(to, value, 3);
        }
    }
}

enum limoe_status image_read_psd(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct cursor cursor = cursor_over(input);
    struct header header = {0};
    enum limoe_status status = read_header(&cursor, input, &header, err);
    uint32_t wanted = header.mode != RGB ? 1 : header.channels == 4 ? 4 : 3;
    if (status == LIMOE_OK) {
        status = image_allocate("PSD", input, header.width, header.height, wanted == 4 ? 4 : 3, out, err);
    }
    if (status != LIMOE_OK) {
        return status;
    }
    size_t row_size = (size_t)header.width * (header.depth / 8);
    size_t rows = (size_t)header.height * header.channels;
    const uint8_t *sizes = cursor_take(&cursor, header.compression == PACKBITS ? 2 * rows : 0);
    if (!sizes) {
        return image_truncated("PSD", input, err);
    }
    uint8_t *unpacked = malloc((size_t)2 * IMAGE_MAX_SIDE); /* the longest row there is */
    if (!unpacked) {
        return limoe_fail(err, LIMOE_NO_MEMORY, "PSD: no memory for a row of %zu bytes", row_size);
    }
    /* Channel by channel, each from its first row; channels past `wanted` are not read. */
    for (size_t i = 0; i < (size_t)header.height * wanted; i++) {
        size_t size = header.compression == PACKBITS ? be16(sizes + 2 * i) : row_size;
        const uint8_t *row = cursor_take(&cursor, size);
        if (!row) {
            status = image_truncated("PSD", input, err);
            break;
        }
        if (header.compression == PACKBITS) {
            if (!unpack(row, size, unpacked, row_size)) {
                status = limoe_fail(err, LIMOE_BAD_IMAGE, "PSD: row %zu does not unpack to %zu bytes", i,
                                    row_size);
                break;
            }
            row = unpacked;
        }
        uint32_t channel = (uint32_t)(i / header.height), y = (uint32_t)(i % header.height);
        put_row(&header, channel, row, out->pixels + (size_t)y * out->width * out->channels, out->channels);
    }
    free(unpacked);
    return status;
}
