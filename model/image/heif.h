/* heif.h - the decoders that libheif is given in place of its own: of one thread, and with a bound on what a
 * file makes them do. Internal to model/image/. */
#ifndef LIMOE_IMAGE_HEIF_H
#define LIMOE_IMAGE_HEIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libheif/heif.h>

/* Pixels that this thread's file may still make the decoders decode. libheif passes nothing to a decoder,
 * hence by thread; image_read_heif sets it for each file. */
void heif_codecs_allow(uint64_t pixels);

/* Makes libheif use these decoders; once in a process, by image_prepare_heif. */
void heif_codecs_register(void);

/* Takes pixels off what is left; false: that is too little. */
bool heif_codecs_charge(uint64_t width, uint64_t height);

/* What is not charged yet. */
uint64_t heif_codecs_left(void);

/* The decoders of the two formats. */
struct heif_decoder_plugin;
extern const struct heif_decoder_plugin heif_codec_hevc, heif_codec_av1;

/* A picture of planes as they lie in a codec's memory, to a new one of libheif's. */
struct heif_planes {
    int width, height, bits; /* of a sample: 8, or up to 16 in two bytes */
    enum heif_chroma chroma; /* monochrome, 420, 422 or 444 */
    const uint8_t *bytes[3];
    ptrdiff_t stride[3]; /* bytes */
    int primaries, transfer, matrix;
    bool full_range;
};
struct heif_error heif_codecs_copy(const struct heif_planes *planes, struct heif_image **out);

/* An error of a decoder's; `message` is static. */
struct heif_error heif_codecs_fail(const char *message);

/* A sequence parameter set of HEVC, a NAL unit with its two bytes of header: the pictures' size. false: it
 * does not read. */
bool hevc_sps_size(const uint8_t *nal, size_t size, uint64_t *width, uint64_t *height);

#endif
