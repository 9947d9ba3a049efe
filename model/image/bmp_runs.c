/* bmp_runs.c - the run-length coding of bitmaps with 8 and 4 bits a pixel, read as Pillow reads it. No state,
 * no threads. */
#include "model/image/formats.h"

#define END_OF_ROW    0u
#define END_OF_BITMAP 1u
#define SKIP          2u

struct unpacked {
    uint8_t *indices;  /* [n], zero where nothing was put */
    size_t n, done, x; /* x: of the pixel that comes next, in its row */
    uint32_t bits, width;
};

/* count pixels of one colour, or of two by turns; what does not fit in the row is dropped. */
static void put_run(struct unpacked *to, uint32_t count, uint8_t colour) {
    size_t room = to->x < to->width ? to->width - to->x : 0;
    for (uint32_t i = 0; i < count && i < room && to->done < to->n; i++, to->done++) {
        to->indices[to->done] = to->bits == 8 ? colour
                                : i % 2 == 0  ? (uint8_t)(colour >> 4)
                                              : (uint8_t)(colour & 15);
    }
    to->x += count < room ? count : room;
}

/* count pixels, each of its own colour. false: the file ends first. */
static bool put_pixels(struct unpacked *to, uint32_t count, struct cursor *from) {
    size_t left = to->n - to->done, taken = count < left ? count : left;
    size_t size = to->bits == 8 ? taken : (taken + 1) / 2;
    const uint8_t *bytes = cursor_take(from, size);
    for (size_t i = 0; bytes && i < taken; i++) {
        to->indices[to->done++] = to->bits == 8 ? bytes[i]
                                  : i % 2 == 0  ? (uint8_t)(bytes[i / 2] >> 4)
                                                : (uint8_t)(bytes[i / 2] & 15);
    }
    to->x += count;
    if (bytes && size % 2 == 1)
        cursor_take(from, 1); /* even lengths only; at the end of the file nobody misses it */
    return bytes;
}

/* Passes n pixels, which stay of colour 0. */
static void skip(struct unpacked *to, size_t n) {
    to->done += n < to->n - to->done ? n : to->n - to->done;
    to->x = to->done % to->width;
}

/* What two bytes that begin with zero say. false: the bitmap or the file ends. */
static bool escape(struct unpacked *to, uint32_t code, struct cursor *from) {
    if (code == END_OF_ROW) {
        const size_t over = to->done % to->width;
        skip(to, over ? to->width - over : 0);
        to->x = 0;
        return true;
    }
    if (code == END_OF_BITMAP)
        return false;
    const uint8_t *by = code == SKIP ? cursor_take(from, 2) : NULL; /* right, up */
    if (by) {
        skip(to, by[0] + (size_t)by[1] * to->width);
    } else if (code == SKIP || !put_pixels(to, code, from)) {
        from->at = from->end; /* of the file too */
        return false;
    }
    return true;
}

size_t image_unpack_bmp(struct cursor *from, uint32_t bits, uint32_t width, uint8_t *indices, size_t n) {
    struct unpacked to = {.indices = indices, .n = n, .bits = bits, .width = width};
    while (to.done < n) {
        const uint8_t *pair = cursor_take(from, 2);
        if (!pair) {
            from->at = from->end;
            break;
        }
        if (pair[0] > 0)
            put_run(&to, pair[0], pair[1]);
        else if (!escape(&to, pair[1], from))
            break;
    }
    return to.done;
}
