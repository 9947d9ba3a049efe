/* measure.c - a picture's size from its header, for who must know what it will cost before it is decoded.
 *
 * It runs in the front, on bytes that nobody has checked: it reads through a cursor that cannot leave them,
 * it allocates nothing, and a walk over segments, blocks or characters ends after MOST_STEPS. No state, no
 * threads. */
#include "model/image/boxes.h"

#include <stdlib.h>

/* Real files have their size within a few hundred segments;
 * a comment of a megabyte in a GIF has 4112 blocks. */
#define MOST_STEPS 16384

static struct cursor cursor_from(const uint8_t *bytes, size_t size, size_t skip) {
    struct cursor cursor = {bytes, bytes + size};
    return cursor_take(&cursor, skip) ? cursor : (struct cursor){cursor.end, cursor.end};
}

bool limoe_image_measure(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    const struct image_format *format = image_find_format(bytes, size);
    *width = *height = 0;
    return format && format->measure && format->measure(bytes, size, width, height);
}

/* ---- JPEG: segments up to the first SOFn */

/* The next marker's second byte, past whatever lies before it; 0: the file ends first. */
static uint8_t next_marker(struct cursor *cursor) {
    const uint8_t *at;
    while (cursor_left(cursor) && (at = memchr(cursor->at, 0xFF, cursor_left(cursor)))) {
        while (at < cursor->end && *at == 0xFF)
            at++;
        cursor->at = at;
        const uint8_t *code = cursor_take(cursor, 1);
        if (code && *code != 0)
            return *code;
    }
    return 0;
}

static bool is_frame(uint8_t marker) { /* SOF0 … SOF15; C4, C8 and CC are tables */
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

static bool has_no_length(uint8_t marker) { /* RSTn, TEM */
    return (marker >= 0xD0 && marker <= 0xD7) || marker == 0x01;
}

bool image_measure_jpeg(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    struct cursor cursor = cursor_from(bytes, size, 2);
    for (int step = 0; step < MOST_STEPS; step++) {
        uint8_t marker = next_marker(&cursor);
        if (marker == 0 || marker == 0xD9 || marker == 0xDA) /* EOI, SOS */
            return false;
        if (has_no_length(marker))
            continue;
        const uint8_t *length = cursor_take(&cursor, 2);
        const uint8_t *rest = length && be16(length) >= 2 ? cursor_take(&cursor, be16(length) - 2) : NULL;
        if (!rest)
            return false;
        if (is_frame(marker)) {
            if (be16(length) < 7)
                return false;
            *height = be16(rest + 1); /* after the precision */
            *width = be16(rest + 3);
            return true;
        }
    }
    return false;
}

/* ---- formats whose size lies at a fixed place */

bool image_measure_png(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 24 || memcmp(bytes + 12, "IHDR", 4) != 0)
        return false;
    *width = be32(bytes + 16);
    *height = be32(bytes + 20);
    return true;
}

bool image_measure_bmp(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 26)
        return false;
    if (le32(bytes + 14) == 12) { /* OS/2's short header */
        *width = le16(bytes + 18);
        *height = le16(bytes + 20);
        return true;
    }
    *width = le32(bytes + 18);
    uint32_t rows = le32(bytes + 22);
    *height = rows >> 31 ? 0 - rows : rows; /* negative: rows from the top */
    return true;
}

bool image_measure_psd(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 26)
        return false;
    *height = be32(bytes + 14);
    *width = be32(bytes + 18);
    return true;
}

bool image_measure_tga(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 18)
        return false;
    *width = le16(bytes + 12);
    *height = le16(bytes + 14);
    return true;
}

/* ---- WebP: the first chunk says it */

static uint32_t le24(const uint8_t *p) {
    return le16(p) | (uint32_t)p[2] << 16;
}

bool image_measure_webp(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 30)
        return false;
    const uint8_t *chunk = bytes + 12, *data = chunk + 8;
    if (memcmp(chunk, "VP8X", 4) == 0) { /* the canvas */
        *width = le24(data + 4) + 1;
        *height = le24(data + 7) + 1;
        return true;
    }
    if (memcmp(chunk, "VP8L", 4) == 0 && data[0] == 0x2F) {
        uint32_t sides = le32(data + 1);
        *width = (sides & 0x3FFF) + 1;
        *height = (sides >> 14 & 0x3FFF) + 1;
        return true;
    }
    if (memcmp(chunk, "VP8 ", 4) == 0 && memcmp(data + 3, "\x9D\x01\x2A", 3) == 0) {
        *width = le16(data + 6) & 0x3FFF;
        *height = le16(data + 8) & 0x3FFF;
        return true;
    }
    return false;
}

/* ---- GIF: the canvas, grown by the first frame */

/* Passes an extension's blocks; false where the file ends first, or the steps do. */
static bool skip_blocks(struct cursor *cursor, int *steps) {
    const uint8_t *length;
    while (++*steps < MOST_STEPS && (length = cursor_take(cursor, 1))) {
        if (*length == 0)
            return true;
        if (!cursor_take(cursor, *length))
            return false;
    }
    return false;
}

bool image_measure_gif(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 13)
        return false;
    size_t palette = bytes[10] & 0x80 ? (size_t)6 << (bytes[10] & 7) : 0;
    struct cursor cursor = cursor_from(bytes, size, 13 + palette);
    const uint8_t *kind;
    for (int steps = 0; steps < MOST_STEPS && (kind = cursor_take(&cursor, 1)); steps++) {
        if (*kind == ',') {
            const uint8_t *frame = cursor_take(&cursor, 8); /* left, top, width, height */
            if (!frame)
                return false;
            uint32_t right = le16(frame) + le16(frame + 4), bottom = le16(frame + 2) + le16(frame + 6);
            *width = le16(bytes + 6) > right ? le16(bytes + 6) : right;
            *height = le16(bytes + 8) > bottom ? le16(bytes + 8) : bottom;
            return true;
        }
        if (*kind == '!' ? !cursor_take(&cursor, 1) || !skip_blocks(&cursor, &steps) : *kind != 0)
            return false;
    }
    return false;
}

/* ---- PNM: two numbers in plain text */

/* Passes white space and comments. */
static void skip_space(struct cursor *cursor, int *steps) {
    bool comment = false;
    for (; cursor_left(cursor) && *steps < MOST_STEPS; cursor->at++, ++*steps) {
        uint8_t c = *cursor->at;
        comment = comment ? c != '\n' && c != '\r' : c == '#';
        if (!comment && c != ' ' && (c < '\t' || c > '\r'))
            return;
    }
}

static bool read_number(struct cursor *cursor, int *steps, uint32_t *number) {
    uint64_t value = 0;
    skip_space(cursor, steps);
    const uint8_t *first = cursor->at;
    for (; cursor_left(cursor) && *steps < MOST_STEPS && *cursor->at >= '0' && *cursor->at <= '9';
         cursor->at++, ++*steps) {
        value = value * 10 + (*cursor->at - (uint64_t)'0');
        value = value > UINT32_MAX ? UINT32_MAX : value;
    }
    *number = (uint32_t)value;
    return cursor->at > first && cursor_left(cursor) && *steps < MOST_STEPS;
}

bool image_measure_pnm(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    struct cursor cursor = cursor_from(bytes, size, 2);
    int steps = 0;
    return read_number(&cursor, &steps, width) && read_number(&cursor, &steps, height);
}

/* ---- TIFF: two fields of the first directory */

struct tiff {
    bool big_endian, wide; /* wide: of 64 bits */
};

static uint64_t tiff_number(const struct tiff *tiff, const uint8_t *p, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)p[tiff->big_endian ? bytes - 1 - i : i] << (8 * i);
    return value;
}

/* The one integer of a directory's entry; 0: it is none. Of a 64-bit file the entry has 20 bytes, else 12. */
static uint32_t tiff_value(const struct tiff *tiff, const uint8_t *entry) {
    static const uint8_t sizes[] = {[1] = 1, [3] = 2, [4] = 4, [6] = 1, [8] = 2, [9] = 4, [16] = 8, [17] = 8};
    const uint64_t type = tiff_number(tiff, entry + 2, 2);
    const size_t bytes = type < sizeof sizes ? sizes[type] : 0, room = tiff->wide ? 8 : 4;
    if (bytes == 0 || bytes > room || tiff_number(tiff, entry + 4, room) != 1)
        return 0;
    const uint64_t value = tiff_number(tiff, entry + 4 + room, bytes);
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

bool image_measure_tiff(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    if (size < 16)
        return false;
    const struct tiff tiff = {.big_endian = bytes[0] == 'M', .wide = bytes[bytes[0] == 'M' ? 3 : 2] == '+'};
    const size_t count_bytes = tiff.wide ? 8 : 2, entry_bytes = tiff.wide ? 20 : 12;
    uint32_t sides[2] = {0, 0};
    const uint64_t directory = tiff_number(&tiff, bytes + (tiff.wide ? 8 : 4), tiff.wide ? 8 : 4);
    if (directory > size - count_bytes)
        return false;
    struct cursor cursor = {bytes + directory, bytes + size};
    const uint64_t entries = tiff_number(&tiff, cursor_take(&cursor, count_bytes), count_bytes);
    for (uint64_t i = 0; i < entries && i < MOST_STEPS; i++) {
        const uint8_t *entry = cursor_take(&cursor, entry_bytes);
        if (!entry)
            return false;
        const uint64_t tag = tiff_number(&tiff, entry, 2);
        if (tag == 256 || tag == 257) { /* where it is said twice, the larger */
            const uint32_t value = tiff_value(&tiff, entry);
            sides[tag - 256] = value > sides[tag - 256] ? value : sides[tag - 256];
        }
    }
    *width = sides[0];
    *height = sides[1];
    return sides[0] > 0 && sides[1] > 0;
}

/* ---- HEIF: the largest of the sizes in meta/iprp/ipco */

static void take_size(const struct box *box, uint32_t *width, uint32_t *height) {
    struct cursor inside = box->inside;
    const uint8_t *sides = cursor_take(&inside, 12); /* version and flags, width, height */
    if (sides && (uint64_t)be32(sides + 4) * be32(sides + 8) > (uint64_t)*width * *height) {
        *width = be32(sides + 4);
        *height = be32(sides + 8);
    }
}

bool image_measure_heif(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height) {
    struct cursor stack[4] = {{bytes, bytes + size}}; /* where each level goes on */
    int depth = 0;
    for (int step = 0; step < MOST_STEPS && depth >= 0; step++) {
        static const uint32_t path[] = {BOX('m', 'e', 't', 'a'), BOX('i', 'p', 'r', 'p'),
                                        BOX('i', 'p', 'c', 'o')};
        struct box box;
        if (!box_take(&stack[depth], &box))
            depth--;
        else if (depth == 3 && box.type == BOX('i', 's', 'p', 'e'))
            take_size(&box, width, height);
        else if (depth < 3 && box.type == path[depth] && (depth > 0 || cursor_take(&box.inside, 4)))
            stack[++depth] = box.inside;
    }
    return depth < 0 && *width > 0 && *height > 0;
}
