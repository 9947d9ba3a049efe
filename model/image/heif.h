/* heif.h - the decoders that libheif is given in place of its own: of one thread, and with a bound on what a
 * file makes them do. Internal to model/image/. */
#ifndef LIMOE_MODEL_IMAGE_HEIF_H
#define LIMOE_MODEL_IMAGE_HEIF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libheif/heif.h>
#include <libheif/heif_plugin.h>

/* The functions that are called, without their heif_. */
#define HEIF_FUNCTIONS(X)                                                                                    \
    X(init)                                                                                                  \
    X(register_decoder_plugin)                                                                               \
    X(context_alloc)                                                                                         \
    X(context_free)                                                                                          \
    X(context_set_max_decoding_threads)                                                                      \
    X(context_read_from_memory_without_copy)                                                                 \
    X(context_get_primary_image_handle)                                                                      \
    X(image_handle_get_ispe_width)                                                                           \
    X(image_handle_get_ispe_height)                                                                          \
    X(image_handle_get_luma_bits_per_pixel)                                                                  \
    X(image_handle_has_alpha_channel)                                                                        \
    X(image_handle_is_premultiplied_alpha)                                                                   \
    X(image_handle_release)                                                                                  \
    X(decoding_options_alloc)                                                                                \
    X(decoding_options_free)                                                                                 \
    X(decode_image)                                                                                          \
    X(image_create)                                                                                          \
    X(image_release)                                                                                         \
    X(image_get_width)                                                                                       \
    X(image_get_height)                                                                                      \
    X(image_add_plane)                                                                                       \
    X(image_get_plane)                                                                                       \
    X(image_get_plane_readonly)                                                                              \
    X(image_set_nclx_color_profile)                                                                          \
    X(nclx_color_profile_alloc)                                                                              \
    X(nclx_color_profile_free)                                                                               \
    X(nclx_color_profile_set_color_primaries)                                                                \
    X(nclx_color_profile_set_transfer_characteristics)                                                       \
    X(nclx_color_profile_set_matrix_coefficients)

struct heif_library {
#define FIELD(name) __typeof__(heif_##name) *(name);
    HEIF_FUNCTIONS(FIELD)
#undef FIELD
};

/* libheif with our decoders; the first call loads it. NULL: *why, a static string, says why it is not there.
 * Any thread. */
const struct heif_library *heif_library(const char **why);

/* Pixels that this thread's file may still make the decoders decode. libheif passes nothing to a decoder,
 * hence by thread; image_read_heif sets it for each file. */
void heif_codecs_allow(uint64_t pixels);

/* Takes pixels off what is left; false if that is too little. */
bool heif_codecs_charge(uint64_t width, uint64_t height);

/* What is not charged yet. */
uint64_t heif_codecs_left(void);

/* The decoders of the two formats. */
extern const struct heif_decoder_plugin heif_codec_hevc, heif_codec_av1;

/* A picture's planes as they lie in a codec's memory, which are copied to a new picture of libheif's. */
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

/* The pictures' size, from a sequence parameter set of HEVC: a NAL unit with its two bytes of header.
 * False if it cannot be read. */
bool hevc_sps_size(const uint8_t *nal, size_t size, uint64_t *width, uint64_t *height);

#endif
