/* jpeg.c - JPEG by libjpeg-turbo, with its default arithmetic (accurate integer DCT, smooth chroma
 * upsampling).
 *
 * What counts is that all pixels are there. A sequential file is read to its last row and no further; of a
 * file without an end marker libjpeg gets one from here, and is held to needing no bit from behind it.
 *
 * libjpeg reports an error by a callback that must not return: it jumps back here. Everything the jump
 * crosses lives in struct job, none of it in registers. No threads, no state outside the job. */
#include "model/image/formats.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jerror.h>
#include <jpeglib.h>

/* A progressive file may refine the picture in as many scans as it likes, each of a few bytes and each a pass
 * over all coefficients. Encoders use about ten. */
#define MAX_SCANS 64

/* Less than the other formats take for a pixel at most: the coefficients cost time, too. */
#define MOST_BYTES_PER_PIXEL 7u

struct job {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    bool ended;    /* the file is, and libjpeg goes on reading */
    uint8_t *exif; /* Exif segments put together; NULL: none were, or one only */
    uint8_t *cmyk; /* a row of print colours; NULL: the picture has none */
    jmp_buf escape;
    const struct input *input;
    struct image_sink *sink;
    struct limoe_error *err;
    enum limoe_status status;
};

_Noreturn static void fail(j_common_ptr jpeg) {
    struct job *job = jpeg->client_data;
    char reason[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, reason);
    switch (jpeg->err->msg_code) {
    case JERR_OUT_OF_MEMORY:
        job->status = limoe_fail(job->err, LIMOE_NO_MEMORY, "JPEG: %s", reason);
        break;
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
        job->status = limoe_fail(job->err, LIMOE_UNSUPPORTED, "JPEG: %s", reason);
        break;
    default:
        job->status = job->ended ? image_truncated("JPEG", job->input, job->err)
                                 : limoe_fail(job->err, LIMOE_BAD_IMAGE, "JPEG: %s", reason);
    }
    longjmp(job->escape, 1);
}

/* libjpeg carries on after damage, and fills what it could not read with grey. Here damage is an error. What
 * is left are the warnings that cost no pixel: padding between segments, and header fields that cameras get
 * wrong. */
static void on_message(j_common_ptr jpeg, int level) {
    int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR &&
        code != JWRN_NOT_SEQUENTIAL)
        fail(jpeg);
}

static void on_progress(j_common_ptr jpeg) {
    struct job *job = jpeg->client_data;
    if (job->jpeg.input_scan_number > MAX_SCANS) {
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "JPEG: more than %d scans", MAX_SCANS);
        longjmp(job->escape, 1);
    }
}

/* ---- where libjpeg reads from: the file, then an end marker, for ever */

static void begin(j_decompress_ptr jpeg) {
    (void)jpeg;
}

static boolean refill(j_decompress_ptr jpeg) {
    static const JOCTET end[2] = {0xFF, JPEG_EOI};
    struct job *job = jpeg->client_data;
    job->ended = true;
    job->source.next_input_byte = end;
    job->source.bytes_in_buffer = sizeof end;
    return TRUE;
}

static void skip(j_decompress_ptr jpeg, long n) {
    struct jpeg_source_mgr *source = jpeg->src;
    if (n <= 0)
        return;
    if ((size_t)n > source->bytes_in_buffer) {
        refill(jpeg);
        return;
    }
    source->next_input_byte += n;
    source->bytes_in_buffer -= (size_t)n;
}

static void finish(j_decompress_ptr jpeg) {
    (void)jpeg;
}

static void read_from(struct job *job) {
    job->source = (struct jpeg_source_mgr){
        .next_input_byte = job->input->bytes,
        .bytes_in_buffer = job->input->size,
        .init_source = begin,
        .fill_input_buffer = refill,
        .skip_input_data = skip,
        .resync_to_restart = jpeg_resync_to_restart,
        .term_source = finish,
    };
    job->jpeg.src = &job->source;
}

/* ---- EXIF */

/* The next Exif segment from `m` on; NULL: none. */
static jpeg_saved_marker_ptr exif_segment(jpeg_saved_marker_ptr m) {
    while (m && (m->data_length < 6 || memcmp(m->data, "Exif\0\0", 6) != 0))
        m = m->next;
    return m;
}

/* A block of more than 64 KiB comes in several segments, to be put together; some writers leave an empty one
 * before their own. */
static enum limoe_status read_orientation(struct job *job, unsigned *orientation) {
    jpeg_saved_marker_ptr first = exif_segment(job->jpeg.marker_list);
    if (!first)
        return LIMOE_OK;
    if (!exif_segment(first->next)) {
        *orientation = exif_orientation(first->data, first->data_length);
        return LIMOE_OK;
    }
    size_t size = 0;
    job->exif = malloc(job->input->size); /* the segments are a part of the file */
    if (!job->exif)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "JPEG: no memory for its EXIF block");
    for (jpeg_saved_marker_ptr m = first; m; m = exif_segment(m->next)) {
        memcpy(job->exif + size, m->data + 6, m->data_length - 6);
        size += m->data_length - 6;
    }
    *orientation = exif_orientation(job->exif, size);
    return LIMOE_OK;
}

/* ---- colours */

/* What libjpeg is asked for; it makes YCCK to CMYK, but not CMYK to RGB. */
static enum limoe_status choose_colours(struct job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_YCbCr:
    case JCS_RGB:
        jpeg->out_color_space = JCS_RGB;
        return LIMOE_OK;
    case JCS_CMYK:
    case JCS_YCCK:
        jpeg->out_color_space = JCS_CMYK;
        job->cmyk = malloc((size_t)jpeg->image_width * 4);
        return job->cmyk ? LIMOE_OK
                         : limoe_fail(job->err, LIMOE_NO_MEMORY, "JPEG: no memory for a row of %u pixels",
                                      jpeg->image_width);
    default:
        return limoe_fail(job->err, LIMOE_UNSUPPORTED,
                          "JPEG: %d colour components; accepted are 1 (grey), 3 (RGB) and 4 (CMYK)",
                          jpeg->num_components);
    }
}

/* A row of inks, stored as Adobe does, inverted (255: none), to RGB as Pillow makes it of them. Files without
 * Adobe's marker are taken for the same: what wrote them was Adobe's, or followed it. */
static void inks_to_rgb(const uint8_t *inks, uint8_t *rgb, uint32_t width) {
    for (uint32_t x = 0; x < width; x++, inks += 4, rgb += 3) {
        const uint32_t white = inks[3];
        for (int c = 0; c < 3; c++) {
            const uint32_t ink = 255u - inks[c];
            rgb[c] = (uint8_t)(white - divide255(ink * white));
        }
    }
}

/* ---- a picture that is larger than the limit */

/* Bytes of the coefficients that are held until the last scan is read; 0: there is one scan, and they are
 * not.
 */
static uint64_t coefficient_bytes(struct jpeg_decompress_struct *jpeg) {
    uint64_t blocks = 0;
    for (int i = 0; i < jpeg->num_components; i++) {
        const jpeg_component_info *component = &jpeg->comp_info[i];
        blocks += (uint64_t)component->width_in_blocks * component->height_in_blocks;
    }
    return jpeg_has_multiple_scans(jpeg) ? blocks * DCTSIZE2 * sizeof(JCOEF) : 0;
}

/* Has libjpeg decode a picture above the limit at the largest of 1/2, 1/4 and 1/8 that keeps it, which costs
 * a fraction of its pixels' time and memory. What one picture may hold is MOST_BYTES_PER_PIXEL for each pixel
 * of the limit: a picture in many scans may have to be made smaller for that, too. */
static enum limoe_status fit(struct job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    struct input wide = *job->input;
    const uint64_t most = wide.max_pixels;
    wide.max_pixels = most > UINT64_MAX / LIMOE_JPEG_FACTOR ? UINT64_MAX : most * LIMOE_JPEG_FACTOR;
    enum limoe_status status = image_check("JPEG", &wide, jpeg->image_width, jpeg->image_height, job->err);
    if (status != LIMOE_OK)
        return status;
    const uint64_t held = coefficient_bytes(jpeg);
    for (unsigned eighths = 8; eighths > 0; eighths /= 2) {
        jpeg->scale_num = eighths;
        jpeg->scale_denom = 8;
        jpeg_calc_output_dimensions(jpeg);
        const uint64_t pixels = (uint64_t)jpeg->output_width * jpeg->output_height;
        if (pixels <= most && (held == 0 || (held + 3 * pixels) / MOST_BYTES_PER_PIXEL <= most))
            return LIMOE_OK;
    }
    return limoe_fail(
        job->err, LIMOE_TOO_LARGE,
        "JPEG: %u x %u pixels in several scans, which take %llu bytes to collect; at most %llu are "
        "accepted",
        jpeg->image_width, jpeg->image_height, (unsigned long long)held,
        (unsigned long long)most * MOST_BYTES_PER_PIXEL);
}

/* ---- the picture */

/* Of a file without an end, scans may be missing as a whole, which libjpeg takes for a picture of less
 * detail: each component needs a scan, and of a progressive file every coefficient its last bit. */
static bool is_whole(const struct jpeg_decompress_struct *jpeg) {
    for (int c = 0; c < jpeg->num_components; c++) {
        if (!jpeg->comp_info[c].quant_table)
            return false;
        for (int k = 0; jpeg->progressive_mode && k < DCTSIZE2; k++)
            if (jpeg->coef_bits[c][k] != 0)
                return false;
    }
    return true;
}

static enum limoe_status read_header(struct job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    unsigned orientation = 1;
    read_from(job);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(jpeg, TRUE);
    enum limoe_status status = fit(job);
    if (status == LIMOE_OK)
        status = choose_colours(job);
    if (status == LIMOE_OK)
        status = read_orientation(job, &orientation);
    if (status != LIMOE_OK)
        return status;
    const struct image_shape shape = {jpeg->output_width, jpeg->output_height, 3, orientation};
    return job->sink->begin(job->sink, "JPEG", job->input, &shape, job->err);
}

/* Has libjpeg read the columns that do not count, but not transform them; of a file in several scans it
 * has transformed none yet, and is left as it is. Returns where its rows begin from now on. The columns at
 * their ends are not those of the whole picture, for smooth upsampling looks at the chroma beside, which
 * is that of two pixels. */
static JDIMENSION leave_out_columns(struct job *job) {
    enum { BESIDE = 2 };
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    const uint32_t first = job->sink->first_column, end = job->sink->end_column;
    JDIMENSION left = first > BESIDE ? first - BESIDE : 0;
    JDIMENSION width = (jpeg->output_width - end > BESIDE ? end + BESIDE : jpeg->output_width) - left;
    if (jpeg_has_multiple_scans(jpeg) || jpeg->scale_num != jpeg->scale_denom || width == jpeg->output_width)
        return 0;
    jpeg_crop_scanline(jpeg, &left, &width);
    return left;
}

static void read_rows(struct job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    const JDIMENSION left = leave_out_columns(job);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *rgb = job->sink->room(job->sink) + 3 * (size_t)left;
        JSAMPROW row = job->cmyk ? job->cmyk : rgb;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (job->cmyk)
            inks_to_rgb(job->cmyk, rgb, jpeg->output_width);
        job->sink->take(job->sink);
    }
}

static enum limoe_status decode(struct job *job) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    enum limoe_status status = read_header(job);
    if (status != LIMOE_OK)
        return status;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(jpeg); /* a file of several scans is read here, to its end */
    if (job->ended && jpeg_has_multiple_scans(jpeg) && !is_whole(jpeg))
        return image_truncated("JPEG", job->input, job->err);
    read_rows(job);
    return LIMOE_OK; /* jpeg_finish_decompress would read on to an end marker that nobody needs */
}

enum limoe_status image_stream_jpeg(const struct input *input, struct image_sink *sink,
                                    struct limoe_error *err) {
    struct job job = {.input = input, .sink = sink, .err = err, .status = LIMOE_OK};
    job.jpeg.err = jpeg_std_error(&job.errors);
    job.errors.error_exit = fail;
    job.errors.emit_message = on_message;
    job.progress.progress_monitor = on_progress;
    job.jpeg.client_data = &job;
    if (setjmp(job.escape) == 0) {
        jpeg_create_decompress(&job.jpeg); /* keeps err and client_data */
        job.jpeg.progress = &job.progress;
        job.status = decode(&job);
    }
    jpeg_destroy_decompress(&job.jpeg);
    free(job.exif);
    free(job.cmyk);
    return job.status;
}
