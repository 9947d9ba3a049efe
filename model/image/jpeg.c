/* jpeg.c - JPEG by libjpeg-turbo, with its default arithmetic (accurate integer DCT, smooth chroma
 * upsampling).
 *
 * libjpeg reports an error by a callback that must not return: it jumps back here. Everything the jump
 * crosses lives in struct job, none of it in registers. No threads, no state outside the job. */
#include "formats.h"

#include <setjmp.h>
#include <stdio.h>

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
    jmp_buf escape;
    const struct input *input;
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
    case JWRN_JPEG_EOF:
        job->status = image_truncated("JPEG", job->input, job->err);
        break;
    default:
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "JPEG: %s", reason);
    }
    longjmp(job->escape, 1);
}

/* libjpeg carries on after damage, and fills what it could not read with grey. Here damage is an error. What
 * is left are the warnings that cost no pixel: padding between segments, and header fields that cameras get
 * wrong. */
static void on_message(j_common_ptr jpeg, int level) {
    int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR &&
        code != JWRN_NOT_SEQUENTIAL) {
        fail(jpeg);
    }
}

static void on_progress(j_common_ptr jpeg) {
    struct job *job = jpeg->client_data;
    if (job->jpeg.input_scan_number > MAX_SCANS) {
        job->status = limoe_fail(job->err, LIMOE_BAD_IMAGE, "JPEG: more than %d scans", MAX_SCANS);
        longjmp(job->escape, 1);
    }
}

static unsigned read_orientation(const struct jpeg_decompress_struct *jpeg) {
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next) {
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0\0", 6) == 0) {
            return exif_orientation(m->data, m->data_length);
        }
    }
    return 1;
}

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
    if (status != LIMOE_OK) {
        return status;
    }
    const uint64_t held = coefficient_bytes(jpeg);
    for (unsigned eighths = 8; eighths > 0; eighths /= 2) {
        jpeg->scale_num = eighths;
        jpeg->scale_denom = 8;
        jpeg_calc_output_dimensions(jpeg);
        const uint64_t pixels = (uint64_t)jpeg->output_width * jpeg->output_height;
        if (pixels <= most && (held == 0 || (held + 3 * pixels) / MOST_BYTES_PER_PIXEL <= most)) {
            return LIMOE_OK;
        }
    }
    return limoe_fail(
        job->err, LIMOE_TOO_LARGE,
        "JPEG: %u x %u pixels in several scans, which take %llu bytes to collect; at most %llu are "
        "accepted",
        jpeg->image_width, jpeg->image_height, (unsigned long long)held,
        (unsigned long long)most * MOST_BYTES_PER_PIXEL);
}

static enum limoe_status decode(struct job *job, struct image *out, unsigned *orientation) {
    struct jpeg_decompress_struct *jpeg = &job->jpeg;
    jpeg_mem_src(jpeg, job->input->bytes, (unsigned long)job->input->size);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(jpeg, TRUE);
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_YCbCr:
    case JCS_RGB:
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        return limoe_fail(job->err, LIMOE_UNSUPPORTED, "JPEG: a CMYK picture (for print); convert it to RGB");
    default:
        return limoe_fail(job->err, LIMOE_UNSUPPORTED,
                          "JPEG: %d colour components; accepted are 1 (grey) and 3 (RGB)",
                          jpeg->num_components);
    }
    *orientation = read_orientation(jpeg);
    enum limoe_status status = fit(job);
    if (status == LIMOE_OK) {
        status =
            image_allocate("JPEG", job->input, jpeg->output_width, jpeg->output_height, 3, out, job->err);
    }
    if (status != LIMOE_OK) {
        return status;
    }
    jpeg->out_color_space = JCS_RGB;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = out->pixels + (size_t)jpeg->output_scanline * out->width * 3;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
    return LIMOE_OK;
}

enum limoe_status image_read_jpeg(const struct input *input, struct image *out, unsigned *orientation,
                                  struct limoe_error *err) {
    struct job job = {.input = input, .err = err, .status = LIMOE_OK};
    job.jpeg.err = jpeg_std_error(&job.errors);
    job.errors.error_exit = fail;
    job.errors.emit_message = on_message;
    job.progress.progress_monitor = on_progress;
    job.jpeg.client_data = &job;
    if (setjmp(job.escape) == 0) {
        jpeg_create_decompress(&job.jpeg); /* keeps err and client_data */
        job.jpeg.progress = &job.progress;
        job.status = decode(&job, out, orientation);
    }
    jpeg_destroy_decompress(&job.jpeg);
    return job.status;
}
