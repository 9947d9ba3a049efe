/* crops.c - bilinear sampling of a box, then colours. No state. */
#include "model/tuning/crops.h"

#include <math.h>
#include <stddef.h>

static const float least_area = 0.5f, most_aspect = 4.0f / 3.0f, grey = 0.3f, saturations = 0.4f,
                   contrasts = 0.3f, brightnesses = 0.15f;
static const float luma[3] = {0.299f, 0.587f, 0.114f};

/* -1 to 1 */
static float about_zero(float u) {
    return 2 * u - 1;
}

/* Along one edge, in the coordinates in which the whole edge is [-1, 1]. */
struct span {
    float scale, middle;
};

/* Two neighbours along an edge, and the share of the second. */
struct tap {
    uint32_t first, second;
    float share;
};

/* What pixel i of `size` shows of an edge of `side` pixels; beyond the edge its last one. */
static struct tap tap_at(struct span s, uint32_t i, uint32_t size, uint32_t side) {
    const float grid = (float)(2 * i + 1) / (float)size - 1;
    const float at = ((s.scale * grid + s.middle + 1) * (float)side - 1) / 2;
    const float clamped = fminf(fmaxf(at, 0), (float)(side - 1)), low = floorf(clamped);
    const uint32_t first = (uint32_t)low;
    return (struct tap){first, first + 1 < side ? first + 1 : first, clamped - low};
}

static void sample(const uint8_t *from, uint32_t side, struct tap x, struct tap y, float rgb[3]) {
    const uint8_t *top = from + (size_t)3 * side * y.first, *low = from + (size_t)3 * side * y.second;
    for (int c = 0; c < 3; c++) {
        const float above =
            (float)top[3 * x.first + c] * (1 - x.share) + (float)top[3 * x.second + c] * x.share;
        const float below =
            (float)low[3 * x.first + c] * (1 - x.share) + (float)low[3 * x.second + c] * x.share;
        rgb[c] = above * (1 - y.share) + below * y.share;
    }
}

struct tones {
    float saturation, contrast, power;
};

/* Saturation about the luma, then contrast about white, so that white stays white, then brightness of what is not
 * white. */
static void recolour(struct tones t, float rgb[3]) {
    const float l = rgb[0] * luma[0] + rgb[1] * luma[1] + rgb[2] * luma[2];
    for (int c = 0; c < 3; c++) {
        const float x = fminf(fmaxf(l + t.saturation * (rgb[c] - l), 0), 255);
        const float dark = fminf(fmaxf(t.contrast * (1 - x / 255), 0), 1);
        rgb[c] = 255 * powf(1 - dark, t.power);
    }
}

void crops_augment(const uint8_t *from, uint32_t side, uint32_t size, bool flip, const float u[CROPS_DRAWS],
                   uint8_t *to) {
    const float area = least_area + (1 - least_area) * u[0];
    const float aspect = expf(about_zero(u[1]) * logf(most_aspect));
    const float width = fminf(sqrtf(area * aspect), 1), height = fminf(sqrtf(area / aspect), 1);
    const struct span across = {flip && u[4] < 0.5f ? -width : width, about_zero(u[2]) * (1 - width)},
                      down = {height, about_zero(u[3]) * (1 - height)};
    const struct tones tones = {u[5] < grey ? 0 : 1 + saturations * about_zero(u[6]),
                                1 + contrasts * about_zero(u[7]), expf(4 * brightnesses * about_zero(u[8]))};
    for (uint32_t row = 0; row < size; row++) {
        const struct tap y = tap_at(down, row, size, side);
        for (uint32_t column = 0; column < size; column++, to += 3) {
            float rgb[3];
            sample(from, side, tap_at(across, column, size, side), y, rgb);
            recolour(tones, rgb);
            for (int c = 0; c < 3; c++)
                to[c] = (uint8_t)rintf(fminf(fmaxf(rgb[c], 0), 255));
        }
    }
}
