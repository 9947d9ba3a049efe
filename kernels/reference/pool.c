/* pool.c - reading the answer: the mean over a sequence's tokens, and the unit vector of an embedding. */
#include <math.h>

#include "kernels/reference/reference.h"

void reference_pool_mean(struct kernels *k, const float *x, uint32_t width, void *out) {
    const struct host_sequences *sequences = &((struct reference *)k)->sequences;
    const uint32_t *start = sequences->start;
    for (size_t i = 0; i < sequences->n; i++)
        for (uint32_t c = 0; c < width; c++) {
            float sum = 0;
            for (size_t r = start[i]; r < start[i + 1]; r++)
                sum += x[r * width + c];
            reference_store(k, out, i * width + c, sum / (float)(start[i + 1] - start[i]));
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
