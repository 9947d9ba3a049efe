/* png.c - PNG by libpng: CRCs checked, interlacing, palettes, tRNS, 16 bits to the high 8.
 *
 * What counts is that all pixels are there: what lies behind the last one is neither inflated nor held
 * against the file, be it the end of a zlib stream that is missing, more of it, or no IEND.
 *
 * The chunks are walked here first. That finds the eXIf chunk wherever it is, and checks the CRCs (libpng
 * checks that of the last IDAT only after it has inflated all that is in it, however much). libpng is then
 * told to skip every chunk that does not change the pixels, so that nothing inflates but the picture itself,
 * a row at a time, and no colour profile can break a picture. Of a palette, indices past its end are black,
 * alpha past its end is nobody's, and tRNS may come before it, as Pillow has it; libpng would leave out such
 * a tRNS, so it is given the file with that chunk where it belongs.
 *
 * libpng's error callback must not return: it jumps back here; what the jump crosses lives in struct job. No
 * threads. */
#include "model/image/formats.h"

#include <setjmp.h>

#include <png.h>
#include <zlib.h>

#include "model/image/source.h"

/* Of the rows in the file: RGB of 8 bits. */
#define MOST_BYTES_PER_PIXEL 3u

struct job {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    struct source source;
    struct image_shape shape;
    uint32_t taken;     /* rows that the sink has been given */
    struct image whole; /* of an interlaced picture, whose rows come in several passes */
    const struct input *input;
    struct image_sink *sink;
    struct limoe_error *err;
    enum limoe_status status;
};

/* A chunk as it lies in the file: length 4, type 4, data, CRC 4. */
struct chunk {
    const uint8_t *head, *data, *end; /* head = NULL: there is none */
    uint32_t length;
};

/* What the walk finds. */
struct found {
    struct chunk palette, transparency;
    const uint8_t *cut; /* an IDAT in which the file ends; NULL: there is none */
    bool indexed;       /* the colours are the palette's */
    unsigned orientation;
};

/* ---- the walk */

/* The next chunk; false where the file ends first. */
static bool take_chunk(struct cursor *cursor, struct chunk *chunk) {
    chunk->head = cursor_take(cursor, 8);
    chunk->length = chunk->head ? be32(chunk->head) : 0;
    chunk->data = chunk->head ? cursor_take(cursor, chunk->length) : NULL;
    const uint8_t *crc = chunk->data ? cursor_take(cursor, 4) : NULL;
    chunk->end = cursor->at;
    return crc != NULL;
}

static bool is(const struct chunk *chunk, const char *type) {
    return memcmp(chunk->head + 4, type, 4) == 0;
}

static bool has_crc(const struct chunk *chunk) {
    return crc32(0, chunk->head + 4, chunk->length + 4) == be32(chunk->data + chunk->length);
}

static enum limoe_status walk(const struct input *input, struct found *found, struct limoe_error *err) {
    struct cursor cursor = cursor_over(input);
    struct chunk chunk;
    bool pixels = false; /* an IDAT has come */
    cursor_take(&cursor, 8);
    for (;;) {
        bool whole = take_chunk(&cursor, &chunk);
        if (chunk.data && is(&chunk, "IHDR") && chunk.length == 13) { /* too large is said before truncated */
            enum limoe_status status = image_check("PNG", input, be32(chunk.data), be32(chunk.data + 4), err);
            if (status != LIMOE_OK)
                return status;
            found->indexed = chunk.data[9] == PNG_COLOR_TYPE_PALETTE;
        }
        if (!whole && chunk.head && !chunk.data && is(&chunk, "IDAT"))
            found->cut = chunk.head;
        if (!whole || is(&chunk, "IEND"))
            return LIMOE_OK; /* whether pixels are missing is seen when they are read */
        if (!has_crc(&chunk)) {
            if (pixels && !is(&chunk, "IDAT"))
                return LIMOE_OK; /* behind the pixels */
            return limoe_fail(err, LIMOE_BAD_IMAGE,
                              "PNG: the chunk at byte %zu does not have the CRC it states",
                              (size_t)(chunk.head - input->bytes));
        }
        pixels = pixels || is(&chunk, "IDAT");
        if (is(&chunk, "eXIf"))
            found->orientation = exif_orientation(chunk.data, chunk.length);
        else if (!pixels && is(&chunk, "PLTE"))
            found->palette = chunk;
        else if (!pixels && is(&chunk, "tRNS"))
            found->transparency = chunk;
    }
}

static void add_between(struct source *source, const uint8_t *from, const uint8_t *to) {
    source_add(source, from, (size_t)(to - from));
}

static void put_head(uint8_t head[8], size_t length, const char *type) {
    for (int i = 0; i < 4; i++) {
        head[i] = (uint8_t)(length >> (24 - 8 * i));
        head[4 + i] = (uint8_t)type[i];
    }
}

/* The file from `from` on; an IDAT in which it ends gets the length that it has. */
static void add_rest(struct source *source, const uint8_t *from, const struct found *found,
                     const uint8_t *end, uint8_t head[8]) {
    if (!found->cut) {
        add_between(source, from, end);
        return;
    }
    const uint8_t *data = found->cut + 8;
    put_head(head, (size_t)(end - data), "IDAT");
    add_between(source, from, found->cut);
    source_add(source, head, 8);
    add_between(source, data, end);
}

/* The file as libpng is to see it: a tRNS that comes before the palette, or is longer, lies behind it, cut to
 * its length. heads: of chunks that change; they outlive the source. */
static struct source straighten(const struct input *input, const struct found *found, uint8_t heads[2][8]) {
    static const uint8_t crc[4] = {0}; /* not checked again */
    const struct chunk *palette = &found->palette, *alpha = &found->transparency;
    const uint8_t *end = input->bytes + input->size;
    const uint32_t colours = palette->length / 3;
    struct source source = {0};
    if (!found->indexed || !palette->head || !alpha->head ||
        (alpha->head > palette->head && alpha->length <= colours)) {
        add_rest(&source, input->bytes, found, end, heads[0]);
        return source;
    }
    const bool early = alpha->head < palette->head;
    const struct chunk *first = early ? alpha : palette, *second = early ? palette : alpha;
    const uint32_t length = alpha->length < colours ? alpha->length : colours;
    add_between(&source, input->bytes, early ? first->head : first->end);
    if (early)
        add_between(&source, first->end, second->end);
    put_head(heads[1], length, "tRNS");
    source_add(&source, heads[1], 8);
    source_add(&source, alpha->data, length);
    source_add(&source, crc, sizeof crc);
    if (!early)
        add_between(&source, first->end, second->head);
    add_rest(&source, second->end, found, end, heads[0]);
    return source;
}

/* ---- libpng's side */

/* Whether the last row of the last pass has been put where it belongs. */
static bool has_all_pixels(png_structp png, png_infop info) {
    return info && (png_get_interlace_type(png, info) == PNG_INTERLACE_NONE
                        ? png_get_image_height(png, info) > 0 &&
                              png_get_current_row_number(png) >= png_get_image_height(png, info)
                        : png_get_current_pass_number(png) >= PNG_INTERLACE_ADAM7_PASSES);
}

_Noreturn static void fail(png_structp png, png_const_charp reason) {
    struct job *job = png_get_error_ptr(png);
    if (has_all_pixels(png, job->info))
        job->status = LIMOE_OK;
    else if (job->source.overrun)
        job->status = image_truncated("PNG", job->input, job->err);
    else
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "PNG: %s", reason);
    longjmp(job->escape, 1);
}

static void ignore(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void read_bytes(png_structp png, png_bytep to, size_t n) {
    struct job *job = png_get_io_ptr(png);
    if (has_all_pixels(png, job->info))
        png_error(png, "the rest is not needed");
    if (source_read(&job->source, to, n) != n)
        png_error(png, "truncated");
}

/* What costs time is what is inflated and filtered: alpha makes it a third more, 16 bits a sample twice as
 * much, and such a picture may have as many fewer pixels. */
static enum limoe_status check_rows(const struct job *job) {
    const uint64_t width = png_get_image_width(job->png, job->info);
    const uint64_t height = png_get_image_height(job->png, job->info);
    const uint64_t bytes = png_get_rowbytes(job->png, job->info) * height;
    if (bytes / MOST_BYTES_PER_PIXEL <= job->input->max_pixels)
        return LIMOE_OK;
    return limoe_fail(job->err, LIMOE_TOO_LARGE,
                      "PNG: %llu x %llu pixels of %u bits have %llu bytes; at most %llu are accepted",
                      (unsigned long long)width, (unsigned long long)height,
                      png_get_bit_depth(job->png, job->info) * png_get_channels(job->png, job->info),
                      (unsigned long long)bytes,
                      (unsigned long long)job->input->max_pixels * MOST_BYTES_PER_PIXEL);
}

/* Whatever the file holds → 8-bit RGB or RGBA. */
static void ask_for_rgb(png_structp png, png_infop info, bool *alpha) {
    int type = png_get_color_type(png, info);
    bool transparent = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    *alpha = (type & PNG_COLOR_MASK_ALPHA) || transparent;
    png_set_expand(png);   /* palette → RGB, 1, 2 and 4 bits → 8, tRNS → alpha at full depth */
    png_set_strip_16(png); /* the high byte */
    png_set_gray_to_rgb(png);
}

/* Up to the picture's first row. */
static enum limoe_status begin(struct job *job) {
    png_structp png = job->png;
    png_set_read_fn(png, job, read_bytes);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* but IHDR, PLTE, tRNS, IDAT, IEND */
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);      /* they have been checked */
    png_set_benign_errors(png, 1);                              /* a tRNS that has no place is left out */
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours are checked below, from the header */
    png_read_info(png, job->info);
    enum limoe_status status = check_rows(job);
    if (status != LIMOE_OK)
        return status;
    bool alpha;
    ask_for_rgb(png, job->info, &alpha);
    job->shape.width = png_get_image_width(png, job->info);
    job->shape.height = png_get_image_height(png, job->info);
    job->shape.channels = alpha ? 4 : 3;
    return job->sink->begin(job->sink, "PNG", job->input, &job->shape, job->err);
}

static enum limoe_status read_passes(struct job *job, int passes) {
    const struct image_shape *shape = &job->shape;
    enum limoe_status status = image_allocate("PNG", job->input, shape->width, shape->height, shape->channels,
                                              &job->whole, job->err);
    for (int pass = 0; pass < passes && status == LIMOE_OK; pass++)
        for (uint32_t y = 0; y < shape->height; y++)
            png_read_row(job->png, job->whole.pixels + (size_t)y * shape->width * shape->channels, NULL);
    return status;
}

static void read_rows(struct job *job) {
    for (uint32_t y = 0; y < job->shape.height; y++) {
        png_read_row(job->png, job->sink->room(job->sink), NULL);
        job->sink->take(job->sink);
        job->taken++;
    }
}

static enum limoe_status decode(struct job *job) {
    enum limoe_status status = begin(job);
    if (status != LIMOE_OK)
        return status;
    const int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    if (png_get_rowbytes(job->png, job->info) != (size_t)job->shape.width * job->shape.channels) {
        return limoe_fail(job->err, LIMOE_INTERNAL, "PNG: %zu bytes in a row of %u pixels",
                          png_get_rowbytes(job->png, job->info), job->shape.width);
    }
    if (passes > 1)
        return read_passes(job, passes);
    read_rows(job);
    return LIMOE_OK;
}

/* What libpng has read and the sink has not been given: an interlaced picture, or the last row of another,
 * behind which something is wrong with the file. */
static void hand_over(const struct job *job) {
    const size_t stride = (size_t)job->shape.width * job->shape.channels;
    for (uint32_t y = job->taken; y < job->shape.height; y++) {
        if (job->whole.pixels)
            memcpy(job->sink->room(job->sink), job->whole.pixels + y * stride, stride);
        job->sink->take(job->sink);
    }
}

enum limoe_status image_stream_png(const struct input *input, struct image_sink *sink,
                                   struct limoe_error *err) {
    struct found found = {.orientation = 1};
    uint8_t heads[2][8];
    enum limoe_status status = walk(input, &found, err);
    if (status != LIMOE_OK)
        return status;
    struct job job = {.source = straighten(input, &found, heads),
                      .shape = {.orientation = found.orientation},
                      .input = input,
                      .sink = sink,
                      .err = err};
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, fail, ignore);
    if (!job.png)
        return limoe_fail(err, LIMOE_NO_MEMORY, "PNG: no memory for the decoder");
    if (setjmp(job.escape) == 0) {
        job.info = png_create_info_struct(job.png);
        if (!job.info)
            png_error(job.png, "no memory for the decoder");
        job.status = decode(&job);
    }
    if (job.status == LIMOE_OK)
        hand_over(&job);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    image_free(&job.whole);
    return job.status;
}
