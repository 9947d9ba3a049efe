/* weights.c - tensors of a checkpoint to device memory, in the dtype and order that kernels want.
 *
 * The host only copies bytes; rounding and reordering are the device's, since a model may have billions of
 * weights and its user is waiting.
 */
#include <stdlib.h>

#include "base/error.h"
#include "kernels/cuda/device.h"
#include "kernels/number.h"

static uint32_t round_up(uint32_t n, uint32_t to) {
    return (n + to - 1) / to * to;
}

/* A matrix's way never changes with the rows that it meets: that keeps the bits. */
static enum cuda_way choose_way(const struct cuda *self, uint32_t out, uint32_t in) {
    if (!self->bf16 || out % 2 != 0 || in % 4 != 0)
        return CUDA_PLAIN;
    return self->hopper && in % 8 == 0 ? CUDA_WGMMA : CUDA_MMA;
}

/* Rows go over in pieces that fit a slot; a row always does, at 16,384 or so elements of 4 bytes. */
static bool send_rows(struct cuda *self, struct kernels_tensor t, const struct kernels_matrix *m) {
    const size_t row_bytes = m->in * storage_size(t.storage), rows = (size_t)m->groups * m->out,
                 most = STAGING_BYTES / row_bytes;
    for (size_t first = 0; first < rows; first += most) {
        const size_t piece = rows - first < most ? rows - first : most;
        const void *from = staging_put(self, (const char *)t.host + first * row_bytes, piece * row_bytes);
        if (!from)
            return false;
        convert_rows(self->stream, from, t.storage, self->bf16, first, piece, m);
        if (!cuda_launched(self, "packing a weight"))
            return false;
        staging_done(self);
    }
    return true;
}

enum limoe_status cuda_pack(struct kernels *k, struct kernels_tensor weight, struct kernels_tensor bias,
                            uint32_t groups, uint32_t out, uint32_t in, struct kernels_matrix **packed,
                            struct limoe_error *err) {
    struct cuda *self = (struct cuda *)k;
    size_t bytes;
    *packed = NULL;
    if (!groups || !out || !in || out > UINT32_MAX - KERNELS_CUDA_OUT || in > STAGING_BYTES / sizeof(float))
        return limoe_fail(err, LIMOE_INVALID, "a weight of shape [%u, %u, %u] cannot be packed", groups, out,
                          in);
    /* A tensor map has an alignment of its own, which the driver insists on. */
    struct kernels_matrix *m = aligned_alloc(_Alignof(struct kernels_matrix), sizeof *m);
    if (!m)
        goto no_memory;
    *m = (struct kernels_matrix){.way = choose_way(self, out, in),
                                 .groups = groups,
                                 .out = out,
                                 .in = in,
                                 .padded = round_up(out, KERNELS_CUDA_OUT),
                                 .pitch = round_up(in, KERNELS_CUDA_IN)};
    if (__builtin_mul_overflow((size_t)m->padded * m->pitch, (size_t)groups * k->act_size, &bytes))
        goto no_memory;
    m->weight = cuda_alloc(k, bytes);
    if (!m->weight)
        goto no_memory;
    if (bias.host) {
        m->bias = cuda_upload_vector(k, bias, (size_t)groups * out);
        if (!m->bias)
            goto no_memory;
    }
    if (!cuda_check(self, "clearing a weight", cudaMemsetAsync(m->weight, 0, bytes, self->stream)) ||
        !send_rows(self, weight, m) || !cuda_map_weight(self, m)) {
        cuda_matrix_free(k, m);
        return k->ops->sync(k, err);
    }
    *packed = m;
    return LIMOE_OK;

no_memory:
    cuda_matrix_free(k, m);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory on the GPU for a weight of shape [%u, %u, %u]", groups,
                      out, in);
}

void cuda_matrix_free(struct kernels *k, struct kernels_matrix *m) {
    if (!m)
        return;
    cuda_release(k, m->bias);
    cuda_release(k, m->weight);
    free(m);
}

float *cuda_upload_vector(struct kernels *k, struct kernels_tensor t, size_t n) {
    struct cuda *self = (struct cuda *)k;
    const size_t size = storage_size(t.storage), most = STAGING_BYTES / size;
    if (n > SIZE_MAX / sizeof(float))
        return NULL;
    float *v = cuda_alloc(k, n * sizeof *v);
    for (size_t first = 0; v && first < n; first += most) {
        const size_t piece = n - first < most ? n - first : most;
        const void *from = staging_put(self, (const char *)t.host + first * size, piece * size);
        if (!from)
            break; /* sync() tells */
        convert_floats(self->stream, from, t.storage, piece, v + first);
        cuda_launched(self, "converting a vector");
        staging_done(self);
    }
    return v;
}

/* Rows stay as the checkpoint stores them: half the memory of float32 where it has 16 bits, and exact. */
enum limoe_status cuda_load_table(struct kernels *k, struct kernels_tensor t, uint32_t rows, uint32_t width,
                                  struct kernels_table **table, struct limoe_error *err) {
    size_t bytes;
    void *copy = NULL;
    *table = malloc(sizeof **table);
    if (!__builtin_mul_overflow((size_t)rows * width, storage_size(t.storage), &bytes))
        copy = cuda_alloc(k, bytes);
    if (!*table || !copy) {
        cuda_release(k, copy);
        free(*table);
        *table = NULL;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory on the GPU for a table of %u rows", rows);
    }
    cuda_upload(k, copy, t.host, bytes);
    **table = (struct kernels_table){.tensor = {copy, t.storage}, .rows = rows, .width = width};
    return LIMOE_OK;
}

void cuda_table_free(struct kernels *k, struct kernels_table *t) {
    if (!t)
        return;
    cuda_release(k, (void *)t->tensor.host);
    free(t);
}
