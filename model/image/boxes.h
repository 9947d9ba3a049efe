/* boxes.h - the boxes of ISO media files (ISO 14496-12), in which HEIC and AVIF lie. Internal to
 * model/image/. */
#ifndef LIMOE_MODEL_IMAGE_BOXES_H
#define LIMOE_MODEL_IMAGE_BOXES_H

#include "model/image/formats.h"

#define BOX(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

struct box {
    uint32_t type; /* BOX(…) */
    struct cursor inside;
};

/* The next box, cut off where the bytes around it end; the cursor passes it. False if there is none. */
bool box_take(struct cursor *cursor, struct box *box);

/* Whether no picture of the file is derived from itself, or through many levels from others, alphas
 * included. */
bool heif_references_end(const uint8_t *bytes, size_t size);

#endif
