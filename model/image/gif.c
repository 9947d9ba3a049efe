/* gif.c - the first frame of a GIF, on its canvas. No state, no threads.
 *
 * The canvas is the logical screen, grown where the frame reaches past it; what the frame does not cover is
 * transparent where the frame has a transparent colour, else colour 0. Both as Pillow has it. */
#include "model/image/formats.h"

#include <stdlib.h>

#define TABLE 4096 /* codes of at most 12 bits */

struct frame {
    uint32_t x, y, width, height;
    bool interlaced;
    int transparent; /* an index, or -1 */
    const uint8_t *palette;
    uint32_t colours; /* 0: no palette, indices are greys */
};

/* LZW, variable width. Entry c spells the string of entry prefix[c], then the byte last[c]. */
struct lzw {
    uint16_t prefix[TABLE];
    uint16_t length[TABLE];
    uint8_t last[TABLE], first[TABLE];
};

/* Skips a chain of data blocks; false where the file ends first. */
static bool skip_blocks(struct cursor *cursor) {
    const uint8_t *size;
    while ((size = cursor_take(cursor, 1))) {
        if (*size == 0)
            return true;
        if (!cursor_take(cursor, *size))
            return false;
    }
    return false;
}

/* A chain of data blocks read as bits, the lowest first. */
struct bits {
    struct cursor *cursor;
    uint32_t held, count; /* bits held, and how many */
    size_t block;         /* bytes left in the block */
};

/* The next code of `width` bits; -1 at the end of the chain, -2 at the end of the file. */
static int next_code(struct bits *bits, uint32_t width) {
    while (bits->count < width) {
        if (bits->block == 0) {
            const uint8_t *size = cursor_take(bits->cursor, 1);
            if (!size)
                return -2;
            if (*size == 0)
                return -1;
            bits->block = *size;
        }
        const uint8_t *byte = cursor_take(bits->cursor, 1);
        if (!byte)
            return -2;
        bits->held |= (uint32_t)*byte << bits->count;
        bits->count += 8;
        bits->block--;
    }
    int code = (int)(bits->held & ((1u << width) - 1));
    bits->held >>= width;
    bits->count -= width;
    return code;
}

/* Fills indices[n]. */
static enum limoe_status unpack(struct cursor *cursor, const struct input *input, uint8_t *indices, size_t n,
                                struct limoe_error *err) {
    const uint8_t *least = cursor_take(cursor, 1);
    if (!least)
        return image_truncated("GIF", input, err);
    if (*least < 1 || *least > 8)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: codes of %u bits; 1 to 8 are possible", *least);
    struct lzw *lzw = calloc(1, sizeof *lzw);
    if (!lzw)
        return limoe_fail(err, LIMOE_NO_MEMORY, "GIF: no memory for the code table");
    uint32_t clear = 1u << *least, stop = clear + 1, next = clear + 2, width = *least + 1u;
    for (uint32_t i = 0; i < clear; i++) {
        lzw->length[i] = 1;
        lzw->last[i] = lzw->first[i] = (uint8_t)i;
    }
    enum limoe_status status = LIMOE_OK;
    struct bits bits = {.cursor = cursor};
    int previous = -1;
    for (size_t done = 0; done < n;) {
        int code = next_code(&bits, width);
        if (code == -2) {
            status = image_truncated("GIF", input, err);
            break;
        }
        if (code == -1 || (uint32_t)code == stop) {
            status = limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: the data ends after %zu of %zu pixels", done, n);
            break;
        }
        uint32_t now = (uint32_t)code;
        if (now == clear) {
            next = clear + 2;
            width = *least + 1u;
            previous = -1;
            continue;
        }
        if (now > next || (now == next && (previous < 0 || next == TABLE)) ||
            (previous < 0 && now >= clear)) {
            status = limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: code %u where at most %u is known", now, next);
            break;
        }
        if (previous >= 0 && next < TABLE) { /* the previous string, then the first byte of this one */
            lzw->prefix[next] = (uint16_t)previous;
            lzw->length[next] = (uint16_t)(lzw->length[previous] + 1);
            lzw->first[next] = lzw->first[previous];
            lzw->last[next] = now == next ? lzw->first[previous] : lzw->first[now];
            next++;
            if (next == 1u << width && width < 12)
                width++;
        }
        size_t length = lzw->length[now];
        uint32_t entry = now;
        for (size_t i = length; i-- > 0; entry = lzw->prefix[entry]) /* the string, from its end */
            if (done + i < n)
                indices[done + i] = lzw->last[entry];
        done += length;
        previous = code;
    }
    free(lzw);
    return status;
}

/* The row of the picture that the file's i-th row is. */
static uint32_t interlaced_row(uint32_t i, uint32_t height) {
    static const uint32_t first[4] = {0, 4, 2, 1}, step[4] = {8, 8, 4, 2};
    for (int pass = 0;; pass++) {
        uint32_t rows = height > first[pass] ? (height - first[pass] + step[pass] - 1) / step[pass] : 0;
        if (i < rows || pass == 3)
            return first[pass] + i * step[pass];
        i -= rows;
    }
}

static bool put_pixel(const struct frame *frame, uint32_t index, uint8_t *pixel, uint32_t channels) {
    if (frame->colours == 0)
        memset(pixel, (int)index, 3);
    else if (index < frame->colours)
        memcpy(pixel, frame->palette + 3 * index, 3);
    else if ((int)index != frame->transparent)
        return false;
    if (channels == 4)
        pixel[3] = (int)index == frame->transparent ? 0 : 255;
    return true;
}

static enum limoe_status paint(const struct frame *frame, const uint8_t *indices, struct image *out,
                               struct limoe_error *err) {
    size_t stride = (size_t)out->width * out->channels;
    uint32_t ground = frame->transparent < 0 ? 0 : (uint32_t)frame->transparent;
    for (size_t i = 0; i < (size_t)out->width * out->height; i++)
        put_pixel(frame, ground, out->pixels + i * out->channels, out->channels);
    for (uint32_t i = 0; i < frame->height; i++) {
        uint32_t y = frame->y + (frame->interlaced ? interlaced_row(i, frame->height) : i);
        uint8_t *pixel = out->pixels + y * stride + (size_t)frame->x * out->channels;
        for (uint32_t x = 0; x < frame->width; x++, pixel += out->channels, indices++) {
            if (!put_pixel(frame, *indices, pixel, out->channels)) {
                return limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: a pixel of colour %u; the palette has %u",
                                  *indices, frame->colours);
            }
        }
    }
    return LIMOE_OK;
}

/* Reads a colour table if the flags announce one. false: the file ends first. */
static bool take_palette(struct cursor *cursor, uint32_t flags, struct frame *frame) {
    if (flags & 0x80) {
        frame->colours = 2u << (flags & 7);
        frame->palette = cursor_take(cursor, (size_t)frame->colours * 3);
        return frame->palette != NULL;
    }
    return true;
}

/* From the logical screen up to the first frame's data. Zero bytes between the blocks are passed: some
 * writers end a chain of blocks twice. */
static enum limoe_status find_frame(struct cursor *cursor, const struct input *input, struct frame *frame,
                                    struct limoe_error *err) {
    for (;;) {
        const uint8_t *kind = cursor_take(cursor, 1);
        if (kind && *kind == ',') {
            const uint8_t *head = cursor_take(cursor, 9);
            if (!head)
                break;
            frame->x = le16(head);
            frame->y = le16(head + 2);
            frame->width = le16(head + 4);
            frame->height = le16(head + 6);
            frame->interlaced = head[8] & 0x40;
            if (!take_palette(cursor, head[8], frame))
                break;
            return LIMOE_OK;
        } else if (kind && *kind == '!') {
            const uint8_t *label = cursor_take(cursor, 1);
            if (label && *label == 0xF9 && cursor_left(cursor) >= 5 &&
                cursor->at[0] == 4) /* graphic control */
                frame->transparent = cursor->at[1] & 1 ? cursor->at[4] : -1;
            if (!label || !skip_blocks(cursor))
                break;
        } else if (kind && *kind == ';') {
            return limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: no picture in it");
        } else if (kind && *kind != 0) {
            return limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: byte %02x where a frame should begin", *kind);
        } else if (!kind) {
            break;
        }
    }
    return image_truncated("GIF", input, err);
}

enum limoe_status image_read_gif(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    (void)orientation;
    struct cursor cursor = cursor_over(input);
    const uint8_t *screen = cursor_take(&cursor, 13);
    struct frame frame = {.transparent = -1};
    if (!screen || !take_palette(&cursor, screen[10], &frame))
        return image_truncated("GIF", input, err);
    enum limoe_status status = find_frame(&cursor, input, &frame, err);
    if (status != LIMOE_OK)
        return status;
    if (frame.width == 0 || frame.height == 0)
        return limoe_fail(err, LIMOE_BAD_IMAGE, "GIF: a frame of %u x %u pixels", frame.width, frame.height);
    uint32_t width = le16(screen + 6), height = le16(screen + 8);
    width = width > frame.x + frame.width ? width : frame.x + frame.width;
    height = height > frame.y + frame.height ? height : frame.y + frame.height;
    status = image_allocate("GIF", input, width, height, frame.transparent < 0 ? 3 : 4, out, err);
    if (status != LIMOE_OK)
        return status;
    size_t n = (size_t)frame.width * frame.height;
    uint8_t *indices = calloc(n, 1);
    if (!indices)
        return limoe_fail(err, LIMOE_NO_MEMORY, "GIF: no memory for %zu pixels", n);
    status = unpack(&cursor, input, indices, n, err);
    if (status == LIMOE_OK)
        status = paint(&frame, indices, out, err);
    free(indices);
    return status;
}
