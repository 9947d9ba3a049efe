/* arrays.h - random data, on the host as float32 and on the device as what operations take.
 *
 * What is allocated belongs to the caller: free() for host arrays, the instance's release() for the device's.
 * These are benchmarks: without memory they end with a message, and nothing here returns NULL.
 */
#ifndef LIMOE_BENCH_GPU_ARRAYS_H
#define LIMOE_BENCH_GPU_ARRAYS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

struct random {
    uint64_t state; /* not 0 */
};
struct random random_seeded(uint64_t seed);
uint64_t random_next(struct random *r);
uint32_t random_below(struct random *r, uint32_t n);

/* n values from (-scale, scale), evenly, each what a bfloat16 holds where `rounded`. */
float *random_floats(struct random *r, size_t n, float scale, bool rounded);
/* The same as stored bfloat16. */
uint16_t *random_bf16(struct random *r, size_t n, float scale);

/* How n rows meet groups: offset[groups + 1]. */
enum spread {
    SPREAD_UNEVEN, /* random shares, about a quarter of the groups without any */
    SPREAD_ONE,    /* all to one group in the middle */
    SPREAD_EVEN,
};
void spread_rows(struct random *r, enum spread how, uint32_t rows, uint32_t groups, uint32_t *offset);

void *array_alloc(size_t bytes);
void *device_alloc(struct kernels *k, size_t bytes);
void *device_copy(struct kernels *k, const void *host, size_t bytes);
void *device_act(struct kernels *k, const float *values, size_t n);
/* All bits set: not a number in either dtype, so that elements that are not written show. */
void *device_poisoned(struct kernels *k, size_t bytes);
/* n act elements, or float32 ones, as float32 on the host. */
float *host_act(struct kernels *k, const void *act, size_t n);
float *host_floats(struct kernels *k, const void *from, size_t n);
/* `groups` random matrices [out, in] with random biases, both bfloat16; scaled so that the product of
 * values in (-1, 1) is about as large. *weight and *bias: what they hold. */
struct kernels_matrix *random_matrix(struct kernels *k, struct random *r, uint32_t groups, uint32_t out,
                                     uint32_t in, uint16_t **weight, uint16_t **bias);

#endif
