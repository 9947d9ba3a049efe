/* pool.c - reading the answer: the row that stands for a sequence, and the unit vector of an embedding. */
#include <math.h>

#include "kernels/reference/reference.h"

/* Element c of what stands for rows first .. last - 1. */
static float pooled(enum kernels_pooling pooling, const float *x, size_t first, size_t last, uint32_t width,
                    uint32_t c) {
    if (pooling == KERNELS_POOL_FIRST)
        return x[first * width + c];
    if (pooling == KERNELS_POOL_LAST)
        return x[(last - 1) * width + c];
    if (pooling == KERNELS_POOL_REST && last - first > 1)
        first++;
    float sum = 0;
    for (size_t r = first; r < last; r++)
        sum += x[r * width + c];
    return sum / (float)(last - first);
}

void reference_pool(struct kernels *k, enum kernels_pooling pooling, const float *x, uint32_t width,
                    void *out_act, float *out_f32) {
    const struct host_sequences *sequences = &((struct reference *)k)->sequences;
    const uint32_t *start = sequences->start;
    for (size_t i = 0; i < sequences->n; i++)
        for (uint32_t c = 0; c < width; c++) {
            float v = pooled(pooling, x, start[i], start[i + 1], width, c);
            if (out_f32)
                out_f32[i * width + c] = v;
            if (out_act)
                reference_store(k, out_act, i * width + c, v);
        }
}

void reference_normalize(struct kernels *k, float *z, size_t n, uint32_t width) {
    (void)k;
    for (size_t i = 0; i < n; i++, z += width) {
        float squares = 0;
        for (uint32_t c = 0; c < width; c++)
            squares += z[c] * z[c];
        if (squares > 0)
            for (uint32_t c = 0; c < width; c++)
                z[c] /= sqrtf(squares);
    }
}
