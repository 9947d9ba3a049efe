/* time_rows.c - B/16's other operations, in a batch of pictures: arrays in turns, as many as outgrow the
 * cache. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu/timer.h"

enum { SIDE = 224, PATCH = 16, PATCH_ELEMENTS = 3 * PATCH * PATCH, TOKENS = (SIDE / PATCH) * (SIDE / PATCH) };

/* A batch's arrays: one set. */
struct set {
    void *patches, *qkv, *h, *slots;
    float *x, *h32, *logits, *gate;
    int32_t *expert;
    struct kernels_plan plan;
};

struct batch {
    struct kernels *k;
    uint32_t pictures, rows, width, heads, experts;
    uint8_t **pixels; /* [pictures] */
    float *weight, *bias, *router;
    struct set set[MOST_SETS];
    size_t sets;
};

static void queue_patches(void *context, size_t turn) {
    static const float half[] = {0.5f, 0.5f, 0.5f};
    struct batch *b = context;
    b->k->ops->patches(b->k, (const uint8_t *const *)b->pixels, b->pictures, SIDE, PATCH, 0, half, half,
                       b->set[turn % b->sets].patches);
}

static void queue_layernorm(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->layernorm(b->k, s->x, b->weight, b->bias, 1e-6f, b->rows, b->width, s->h, NULL);
}

static void queue_attention(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->attention(b->k, s->qkv, b->width, b->heads, KERNELS_BIDIRECTIONAL, NULL, s->h);
}

static void queue_router(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->router_logits(b->k, s->h32, b->router, b->rows, b->width, b->experts, s->logits);
}

static void queue_gate(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->gate(b->k, s->logits, b->rows, b->experts, 1, false, s->expert, s->gate);
}

static void queue_plan(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->plan(b->k, s->expert, b->rows, b->experts, 1, s->plan);
}

static void queue_dispatch(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->dispatch(b->k, s->h, s->plan, b->experts, b->rows, b->width, s->slots);
}

static void queue_combine(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->combine(b->k, s->slots, s->plan, s->expert, s->gate, b->rows, 1, b->width, s->x);
}

static void queue_pool(void *context, size_t turn) {
    struct batch *b = context;
    struct set *s = &b->set[turn % b->sets];
    b->k->ops->pool(b->k, KERNELS_POOL_MEAN, s->h32, b->width, s->h, NULL);
}

/* In an order in which each finds what it needs: routing comes before what goes by it. */
static void time_all(struct timer *t, struct batch *b) {
    const double rows = b->rows, width = b->width, experts = b->experts, act = (double)b->k->act_size;
    const struct {
        const char *name;
        void (*queue)(void *context, size_t turn);
        double bytes, operations;
    } all[] = {
        {"LayerNorm", queue_layernorm, rows * width * (4 + act), 0},
        {"attention", queue_attention, rows * width * 4 * act, 4 * rows * TOKENS * width},
        {"router", queue_router, rows * (width + experts) * 4 + experts * width * 4, 0},
        {"gate", queue_gate, rows * (experts + 2) * 4, 0},
        {"plan", queue_plan, rows * 4 * 3, 0},
        {"dispatch", queue_dispatch, rows * width * 2 * act, 0},
        {"combine", queue_combine, rows * width * (8 + act), 0},
        {"mean of a sequence", queue_pool, rows * width * 4, 0},
        {"patches, pixels from the host", queue_patches, rows * PATCH_ELEMENTS * (1 + act), 0},
    };
    char name[80];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(name, sizeof name, "%s, %u rows", all[i].name, b->rows);
        timer_report(t, name, (struct floors){all[i].bytes, all[i].operations, 0}, all[i].queue, b);
    }
}

static struct set make_set(struct batch *b, const float *noise) {
    struct kernels *k = b->k;
    const size_t n = (size_t)b->rows * b->width, rows = b->rows;
    struct set s = {
        .patches = device_alloc(k, rows * PATCH_ELEMENTS * k->act_size),
        .qkv = device_act(k, noise, 3 * n),
        .h = device_act(k, noise, n),
        .slots = device_act(k, noise, n),
        .x = device_copy(k, noise, n * sizeof *noise),
        .h32 = device_copy(k, noise, n * sizeof *noise),
        .logits = device_copy(k, noise, rows * b->experts * sizeof *noise),
        .gate = device_alloc(k, rows * sizeof(float)),
        .expert = device_alloc(k, rows * sizeof(int32_t)),
        .plan = {device_alloc(k, (b->experts + 1) * sizeof(uint32_t)),
                 device_alloc(k, rows * sizeof(uint32_t)), device_alloc(k, rows * sizeof(uint32_t))},
    };
    /* Whatever is timed alone has what it goes by. */
    k->ops->gate(k, s.logits, rows, b->experts, 1, false, s.expert, s.gate);
    k->ops->plan(k, s.expert, rows, b->experts, 1, s.plan);
    return s;
}

static void free_set(struct kernels *k, const struct set *s) {
    void *const owned[] = {s->patches, s->qkv,  s->h,      s->slots,       s->x,           s->h32,
                           s->logits,  s->gate, s->expert, s->plan.offset, s->plan.source, s->plan.slot};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        k->ops->release(k, owned[i]);
}

void time_rows(struct timer *t, uint32_t pictures) {
    const bool tiny = t->setting->tiny;
    struct kernels *k = t->k;
    struct batch b = {.k = k,
                      .pictures = pictures,
                      .rows = pictures * TOKENS,
                      .width = tiny ? 64 : 768,
                      .heads = tiny ? 1 : 12,
                      .experts = 32};
    const size_t n = (size_t)b.rows * b.width;
    float *noise = random_floats(&t->random, 3 * n + (size_t)b.rows * b.experts, 1, true);
    uint32_t *start = array_alloc((pictures + 1) * sizeof *start);
    b.pixels = array_alloc(pictures * sizeof *b.pixels);
    for (uint32_t i = 0; i <= pictures; i++)
        start[i] = i * TOKENS;
    for (uint32_t i = 0; i < pictures; i++) {
        b.pixels[i] = array_alloc(3 * SIDE * SIDE);
        for (size_t j = 0; j < 3 * SIDE * SIDE; j++)
            b.pixels[i][j] = (uint8_t)(random_next(&t->random) >> 32);
    }
    b.weight = device_copy(k, noise, b.width * sizeof *noise);
    b.bias = device_copy(k, noise + b.width, b.width * sizeof *noise);
    b.router = device_copy(k, noise, (size_t)b.experts * b.width * sizeof *noise);
    b.sets = timer_sets(t, (double)n * 6); /* the least that one of them moves */
    for (size_t i = 0; i < b.sets; i++)
        b.set[i] = make_set(&b, noise);
    k->ops->sequences(k, start, pictures);
    time_all(t, &b);
    for (size_t i = 0; i < b.sets; i++)
        free_set(k, &b.set[i]);
    k->ops->release(k, b.router);
    k->ops->release(k, b.bias);
    k->ops->release(k, b.weight);
    for (uint32_t i = 0; i < pictures; i++)
        free(b.pixels[i]);
    free(b.pixels);
    free(start);
    free(noise);
}
