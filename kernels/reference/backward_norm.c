/* backward_norm.c - LayerNorm, what stands for a sequence, unit vectors, and the loss. */
#include <math.h>

#include "kernels/reference/backward.h"
#include "kernels/reference/reference.h"

/* With n = (x - mean) scale and g = dy * weight: dx = scale (g - mean(g) - n mean(g n)). */
void reference_backward_layernorm_row(const struct backward_norm *norm, const float *x, const float *dy,
                                      uint32_t width, float *dx) {
    double mean = 0, square = 0, g_mean = 0, gn_mean = 0;
    for (uint32_t c = 0; c < width; c++)
        mean += (double)x[c] / width;
    for (uint32_t c = 0; c < width; c++)
        square += ((double)x[c] - mean) * ((double)x[c] - mean) / width;
    const double scale = 1 / sqrt(square + (double)norm->eps);
    for (uint32_t c = 0; c < width; c++) {
        const double g = (double)dy[c] * (double)norm->weight[c], n = ((double)x[c] - mean) * scale;
        g_mean += g / width;
        gn_mean += g * n / width;
    }
    for (uint32_t c = 0; c < width; c++) {
        const double g = (double)dy[c] * (double)norm->weight[c], n = ((double)x[c] - mean) * scale;
        dx[c] += (float)(scale * (g - g_mean - n * gn_mean));
        if (norm->dweight)
            norm->dweight[c] += (float)((double)dy[c] * n);
        if (norm->dbias)
            norm->dbias[c] += dy[c];
    }
}

void reference_backward_layernorm(struct kernels *k, const struct backward_norm *norm, const float *x,
                                  const float *dy, size_t rows, uint32_t width, float *dx) {
    (void)k;
    for (size_t r = 0; r < rows; r++)
        reference_backward_layernorm_row(norm, x + r * width, dy + r * width, width, dx + r * width);
}

/* How much of row `row` is in what stands for rows first .. last - 1. */
static float share(enum kernels_pooling pooling, size_t first, size_t last, size_t row) {
    const size_t rows = last - first;
    switch (pooling) {
    case KERNELS_POOL_FIRST:
        return row == first;
    case KERNELS_POOL_LAST:
        return row == last - 1;
    case KERNELS_POOL_REST:
        if (rows > 1)
            return row == first ? 0 : 1 / (float)(rows - 1);
        break;
    case KERNELS_POOL_MEAN:
        break;
    }
    return 1 / (float)rows;
}

void reference_backward_pool(struct kernels *k, enum kernels_pooling pooling, const float *dout,
                             uint32_t width, float *dx) {
    const struct host_sequences *sequences = &((struct reference *)k)->sequences;
    for (size_t i = 0; i < sequences->n; i++)
        for (size_t first = sequences->start[i], last = sequences->start[i + 1], r = first; r < last; r++)
            for (uint32_t c = 0; c < width; c++)
                dx[r * width + c] = dout[i * width + c] * share(pooling, first, last, r);
}

void reference_backward_normalize(struct kernels *k, const float *z, const float *dy, size_t n,
                                  uint32_t width, float *dz) {
    (void)k;
    for (size_t i = 0; i < n; i++, z += width, dy += width, dz += width) {
        double squares = 0, dot = 0;
        for (uint32_t c = 0; c < width; c++) {
            squares += (double)z[c] * (double)z[c];
            dot += (double)z[c] * (double)dy[c];
        }
        const double length = sqrt(squares);
        for (uint32_t c = 0; c < width; c++)
            dz[c] =
                length > 0 ? (float)(((double)dy[c] - (double)z[c] / length * (dot / length)) / length) : 0;
    }
}

void reference_cross_entropy(struct kernels *k, const float *cosine, const uint32_t *label, size_t n,
                             uint32_t classes, float scale, float *loss, float *dcosine) {
    (void)k;
    for (size_t i = 0; i < n; i++, cosine += classes, dcosine += classes) {
        const double chosen = (double)scale * (double)cosine[label[i]];
        double most = chosen, sum = 0;
        for (uint32_t c = 0; c < classes; c++) {
            const double score = (double)scale * (double)cosine[c];
            most = score > most ? score : most;
        }
        for (uint32_t c = 0; c < classes; c++)
            sum += exp((double)scale * (double)cosine[c] - most);
        loss[i] = (float)(log(sum) - (chosen - most));
        for (uint32_t c = 0; c < classes; c++) {
            const double p = exp((double)scale * (double)cosine[c] - most) / sum;
            dcosine[c] = (float)((double)scale * (p - (c == label[i])) / (double)n);
        }
    }
}
