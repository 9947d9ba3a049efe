/* fixture.h - instances to test and data to test them on.
 *
 * Each test runs on every instruction set this machine has, in float32 and bfloat16, against the reference; those
 * of the linear operations in int8, too, whose other operations are float32's.
 * With a device in the environment variable LIMOE_TEST_DEVICE ("cuda"), it runs on that instead.
 * Where LIMOE_TEST_SLOW is set, for a processor that is emulated, tests leave out what shows least for its time.
 */
#ifndef LIMOE_TESTS_UNIT_KERNELS_FIXTURE_H
#define LIMOE_TESTS_UNIT_KERNELS_FIXTURE_H

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/kernels.h"

/* The instance that is tested, beside the reference of the same dtype. */
struct fixture {
    struct kernels *reference, *tested;
    const char *isa; /* or the backend's name */
    enum limoe_dtype dtype;
    bool bf16, elsewhere; /* elsewhere: its memory is not the host's */
    uint32_t threads;
};

/* Runs the test on each instruction set present, dtype, and thread count of `threads`, ended by 0. */
void for_each_fixture(const uint32_t *threads, void (*test)(const struct fixture *f));

/* The same in int8, and not on devices, which have none. */
void for_each_int8_fixture(const uint32_t *threads, void (*test)(const struct fixture *f));

extern const uint32_t one_thread[], few_threads[]; /* {1}, {1, 2, 3} */

/* Whether LIMOE_TEST_SLOW is set. Then 1 and 3 threads are few enough. */
bool tests_are_slow(void);

/* A reproducible stream: the next in (-1, 1), roughly uniform; the next below n. */
struct random_stream {
    uint64_t state;
};
float random_float(struct random_stream *s);
uint32_t random_below(struct random_stream *s, uint32_t n);

/* n values in (-scale, scale), malloc'd. */
float *random_floats(struct random_stream *s, size_t n, float scale);

/* Matrices [groups, out, in] with biases [groups, out], or NULL, packed by the instance. */
struct kernels_matrix *pack_floats(struct kernels *k, const float *weight, const float *bias, uint32_t groups,
                                   uint32_t out, uint32_t in);

/* Instance memory holding host values as float32 or as act. */
float *put_floats(struct kernels *k, const float *host, size_t n);
void *put_act(struct kernels *k, const float *host, size_t n);
/* act as float32, malloc'd. */
float *get_act(struct kernels *k, const void *act, size_t n);

/* Fails, naming the place, where |got - want| > absolute + relative * |want|. */
void assert_close(const struct fixture *f, const char *what, const float *got, const float *want, size_t n,
                  float absolute, float relative);
/* Fails, naming the place, where the bits of act or float32 rows differ. */
void assert_same_bits(const struct fixture *f, const char *what, const void *got, const void *want,
                      size_t bytes);

/* What one rounding to act may cost, relatively. */
static inline float act_error(const struct fixture *f) {
    return f->bf16 ? 0x1p-7f : 2e-6f;
}

#endif
