/* host.c - memory that is the host's own: what would travel to a device is copied, or lies there already. */
#include "kernels/host.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/int8.h"
#include "kernels/number.h"

enum { ALIGNMENT = 64 };

bool host_begin(struct kernels *k, const struct kernels_shape *shape) {
    (void)k;
    (void)shape;
    return false;
}

void host_end(struct kernels *k) {
    (void)k;
}

/* aligned_alloc wants a multiple of the alignment. */
void *host_alloc(struct kernels *k, size_t bytes) {
    (void)k;
    if (bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT);
}

void host_release(struct kernels *k, void *p) {
    (void)k;
    free(p);
}

void host_upload(struct kernels *k, void *to, const void *host, size_t bytes) {
    (void)k;
    if (bytes)
        memcpy(to, host, bytes);
}

void host_download(struct kernels *k, void *host, const void *from, size_t bytes) {
    (void)k;
    if (bytes)
        memcpy(host, from, bytes);
}

void host_copy(struct kernels *k, void *to, const void *from, size_t bytes) {
    (void)k;
    if (bytes)
        memcpy(to, from, bytes);
}

float *host_upload_vector(struct kernels *k, struct kernels_tensor t, size_t n) {
    if (n > SIZE_MAX / sizeof(float))
        return NULL;
    float *v = host_alloc(k, n * sizeof *v);
    if (v)
        tensor_read(t, 0, n, v);
    return v;
}

bool host_int8_rows(struct kernels_tensor from, size_t n, uint32_t width, int8_t *q, float *scale) {
    if (from.storage == KERNELS_I8) {
        const struct kernels_int8 *stored = from.host;
        memcpy(q, stored->value, n * width);
        memcpy(scale, stored->scale, n * sizeof *scale);
        return true;
    }
    float *row = malloc(width * sizeof *row);
    for (size_t i = 0; row && i < n; i++) {
        tensor_read(from, i * width, width, row);
        scale[i] = int8_weights(row, width, q + i * width);
    }
    free(row);
    return row;
}

/* What int8 rows become: a copy, the scales first, since they are aligned. */
static void copy_int8(struct kernels_tensor from, struct kernels_table *to) {
    float *const scale = to->copy;
    int8_t *const q = (int8_t *)(scale + to->rows);
    memcpy(scale, ((const struct kernels_int8 *)from.host)->scale, to->rows * sizeof *scale);
    memcpy(q, ((const struct kernels_int8 *)from.host)->value, (size_t)to->rows * to->width);
    to->int8 = (struct kernels_int8){.value = q, .scale = scale, .row = to->width};
    to->tensor = (struct kernels_tensor){&to->int8, KERNELS_I8};
}
/* To bfloat16, row by row. */
static void round_rows(struct kernels_tensor from, uint32_t rows, uint32_t width, float *row, uint16_t *to) {
    for (size_t r = 0; r < rows; r++) {
        tensor_read(from, r * width, width, row);
        for (uint32_t c = 0; c < width; c++)
            to[r * width + c] = bf16_from_float(row[c]);
    }
}

/* Rows stay as the checkpoint stores them: half the memory of float32 where it has 16 bits, and exact. An int8 instance
 * has no more than 16 bits. */
enum limoe_status host_load_table(struct kernels *k, struct kernels_tensor t, uint32_t rows, uint32_t width,
                                  struct kernels_table **table, struct limoe_error *err) {
    const bool round = k->dtype == LIMOE_INT8 && t.storage == KERNELS_F32;
    const enum kernels_storage storage = round ? KERNELS_BF16 : t.storage;
    const size_t scales = storage == KERNELS_I8 ? rows * sizeof(float) : 0;
    size_t bytes = 0;
    struct kernels_table *to = calloc(1, sizeof *to);
    float *row = malloc(width * sizeof *row);
    if (to && row && !__builtin_mul_overflow((size_t)rows * width, storage_size(storage), &bytes) &&
        !__builtin_add_overflow(bytes, scales, &bytes))
        *to = (struct kernels_table){.copy = host_alloc(k, bytes), .rows = rows, .width = width};
    if (!row || !to || !to->copy) {
        free(row);
        host_table_free(k, to);
        *table = NULL;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a table of %u rows", rows);
    }
    to->tensor = (struct kernels_tensor){to->copy, storage};
    if (storage == KERNELS_I8)
        copy_int8(t, to);
    else if (round)
        round_rows(t, rows, width, row, to->copy);
    else
        memcpy(to->copy, t.host, bytes);
    free(row);
    *table = to;
    return LIMOE_OK;
}

void host_table_free(struct kernels *k, struct kernels_table *t) {
    if (!t)
        return;
    host_release(k, t->copy);
    free(t);
}
