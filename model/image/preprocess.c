/* preprocess.c - a file's bytes to a square of pixels: limoe-1's three ways, as
 * tests/preprocess/pillow_reference.py defines them, and those of Hugging Face and OpenCLIP.
 *
 * A way is where the square lies in the scaled picture. Only what the square shows of the picture is computed,
 * so that a picture of 1 x 65,535 pixels may be scaled to 224 x 14,679,840 of which 224 are wanted. No state,
 * no threads. */
#include "model/image/formats.h"

#include <math.h>

/* A picture's box, scaled to width x height; the square's corner is at (left, top) of that. */
struct placement {
    double box[4];
    uint32_t width, height;
    int64_t left, top; /* negative where the square reaches beyond the picture */
};

/* One side of a picture fitted by `scale`: at least one pixel, halves to even. */
static uint32_t fitted(double side) {
    double pixels = nearbyint(side);
    return pixels < 1 ? 1 : (uint32_t)pixels;
}

/* Where a window of `size` begins in an axis of `side` pixels, so that both have one middle. */
static int64_t middle(enum limoe_middle rounding, int64_t side, int64_t size) {
    const int64_t over = side - size, half = over / 2; /* towards zero */
    if (over % 2 == 0)
        return half;
    if (over < 0)
        return rounding == LIMOE_MIDDLE_DOWN ? half - 1 : half;
    return rounding == LIMOE_MIDDLE_DOWN || half % 2 == 0 ? half : half + 1;
}

/* The long side where the short one becomes `edge`: Python's int(edge * long / short). */
static uint32_t in_proportion(uint32_t edge, uint32_t longest, uint32_t shortest) {
    return (uint32_t)((double)((uint64_t)edge * longest) / shortest);
}

static void scale_picture(const struct limoe_preprocess *how, struct placement *p) {
    const uint32_t width = p->width, height = p->height, size = how->size;
    const double longest = width > height ? width : height;
    switch (how->resize) {
    case LIMOE_PAD:
        p->width = fitted(width * (size / longest));
        p->height = fitted(height * (size / longest));
        break;
    case LIMOE_LONGEST:
        p->width = fitted(width / (longest / size));
        p->height = fitted(height / (longest / size));
        break;
    case LIMOE_SHORTEST:
        p->width = width <= height ? how->width : in_proportion(how->width, width, height);
        p->height = width <= height ? in_proportion(how->width, height, width) : how->width;
        break;
    case LIMOE_EXACT:
        p->width = how->width;
        p->height = how->height;
        break;
    case LIMOE_SQUASH:
    case LIMOE_CROP:
        p->width = p->height = size;
        break;
    case LIMOE_UNSCALED:
        break;
    }
}

static struct placement place(const struct image *image, const struct limoe_preprocess *how) {
    const double w = image->width, h = image->height, shortest = w < h ? w : h;
    struct placement p = {.box = {0, 0, w, h}, .width = image->width, .height = image->height};
    if (how->resize == LIMOE_CROP) {
        p.box[0] = (w - shortest) / 2;
        p.box[1] = (h - shortest) / 2;
        p.box[2] = (w + shortest) / 2;
        p.box[3] = (h + shortest) / 2;
    }
    scale_picture(how, &p);
    p.left = middle(how->middle, p.width, how->size);
    p.top = middle(how->middle, p.height, how->size);
    return p;
}

/* What a window of `size` from `begin` on shows of an axis of `side` pixels. */
static void intersect(int64_t begin, uint32_t size, uint32_t side, uint32_t *first, uint32_t *n) {
    const int64_t end = begin + size;
    *first = (uint32_t)(begin > 0 ? begin : 0);
    *n = (uint32_t)(end < side ? end : side) - *first;
}

static enum limoe_status fill_square(const struct image *image, const struct limoe_preprocess *how,
                                     uint8_t *pixels, struct limoe_error *err) {
    const struct placement p = place(image, how);
    const size_t size = how->size;
    struct image_scaling scaling = {
        .box = {p.box[0], p.box[1], p.box[2], p.box[3]},
        .width = p.width,
        .height = p.height,
        .filter = how->filter,
    };
    intersect(p.left, how->size, p.width, &scaling.left, &scaling.columns);
    intersect(p.top, how->size, p.height, &scaling.top, &scaling.rows);
    if (scaling.columns < size || scaling.rows < size)
        for (size_t i = 0; i < size * size; i++)
            memcpy(pixels + 3 * i, how->margin, 3);
    const size_t x = (size_t)(scaling.left - p.left), y = (size_t)(scaling.top - p.top);
    return image_scale(image, &scaling, pixels + 3 * (y * size + x), 3 * size, err);
}

/* So that no side below overflows 32 bits. */
static enum limoe_status check(const struct limoe_preprocess *how, struct limoe_error *err) {
    const bool sized = how->resize == LIMOE_EXACT || how->resize == LIMOE_SHORTEST;
    if (how->size == 0 || how->size > IMAGE_MAX_SIDE ||
        (sized && (how->width == 0 || how->width > IMAGE_MAX_SIDE)) ||
        (how->resize == LIMOE_EXACT && (how->height == 0 || how->height > IMAGE_MAX_SIDE))) {
        return limoe_fail(
            err, LIMOE_INVALID,
            "a square of %u pixels a side from pictures resized to %u x %u; 1 to %u are accepted", how->size,
            how->width, how->height, IMAGE_MAX_SIDE);
    }
    return LIMOE_OK;
}

static enum limoe_status to_rgb(struct image *image, const struct limoe_preprocess *how,
                                struct limoe_error *err) {
    if (!how->drop_alpha)
        return image_flatten(image, how->background, err);
    image_drop_alpha(image);
    return LIMOE_OK;
}

enum limoe_status image_preprocess(const uint8_t *bytes, size_t size, const struct limoe_image_limits *limits,
                                   const struct limoe_preprocess *how, uint8_t *pixels,
                                   struct limoe_error *err) {
    struct image image = {0};
    enum limoe_status status = check(how, err);
    if (status == LIMOE_OK)
        status = image_decode(bytes, size, limits, &image, err);
    if (status == LIMOE_OK)
        status = to_rgb(&image, how, err);
    if (status == LIMOE_OK)
        status = fill_square(&image, how, pixels, err);
    image_free(&image);
    return status;
}
