/* linear.c - y = epilogue(x W^T + b), one matrix or one matrix a group of rows. */
#include <math.h>
#include <stdlib.h>

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

static void store(const struct kernels *k, enum kernels_epilogue epilogue, float v, void *y, size_t at) {
    if (epilogue == KERNELS_STORE_F32)
        ((float *)y)[at] = v;
    else if (epilogue == KERNELS_ADD_F32)
        ((float *)y)[at] += v;
    else
        reference_store(k, y, at, v);
}

/* Rows first .. last - 1 of in and y meet matrix `group`. */
static void multiply(struct kernels *k, const struct kernels_matrix *m, uint32_t group, const void *in,
                     size_t first, size_t last, enum kernels_epilogue epilogue, void *y) {
    const size_t channel = (size_t)group * m->out;
    const bool int8 = k->dtype == LIMOE_INT8;
    uint8_t *q = int8 ? malloc(m->in) : NULL;
    struct int8_row row = {0};
    if (int8 && !q) {
        ((struct reference *)k)->no_memory = true;
        return;
    }
    for (size_t r = first; r < last; r++) {
        if (int8)
            row = reference_int8_row((const float *)in + r * m->in, m->in, q);
        for (uint32_t c = 0; c < m->out; c++) {
            const size_t weights = (channel + c) * m->in;
            float acc = 0;
            for (uint32_t i = 0; !int8 && i < m->in; i++)
                acc += reference_load(k, in, r * m->in + i) * m->weight[weights + i];
            if (int8)
                acc = reference_int8_dot(q, row, m->q + weights, m->scale[channel + c], m->in);
            float v = activate(m->bias ? acc + m->bias[channel + c] : acc, epilogue);
            store(k, epilogue, v, y, r * m->out + c);
        }
    }
    free(q);
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
