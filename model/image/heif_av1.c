/* heif_av1.c - AV1 by dav1d, as a decoder of libheif's: in the calling thread, since the sandbox allows no
 * other, of few frames, and none of more pixels than the file announces. State lies in the decoder's context;
 * see heif.h for what is kept by thread. */
#include "model/image/heif.h"

#include <stdlib.h>
#include <string.h>

#include <dav1d/dav1d.h>

/* A still has one frame, or up to four that refine it. */
#define MOST_FRAMES 4

#define FRAME_HEADER 3u /* types of OBUs */
#define FRAME        6u

struct av1 {
    Dav1dContext *context;
    uint8_t *bytes; /* all that was pushed */
    size_t size;
};

static const char *name(void) {
    return "dav1d, one thread";
}

static int supports(enum heif_compression_format format) {
    return format == heif_compression_AV1 ? 1000 : 0; /* before libheif's own */
}

static void be_silent(void *cookie, const char *format, va_list values) {
    (void)cookie;
    (void)format;
    (void)values;
}

static struct heif_error new_decoder(void **out) {
    struct av1 *av1 = calloc(1, sizeof *av1);
    if (!av1)
        return heif_codecs_fail("no memory for the AV1 decoder");
    *out = av1;
    return heif_codecs_fail(NULL);
}

static void free_decoder(void *decoder) {
    struct av1 *av1 = decoder;
    dav1d_close(&av1->context);
    free(av1->bytes);
    free(av1);
}

static struct heif_error push(void *decoder, const void *data, size_t size) {
    struct av1 *av1 = decoder;
    if (size == 0) /* and no data */
        return heif_codecs_fail(NULL);
    uint8_t *longer = realloc(av1->bytes, av1->size + size + 1);
    if (!longer)
        return heif_codecs_fail("no memory for the AV1 stream");
    memcpy(longer + av1->size, data, size);
    av1->bytes = longer;
    av1->size += size;
    return heif_codecs_fail(NULL);
}

/* A length of up to eight bytes, the lowest seven bits first. false: it ends early. */
static bool take_length(const uint8_t **at, const uint8_t *end, uint64_t *length) {
    *length = 0;
    for (int i = 0; i < 8 && *at < end; i++) {
        const uint8_t byte = *(*at)++;
        *length |= (uint64_t)(byte & 127) << (7 * i);
        if (!(byte & 128))
            return true;
    }
    return false;
}

/* Frames in the stream, shown or not; -1: it does not read. */
static int count_frames(const uint8_t *at, const uint8_t *end) {
    int frames = 0;
    while (at < end) {
        const uint8_t head = *at++;
        const uint32_t type = head >> 3 & 15;
        uint64_t length = (uint64_t)(end - at);
        if (head & 4 && at < end) { /* an extension of a byte */
            at++;
            length--;
        }
        if (head & 2 && !take_length(&at, end, &length))
            return -1;
        if (length > (uint64_t)(end - at))
            return -1;
        frames += type == FRAME || type == FRAME_HEADER;
        at += length;
    }
    return frames;
}

static struct heif_error copy(const Dav1dPicture *picture, struct heif_image **out) {
    static const enum heif_chroma chromas[] = {
        [DAV1D_PIXEL_LAYOUT_I400] = heif_chroma_monochrome,
        [DAV1D_PIXEL_LAYOUT_I420] = heif_chroma_420,
        [DAV1D_PIXEL_LAYOUT_I422] = heif_chroma_422,
        [DAV1D_PIXEL_LAYOUT_I444] = heif_chroma_444,
    };
    struct heif_planes planes = {
        .width = picture->p.w,
        .height = picture->p.h,
        .bits = picture->p.bpc,
        .chroma = chromas[picture->p.layout],
        .bytes = {picture->data[0], picture->data[1], picture->data[2]},
        .stride = {picture->stride[0], picture->stride[1], picture->stride[1]},
        .primaries = (int)picture->seq_hdr->pri,
        .transfer = (int)picture->seq_hdr->trc,
        .matrix = (int)picture->seq_hdr->mtrx,
        .full_range = picture->seq_hdr->color_range != 0,
    };
    return heif_codecs_copy(&planes, out);
}

static struct heif_error open_decoder(struct av1 *av1) {
    Dav1dSettings settings;
    dav1d_default_settings(&settings);
    const uint64_t left = heif_codecs_left();
    settings.n_threads = 1;
    settings.max_frame_delay = 1;
    settings.all_layers = 0;
    settings.frame_size_limit = left < 1 ? 1 : left < UINT32_MAX ? (unsigned)left : UINT32_MAX;
    settings.logger.callback = be_silent;
    return heif_codecs_fail(dav1d_open(&av1->context, &settings) == 0 ? NULL
                                                                      : "no memory for the AV1 decoder");
}

/* Sends all data; the first picture that comes out is the picture.
 * dav1d's codes are negative errno values. */
static struct heif_error decode_stream(struct av1 *av1, struct heif_image **out) {
    Dav1dData data = {0};
    Dav1dPicture picture = {0};
    uint8_t *room = dav1d_data_create(&data, av1->size);
    if (!room)
        return heif_codecs_fail("no memory for the AV1 stream");
    memcpy(room, av1->bytes, av1->size);
    struct heif_error error = heif_codecs_fail("an AV1 stream without a picture, or a corrupt one");
    while (data.sz > 0) {
        const int sent = dav1d_send_data(av1->context, &data);
        if (sent != 0 && sent != DAV1D_ERR(EAGAIN))
            break;
        const int got = dav1d_get_picture(av1->context, &picture);
        if (got == 0) {
            error = heif_codecs_charge((uint64_t)picture.p.w, (uint64_t)picture.p.h)
                        ? copy(&picture, out)
                        : heif_codecs_fail("more pixels in the AV1 stream than the file announces");
            dav1d_picture_unref(&picture);
            break;
        }
        if (got != DAV1D_ERR(EAGAIN) || sent != 0)
            break;
    }
    dav1d_data_unref(&data);
    return error;
}

static struct heif_error decode(void *decoder, struct heif_image **out) {
    struct av1 *av1 = decoder;
    const int frames = av1->size ? count_frames(av1->bytes, av1->bytes + av1->size) : 0;
    if (frames < 1 || frames > MOST_FRAMES)
        return heif_codecs_fail("an AV1 stream that is not one still picture");
    const struct heif_error error = open_decoder(av1);
    return error.code == heif_error_Ok ? decode_stream(av1, out) : error;
}

static void set_strict(void *decoder, int strict) {
    (void)decoder;
    (void)strict; /* it is always */
}

const struct heif_decoder_plugin heif_codec_av1 = {
    .plugin_api_version = 3,
    .get_plugin_name = name,
    .does_support_format = supports,
    .new_decoder = new_decoder,
    .free_decoder = free_decoder,
    .push_data = push,
    .decode_image = decode,
    .set_strict_decoding = set_strict,
    .id_name = "limoe-av1",
};
