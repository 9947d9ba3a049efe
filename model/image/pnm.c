/* pnm.c - PBM, PGM and PPM, as text and as bytes, of any maximum up to 65535. No state, no threads.
 *
 * stb_image reads grey and colour in bytes; it ignores their maximum, so it is applied here. Text and bitmaps
 * it does not read. */
#include "model/image/stb.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct header {
    uint32_t kind; /* 1 … 6 of "P1" … "P6" */
    uint32_t width, height, maximum;
};

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Passes white space, and comments from # to the end of the line. */
static void skip_space(struct cursor *cursor) {
    bool comment = false;
    for (; cursor->at < cursor->end; cursor->at++) {
        uint8_t c = *cursor->at;
        comment = comment ? c != '\n' && c != '\r' : c == '#';
        if (!comment && !is_space(c))
            return;
    }
}

/* Reads a decimal number; values past the 32 bits stay at the largest. */
static enum limoe_status read_number(struct cursor *cursor, const struct input *input, uint32_t *value,
                                     struct limoe_error *err) {
    skip_space(cursor);
    if (cursor_left(cursor) == 0)
        return image_truncated("PNM", input, err);
    if (*cursor->at < '0' || *cursor->at > '9') {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PNM: byte %02x at %zu, where a number should be",
                          *cursor->at, (size_t)(cursor->at - input->bytes));
    }
    uint64_t number = 0;
    for (; cursor->at < cursor->end && *cursor->at >= '0' && *cursor->at <= '9'; cursor->at++) {
        number = number * 10 + (*cursor->at - '0');
        number = number > UINT32_MAX ? UINT32_MAX : number;
    }
    *value = (uint32_t)number;
    return LIMOE_OK;
}

static enum limoe_status read_header(struct cursor *cursor, const struct input *input, struct header *header,
                                     struct limoe_error *err) {
    const uint8_t *magic = cursor_take(cursor, 2);
    if (cursor_left(cursor) == 0)
        return image_truncated("PNM", input, err);
    if (!is_space(*cursor->at) && *cursor->at != '#') {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PNM: byte %02x after P%c, where white space should be",
                          *cursor->at, magic[1]);
    }
    header->kind = magic[1] - (uint32_t)'0';
    header->maximum = 1;
    uint32_t *fields[] = {&header->width, &header->height, &header->maximum};
    int n = header->kind == 1 || header->kind == 4 ? 2 : 3;
    for (int i = 0; i < n; i++) {
        enum limoe_status status = read_number(cursor, input, fields[i], err);
        if (status != LIMOE_OK)
            return status;
    }
    if (header->maximum < 1 || header->maximum > 65535) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PNM: a maximum of %u; 1 to 65535 are possible",
                          header->maximum);
    }
    if (header->kind >= 4 && !cursor_take(cursor, 1)) /* one white space, then the bytes */
        return image_truncated("PNM", input, err);
    return LIMOE_OK;
}

/* The value at 8 bits; false: it is over the maximum. */
static bool scale(const struct header *header, uint32_t value, uint8_t *scaled) {
    if (value > header->maximum)
        return false;
    *scaled =
        header->maximum == 255 ? (uint8_t)value : (uint8_t)nearbyint(value / (double)header->maximum * 255);
    return true;
}

static enum limoe_status over(const struct header *header, size_t sample, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_BAD_IMAGE, "PNM: sample %zu is over the maximum of %u", sample,
                      header->maximum);
}

static bool is_colour(const struct header *header) {
    return header->kind == 3 || header->kind == 6;
}

/* Sample i of a picture of one channel or three. */
static void put_sample(const struct header *header, size_t i, uint8_t value, struct image *out) {
    if (is_colour(header))
        out->pixels[i] = value;
    else
        memset(out->pixels + 3 * i, value, 3);
}

/* The next sample of a text file. */
static enum limoe_status read_sample(struct cursor *cursor, const struct input *input,
                                     const struct header *header, uint32_t *value, struct limoe_error *err) {
    if (header->kind != 1)
        return read_number(cursor, input, value, err);
    skip_space(cursor); /* digits of a bitmap need no space between them */
    const uint8_t *digit = cursor_take(cursor, 1);
    if (!digit)
        return image_truncated("PNM", input, err);
    *value = *digit - (uint32_t)'0';
    return LIMOE_OK;
}

static enum limoe_status read_text(struct cursor *cursor, const struct input *input,
                                   const struct header *header, struct image *out, struct limoe_error *err) {
    size_t samples = (size_t)out->width * out->height * (is_colour(header) ? 3 : 1);
    for (size_t i = 0; i < samples; i++) {
        uint32_t value = 0;
        uint8_t scaled;
        enum limoe_status status = read_sample(cursor, input, header, &value, err);
        if (status != LIMOE_OK)
            return status;
        if (!scale(header, value, &scaled))
            return over(header, i, err);
        put_sample(header, i, header->kind == 1 ? 255 - scaled : scaled, out);
    }
    return LIMOE_OK;
}

/* Packed bits, 1 is black, each row from a byte of its own. */
static enum limoe_status read_bitmap(struct cursor *cursor, const struct input *input, struct image *out,
                                     struct limoe_error *err) {
    uint8_t *to = out->pixels;
    for (uint32_t y = 0; y < out->height; y++) {
        const uint8_t *row = cursor_take(cursor, ((size_t)out->width + 7) / 8);
        if (!row)
            return image_truncated("PNM", input, err);
        for (uint32_t x = 0; x < out->width; x++, to += 3)
            memset(to, row[x / 8] >> (7 - x % 8) & 1 ? 0 : 255, 3);
    }
    return LIMOE_OK;
}

/* As stb_image decodes it: *pixels of `channels` bytes each. Samples of two bytes come as two pixels. */
static enum limoe_status read_stb(const struct cursor *cursor, const struct input *input,
                                  const struct header *header, uint32_t channels, uint8_t **pixels,
                                  struct limoe_error *err) {
    char head[64];
    struct source source = {0};
    uint32_t width = header->width * (header->maximum > 255 ? 2 : 1);
    int length = snprintf(head, sizeof head, "P%u %u %u 255\n", header->kind, width, header->height);
    source_add(&source, (const uint8_t *)head, (size_t)length);
    source_add(&source, cursor->at, cursor_left(cursor));
    return image_read_stb("PNM", input, &source, width, header->height, channels, pixels, err);
}

/* Bytes of any maximum but 255. */
static enum limoe_status read_scaled(const struct cursor *cursor, const struct input *input,
                                     const struct header *header, struct image *out,
                                     struct limoe_error *err) {
    uint8_t *bytes, scaled;
    uint32_t channels = is_colour(header) ? 3 : 1, size = header->maximum > 255 ? 2 : 1;
    enum limoe_status status = read_stb(cursor, input, header, channels, &bytes, err);
    size_t samples = (size_t)out->width * out->height * channels;
    for (size_t i = 0; i < samples && status == LIMOE_OK; i++)
        if (scale(header, size == 2 ? be16(bytes + 2 * i) : bytes[i], &scaled))
            put_sample(header, i, scaled, out);
        else
            status = over(header, i, err);
    free(bytes);
    return status;
}

enum limoe_status image_read_pnm(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct cursor cursor = cursor_over(input);
    struct header header = {0};
    enum limoe_status status = read_header(&cursor, input, &header, err);
    bool direct = header.kind >= 5 && header.maximum == 255;
    if (status == LIMOE_OK) {
        status = direct ? image_check("PNM", input, header.width, header.height, err)
                        : image_allocate("PNM", input, header.width, header.height, 3, out, err);
    }
    if (status != LIMOE_OK)
        return status;
    if (direct) {
        *out = (struct image){.width = header.width, .height = header.height, .channels = 3};
        return read_stb(&cursor, input, &header, 3, &out->pixels, err);
    }
    return header.kind == 4   ? read_bitmap(&cursor, input, out, err)
           : header.kind <= 3 ? read_text(&cursor, input, &header, out, err)
                              : read_scaled(&cursor, input, &header, out, err);
}
