/* placement.c - where the model's square lies: limoe-1's three ways, as tests/preprocess/pillow_reference.py
 * defines them, and those of Hugging Face and OpenCLIP.
 *
 * Only what the square shows of the scaled picture is computed, so that a picture of 1 x 65,535 pixels may
 * be scaled to 224 x 14,679,840 of which 224 are wanted. No state, no threads. */
#include "model/image/placement.h"

#include <math.h>

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

/* What a window of `size` from `begin` on shows of an axis of `side` pixels. */
static void intersect(int64_t begin, uint32_t size, uint32_t side, uint32_t *first, uint32_t *n) {
    const int64_t end = begin + size;
    *first = (uint32_t)(begin > 0 ? begin : 0);
    *n = (uint32_t)(end < side ? end : side) - *first;
}

static void scale_picture(const struct limoe_preprocess *how, uint32_t width, uint32_t height,
                          struct image_scaling *s) {
    const uint32_t size = how->size;
    const double longest = width > height ? width : height;
    switch (how->resize) {
    case LIMOE_PAD:
        s->width = fitted(width * (size / longest));
        s->height = fitted(height * (size / longest));
        break;
    case LIMOE_LONGEST:
        s->width = fitted(width / (longest / size));
        s->height = fitted(height / (longest / size));
        break;
    case LIMOE_SHORTEST:
        s->width = width <= height ? how->width : in_proportion(how->width, width, height);
        s->height = width <= height ? in_proportion(how->width, height, width) : how->width;
        break;
    case LIMOE_EXACT:
        s->width = how->width;
        s->height = how->height;
        break;
    case LIMOE_SQUASH:
    case LIMOE_CROP:
        s->width = s->height = size;
        break;
    case LIMOE_UNSCALED:
        break;
    }
}

static void take_middle(double box[4], double width, double height) {
    const double shortest = width < height ? width : height;
    box[0] = (width - shortest) / 2;
    box[1] = (height - shortest) / 2;
    box[2] = (width + shortest) / 2;
    box[3] = (height + shortest) / 2;
}

struct placement image_place(uint32_t width, uint32_t height, const struct limoe_preprocess *how) {
    struct placement p = {
        .scaling = {.box = {0, 0, width, height}, .width = width, .height = height, .filter = how->filter}};
    struct image_scaling *s = &p.scaling;
    if (how->resize == LIMOE_CROP)
        take_middle(s->box, width, height);
    scale_picture(how, width, height, s);
    /* Where the square's corner is in the scaled picture; negative where it reaches beyond. */
    const int64_t left = middle(how->middle, s->width, how->size);
    const int64_t top = middle(how->middle, s->height, how->size);
    intersect(left, how->size, s->width, &s->left, &s->columns);
    intersect(top, how->size, s->height, &s->top, &s->rows);
    p.x = (uint32_t)(s->left - left);
    p.y = (uint32_t)(s->top - top);
    return p;
}
