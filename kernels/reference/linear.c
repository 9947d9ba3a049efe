/* linear.c - y = epilogue(x W^T + b), one matrix or one matrix a group of rows. */
#include <math.h>

#include "kernels/reference/reference.h"

/* Hendrycks & Gimpel, "Gaussian Error Linear Units", section 2: x Phi(x) and its two approximations. */
static float activate(float v, enum kernels_epilogue epilogue) {
    switch (epilogue) {
    case KERNELS_GELU_TANH:
        return 0.5f * v * (1.0f + tanhf(0.7978845608f * (v + 0.044715f * v * v * v)));
    case KERNELS_GELU_ERF:
        return 0.5f * v * (1.0f + erff(v * 0.7071067812f));
    case KERNELS_QUICK_GELU:
        return v / (1.0f + expf(-1.702f * v));
    case KERNELS_STORE:
    case KERNELS_STORE_F32:
    case KERNELS_ADD_F32:
        break;
    }
    return v;
}

/* Rows first .. last - 1 of in and y meet matrix `group`. */
static void multiply(const struct kernels *k, const struct kernels_matrix *m, uint32_t group, const void *in,
                     size_t first, size_t last, enum kernels_epilogue epilogue, void *y) {
    const float *weight = m->weight + (size_t)group * m->out * m->in;
    const float *bias = m->bias ? m->bias + (size_t)group * m->out : NULL;
    for (size_t r = first; r < last; r++)
        for (uint32_t c = 0; c < m->out; c++) {
            float acc = 0;
            for (uint32_t i = 0; i < m->in; i++)
                acc += reference_load(k, in, r * m->in + i) * weight[(size_t)c * m->in + i];
            float v = activate(bias ? acc + bias[c] : acc, epilogue);
            size_t at = r * m->out + c;
            if (epilogue == KERNELS_STORE_F32)
                ((float *)y)[at] = v;
            else if (epilogue == KERNELS_ADD_F32)
                ((float *)y)[at] += v;
            else
                reference_store(k, y, at, v);
        }
}

void reference_linear(struct kernels *k, const struct kernels_matrix *m, const void *in, size_t rows,
                      enum kernels_epilogue epilogue, void *y) {
    multiply(k, m, 0, in, 0, rows, epilogue, y);
}

void reference_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                              const void *in, size_t rows, enum kernels_epilogue epilogue, void *y) {
    (void)rows;
    for (uint32_t g = 0; g < m->groups; g++)
        multiply(k, m, g, in, offset[g], offset[g + 1], epilogue, y);
}
