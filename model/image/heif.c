/* heif.c - HEIC and AVIF by libheif, with decoders of our own choice (heif.h): the primary picture, its grid
 * put together, turned, mirrored and cropped as the file says. That is all the orientation there is; EXIF's
 * says the same once more, and is left. No threads. */
#include "model/image/boxes.h"

#include <stdlib.h>

#include "model/image/heif.h"

/* Pictures are decoded a second time for their alpha, in tiles that reach past the edge. */
#define SPARE_PIXELS ((uint64_t)1 << 20)

void image_prepare_heif(void) {
    const char *why;
    heif_library(&why);
}

struct job {
    const struct heif_library *lib;
    const struct input *input;
    struct heif_context *context;
    struct heif_image_handle *handle;
    struct heif_image *image;
    struct limoe_error *err;
};

static enum limoe_status refuse(const struct job *job, struct heif_error error) {
    enum limoe_status status = LIMOE_BAD_IMAGE;
    if (error.code == heif_error_Unsupported_feature || error.code == heif_error_Unsupported_filetype)
        status = LIMOE_UNSUPPORTED;
    else if (error.code == heif_error_Memory_allocation_error)
        status = LIMOE_TOO_LARGE;
    return limoe_fail(job->err, status, "HEIF: %s", error.message);
}

static enum limoe_status open_primary(struct job *job) {
    if (!heif_references_end(job->input->bytes, job->input->size))
        return limoe_fail(job->err, LIMOE_BAD_IMAGE, "HEIF: pictures made of each other in too many levels");
    job->context = job->lib->context_alloc();
    if (!job->context)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "HEIF: no memory for the decoder");
    job->lib->context_set_max_decoding_threads(job->context, 0);
    struct heif_error error = job->lib->context_read_from_memory_without_copy(job->context, job->input->bytes,
                                                                              job->input->size, NULL);
    if (error.code == heif_error_Ok)
        error = job->lib->context_get_primary_image_handle(job->context, &job->handle);
    return error.code == heif_error_Ok ? LIMOE_OK : refuse(job, error);
}

/* The picture's own size, before it is cropped and turned. Deep samples take two bytes, and alpha is decoded
 * beside the colours until both are put together: such pictures cost up to twice as much. */
static enum limoe_status check_size(const struct job *job, bool alpha, uint64_t *pixels) {
    const int width = job->lib->image_handle_get_ispe_width(job->handle);
    const int height = job->lib->image_handle_get_ispe_height(job->handle);
    const uint64_t w = width > 0 ? (uint64_t)width : 0, h = height > 0 ? (uint64_t)height : 0;
    const bool deep = job->lib->image_handle_get_luma_bits_per_pixel(job->handle) > 8;
    *pixels = w * h;
    const enum limoe_status status = image_check("HEIF", job->input, w, h, job->err);
    if (status == LIMOE_OK && (deep || alpha) && *pixels > (job->input->max_pixels + 1) / 2) {
        return limoe_fail(job->err, LIMOE_TOO_LARGE,
                          "HEIF: %d x %d pixels %s; of such, half as many are accepted as of others", width,
                          height, deep ? "of more than 8 bits a channel" : "with alpha");
    }
    return status;
}

static enum limoe_status decode(struct job *job, bool alpha) {
    struct heif_decoding_options *options = job->lib->decoding_options_alloc();
    if (!options)
        return limoe_fail(job->err, LIMOE_NO_MEMORY, "HEIF: no memory for the decoder");
    options->convert_hdr_to_8bit = 1;
    options->strict_decoding = 1;
    const struct heif_error error =
        job->lib->decode_image(job->handle, &job->image, heif_colorspace_RGB,
                               alpha ? heif_chroma_interleaved_RGBA : heif_chroma_interleaved_RGB, options);
    job->lib->decoding_options_free(options);
    return error.code == heif_error_Ok ? LIMOE_OK : refuse(job, error);
}

static enum limoe_status copy(const struct job *job, bool alpha, uint64_t announced, struct image *out) {
    const int width = job->lib->image_get_width(job->image, heif_channel_interleaved);
    const int height = job->lib->image_get_height(job->image, heif_channel_interleaved);
    int stride;
    const uint8_t *from = job->lib->image_get_plane_readonly(job->image, heif_channel_interleaved, &stride);
    if (width < 1 || height < 1 || !from || (uint64_t)width * (uint64_t)height > announced) {
        return limoe_fail(job->err, LIMOE_BAD_IMAGE,
                          "HEIF: decoded as %d x %d pixels; the file announces less", width, height);
    }
    const enum limoe_status status =
        image_allocate("HEIF", job->input, (uint64_t)width, (uint64_t)height, alpha ? 4 : 3, out, job->err);
    const size_t row = (size_t)width * out->channels;
    for (size_t y = 0; status == LIMOE_OK && y < out->height; y++)
        memcpy(out->pixels + y * row, from + y * (size_t)stride, row);
    return status;
}

/* Alpha that the colours have been multiplied by is divided out again. */
static void divide_alpha(struct image *image) {
    const size_t n = (size_t)image->width * image->height;
    for (size_t i = 0; i < n; i++)
        image_divide_alpha(image->pixels + 4 * i);
}

enum limoe_status image_read_heif(const struct input *input, struct image *out, unsigned *orientation,
                                  struct limoe_error *err) {
    (void)orientation;
    struct job job = {.input = input, .err = err};
    uint64_t pixels = 0;
    bool alpha = false;
    const char *why;
    job.lib = heif_library(&why);
    if (!job.lib)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "HEIF: %s", why);
    enum limoe_status status = open_primary(&job);
    if (status == LIMOE_OK) {
        alpha = job.lib->image_handle_has_alpha_channel(job.handle);
        status = check_size(&job, alpha, &pixels);
    }
    if (status == LIMOE_OK) {
        heif_codecs_allow((alpha ? 3 : 2) * pixels + SPARE_PIXELS);
        status = decode(&job, alpha);
        if (status == LIMOE_OK)
            status = copy(&job, alpha, pixels, out);
        if (status == LIMOE_OK && alpha && job.lib->image_handle_is_premultiplied_alpha(job.handle))
            divide_alpha(out);
    }
    job.lib->image_release(job.image);
    job.lib->image_handle_release(job.handle);
    job.lib->context_free(job.context);
    return status;
}
