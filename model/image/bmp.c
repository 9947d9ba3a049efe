/* bmp.c - Windows and OS/2 bitmaps: 1, 4, 8, 16, 24 and 32 bits a pixel, bottom-up or top-down, not
 * run-length coded. The fourth byte of a 32-bit pixel is alpha only where the header gives alpha a mask. No
 * state, no threads. */
#include "formats.h"

#define RAW       0u
#define BITFIELDS 3u

/* Where one channel lies in a pixel. */
struct field {
    uint32_t shift, bits; /* bits = 0: the channel is absent */
};

struct header {
    uint32_t width, height, bits, compression, entry; /* entry: bytes a palette colour */
    bool top_down;
    struct field field[4]; /* red, green, blue, alpha; of 16 and 32 bits */
    const uint8_t *palette;
    uint32_t colours;
    struct cursor pixels;
};

static bool set_field(struct field *field, uint32_t mask) {
    *field = (struct field){0};
    if (mask == 0) {
        return true;
    }
    while (!(mask >> field->shift & 1)) {
        field->shift++;
    }
    while (field->shift + field->bits < 32 && (mask >> (field->shift + field->bits) & 1)) {
        field->bits++;
    }
    return ((uint64_t)1 << field->bits) - 1 == mask >> field->shift;
}

/* Reads the masks of a 16- or 32-bit bitmap, or sets what stands for them. */
static enum limoe_status read_fields(struct header *header, const uint8_t *dib, uint32_t dib_size,
                                     struct cursor *cursor, const struct input *input,
                                     struct limoe_error *err) {
    uint32_t mask[4] = {0x7C00, 0x03E0, 0x001F, 0};
    if (header->bits == 32) {
        mask[0] = 0xFF0000;
        mask[1] = 0x00FF00;
        mask[2] = 0x0000FF;
    }
    if (header->compression == BITFIELDS) {
        const uint8_t *masks = dib_size >= 52 ? dib + 40 : cursor_take(cursor, 12);
        if (!masks) {
            return image_truncated("BMP", input, err);
        }
        for (int c = 0; c < 3; c++) {
            mask[c] = le32(masks + 4 * c);
        }
        mask[3] = dib_size >= 56 ? le32(masks + 12) : 0;
    }
    for (int c = 0; c < 4; c++) {
        if (!set_field(&header->field[c], mask[c]) || (c < 3 && mask[c] == 0)) {
            return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: %08x is not the mask of a channel", mask[c]);
        }
    }
    return LIMOE_OK;
}

static enum limoe_status read_header(const struct input *input, struct header *header,
                                     struct limoe_error *err) {
    struct cursor cursor = cursor_over(input);
    const uint8_t *file = cursor_take(&cursor, 14);
    uint32_t dib_size = cursor_left(&cursor) >= 4 ? le32(cursor.at) : 0;
    const uint8_t *dib = dib_size ? cursor_take(&cursor, dib_size) : NULL;
    if (!file || !dib) {
        return image_truncated("BMP", input, err);
    }
    if (dib_size == 12) {
        header->width = le16(dib + 4);
        header->height = le16(dib + 6);
        header->bits = le16(dib + 10);
        header->entry = 3;
    } else if (dib_size == 40 || dib_size == 52 || dib_size == 56 || dib_size == 108 || dib_size == 124) {
        header->width = le32(dib + 4);
        header->height = le32(dib + 8);
        header->bits = le16(dib + 14);
        header->compression = le32(dib + 16);
        header->colours = le32(dib + 32);
        header->entry = 4;
        if (header->height >> 31) { /* negative: rows from the top */
            header->height = 0 - header->height;
            header->top_down = true;
        }
    } else {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "BMP: a header of %u bytes; 12, 40, 52, 56, 108 and 124 are known", dib_size);
    }
    uint32_t bits = header->bits;
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: %u bits a pixel; 1, 4, 8, 16, 24 and 32 are known",
                          bits);
    }
    if (header->compression != RAW && !(header->compression == BITFIELDS && (bits == 16 || bits == 32))) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "BMP: compression %u of %u bits is not supported; save it uncompressed",
                          header->compression, bits);
    }
    if (bits == 16 || bits == 32) {
        enum limoe_status status = read_fields(header, dib, dib_size, &cursor, input, err);
        if (status != LIMOE_OK) {
            return status;
        }
    } else if (bits <= 8) {
        if (header->colours == 0 || header->colours > 1u << bits) {
            header->colours = 1u << bits;
        }
        header->palette = cursor_take(&cursor, (size_t)header->colours * header->entry);
        if (!header->palette) {
            return image_truncated("BMP", input, err);
        }
    }
    size_t offset = le32(file + 10);
    if (offset > input->size) {
        return image_truncated("BMP", input, err);
    }
    if (offset < (size_t)(cursor.at - input->bytes)) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: the pixels begin at byte %zu, within the header",
                          offset);
    }
    header->pixels = (struct cursor){input->bytes + offset, cursor.end};
    return LIMOE_OK;
}

/* A channel's value at 8 bits. */
static uint8_t extract(uint32_t pixel, struct field field) {
    uint32_t value = pixel >> field.shift & (uint32_t)(((uint64_t)1 << field.bits) - 1);
    return (uint8_t)(field.bits > 8 ? value >> (field.bits - 8) : value * 255 / ((1u << field.bits) - 1));
}

/* One row of pixels. false: an index without colour. */
static bool read_row(const struct header *header, const uint8_t *from, uint8_t *to, uint32_t channels) {
    uint32_t bits = header->bits;
    for (uint32_t x = 0; x < header->width; x++, to += channels) {
        if (bits <= 8) {
            size_t bit = (size_t)x * bits;
            uint32_t index = (uint32_t)from[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1);
            if (index >= header->colours) {
                return false;
            }
            const uint8_t *colour = header->palette + (size_t)index * header->entry;
            to[0] = colour[2];
            to[1] = colour[1];
            to[2] = colour[0];
        } else if (bits == 24) {
            to[0] = from[3 * (size_t)x + 2];
            to[1] = from[3 * (size_t)x + 1];
            to[2] = from[3 * (size_t)x];
        } else {
            uint32_t pixel = bits == 16 ? le16(from + 2 * (size_t)x) : le32(from + 4 * (size_t)x);
            for (uint32_t c = 0; c < channels; c++) {
                to[c] = extract(pixel, header->field[c]);
            }
        }
    }
    return true;
}

enum limoe_status image_read_bmp(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct header header = {0};
    enum limoe_status status = read_header(input, &header, err);
    if (status == LIMOE_OK) {
        status =
            image_allocate("BMP", input, header.width, header.height, header.field[3].bits ? 4 : 3, out, err);
    }
    if (status != LIMOE_OK) {
        return status;
    }
    size_t used = ((size_t)header.width * header.bits + 7) / 8, padding = (4 - used % 4) % 4;
    for (uint32_t i = 0; i < header.height; i++) { /* the last row's padding may be missing */
        const uint8_t *row =
            i > 0 && !cursor_take(&header.pixels, padding) ? NULL : cursor_take(&header.pixels, used);
        if (!row) {
            return image_truncated("BMP", input, err);
        }
        uint32_t y = header.top_down ? i : header.height - 1 - i;
        if (!read_row(&header, row, out->pixels + (size_t)y * out->width * out->channels, out->channels)) {
            return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: row %u has a colour past the %u of the palette", y,
                              header.colours);
        }
    }
    return LIMOE_OK;
}
