/* check_rows.c - what goes by the row or the sequence: LayerNorm, attention, the mean, the unit vector. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu/check.h"
#include "bench/gpu/truth.h"

enum { SEQUENCES = 9, SAMPLED_ROWS = 12 };

static size_t not_numbers(const float *v, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += isnan(v[i]) != 0;
    return count;
}

static void judge(struct check *c, const struct size *s, const char *what, const struct distance *d,
                  double limit, size_t unwritten) {
    char name[80];
    snprintf(name, sizeof name, "%s %s", s->name, what);
    report_check(c->report, !unwritten && distance_relative(d) <= limit, name,
                 "width %u, error %.2e (limit %.0e), %zu not numbers", s->width, distance_relative(d), limit,
                 unwritten);
}

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
    judge(c, s, "LayerNorm, act", &of_act, check_act_limit(c), not_numbers(got_act, n));
    judge(c, s, "LayerNorm, float32", &of_f32, CHECK_F32_LIMIT, not_numbers(got_f32, n));
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

/* Lengths of a text, of pictures, and of both sides of a tile's edges. */
static uint32_t make_sequences(struct check *c, uint32_t start[SEQUENCES + 1]) {
    static const uint32_t lengths[SEQUENCES] = {196, 1, 16, 64, 65, 256, 7, 127, 3};
    start[0] = 0;
    for (int i = 0; i < SEQUENCES; i++)
        start[i + 1] = start[i] + (c->setting->tiny ? (lengths[i] + 1) / 2 : lengths[i]);
    return start[SEQUENCES];
}

static void check_attention_with(struct check *c, const struct size *s, bool with_norm) {
    struct kernels *k = c->k;
    const uint32_t width = s->width, d = width / s->heads;
    uint32_t start[SEQUENCES + 1];
    const uint32_t rows = make_sequences(c, start);
    const size_t n = (size_t)rows * width;
    float *qkv = random_floats(&c->random, 3 * n, 2, true), *norm[4];
    float *norm_there[4] = {NULL};
    for (int i = 0; i < 4; i++) {
        norm[i] = random_floats(&c->random, d, 1.5f, false);
        norm_there[i] = device_copy(k, norm[i], d * sizeof *norm[i]);
    }
    const struct kernels_qk_norm host = {norm[0], norm[1], norm[2], norm[3], 1e-6f},
                                 there = {norm_there[0], norm_there[1], norm_there[2], norm_there[3], 1e-6f};
    void *qkv_there = device_act(k, qkv, 3 * n), *out = device_poisoned(k, n * k->act_size);
    k->ops->sequences(k, start, SEQUENCES);
    k->ops->attention(k, qkv_there, width, s->heads, KERNELS_BIDIRECTIONAL, with_norm ? &there : NULL, out);
    float *got = host_act(k, out, n);
    double *want = array_alloc(d * sizeof *want);
    struct distance distance = {0};
    for (int i = 0; i < SEQUENCES; i++) {
        for (int j = 0; j < SAMPLED_ROWS; j++) {
            const uint32_t row = start[i] + random_below(&c->random, start[i + 1] - start[i]);
            const uint32_t head = random_below(&c->random, s->heads);
            truth_attention_row(qkv, width, s->heads, head, start[i], start[i + 1], row,
                                with_norm ? &host : NULL, want);
            distance_add(&distance, got + (size_t)row * width + (size_t)head * d, want, d);
        }
    }
    /* Weights are rounded before they meet v, and normalised q and k before they meet each other. */
    judge(c, s, with_norm ? "attention, q and k normalised" : "attention", &distance,
          k->dtype == LIMOE_FLOAT32 ? CHECK_F32_LIMIT : 5e-3, not_numbers(got, n));
    free(want);
    free(got);
    k->ops->release(k, out);
    k->ops->release(k, qkv_there);
    for (int i = 0; i < 4; i++) {
        k->ops->release(k, norm_there[i]);
        free(norm[i]);
    }
    free(qkv);
}

void check_attention(struct check *c, const struct size *s) {
    check_attention_with(c, s, false);
    check_attention_with(c, s, true);
}

static void check_pool(struct check *c, const struct size *s) {
    struct kernels *k = c->k;
    uint32_t start[SEQUENCES + 1];
    const uint32_t rows = make_sequences(c, start), width = s->width;
    const size_t n = (size_t)SEQUENCES * width;
    float *x = random_floats(&c->random, (size_t)rows * width, 1, false);
    double *want = array_alloc(n * sizeof *want);
    for (uint32_t i = 0; i < SEQUENCES; i++)
        for (uint32_t f = 0; f < width; f++) {
            double sum = 0;
            for (uint32_t r = start[i]; r < start[i + 1]; r++)
                sum += x[(size_t)r * width + f];
            want[(size_t)i * width + f] = sum / (start[i + 1] - start[i]);
        }
    float *there = device_copy(k, x, (size_t)rows * width * sizeof *x);
    void *out = device_poisoned(k, n * k->act_size);
    k->ops->sequences(k, start, SEQUENCES);
    k->ops->pool(k, KERNELS_POOL_MEAN, there, width, out, NULL);
    float *got = host_act(k, out, n);
    struct distance d = {0};
    distance_add(&d, got, want, n);
    judge(c, s, "mean of a sequence", &d, check_act_limit(c), not_numbers(got, n));
    free(got);
    k->ops->release(k, out);
    k->ops->release(k, there);
    free(want);
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
    judge(c, s, "unit vectors", &d, CHECK_F32_LIMIT, not_numbers(got, n));
    free(got);
    k->ops->release(k, there);
    free(want);
    free(z);
}

void check_rows(struct check *c, const struct size *s) {
    check_layernorm(c, s);
    check_pool(c, s);
    check_normalize(c, s);
}
