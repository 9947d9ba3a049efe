/* heif_codecs.c - what the two decoders share: the bound on pixels, and the way of planes to libheif. The
 * bound is kept by thread, since libheif passes a decoder nothing but the stream. */
#include "model/image/heif.h"

#include <string.h>

static _Thread_local uint64_t allowed; /* pixels */

void heif_codecs_allow(uint64_t pixels) {
    allowed = pixels;
}

uint64_t heif_codecs_left(void) {
    return allowed;
}

bool heif_codecs_charge(uint64_t width, uint64_t height) {
    if (width == 0 || height == 0 || width > UINT16_MAX || height > UINT16_MAX || width * height > allowed)
        return false;
    allowed -= width * height;
    return true;
}

struct heif_error heif_codecs_fail(const char *message) {
    if (!message)
        return (struct heif_error){heif_error_Ok, heif_suberror_Unspecified, "Success"};
    return (struct heif_error){heif_error_Decoder_plugin_error, heif_suberror_Unspecified, message};
}

/* What the stream says of its colours; libheif takes it where the file says nothing. */
static struct heif_error set_colours(const struct heif_library *lib, const struct heif_planes *planes,
                                     struct heif_image *image) {
    struct heif_color_profile_nclx *nclx = lib->nclx_color_profile_alloc();
    if (!nclx)
        return heif_codecs_fail("no memory for a colour profile");
    /* numbers that libheif does not know stay "unspecified" */
    lib->nclx_color_profile_set_color_primaries(nclx, (uint16_t)planes->primaries);
    lib->nclx_color_profile_set_transfer_characteristics(nclx, (uint16_t)planes->transfer);
    lib->nclx_color_profile_set_matrix_coefficients(nclx, (uint16_t)planes->matrix);
    nclx->full_range_flag = planes->full_range;
    const struct heif_error error = lib->image_set_nclx_color_profile(image, nclx);
    lib->nclx_color_profile_free(nclx);
    return error;
}

static struct heif_error copy_plane(const struct heif_library *lib, const struct heif_planes *planes, int c,
                                    struct heif_image *image) {
    static const enum heif_channel channels[] = {heif_channel_Y, heif_channel_Cb, heif_channel_Cr};
    const bool narrow = c > 0 && planes->chroma != heif_chroma_444;
    const bool low = c > 0 && planes->chroma == heif_chroma_420;
    const int width = narrow ? (planes->width + 1) / 2 : planes->width;
    const int height = low ? (planes->height + 1) / 2 : planes->height;
    const struct heif_error error = lib->image_add_plane(image, channels[c], width, height, planes->bits);
    if (error.code != heif_error_Ok)
        return error;
    int stride;
    uint8_t *to = lib->image_get_plane(image, channels[c], &stride);
    const size_t row = (size_t)width * (planes->bits > 8 ? 2 : 1);
    if (!to || !planes->bytes[c])
        return heif_codecs_fail("no memory for a plane");
    for (int y = 0; y < height; y++)
        memcpy(to + (ptrdiff_t)y * stride, planes->bytes[c] + y * planes->stride[c], row);
    return error;
}

struct heif_error heif_codecs_copy(const struct heif_planes *planes, struct heif_image **out) {
    const char *why;
    const struct heif_library *lib = heif_library(&why);
    if (!lib)
        return heif_codecs_fail("no libheif");
    const bool grey = planes->chroma == heif_chroma_monochrome;
    struct heif_image *image = NULL;
    struct heif_error error =
        lib->image_create(planes->width, planes->height,
                          grey ? heif_colorspace_monochrome : heif_colorspace_YCbCr, planes->chroma, &image);
    if (error.code == heif_error_Ok)
        error = set_colours(lib, planes, image);
    for (int c = 0; c < (grey ? 1 : 3) && error.code == heif_error_Ok; c++)
        error = copy_plane(lib, planes, c, image);
    if (error.code != heif_error_Ok) {
        lib->image_release(image);
        image = NULL;
    }
    *out = image;
    return error;
}
