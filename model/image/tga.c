/* tga.c - Truevision TGA: true colour, grey and palette, plain or run-length coded, in all four directions.
 *
 * stb_image unpacks the pixels. It turns rows from bottom to top, but not from right to left, and lets
 * indices run past the palette; so a picture with a palette is shown to it as a grey one, whose greys are the
 * indices.
 *
 * TGA has no signature, so its header is held to everything the format says before a file is taken for one.
 * Alpha is that of 32-bit pixels and of grey with alpha, unless a version 2 file says that it means nothing;
 * the single attribute bit of 16-bit pixels is ignored. No state, no threads. */
#include "model/image/stb.h"

#include <stdlib.h>

#define PALETTE        1u
#define TRUE_COLOUR    2u
#define GREY           3u
#define RUN_LENGTH     8u
#define RIGHT_TO_LEFT  0x10u
#define TOP_TO_BOTTOM  0x20u
#define HEADER         18u
#define MIRRORED       2u  /* of EXIF's orientations */
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
        header->height == 0)
        return false;
    if (mapped ? header->map_length == 0 || !colour_bits(header->map_bits)
               : header->map_first || header->map_length || header->map_bits)
        return false;
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
    if (input->size < FOOTER)
        return true;
    const uint8_t *footer = input->bytes + input->size - FOOTER;
    size_t extension = le32(footer);
    if (memcmp(footer + 8, "TRUEVISION-XFILE.", 18) != 0 || extension == 0 ||
        extension + ATTRIBUTE_TYPE >= input->size)
        return true;
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
    if (channels == 4)
        to[3] = bits == 32 ? from[3] : 255;
}

/* The indices to colours. */
static enum limoe_status apply_map(const struct header *header, const uint8_t *indices, struct image *out,
                                   struct limoe_error *err) {
    const size_t n = (size_t)out->width * out->height, entry = (header->map_bits + 7) / 8;
    uint8_t colours[256][4] = {0};
    for (uint32_t i = 0; i < header->map_length && header->map_first + i < 256; i++)
        put_colour(header->map + i * entry, header->map_bits, colours[header->map_first + i], out->channels);
    uint8_t *to = out->pixels;
    for (size_t i = 0; i < n; i++, to += out->channels) {
        if (indices[i] - header->map_first >= header->map_length) { /* also below the first */
            return limoe_fail(err, LIMOE_BAD_IMAGE, "TGA: a pixel of colour %u; the palette has %u to %u",
                              indices[i], header->map_first, header->map_first + header->map_length - 1);
        }
        memcpy(to, colours[indices[i]], 3);
        if (out->channels == 4)
            to[3] = colours[indices[i]][3];
    }
    return LIMOE_OK;
}

static enum limoe_status read_mapped(const struct header *header, const struct cursor *pixels,
                                     const struct input *input, struct image *out, struct limoe_error *err) {
    uint8_t head[HEADER] = {0}, *indices;
    memcpy(head + 12, input->bytes + 12, HEADER - 12);
    head[2] = (uint8_t)(GREY | (header->run_length ? RUN_LENGTH : 0));
    struct source source = {0};
    source_add(&source, head, sizeof head);
    source_add(&source, pixels->at, cursor_left(pixels));
    enum limoe_status status =
        image_read_stb("TGA", input, &source, header->width, header->height, 1, &indices, err);
    if (status == LIMOE_OK)
        status = image_allocate("TGA", input, header->width, header->height, out->channels, out, err);
    if (status == LIMOE_OK)
        status = apply_map(header, indices, out, err);
    free(indices);
    return status;
}

enum limoe_status image_read_tga(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    struct cursor cursor = cursor_over(input);
    const uint8_t *head = cursor_take(&cursor, HEADER);
    struct header header;
    if (!head || !parse_header(head, &header))
        return limoe_fail(err, LIMOE_BAD_IMAGE, "TGA: the header contradicts itself");
    if (!cursor_take(&cursor, header.id_length) ||
        !(header.map = cursor_take(&cursor, (size_t)header.map_length * ((header.map_bits + 7) / 8))))
        return image_truncated("TGA", input, err);
    enum limoe_status status = image_check("TGA", input, header.width, header.height, err);
    if (status != LIMOE_OK)
        return status;
    uint32_t bits = header.kind == PALETTE ? header.map_bits : header.bits;
    bool alpha = (header.kind == GREY ? bits == 16 : bits == 32) && alpha_is_meant(input);
    *out = (struct image){.width = header.width, .height = header.height, .channels = alpha ? 4 : 3};
    *orientation = header.direction & RIGHT_TO_LEFT ? MIRRORED : 1;
    if (header.kind == PALETTE)
        return read_mapped(&header, &cursor, input, out, err);
    struct source source = {0};
    source_add(&source, input->bytes, input->size);
    return image_read_stb("TGA", input, &source, out->width, out->height, out->channels, &out->pixels, err);
}
