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

float *host_upload_vector(struct kernels *k, struct kernels_tensor t, size_t n) {
    if (n > SIZE_MAX / sizeof(float))
        return NULL;
    float *v = host_alloc(k, n * sizeof *v);
    if (v)
        tensor_read(t, 0, n, v);
    return v;
}

/* Rows of fractions to int8; `row` is room for one. */
static void quantise_rows(struct kernels_tensor from, uint32_t rows, uint32_t width, float *row,
                          int8_t *value, float *scale) {
    for (size_t r = 0; r < rows; r++) {
        tensor_read(from, r * width, width, row);
        scale[r] = int8_weights(row, width, value + r * width);
    }
}

/* The table's rows with a scale each, in one piece of memory: made here, or copied where the checkpoint has them. */
static struct kernels_int8 *int8_rows(struct kernels *k, struct kernels_tensor t, uint32_t rows,
                                      uint32_t width) {
    size_t bytes, all = sizeof(struct kernels_int8) + rows * sizeof(float);
    float *row = malloc(width * sizeof *row);
    struct kernels_int8 *to = NULL;
    if (!__builtin_mul_overflow((size_t)rows, width, &bytes) && !__builtin_add_overflow(all, bytes, &all))
        to = host_alloc(k, all);
    if (row && to) {
        float *scale = (float *)(to + 1);
        int8_t *value = (int8_t *)(scale + rows);
        *to = (struct kernels_int8){value, scale, width};
        if (t.storage == KERNELS_I8) {
            memcpy(value, ((const struct kernels_int8 *)t.host)->value, bytes);
            memcpy(scale, ((const struct kernels_int8 *)t.host)->scale, rows * sizeof *scale);
        } else {
            quantise_rows(t, rows, width, row, value, scale);
        }
    } else {
        host_release(k, to);
        to = NULL;
    }
    free(row);
    return to;
}

static void *copy_rows(struct kernels *k, struct kernels_tensor t, uint32_t rows, uint32_t width) {
    size_t bytes;
    void *copy = NULL;
    if (!__builtin_mul_overflow((size_t)rows * width, storage_size(t.storage), &bytes))
        copy = host_alloc(k, bytes);
    if (copy)
        memcpy(copy, t.host, bytes);
    return copy;
}

/* Rows stay as the checkpoint stores them: half the memory of float32 where it has 16 bits, and exact. Those of an
 * int8 instance are int8. */
enum limoe_status host_load_table(struct kernels *k, struct kernels_tensor t, uint32_t rows, uint32_t width,
                                  struct kernels_table **table, struct limoe_error *err) {
    const bool int8 = k->dtype == LIMOE_INT8;
    *table = malloc(sizeof **table);
    void *copy = int8 ? (void *)int8_rows(k, t, rows, width) : copy_rows(k, t, rows, width);
    if (!*table || !copy) {
        host_release(k, copy);
        free(*table);
        *table = NULL;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a table of %u rows", rows);
    }
    **table =
        (struct kernels_table){.tensor = {copy, int8 ? KERNELS_I8 : t.storage}, .rows = rows, .width = width};
    return LIMOE_OK;
}

void host_table_free(struct kernels *k, struct kernels_table *t) {
    if (!t)
        return;
    host_release(k, (void *)t->tensor.host);
    free(t);
}
