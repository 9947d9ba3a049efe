/* pnm.c - PBM, PGM and PPM, as text and as bytes, of any maximum up to 65535. No state, no threads. */
#include "formats.h"

#include <math.h>

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
        if (!comment && !is_space(c)) {
            return;
        }
    }
}

/* Reads a decimal number; values past the 32 bits stay at the largest. */
static enum limoe_status read_number(struct cursor *cursor, const struct input *input, uint32_t *value,
                                     struct limoe_error *err) {
    skip_space(cursor);
    if (cursor_left(cursor) == 0) {
        return image_truncated("PNM", input, err);
    }
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
    if (cursor_left(cursor) == 0) {
        return image_truncated("PNM", input, err);
    }
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
        if (status != LIMOE_OK) {
            return status;
        }
    }
    if (header->maximum < 1 || header->maximum > 65535) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PNM: a maximum of %u; 1 to 65535 are possible",
                          header->maximum);
    }
    if (header->kind >= 4 && !cursor_take(cursor, 1)) { /* one white space, then the bytes */
        return image_truncated("PNM", input, err);
    }
    return LIMOE_OK;
}

/* The next sample of a text file, or of a file of bytes whose samples have one or two. */
static enum limoe_status read_sample(struct cursor *cursor, const struct input *input,
                                     const struct header *header, uint32_t *value, struct limoe_error *err) {
    if (header->kind == 1) { /* digits need no space between them */
        skip_space(cursor);
        const uint8_t *digit = cursor_take(cursor, 1);
        if (!digit) {
            return image_truncated("PNM", input, err);
        }
        *value = *digit - (uint32_t)'0';
    } else if (header->kind <= 3) {
        enum limoe_status status = read_number(cursor, input, value, err);
        if (status != LIMOE_OK) {
            return status;
        }
    } else {
        uint32_t bytes = header->maximum > 255 ? 2 : 1;
        const uint8_t *sample = cursor_take(cursor, bytes);
        if (!sample) {
            return image_truncated("PNM", input, err);
        }
        *value = bytes == 2 ? be16(sample) : *sample;
    }
    if (*value > header->maximum) {
        return limoe_fail(err, LIMOE_BAD_IMAGE, "PNM: a sample before byte %zu is over the maximum of %u",
                          (size_t)(cursor->at - input->bytes), header->maximum);
    }
    return LIMOE_OK;
}

/* Packed bits, 1 is black, each row from a byte of its own. */
static enum limoe_status read_bitmap(struct cursor *cursor, const struct input *input, struct image *out,
                                     struct limoe_error *err) {
    uint8_t *to = out->pixels;
    for (uint32_t y = 0; y < out->height; y++) {
        const uint8_t *row = cursor_take(cursor, ((size_t)out->width + 7) / 8);
        if (!row) {
            return image_truncated("PNM", input, err);
        }
        for (uint32_t x = 0; x < out->width; x++, to += 3) {
            memset(to, row[x / 8] >> (7 - x % 8) & 1 ? 0 : 255, 3);
        }
    }
    return LIMOE_OK;
}

enum limoe_status image_read_pnm(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct cursor cursor = cursor_over(input);
    struct header header = {0};
    enum limoe_status status = read_header(&cursor, input, &header, err);
    if (status == LIMOE_OK) {
        status = image_allocate("PNM", input, header.width, header.height, 3, out, err);
    }
    if (status != LIMOE_OK) {
        return status;
    }
    if (header.kind == 4) {
        return read_bitmap(&cursor, input, out, err);
    }
    bool colour = header.kind == 3 || header.kind == 6;
    size_t samples = (size_t)out->width * out->height * (colour ? 3 : 1);
    for (size_t i = 0; i < samples; i++) {
        uint32_t value = 0;
        status = read_sample(&cursor, input, &header, &value, err);
        if (status != LIMOE_OK) {
            return status;
        }
        value = header.kind == 1 ? 1 - value : value;
        uint8_t scaled =
            header.maximum == 255 ? (uint8_t)value : (uint8_t)nearbyint(value / (double)header.maximum * 255);
        if (colour) {
            out->pixels[i] = scaled;
        } else {
            memset(out->pixels + 3 * i, scaled, 3);
        }
    }
    return LIMOE_OK;
}
