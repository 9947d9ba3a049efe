/* heif_hevc.c - HEVC by libde265, as a decoder of libheif's: without worker threads, which the sandbox would
 * not allow, and of one picture whose size is known before it is decoded. State lies in the decoder's
 * context; see heif.h for what is kept by thread. */
#include "model/image/heif.h"

#include <stdlib.h>

#include <libde265/de265.h>

#define FIRST_NOT_VIDEO 32u /* NAL unit types below hold slices */
#define SPS             33u

struct hevc {
    de265_decoder_context *context;
    bool has_size, has_picture;
    uint64_t width, height;
};

static const char *name(void) {
    return "libde265, one thread";
}

static int supports(enum heif_compression_format format) {
    return format == heif_compression_HEVC ? 1000 : 0; /* before libheif's own */
}

static void free_decoder(void *decoder) {
    struct hevc *hevc = decoder;
    de265_free_decoder(hevc->context);
    free(hevc);
}

static struct heif_error new_decoder(void **out) {
    struct hevc *hevc = calloc(1, sizeof *hevc);
    if (hevc)
        hevc->context = de265_new_decoder();
    if (!hevc || !hevc->context) {
        free(hevc);
        return heif_codecs_fail("no memory for the HEVC decoder");
    }
    *out = hevc;
    return heif_codecs_fail(NULL);
}

/* A stream has one size and one picture, which is paid for when its first slice comes. NULL: it has. */
static const char *check(struct hevc *hevc, const uint8_t *nal, size_t size) {
    if (size < 3)
        return "an HEVC unit of less than three bytes";
    const uint32_t type = nal[0] >> 1 & 63;
    if (type == SPS) {
        uint64_t width, height;
        if (!hevc_sps_size(nal, size, &width, &height))
            return "an HEVC parameter set that does not read";
        if (hevc->has_size && (width != hevc->width || height != hevc->height))
            return "an HEVC stream of two sizes";
        hevc->has_size = true;
        hevc->width = width;
        hevc->height = height;
    } else if (type < FIRST_NOT_VIDEO && nal[2] & 0x80) { /* the first slice of a picture */
        if (!hevc->has_size || hevc->has_picture)
            return "an HEVC stream that is not one picture of a stated size";
        hevc->has_picture = true;
        if (!heif_codecs_charge(hevc->width, hevc->height))
            return "more pixels in the HEVC stream than the file announces";
    }
    return NULL;
}

/* Units, each behind four bytes of length. */
static struct heif_error push(void *decoder, const void *data, size_t size) {
    struct hevc *hevc = decoder;
    const uint8_t *at = data, *end = at + size;
    while (end - at >= 4) {
        const uint32_t length = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        at += 4;
        if (length > (size_t)(end - at))
            return heif_codecs_fail("an HEVC unit that ends early");
        const char *wrong = check(hevc, at, length);
        if (wrong)
            return heif_codecs_fail(wrong);
        if (de265_push_NAL(hevc->context, at, (int)length, 0, NULL) != DE265_OK)
            return heif_codecs_fail("an HEVC unit that is not accepted");
        at += length;
    }
    return heif_codecs_fail(at == end ? NULL : "an HEVC unit that ends early");
}

/* Warnings that say that a part of the picture is missing or wrong. */
static const char *worst_warning(de265_decoder_context *context) {
    for (;;) {
        const de265_error warning = de265_get_warning(context);
        switch (warning) {
        case DE265_OK:
            return NULL;
        case DE265_WARNING_NO_WPP_CANNOT_USE_MULTITHREADING:
        case DE265_WARNING_NUMBER_OF_THREADS_LIMITED_TO_MAXIMUM:
        case DE265_WARNING_SPS_MISSING_CANNOT_DECODE_SEI:
            break;
        default:
            return de265_get_error_text(warning);
        }
    }
}

static struct heif_error copy(const struct de265_image *picture, struct heif_image **out) {
    static const enum heif_chroma chromas[] = {
        [de265_chroma_mono] = heif_chroma_monochrome,
        [de265_chroma_420] = heif_chroma_420,
        [de265_chroma_422] = heif_chroma_422,
        [de265_chroma_444] = heif_chroma_444,
    };
    struct heif_planes planes = {
        .width = de265_get_image_width(picture, 0),
        .height = de265_get_image_height(picture, 0),
        .bits = de265_get_bits_per_pixel(picture, 0),
        .chroma = chromas[de265_get_chroma_format(picture)],
        .primaries = de265_get_image_colour_primaries(picture),
        .transfer = de265_get_image_transfer_characteristics(picture),
        .matrix = de265_get_image_matrix_coefficients(picture),
        .full_range = de265_get_image_full_range_flag(picture) != 0,
    };
    const int count = planes.chroma == heif_chroma_monochrome ? 1 : 3;
    for (int c = 0; c < count; c++) {
        int stride;
        planes.bytes[c] = de265_get_image_plane(picture, c, &stride);
        planes.stride[c] = stride;
        if (de265_get_bits_per_pixel(picture, c) != planes.bits)
            return heif_codecs_fail("an HEVC stream of two depths");
    }
    return heif_codecs_copy(&planes, out);
}

static struct heif_error decode(void *decoder, struct heif_image **out) {
    struct hevc *hevc = decoder;
    int more = 1;
    if (!hevc->has_picture)
        return heif_codecs_fail("an HEVC stream without a picture");
    de265_flush_data(hevc->context);
    const struct de265_image *picture = NULL;
    while (more && !picture) {
        more = 0;
        const de265_error code = de265_decode(hevc->context, &more);
        if (code != DE265_OK)
            return heif_codecs_fail(de265_get_error_text(code));
        picture = de265_get_next_picture(hevc->context);
    }
    const char *wrong = worst_warning(hevc->context);
    if (wrong || !picture)
        return heif_codecs_fail(wrong ? wrong : "an HEVC stream without a picture");
    return copy(picture, out);
}

static void set_strict(void *decoder, int strict) {
    (void)decoder;
    (void)strict; /* it is always */
}

const struct heif_decoder_plugin heif_codec_hevc = {
    .plugin_api_version = 3,
    .get_plugin_name = name,
    .does_support_format = supports,
    .new_decoder = new_decoder,
    .free_decoder = free_decoder,
    .push_data = push,
    .decode_image = decode,
    .set_strict_decoding = set_strict,
    .id_name = "limoe-hevc",
};
