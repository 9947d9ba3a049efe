#include "tests/unit/kernels/fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/cpuid.h"
#include "kernels/number.h"

const uint32_t one_thread[] = {1, 0}, few_threads[] = {1, 2, 3, 0};

bool tests_are_slow(void) {
    return getenv("LIMOE_TEST_SLOW") != NULL;
}

static void run(void (*test)(const struct fixture *f), struct fixture *f) {
    struct limoe_error err;
    assert_int_equal(kernels_reference_create(f->dtype, &f->reference, &err), LIMOE_OK);
    f->bf16 = f->dtype == LIMOE_BFLOAT16;
    test(f);
    if (f->tested->ops->sync(f->tested, &err) != LIMOE_OK)
        fail_msg("%s: %s", f->isa, err.message);
    f->tested->ops->destroy(f->tested);
    f->reference->ops->destroy(f->reference);
}

/* Memory and threads are the device's own business: once for each dtype. */
static void run_on_device(const char *device, void (*test)(const struct fixture *f)) {
    for (int bf16 = 0; bf16 < 2; bf16++) {
        struct fixture f = {.dtype = bf16 ? LIMOE_BFLOAT16 : LIMOE_FLOAT32, .threads = 1, .elsewhere = true};
        struct limoe_error err;
        if (kernels_create(device, f.dtype, 0, &f.tested, &err) != LIMOE_OK)
            fail_msg("%s", err.message);
        f.isa = f.tested->name;
        run(test, &f);
    }
}

static void run_on_cpu(const struct isa *isa, enum limoe_dtype dtype, const uint32_t *threads,
                       void (*test)(const struct fixture *f)) {
    for (const uint32_t *t = threads; *t; t++) {
        struct fixture f = {.isa = isa->name, .dtype = dtype, .threads = *t};
        struct limoe_error err;
        assert_int_equal(cpu_create(isa, dtype, *t, &f.tested, &err), LIMOE_OK);
        run(test, &f);
    }
}

/* Whether another instruction set has all that this one has but its int8. */
static bool has_fractions_of_its_own(const struct isa *isa) {
    for (size_t i = 0; isa_at(i) != isa; i++)
        if (isa_at(i)->rows == isa->rows && isa_at(i)->product_bf16 == isa->product_bf16)
            return false;
    return true;
}

void for_each_fixture(const uint32_t *threads, void (*test)(const struct fixture *f)) {
    static const uint32_t fewer_threads[] = {1, 3, 0};
    if (threads == few_threads && tests_are_slow())
        threads = fewer_threads;
    const char *device = getenv("LIMOE_TEST_DEVICE");
    if (device) {
        run_on_device(device, test);
        return;
    }
    for (size_t i = 0; isa_at(i); i++)
        if (isa_present(isa_at(i)) && has_fractions_of_its_own(isa_at(i))) {
            run_on_cpu(isa_at(i), LIMOE_FLOAT32, threads, test);
            run_on_cpu(isa_at(i), LIMOE_BFLOAT16, threads, test);
        }
}

void for_each_int8_fixture(const uint32_t *threads, void (*test)(const struct fixture *f)) {
    for (size_t i = 0; isa_at(i) && !getenv("LIMOE_TEST_DEVICE"); i++)
        if (isa_present(isa_at(i)))
            run_on_cpu(isa_at(i), LIMOE_INT8, threads, test);
}

/* splitmix64 */
static uint64_t random_bits(struct random_stream *s) {
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

float random_float(struct random_stream *s) {
    return (float)(int32_t)(random_bits(s) >> 40) * 0x1p-23f - 1.0f;
}

uint32_t random_below(struct random_stream *s, uint32_t n) {
    return (uint32_t)(random_bits(s) >> 32) % n;
}

float *random_floats(struct random_stream *s, size_t n, float scale) {
    float *v = malloc((n ? n : 1) * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++)
        v[i] = random_float(s) * scale;
    return v;
}

struct kernels_matrix *pack_floats(struct kernels *k, const float *weight, const float *bias, uint32_t groups,
                                   uint32_t out, uint32_t in) {
    struct kernels_matrix *m;
    struct limoe_error err;
    assert_int_equal(k->ops->pack(k, (struct kernels_tensor){weight, KERNELS_F32},
                                  (struct kernels_tensor){bias, KERNELS_F32}, groups, out, in, &m, &err),
                     LIMOE_OK);
    return m;
}

float *put_floats(struct kernels *k, const float *host, size_t n) {
    float *p = k->ops->alloc(k, n * sizeof *p);
    assert_non_null(p);
    k->ops->upload(k, p, host, n * sizeof *p);
    return p;
}

void *put_act(struct kernels *k, const float *host, size_t n) {
    if (k->dtype != LIMOE_BFLOAT16)
        return put_floats(k, host, n);
    uint16_t *b = malloc((n ? n : 1) * sizeof *b), *p = k->ops->alloc(k, n * sizeof *p);
    assert_non_null(b);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        b[i] = bf16_from_float(host[i]);
    k->ops->upload(k, p, b, n * sizeof *p);
    free(b);
    return p;
}

float *get_act(struct kernels *k, const void *act, size_t n) {
    float *v = malloc((n ? n : 1) * sizeof *v);
    assert_non_null(v);
    if (k->dtype != LIMOE_BFLOAT16) {
        k->ops->download(k, v, act, n * sizeof *v);
        return v;
    }
    uint16_t *b = malloc((n ? n : 1) * sizeof *b);
    assert_non_null(b);
    k->ops->download(k, b, act, n * sizeof *b);
    for (size_t i = 0; i < n; i++)
        v[i] = bf16_to_float(b[i]);
    free(b);
    return v;
}

void assert_close(const struct fixture *f, const char *what, const float *got, const float *want, size_t n,
                  float absolute, float relative) {
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= absolute + relative * fabsf(want[i])))
            fail_msg("%s, %s, %s, %u threads: element %zu is %.9g, the reference has %.9g", what, f->isa,
                     limoe_dtype_name(f->dtype), f->threads, i, (double)got[i], (double)want[i]);
}

void assert_same_bits(const struct fixture *f, const char *what, const void *got, const void *want,
                      size_t bytes) {
    const unsigned char *a = got, *b = want;
    for (size_t i = 0; i < bytes; i++)
        if (a[i] != b[i])
            fail_msg("%s, %s, %s, %u threads: byte %zu differs", what, f->isa, limoe_dtype_name(f->dtype),
                     f->threads, i);
}
