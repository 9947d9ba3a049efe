/* png.c - PNG by libpng: CRCs checked, interlacing, palettes, tRNS, 16 bits to the high 8.
 *
 * The chunks are walked here first: it finds a file that ends early and the eXIf chunk wherever it is. libpng
 * is then told to skip every chunk that does not change the pixels, so that nothing inflates but the picture
 * itself, a row at a time, and no colour profile can break a picture.
 *
 * libpng's error callback must not return: it jumps back here; what the jump crosses lives in struct job. No
 * threads. */
#include "formats.h"

#include <setjmp.h>

#include <png.h>

/* Of the rows in the file: RGBA of 8 bits. */
#define MOST_BYTES_PER_PIXEL 4u

struct job {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    struct cursor cursor;
    struct limoe_error *err;
    enum limoe_status status;
};

_Noreturn static void fail(png_structp png, png_const_charp reason) {
    struct job *job = png_get_error_ptr(png);
    job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "PNG: %s", reason);
    longjmp(job->escape, 1);
}

static void ignore(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void read_bytes(png_structp png, png_bytep to, size_t n) {
    struct job *job = png_get_io_ptr(png);
    const uint8_t *from = cursor_take(&job->cursor, n);
    if (!from) {
        png_error(png, "truncated");
    }
    memcpy(to, from, n);
}

/* Walks the chunks to IEND. */
static enum limoe_status walk(const struct input *input, unsigned *orientation, struct limoe_error *err) {
    struct cursor cursor = cursor_over(input);
    cursor_take(&cursor, 8);
    for (;;) {
        const uint8_t *head = cursor_take(&cursor, 8); /* length 4, type 4 */
        const uint8_t *data = head ? cursor_take(&cursor, be32(head)) : NULL;
        if (data && memcmp(head + 4, "IHDR", 4) == 0 &&
            be32(head) == 13) { /* too large is said before truncated */
            enum limoe_status status = image_check("PNG", input, be32(data), be32(data + 4), err);
            if (status != LIMOE_OK) {
                return status;
            }
        }
        if (!data || !cursor_take(&cursor, 4)) { /* CRC 4 */
            return image_truncated("PNG", input, err);
        }
        if (memcmp(head + 4, "eXIf", 4) == 0) {
            *orientation = exif_orientation(data, be32(head));
        } else if (memcmp(head + 4, "IEND", 4) == 0) {
            return LIMOE_OK;
        }
    }
}

/* What costs time is what is inflated and filtered, which 16 bits a sample make twice as much: such a picture
 * may have half the pixels. */
static enum limoe_status check_rows(const struct job *job, const struct input *input) {
    const uint64_t width = png_get_image_width(job->png, job->info);
    const uint64_t height = png_get_image_height(job->png, job->info);
    const uint64_t bytes = png_get_rowbytes(job->png, job->info) * height;
    if (bytes / MOST_BYTES_PER_PIXEL <= input->max_pixels) {
        return LIMOE_OK;
    }
    return limoe_fail(job->err, LIMOE_TOO_LARGE,
                      "PNG: %llu x %llu pixels of %u bits have %llu bytes; at most %llu are accepted",
                      (unsigned long long)width, (unsigned long long)height,
                      png_get_bit_depth(job->png, job->info) * png_get_channels(job->png, job->info),
                      (unsigned long long)bytes,
                      (unsigned long long)input->max_pixels * MOST_BYTES_PER_PIXEL);
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

static enum limoe_status decode(struct job *job, const struct input *input, struct image *out) {
    png_structp png = job->png;
    png_set_read_fn(png, job, read_bytes);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1); /* but IHDR, PLTE, tRNS, IDAT, IEND */
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_benign_errors(png,
                          0); /* a palette index without colour, a tRNS of the wrong length, data left over */
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours are checked below, from the header */
    png_read_info(png, job->info);
    enum limoe_status status = check_rows(job, input);
    if (status != LIMOE_OK) {
        return status;
    }
    bool alpha;
    ask_for_rgb(png, job->info, &alpha);
    status = image_allocate("PNG", input, png_get_image_width(png, job->info),
                            png_get_image_height(png, job->info), alpha ? 4 : 3, out, job->err);
    if (status != LIMOE_OK) {
        return status;
    }
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
    size_t stride = (size_t)out->width * out->channels;
    if (png_get_rowbytes(png, job->info) != stride) {
        return limoe_fail(job->err, LIMOE_INTERNAL, "PNG: %zu bytes in a row of %u pixels",
                          png_get_rowbytes(png, job->info), out->width);
    }
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < out->height; y++) {
            png_read_row(png, out->pixels + y * stride, NULL);
        }
    }
    png_read_end(png, NULL);
    return LIMOE_OK;
}

enum limoe_status image_read_png(const struct input *input, struct image *out, unsigned *orientation,
                                 struct limoe_error *err) {
    enum limoe_status status = walk(input, orientation, err);
    if (status != LIMOE_OK) {
        return status;
    }
    struct job job = {.cursor = cursor_over(input), .err = err, .status = LIMOE_OK};
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, fail, ignore);
    if (!job.png) {
        return limoe_fail(err, LIMOE_NO_MEMORY, "PNG: no memory for the decoder");
    }
    if (setjmp(job.escape) == 0) {
        job.info = png_create_info_struct(job.png);
        if (!job.info) {
            png_error(job.png, "no memory for the decoder");
        }
        job.status = decode(&job, input, out);
    }
    png_destroy_read_struct(&job.png, &job.info, NULL);
    return job.status;
}
