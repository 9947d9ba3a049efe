/* check_sequences.c - what goes by the sequence: attention, the mean and what else stands for one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/check.h"
#include "bench/gpu/truth.h"

enum { SEQUENCES = 9, SAMPLED_ROWS = 12 };

/* Lengths of a text, of pictures, and of both sides of a tile's edges. */
static uint32_t make_sequences(struct check *c, uint32_t start[SEQUENCES + 1]) {
    static const uint32_t lengths[SEQUENCES] = {196, 1, 16, 64, 65, 256, 7, 127, 3};
    start[0] = 0;
    for (int i = 0; i < SEQUENCES; i++)
        start[i + 1] = start[i] + (c->setting->tiny ? (lengths[i] + 1) / 2 : lengths[i]);
    return start[SEQUENCES];
}

static double attention_limit(const struct check *c) {
    /* Weights are rounded before they meet v, and normalised q and k before they meet each other. */
    return c->k->dtype == LIMOE_FLOAT32 ? CHECK_F32_LIMIT : 5e-3;
}

static void check_attention_with(struct check *c, const struct size *s, enum kernels_mask mask,
                                 bool with_norm) {
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
    k->ops->attention(k, qkv_there, width, s->heads, mask, with_norm ? &there : NULL, out);
    float *got = host_act(k, out, n);
    double *want = array_alloc(d * sizeof *want);
    struct distance distance = {0};
    for (int i = 0; i < SEQUENCES; i++) {
        for (int j = 0; j < SAMPLED_ROWS; j++) {
            const uint32_t row = start[i] + random_below(&c->random, start[i + 1] - start[i]);
            const uint32_t head = random_below(&c->random, s->heads);
            const uint32_t end = mask == KERNELS_CAUSAL ? row + 1 : start[i + 1];
            truth_attention_row(qkv, width, s->heads, head, start[i], end, row, with_norm ? &host : NULL,
                                want);
            distance_add(&distance, got + (size_t)row * width + (size_t)head * d, want, d);
        }
    }
    check_judge(c, s,
                mask == KERNELS_CAUSAL ? "causal attention"
                : with_norm            ? "attention, q and k normalised"
                                       : "attention",
                &distance, attention_limit(c), check_not_numbers(got, n));
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

/* A causal row's answer is that of its prefix: each sequence, cut short at half of its rows, bit for bit. */
static void check_prefixes(struct check *c, const struct size *s) {
    struct kernels *k = c->k;
    const uint32_t width = s->width;
    uint32_t start[SEQUENCES + 1];
    const uint32_t rows = make_sequences(c, start);
    const size_t row_bytes = width * k->act_size;
    float *qkv = random_floats(&c->random, (size_t)rows * 3 * width, 2, true);
    void *there = device_act(k, qkv, (size_t)rows * 3 * width), *out = device_poisoned(k, rows * row_bytes);
    char *whole = array_alloc(rows * row_bytes), *cut = array_alloc(rows * row_bytes);
    uint32_t different = 0;
    char name[80];
    k->ops->sequences(k, start, SEQUENCES);
    k->ops->attention(k, there, width, s->heads, KERNELS_CAUSAL, NULL, out);
    k->ops->download(k, whole, out, rows * row_bytes);
    for (int i = 0; i < SEQUENCES; i++) {
        const uint32_t half = (start[i + 1] - start[i] + 1) / 2, own[] = {0, half};
        const char *const from = (const char *)there + start[i] * 3 * row_bytes;
        k->ops->sequences(k, own, 1);
        k->ops->attention(k, from, width, s->heads, KERNELS_CAUSAL, NULL, out);
        k->ops->download(k, cut, out, half * row_bytes);
        different += memcmp(cut, whole + start[i] * row_bytes, half * row_bytes) != 0;
    }
    snprintf(name, sizeof name, "%s causal attention of sequences cut short", s->name);
    report_check(c->report, different == 0, name, "width %u, %u of %d sequences differ", width, different,
                 SEQUENCES);
    free(cut);
    free(whole);
    k->ops->release(k, out);
    k->ops->release(k, there);
    free(qkv);
}

/* The truth is that of rows that all have the pooling query for their own. */
static void check_attention_pool(struct check *c, const struct size *s) {
    struct kernels *k = c->k;
    const uint32_t width = s->width, d = width / s->heads;
    uint32_t start[SEQUENCES + 1];
    const uint32_t rows = make_sequences(c, start);
    const size_t n = (size_t)SEQUENCES * width, row_bytes = width * sizeof(float);
    float *query = random_floats(&c->random, width, 2, true);
    float *kv = random_floats(&c->random, (size_t)rows * 2 * width, 2, true);
    float *qkv = array_alloc(rows * 3 * row_bytes);
    for (uint32_t r = 0; r < rows; r++) {
        memcpy(qkv + (size_t)r * 3 * width, query, row_bytes);
        memcpy(qkv + ((size_t)r * 3 + 1) * width, kv + (size_t)r * 2 * width, 2 * row_bytes);
    }
    float *query_there = device_copy(k, query, row_bytes);
    void *kv_there = device_act(k, kv, (size_t)rows * 2 * width), *out = device_poisoned(k, n * k->act_size);
    k->ops->sequences(k, start, SEQUENCES);
    k->ops->attention_pool(k, query_there, kv_there, width, s->heads, out);
    float *got = host_act(k, out, n);
    double *want = array_alloc(d * sizeof *want);
    struct distance distance = {0};
    for (uint32_t i = 0; i < SEQUENCES; i++) {
        for (uint32_t head = 0; head < s->heads; head++) {
            truth_attention_row(qkv, width, s->heads, head, start[i], start[i + 1], start[i], NULL, want);
            distance_add(&distance, got + (size_t)i * width + (size_t)head * d, want, d);
        }
    }
    check_judge(c, s, "pooling by attention", &distance, attention_limit(c), check_not_numbers(got, n));
    free(want);
    free(got);
    k->ops->release(k, out);
    k->ops->release(k, kv_there);
    k->ops->release(k, query_there);
    free(qkv);
    free(kv);
    free(query);
}

static void check_attention(struct check *c, const struct size *s) {
    check_attention_with(c, s, KERNELS_BIDIRECTIONAL, false);
    check_attention_with(c, s, KERNELS_BIDIRECTIONAL, true);
    check_attention_with(c, s, KERNELS_CAUSAL, false);
    check_prefixes(c, s);
    check_attention_pool(c, s);
}

/* What stands for rows first .. last - 1. */
static double pooled(enum kernels_pooling pooling, const float *x, uint32_t first, uint32_t last,
                     uint32_t width, uint32_t column) {
    double sum = 0;
    if (pooling != KERNELS_POOL_MEAN)
        return x[(size_t)(pooling == KERNELS_POOL_FIRST ? first : last - 1) * width + column];
    for (uint32_t r = first; r < last; r++)
        sum += x[(size_t)r * width + column];
    return sum / (last - first);
}

static void check_pool(struct check *c, const struct size *s, enum kernels_pooling pooling,
                       const char *what) {
    struct kernels *k = c->k;
    uint32_t start[SEQUENCES + 1];
    const uint32_t rows = make_sequences(c, start), width = s->width;
    const size_t n = (size_t)SEQUENCES * width;
    float *x = random_floats(&c->random, (size_t)rows * width, 1, false);
    double *want = array_alloc(n * sizeof *want);
    for (uint32_t i = 0; i < SEQUENCES; i++)
        for (uint32_t f = 0; f < width; f++)
            want[(size_t)i * width + f] = pooled(pooling, x, start[i], start[i + 1], width, f);
    float *there = device_copy(k, x, (size_t)rows * width * sizeof *x);
    void *act = device_poisoned(k, n * k->act_size);
    float *f32 = device_poisoned(k, n * sizeof *f32);
    k->ops->sequences(k, start, SEQUENCES);
    k->ops->pool(k, pooling, there, width, act, f32);
    float *got_act = host_act(k, act, n), *got_f32 = host_floats(k, f32, n);
    struct distance of_act = {0}, of_f32 = {0};
    distance_add(&of_act, got_act, want, n);
    distance_add(&of_f32, got_f32, want, n);
    check_judge(c, s, what, &of_act, check_act_limit(c), check_not_numbers(got_act, n));
    check_judge(c, s, what, &of_f32, CHECK_F32_LIMIT, check_not_numbers(got_f32, n));
    free(got_f32);
    free(got_act);
    k->ops->release(k, f32);
    k->ops->release(k, act);
    k->ops->release(k, there);
    free(want);
    free(x);
}

void check_sequences(struct check *c, const struct size *s) {
    check_attention(c, s);
    check_pool(c, s, KERNELS_POOL_MEAN, "mean of a sequence");
    check_pool(c, s, KERNELS_POOL_FIRST, "first row of a sequence");
    check_pool(c, s, KERNELS_POOL_LAST, "last row of a sequence");
}
