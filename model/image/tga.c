/* tga.c - Truevision TGA: true colour, grey and palette, plain or run-length coded, in all four directions.
 *
 * TGA has no signature, so its header is held to everything the format says before a file is taken for one.
 * Alpha is that of 32-bit pixels and of grey with alpha, unless a version 2 file says that it means nothing;
 * the single attribute bit of 16-bit pixels is ignored. No state, no threads. */
#include "formats.h"

#include <stdlib.h>

#define PALETTE        1u
#define TRUE_COLOUR    2u
#define GREY           3u
#define RUN_LENGTH     8u
#define RIGHT_TO_LEFT  0x10u
#define TOP_TO_BOTTOM  0x20u
#define FOOTER         26u /* "TRUEVISION-XFILE.\0" after two offsets */
#define ATTRIBUTE_TYPE 494u

struct header {
    uint32_t id_length, kind, width, height, bits, direction;
    bool run_length;
    uint32_t map_first, map_length, map_bits;
    const uint8_t *map;
};

static bool colour_bits(uint32_t bits) {
    return bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

/* Whether the 18 bytes are consistent; fills *header but for the map. */
static bool parse_header(const uint8_t *p, struct header *header) {
    *header = (struct header){
        .id_length = p[0],
        .kind = p[2] & 7u,
        .run_length = p[2] & RUN_LENGTH,
        .map_first = le16(p + 3),
        .map_length = le16(p + 5),
        .map_bits = p[7],
        .width = le16(p + 12),
        .height = le16(p + 14),
        .bits = p[16],
        .direction = p[17],
    };
    bool mapped = p[1] == 1;
    if (p[1] > 1 || (p[2] & ~15u) || p[17] & 0xC0 || (p[17] & 15) > 8 || header->width == 0 ||
        header->height == 0) {
        return false;
    }
    if (mapped ? header->map_length == 0 || !colour_bits(header->map_bits)
               : header->map_first || header->map_length || header->map_bits) {
        return false;
    }
    switch (header->kind) {
    case PALETTE:
        return mapped && header->bits == 8;
    case TRUE_COLOUR:
        return colour_bits(header->bits);
    case GREY:
        return header->bits == 8 || header->bits == 16;
    default:
        return false;
    }
}

bool image_looks_like_tga(const uint8_t *bytes, size_t size) {
    struct header header;
    return size >= 18 && parse_header(bytes, &header);
}

/* A version 2 file may say that its alpha means nothing. */
static bool alpha_is_meant(const struct input *input) {
    if (input->size < FOOTER) {
        return true;
    }
    const uint8_t *footer = input->bytes + input->size - FOOTER;
    size_t extension = le32(footer);
    if (memcmp(footer + 8, "TRUEVISION-XFILE.", 18) != 0 || extension == 0 ||
        extension + ATTRIBUTE_TYPE >= input->size) {
        return true;
    }
    return input->bytes[extension + ATTRIBUTE_TYPE] != 0;
}

/* A colour of 15, 16, 24 or 32 bits, blue first. */
static void put_colour(const uint8_t *from, uint32_t bits, uint8_t *to, uint32_t channels) {
    if (bits <= 16) {
        uint32_t value = le16(from);
        to[0] = (uint8_t)((value >> 10 & 31) * 255 / 31);
        to[1] = (uint8_t)((value >> 5 & 31) * 255 / 31);
        to[2] = (uint8_t)((value & 31) * 255 / 31);
    } else {
        to[0] = from[2];
        to[1] = from[1];
        to[2] = from[0];
    }
    if (channels == 4) {
        to[3] = bits == 32 ? from[3] : 255;
    }
}

/* false: an index without colour. */
static bool put_pixel(const struct header *header, const uint8_t *from, uint8_t *to, uint32_t channels) {
    if (header->kind == TRUE_COLOUR) {
        put_colour(from, header->bits, to, channels);
    } else if (header->kind == GREY) {
        memset(to, from[0], 3);
        if (channels == 4) {
            to[3] = from[1];
        }
    } else {
        uint32_t index = from[0] - header->map_first;
        if (index >= header->map_length) { /* also below the first */
            return false;
        }
        put_colour(header->map + (size_t)index * ((header->map_bits + 7) / 8), header->map_bits, to,
                   channels);
    }
    return true;
}

/* Where the file's i-th pixel goes. */
static size_t place(const struct header *header, size_t i) {
    size_t x = i % header->width, y = i / header->width;
    x = header->direction & RIGHT_TO_LEFT ? header->width - 1 - x : x;
    y = header->direction & TOP_TO_BOTTOM ? y : header->height - 1 - y;
    return y * header->width + x;
}

enum limoe_status image_read_tga(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct cursor cursor = cursor_over(input);
    const uint8_t *head = cursor_take(&cursor, 18);
    struct header header;
    if (!head || !parse_header(head, &header)) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "TGA: the header contradicts itself");
    }
    if (!cursor_take(&cursor, header.id_length) ||
        !(header.map = cursor_take(&cursor, (size_t)header.map_length * ((header.map_bits + 7) / 8)))) {
        return image_truncated("TGA", input, err);
    }
    uint32_t bits = header.kind == PALETTE ? header.map_bits : header.bits;
    bool alpha = (header.kind == GREY ? bits == 16 : bits == 32) && alpha_is_meant(input);
    enum limoe_status status =
        image_allocate("TGA", input, header.width, header.height, alpha ? 4 : 3, out, err);
    if (status != LIMOE_OK) {
        return status;
    }
    size_t bytes = (header.bits + 7) / 8, n = (size_t)header.width * header.height;
    const uint8_t *pixel = NULL;
    uint32_t repeats = 0,
             fresh = header.run_length ? 0 : UINT32_MAX; /* of the packet: pixels left to copy, to read */
    for (size_t i = 0; i < n; i++) {
        if (header.run_length && repeats == 0 && fresh == 0) {
            const uint8_t *packet = cursor_take(&cursor, 1);
            if (!packet) {
                return image_truncated("TGA", input, err);
            }
            if (*packet & 0x80) {
                pixel = cursor_take(&cursor, bytes);
                repeats = (*packet & 0x7Fu) + 1;
            } else {
                fresh = *packet + 1u;
            }
        }
        if (repeats > 0) {
            repeats--;
        } else {
            pixel = cursor_take(&cursor, bytes);
            fresh -= header.run_length;
        }
        if (!pixel) {
            return image_truncated("TGA", input, err);
        }
        if (!put_pixel(&header, pixel, out->pixels + place(&header, i) * out->channels, out->channels)) {
            return limoe_fail(err, LIMOE_BAD_IMAGE, "TGA: a pixel of colour %u; the palette has %u to %u",
                              pixel[0], header.map_first, header.map_first + header.map_length - 1);
        }
    }
    return LIMOE_OK;
}
