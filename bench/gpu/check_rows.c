/* check_rows.c - what goes by the row: LayerNorm, the unit vector. */
#include <math.h>
#include <stdlib.h>

#include "bench/gpu/check.h"
#include "bench/gpu/truth.h"

static void check_layernorm(struct check *c, const struct size *s) {
    struct kernels *k = c->k;
    const uint32_t rows = 403, width = s->width;
    const size_t n = (size_t)rows * width;
    float *x = random_floats(&c->random, n, 3, false), *weight = random_floats(&c->random, width, 2, false),
          *bias = random_floats(&c->random, width, 1, false);
    for (size_t i = 0; i < width; i++)
        x[i] += 100; /* a mean that a careless variance would lose its digits to */
    double *want = array_alloc(n * sizeof *want);
    for (uint32_t r = 0; r < rows; r++)
        truth_layernorm_row(x + (size_t)r * width, weight, bias, 1e-6, width, want + (size_t)r * width);
    float *there = device_copy(k, x, n * sizeof *x), *w = device_copy(k, weight, width * sizeof *w),
          *b = device_copy(k, bias, width * sizeof *b);
    void *act = device_poisoned(k, n * k->act_size);
    float *f32 = device_poisoned(k, n * sizeof *f32);
    k->ops->layernorm(k, there, w, b, 1e-6f, rows, width, act, f32);
    float *got_act = host_act(k, act, n), *got_f32 = host_floats(k, f32, n);
    struct distance of_act = {0}, of_f32 = {0};
    distance_add(&of_act, got_act, want, n);
    distance_add(&of_f32, got_f32, want, n);
    check_judge(c, s, "LayerNorm, act", &of_act, check_act_limit(c), check_not_numbers(got_act, n));
    check_judge(c, s, "LayerNorm, float32", &of_f32, CHECK_F32_LIMIT, check_not_numbers(got_f32, n));
    free(got_f32);
    free(got_act);
    k->ops->release(k, f32);
    k->ops->release(k, act);
    k->ops->release(k, b);
    k->ops->release(k, w);
    k->ops->release(k, there);
    free(want);
    free(bias);
    free(weight);
    free(x);
}

static void check_normalize(struct check *c, const struct size *s) {
    struct kernels *k = c->k;
    const uint32_t rows = 37, width = s->width;
    const size_t n = (size_t)rows * width;
    float *z = random_floats(&c->random, n, 4, false);
    double *want = array_alloc(n * sizeof *want);
    for (uint32_t c0 = 0; c0 < width; c0++)
        z[c0] = 0; /* a zero row stays zero */
    for (uint32_t r = 0; r < rows; r++) {
        double squares = 0;
        for (uint32_t f = 0; f < width; f++)
            squares += (double)z[(size_t)r * width + f] * z[(size_t)r * width + f];
        for (uint32_t f = 0; f < width; f++)
            want[(size_t)r * width + f] = squares > 0 ? z[(size_t)r * width + f] / sqrt(squares) : 0;
    }
    float *there = device_copy(k, z, n * sizeof *z);
    k->ops->normalize(k, there, rows, width);
    float *got = host_floats(k, there, n);
    struct distance d = {0};
    distance_add(&d, got, want, n);
    check_judge(c, s, "unit vectors", &d, CHECK_F32_LIMIT, check_not_numbers(got, n));
    free(got);
    k->ops->release(k, there);
    free(want);
    free(z);
}

void check_rows(struct check *c, const struct size *s) {
    check_layernorm(c, s);
    check_normalize(c, s);
}
