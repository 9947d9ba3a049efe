/* stb.h - stb_image as the readers of TGA, PSD and PNM use it. Internal to model/image/.
 *
 * It takes the missing end of a file for zeros and names no size before it allocates, so each reader checks
 * the header first, shows it a source (perhaps with a header of its own making), and gets pixels only if it
 * did not read past that source's end. */
#ifndef LIMOE_MODEL_IMAGE_STB_H
#define LIMOE_MODEL_IMAGE_STB_H

#include "model/image/formats.h"
#include "model/image/source.h"

/* Decodes a source of width x height pixels, which keep the limits, to *pixels[height, width, channels]; the
 * caller frees them. `format` begins messages. */
enum limoe_status image_read_stb(const char *format, const struct input *input, struct source *source,
                                 uint32_t width, uint32_t height, uint32_t channels, uint8_t **pixels,
                                 struct limoe_error *err);

#endif
