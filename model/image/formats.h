/* formats.h - what the format readers of this folder share. Internal to model/image/.
 *
 * A reader is given bytes that nobody has checked. It (1) reads the header, (2) calls image_allocate or a
 * sink's begin, which check the limits, and only then (3) decodes, into rows that are all set before it
 * returns LIMOE_OK. A file that ends early, names a colour it does not have or breaks its own format is
 * refused, never patched up: a half grey picture would be classified as if it were the user's.
 *
 * Most readers are libraries that get audited, each behind what it needs to keep to this:
 * docs/architecture.md says which formats are read by which, and why GIF, BMP and the plain text of PNM
 * are read here. */
#ifndef LIMOE_MODEL_IMAGE_FORMATS_H
#define LIMOE_MODEL_IMAGE_FORMATS_H

#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "model/image/image.h"

/* The longest side of a picture. JPEG, WebP, GIF and TGA cannot say more; it bounds the resize tables of the
 * rest. */
#define IMAGE_MAX_SIDE 65535u

struct input {
    const uint8_t *bytes;
    size_t size;
    uint64_t max_pixels;
    uint64_t found_pixels; /* the most that its header was found to have; UINT64_MAX: nobody has looked */
};

/* Decodes one picture into *out, which is empty on entry; on failure the caller frees what is in it.
 * *orientation is 1 on entry; a format that carries EXIF sets it to 1 … 8. */
typedef enum limoe_status image_reader(const struct input *input, struct image *out, unsigned *orientation,
                                       struct limoe_error *err);
image_reader image_read_webp, image_read_gif, image_read_bmp, image_read_pnm, image_read_tga, image_read_psd,
    image_read_tiff, image_read_heif;

/* Where a picture goes whose reader has it row by row: into one piece (decode.c), or resized as it comes
 * (preprocess.c). */
struct image_sink {
    /* Once, before the first row: checks the picture against the limits, as image_check does. */
    enum limoe_status (*begin)(struct image_sink *sink, const char *format, const struct input *input,
                               const struct image_shape *shape, struct limoe_error *err);
    /* Room for the next row, [shape.width, shape.channels]. What it holds is nobody's. */
    uint8_t *(*room)(struct image_sink *sink);
    void (*take)(struct image_sink *sink); /* the room is filled */
    /* The columns of a row that count, which begin sets: the others may hold anything. */
    uint32_t first_column, end_column;
};

/* Decodes one picture into the sink, all its rows from top to bottom. On failure what the sink was given
 * is worth nothing; what it holds is its owner's. */
typedef enum limoe_status image_streamer(const struct input *input, struct image_sink *sink,
                                         struct limoe_error *err);
image_streamer image_stream_jpeg, image_stream_png;

/* Reads a picture's size off its header: what image_measure says of one format. The bytes begin with the
 * format's signature and may end anywhere. */
typedef bool image_measurer(const uint8_t *bytes, size_t size, uint32_t *width, uint32_t *height);
image_measurer image_measure_jpeg, image_measure_png, image_measure_webp, image_measure_gif,
    image_measure_bmp, image_measure_pnm, image_measure_tga, image_measure_psd, image_measure_tiff,
    image_measure_heif;

struct image_format {
    const char *name;
    image_reader
        *read; /* this or `stream`; both NULL: known, so that the message can name it, but not read */
    image_measurer *measure; /* NULL where it is not read */
    image_streamer *stream;
};

/* The format of the bytes by their beginning; NULL: none that is known. */
const struct image_format *image_find_format(const uint8_t *bytes, size_t size);

/* image_find_format, with what is said where it is none that is read, or of a size that is not. */
enum limoe_status image_open(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                             struct input *input, const struct image_format **format,
                             struct limoe_error *err);

/* The picture as it lies in its file, whichever way it is read: an image_reader of any format. */
enum limoe_status image_read(const struct image_format *format, const struct input *input, struct image *out,
                             unsigned *orientation, struct limoe_error *err);

/* TGA has no signature; this is as close as its header comes to one. */
bool image_looks_like_tga(const uint8_t *bytes, size_t size);

/* Checks width x height against the limits. `format` begins the message. */
enum limoe_status image_check(const char *format, const struct input *input, uint64_t width, uint64_t height,
                              struct limoe_error *err);

/* image_check, then allocates the pixels, all zero. */
enum limoe_status image_allocate(const char *format, const struct input *input, uint64_t width,
                                 uint64_t height, uint32_t channels, struct image *out,
                                 struct limoe_error *err);

/* Memory for a library, all zero, out of what is left of a budget in bytes; NULL: that is too little, or
 * there is none. What is freed does not come back to the budget. */
void *image_allocate_within(uint64_t *budget, size_t size);

/* "<format>: truncated after <size> bytes". */
enum limoe_status image_truncated(const char *format, const struct input *input, struct limoe_error *err);

/* The orientation (1 … 8) in a TIFF block, with or without "Exif\0\0" before it; 1 where there is none or the
 * block is broken, as pictures are shown everywhere. */
unsigned exif_orientation(const uint8_t *bytes, size_t size);

/* image_flatten of pixels[n, 4]; the n x 3 bytes are where the first of those were. */
void image_flatten_pixels(uint8_t *pixels, size_t n, const uint8_t *background);

/* What turns a picture upright from EXIF orientation 1 … 8: rows and columns change places, then the
 * columns their order, and the rows theirs. */
static inline bool orientation_turns(unsigned orientation) {
    return orientation >= 5;
}

static inline bool orientation_mirrors(unsigned orientation) {
    return orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
}

static inline bool orientation_flips(unsigned orientation) {
    return orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
}

/* Does that to a whole picture. */
enum limoe_status image_orient(struct image *image, unsigned orientation, struct limoe_error *err);

/* A cursor that cannot leave its bytes. */
struct cursor {
    const uint8_t *at, *end;
};

static inline struct cursor cursor_over(const struct input *input) {
    return (struct cursor){input->bytes, input->bytes + input->size};
}

static inline size_t cursor_left(const struct cursor *cursor) {
    return (size_t)(cursor->end - cursor->at);
}

/* The next n bytes, which it passes; NULL (and stays) where fewer are left. */
static inline const uint8_t *cursor_take(struct cursor *cursor, size_t n) {
    if (cursor_left(cursor) < n)
        return NULL;
    const uint8_t *taken = cursor->at;
    cursor->at += n;
    return taken;
}

/* round(v / 255) for 0 <= v <= 255 * 255, exactly. */
static inline uint8_t divide255(uint32_t v) {
    v += 128;
    return (uint8_t)((v + (v >> 8)) >> 8);
}

/* Divides a pixel's colours by its alpha, which they have been multiplied by, as Pillow does. */
static inline void image_divide_alpha(uint8_t pixel[4]) {
    for (int c = 0; c < 3; c++) {
        const uint32_t value = pixel[3] ? pixel[c] * 255u / pixel[3] : 0;
        pixel[c] = (uint8_t)(value > 255 ? 255 : value);
    }
}

/* Loads libheif and its decoders, which open no file from then on. Any number of times, from any thread. */
void image_prepare_heif(void);

/* Reads a TIFF once, since glibc's qsort, which libtiff sorts its fields with, asks for the size of memory
 * when it is first used. */
void image_prepare_tiff(void);

/* Unpacks the runs of a bitmap of 8 or 4 bits to indices[n], all zero on entry;
 * returns how many there were. */
size_t image_unpack_bmp(struct cursor *from, uint32_t bits, uint32_t width, uint8_t *indices, size_t n);

static inline uint32_t le16(const uint8_t *p) {
    return (uint32_t)(p[0] | p[1] << 8);
}

static inline uint32_t le32(const uint8_t *p) {
    return le16(p) | le16(p + 2) << 16;
}

static inline uint32_t be16(const uint8_t *p) {
    return (uint32_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32(const uint8_t *p) {
    return be16(p) << 16 | be16(p + 2);
}

#endif
