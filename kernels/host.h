/* host.h - the operations that backends whose memory is the host's have in common.
 *
 * Contracts are in kernels.h. No state: the instance is not looked at, and any thread may call. */
#ifndef LIMOE_KERNELS_HOST_H
#define LIMOE_KERNELS_HOST_H

#include "kernels/kernels.h"

struct kernels_table {
    struct kernels_tensor tensor; /* [rows, width], in the checkpoint's storage; int8's has at most 16 bits */
    struct kernels_int8 int8;     /* what tensor.host is where it is KERNELS_I8 */
    void *copy;                   /* the table's own: the elements, of int8 behind their scales */
    uint32_t rows, width;
};

/* What sequences() said last; the array is the caller's. */
struct host_sequences {
    const uint32_t *start; /* [n + 1] */
    size_t n;
};

/* The rows for which the weights are read once; more would cost cache and resident memory. */
enum { HOST_STEP_ROWS = 2048 };

/* Records nothing, since on the host an operation is a call and not queued. */
bool host_begin(struct kernels *k, const struct kernels_shape *shape);
void host_end(struct kernels *k);

void *host_alloc(struct kernels *k, size_t bytes);
void host_release(struct kernels *k, void *p);
void host_upload(struct kernels *k, void *to, const void *host, size_t bytes);
void host_download(struct kernels *k, void *host, const void *from, size_t bytes);
void host_copy(struct kernels *k, void *to, const void *from, size_t bytes);
float *host_upload_vector(struct kernels *k, struct kernels_tensor t, size_t n);
enum limoe_status host_load_table(struct kernels *k, struct kernels_tensor t, uint32_t rows, uint32_t width,
                                  struct kernels_table **table, struct limoe_error *err);
void host_table_free(struct kernels *k, struct kernels_table *t);

/* The first n rows of `from`, `width` elements each, as int8: q [n, width] and scale [n]. What is int8 is copied as it
 * is. False where there is no memory. */
bool host_int8_rows(struct kernels_tensor from, size_t n, uint32_t width, int8_t *q, float *scale);

#endif
