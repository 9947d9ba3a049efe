/* bmp.c - Windows and OS/2 bitmaps: 1, 4, 8, 16, 24 and 32 bits a pixel, bottom-up or top-down; of 4 and 8
 * bits also run-length coded. The fourth byte of a 32-bit pixel is alpha only where the header gives alpha a
 * mask. No state, no threads. */
#include "model/image/formats.h"

#include <stdlib.h>

#define RAW       0u
#define RLE8      1u
#define RLE4      2u
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
    if (mask == 0)
        return true;
    while (!(mask >> field->shift & 1))
        field->shift++;
    while (field->shift + field->bits < 32 && (mask >> (field->shift + field->bits) & 1))
        field->bits++;
    return ((uint64_t)1 << field->bits) - 1 == mask >> field->shift;
}

/* Reads the masks of a 16-, 24- or 32-bit bitmap, or sets what stands for them. */
static enum limoe_status read_fields(struct header *header, const uint8_t *dib, uint32_t dib_size,
                                     struct cursor *cursor, const struct input *input,
                                     struct limoe_error *err) {
    uint32_t mask[4] = {0x7C00, 0x03E0, 0x001F, 0};
    if (header->bits > 16) {
        mask[0] = 0xFF0000;
        mask[1] = 0x00FF00;
        mask[2] = 0x0000FF;
    }
    if (header->compression == BITFIELDS) {
        const uint8_t *masks = dib_size >= 52 ? dib + 40 : cursor_take(cursor, 12);
        if (!masks)
            return image_truncated("BMP", input, err);
        for (int c = 0; c < 3; c++)
            mask[c] = le32(masks + 4 * c);
        mask[3] = dib_size >= 56 ? le32(masks + 12) : 0;
    }
    for (int c = 0; c < 4; c++)
        if (!set_field(&header->field[c], mask[c]) || (c < 3 && mask[c] == 0))
            return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: %08x is not the mask of a channel", mask[c]);
    return LIMOE_OK;
}

/* Whether pixels of so many bits can be compressed so. */
static bool is_known(uint32_t bits, uint32_t compression) {
    switch (compression) {
    case RAW:
        return true;
    case RLE8:
        return bits == 8;
    case RLE4:
        return bits == 4;
    case BITFIELDS:
        return bits == 16 || bits == 24 || bits == 32;
    default:
        return false;
    }
}

static enum limoe_status read_shape(const uint8_t *dib, uint32_t dib_size, struct header *header,
                                    struct limoe_error *err) {
    switch (dib_size) {
    case 12:
        header->width = le16(dib + 4);
        header->height = le16(dib + 6);
        header->bits = le16(dib + 10);
        header->entry = 3;
        break;
    case 40:
    case 52:
    case 56:
    case 64: /* OS/2's long one */
    case 108:
    case 124:
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
        break;
    default:
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "BMP: a header of %u bytes; 12, 40, 52, 56, 64, 108 and 124 are known", dib_size);
    }
    uint32_t bits = header->bits;
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: %u bits a pixel; 1, 4, 8, 16, 24 and 32 are known",
                          bits);
    }
    if (!is_known(bits, header->compression) || (dib_size == 64 && header->compression == BITFIELDS)) {
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "BMP: compression %u of %u bits is not supported; save it uncompressed",
                          header->compression, bits);
    }
    return LIMOE_OK;
}

static enum limoe_status read_header(const struct input *input, struct header *header,
                                     struct limoe_error *err) {
    struct cursor cursor = cursor_over(input);
    const uint8_t *file = cursor_take(&cursor, 14);
    uint32_t dib_size = cursor_left(&cursor) >= 4 ? le32(cursor.at) : 0;
    const uint8_t *dib = dib_size ? cursor_take(&cursor, dib_size) : NULL;
    if (!file || !dib)
        return image_truncated("BMP", input, err);
    enum limoe_status status = read_shape(dib, dib_size, header, err);
    if (status != LIMOE_OK)
        return status;
    uint32_t bits = header->bits;
    if (header->compression == BITFIELDS || bits > 8) {
        status = read_fields(header, dib, dib_size, &cursor, input, err);
        if (status != LIMOE_OK)
            return status;
    } else {
        if (header->colours == 0 || header->colours > 1u << bits)
            header->colours = 1u << bits;
        header->palette = cursor_take(&cursor, (size_t)header->colours * header->entry);
        if (!header->palette)
            return image_truncated("BMP", input, err);
    }
    size_t offset = le32(file + 10), behind = (size_t)(cursor.at - input->bytes);
    offset = offset == 0 ? behind : offset; /* some writers leave it to the reader */
    if (offset > input->size)
        return image_truncated("BMP", input, err);
    if (offset < behind) {
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

static uint32_t read_pixel(const uint8_t *from, uint32_t bits) {
    return bits == 16 ? le16(from) : bits == 24 ? le16(from) | (uint32_t)from[2] << 16 : le32(from);
}

/* Indices to colours. false: an index without colour. */
static bool read_indices(const struct header *header, const uint8_t *from, uint8_t *to) {
    const uint32_t bits = header->bits;
    for (uint32_t x = 0; x < header->width; x++, to += 3) {
        const size_t bit = (size_t)x * bits;
        const uint32_t index = (uint32_t)from[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1);
        if (index >= header->colours)
            return false;
        const uint8_t *colour = header->palette + (size_t)index * header->entry;
        to[0] = colour[2];
        to[1] = colour[1];
        to[2] = colour[0];
    }
    return true;
}

/* Blue, green, red. */
static void read_plain_colours(const uint8_t *from, uint8_t *to, uint32_t width) {
    for (uint32_t x = 0; x < width; x++, from += 3, to += 3) {
        to[0] = from[2];
        to[1] = from[1];
        to[2] = from[0];
    }
}

static void read_masked(const struct header *header, const uint8_t *from, uint8_t *to, uint32_t channels) {
    for (uint32_t x = 0; x < header->width; x++, to += channels) {
        const uint32_t pixel = read_pixel(from + (size_t)x * (header->bits / 8), header->bits);
        for (uint32_t c = 0; c < channels; c++)
            to[c] = extract(pixel, header->field[c]);
    }
}

/* One row of pixels. false: an index without colour. */
static bool read_row(const struct header *header, const uint8_t *from, uint8_t *to, uint32_t channels) {
    if (header->bits <= 8)
        return read_indices(header, from, to);
    if (header->bits == 24 && header->compression == RAW)
        read_plain_colours(from, to, header->width);
    else
        read_masked(header, from, to, channels);
    return true;
}

static enum limoe_status put_row(const struct header *header, uint32_t i, const uint8_t *row,
                                 struct image *out, struct limoe_error *err) {
    uint32_t y = header->top_down ? i : header->height - 1 - i;
    if (!read_row(header, row, out->pixels + (size_t)y * out->width * out->channels, out->channels)) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: row %u has a colour past the %u of the palette", y,
                          header->colours);
    }
    return LIMOE_OK;
}

static enum limoe_status read_plain(struct header *header, const struct input *input, struct image *out,
                                    struct limoe_error *err) {
    size_t used = ((size_t)header->width * header->bits + 7) / 8, padding = (4 - used % 4) % 4;
    enum limoe_status status = LIMOE_OK;
    for (uint32_t i = 0; i < header->height && status == LIMOE_OK; i++) {
        /* the last row's padding may be missing */
        const uint8_t *row =
            i > 0 && !cursor_take(&header->pixels, padding) ? NULL : cursor_take(&header->pixels, used);
        status = row ? put_row(header, i, row, out, err) : image_truncated("BMP", input, err);
    }
    return status;
}

static enum limoe_status read_runs(struct header *header, const struct input *input, struct image *out,
                                   struct limoe_error *err) {
    size_t n = (size_t)header->width * header->height;
    uint8_t *indices = calloc(n, 1);
    if (!indices)
        return limoe_fail(err, LIMOE_NO_MEMORY, "BMP: no memory for %zu pixels", n);
    size_t done = image_unpack_bmp(&header->pixels, header->bits, header->width, indices, n);
    enum limoe_status status =
        done == n ? LIMOE_OK
        : cursor_left(&header->pixels) == 0
            ? image_truncated("BMP", input, err)
            : limoe_fail(err, LIMOE_BAD_IMAGE, "BMP: the runs end after %zu of %zu pixels", done, n);
    header->bits = 8; /* of indices[] */
    for (uint32_t i = 0; i < header->height && status == LIMOE_OK; i++)
        status = put_row(header, i, indices + (size_t)i * header->width, out, err);
    free(indices);
    return status;
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
    if (status != LIMOE_OK)
        return status;
    bool runs = header.compression == RLE8 || header.compression == RLE4;
    return runs ? read_runs(&header, input, out, err) : read_plain(&header, input, out, err);
}
