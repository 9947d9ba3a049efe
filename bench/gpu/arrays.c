/* arrays.c - random numbers by xorshift64 (Marsaglia), and the two ways between host and device. No state. */
#include "bench/gpu/arrays.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/split.h"
#include "kernels/number.h"

struct random random_seeded(uint64_t seed) {
    struct random r = {seed * 0x9e3779b97f4a7c15u ^ 88172645463325252u};
    r.state = r.state ? r.state : 1;
    for (int i = 0; i < 8; i++)
        random_next(&r);
    return r;
}

uint64_t random_next(struct random *r) {
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    return r->state ^= r->state << 17;
}

uint32_t random_below(struct random *r, uint32_t n) {
    return (uint32_t)((random_next(r) >> 32) * n >> 32);
}

static float random_value(struct random *r, float scale) {
    return scale * ((float)(int)(random_next(r) >> 40) * 0x1p-23f - 1.0f);
}

/* Values are drawn in blocks, each by a generator of its own: the same ones on any number of threads. */
enum { BLOCK = 1 << 16 };

struct draw {
    uint64_t seed;
    size_t n;
    float scale;
    bool rounded;
    float *floats;   /* or */
    uint16_t *bf16s; /* the other is NULL */
};

static void draw_block(void *context, size_t block) {
    const struct draw *d = context;
    const size_t end = d->n - block * BLOCK < BLOCK ? d->n : (block + 1) * BLOCK;
    struct random r = random_seeded(d->seed + block);
    for (size_t i = block * BLOCK; i < end; i++) {
        const float value = random_value(&r, d->scale);
        if (d->bf16s)
            d->bf16s[i] = bf16_from_float(value);
        else
            d->floats[i] = d->rounded ? bf16_to_float(bf16_from_float(value)) : value;
    }
}

static void draw(struct random *r, struct draw d) {
    d.seed = random_next(r);
    split((d.n + BLOCK - 1) / BLOCK, draw_block, &d);
}

float *random_floats(struct random *r, size_t n, float scale, bool rounded) {
    float *v = array_alloc(n * sizeof *v);
    draw(r, (struct draw){.n = n, .scale = scale, .rounded = rounded, .floats = v});
    return v;
}

uint16_t *random_bf16(struct random *r, size_t n, float scale) {
    uint16_t *v = array_alloc(n * sizeof *v);
    draw(r, (struct draw){.n = n, .scale = scale, .bf16s = v});
    return v;
}

void spread_rows(struct random *r, enum spread how, uint32_t rows, uint32_t groups, uint32_t *offset) {
    uint64_t *share = array_alloc(groups * sizeof *share), total = 0, before = 0;
    for (uint32_t g = 0; g < groups; g++) {
        share[g] = how == SPREAD_EVEN  ? 1
                   : how == SPREAD_ONE ? g == groups / 2
                                       : random_below(r, 4) * (uint64_t)(1 + random_below(r, 100));
        total += share[g];
    }
    if (!total)
        share[0] = total = 1;
    offset[0] = 0;
    for (uint32_t g = 0; g < groups; g++) {
        before += share[g];
        offset[g + 1] = (uint32_t)(rows * before / total);
    }
    free(share);
}

void *array_alloc(size_t bytes) {
    void *p = malloc(bytes ? bytes : 1);
    if (!p) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

void *device_alloc(struct kernels *k, size_t bytes) {
    void *p = k->ops->alloc(k, bytes);
    if (!p) {
        fprintf(stderr, "no memory on the device for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

void *device_copy(struct kernels *k, const void *host, size_t bytes) {
    void *p = device_alloc(k, bytes);
    k->ops->upload(k, p, host, bytes);
    return p;
}

void *device_act(struct kernels *k, const float *values, size_t n) {
    if (k->dtype == LIMOE_FLOAT32)
        return device_copy(k, values, n * sizeof *values);
    uint16_t *rounded = array_alloc(n * sizeof *rounded);
    for (size_t i = 0; i < n; i++)
        rounded[i] = bf16_from_float(values[i]);
    void *p = device_copy(k, rounded, n * sizeof *rounded);
    free(rounded);
    return p;
}

void *device_poisoned(struct kernels *k, size_t bytes) {
    void *ones = array_alloc(bytes);
    memset(ones, 0xff, bytes);
    void *p = device_copy(k, ones, bytes);
    free(ones);
    return p;
}

float *host_act(struct kernels *k, const void *act, size_t n) {
    if (k->dtype == LIMOE_FLOAT32)
        return host_floats(k, act, n);
    uint16_t *from = array_alloc(n * sizeof *from);
    float *v = array_alloc(n * sizeof *v);
    k->ops->download(k, from, act, n * sizeof *from);
    for (size_t i = 0; i < n; i++)
        v[i] = bf16_to_float(from[i]);
    free(from);
    return v;
}

float *host_floats(struct kernels *k, const void *from, size_t n) {
    float *v = array_alloc(n * sizeof *v);
    k->ops->download(k, v, from, n * sizeof *v);
    return v;
}

struct kernels_matrix *random_matrix(struct kernels *k, struct random *r, uint32_t groups, uint32_t out,
                                     uint32_t in, uint16_t **weight, uint16_t **bias) {
    struct kernels_matrix *m;
    struct limoe_error err;
    *weight = random_bf16(r, (size_t)groups * out * in, 2 / sqrtf((float)in));
    *bias = random_bf16(r, (size_t)groups * out, 1);
    if (k->ops->pack(k, (struct kernels_tensor){*weight, KERNELS_BF16},
                     (struct kernels_tensor){*bias, KERNELS_BF16}, groups, out, in, &m, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return m;
}
