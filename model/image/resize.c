/* resize.c - a resize of a picture that is there as a whole: by the rows that count (scaler.c), or by the
 * nearest filter (nearest.c). No state, no threads. */
#include <string.h>

#include "model/image/scaler.h"

static enum limoe_status resize(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                                size_t stride, struct limoe_error *err) {
    const struct image_shape shape = {image->width, image->height, 3, 1};
    struct scaler scaler;
    enum limoe_status status = scaler_begin(&scaler, &shape, scaling, out, stride, err);
    if (status != LIMOE_OK)
        return status;
    for (uint32_t y = 0; y < image->height; y++)
        scaler_take(&scaler, image->pixels + 3 * (size_t)y * image->width);
    scaler_end(&scaler);
    return LIMOE_OK;
}

static bool is_sound(const struct image *image, const struct image_scaling *s) {
    return image->channels == 3 && s->box[0] >= 0 && s->box[1] >= 0 && s->box[2] <= image->width &&
           s->box[3] <= image->height && s->box[0] < s->box[2] && s->box[1] < s->box[3] && s->columns > 0 &&
           s->rows > 0 && s->left < s->width && s->top < s->height && s->columns <= s->width - s->left &&
           s->rows <= s->height - s->top && s->filter >= LIMOE_NEAREST && s->filter <= LIMOE_HAMMING;
}

static bool changes_nothing(uint32_t width, uint32_t height, const struct image_scaling *s) {
    return s->width == width && s->height == height && s->box[2] - s->box[0] == width &&
           s->box[3] - s->box[1] == height;
}

bool scaling_filters(uint32_t width, uint32_t height, const struct image_scaling *s) {
    return s->filter != LIMOE_NEAREST && !changes_nothing(width, height, s);
}

enum limoe_status image_scale(const struct image *image, const struct image_scaling *scaling, uint8_t *out,
                              size_t stride, struct limoe_error *err) {
    const double *box = scaling->box;
    if (!is_sound(image, scaling)) {
        return limoe_fail(err, LIMOE_INVALID,
                          "resize [%g, %g, %g, %g] of a picture of %u x %u x %u to %u x %u, of which %u x %u "
                          "from (%u, %u) on, by filter %d",
                          box[0], box[1], box[2], box[3], image->width, image->height, image->channels,
                          scaling->width, scaling->height, scaling->columns, scaling->rows, scaling->left,
                          scaling->top, (int)scaling->filter);
    }
    if (scaling_filters(image->width, image->height, scaling))
        return resize(image, scaling, out, stride, err);
    if (changes_nothing(image->width, image->height, scaling)) {
        for (size_t i = 0; i < scaling->rows; i++)
            memcpy(out + i * stride, image->pixels + 3 * ((scaling->top + i) * image->width + scaling->left),
                   3 * (size_t)scaling->columns);
        return LIMOE_OK;
    }
    return resize_nearest(image, scaling, out, stride, err);
}

enum limoe_status image_resize(const struct image *image, const double box[4], uint32_t width,
                               uint32_t height, uint8_t *out, struct limoe_error *err) {
    const struct image_scaling scaling = {
        .box = {box[0], box[1], box[2], box[3]},
        .width = width,
        .height = height,
        .columns = width,
        .rows = height,
        .filter = LIMOE_BICUBIC,
    };
    return image_scale(image, &scaling, out, 3 * (size_t)width, err);
}
