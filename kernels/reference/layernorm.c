/* layernorm.c - Ba et al., "Layer Normalization", with the population variance. */
#include <math.h>

#include "kernels/reference/reference.h"

struct moments {
    float mean, scale; /* scale = 1 / sqrt(var + eps) */
};

static struct moments measure(const float *x, float eps, uint32_t width) {
    float sum = 0, squares = 0;
    for (uint32_t c = 0; c < width; c++)
        sum += x[c];
    float mean = sum / (float)width;
    for (uint32_t c = 0; c < width; c++)
        squares += (x[c] - mean) * (x[c] - mean);
    return (struct moments){.mean = mean, .scale = 1.0f / sqrtf(squares / (float)width + eps)};
}

void reference_layernorm_row(const float *x, const float *weight, const float *bias, float eps,
                             uint32_t width, float *out) {
    struct moments m = measure(x, eps, width);
    for (uint32_t c = 0; c < width; c++)
        out[c] = (x[c] - m.mean) * m.scale * weight[c] + bias[c];
}

void reference_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                         size_t rows, uint32_t width, void *out_act, float *out_f32) {
    for (size_t r = 0; r < rows; r++, x += width) {
        struct moments m = measure(x, eps, width);
        for (uint32_t c = 0; c < width; c++) {
            float v = (x[c] - m.mean) * m.scale * weight[c] + bias[c];
            if (out_f32)
                out_f32[r * width + c] = v;
            if (out_act)
                reference_store(k, out_act, r * width + c, v);
        }
    }
}
