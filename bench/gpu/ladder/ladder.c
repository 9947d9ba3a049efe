/* ladder.c - the grouped product and attention from the naive kernel to the product's, each checked, then
 * timed.
 *
 *     ladder [--device cuda|cuda:N] [--bandwidth GB/S] [--rate TFLOP/S] [--quick] [--tiny] [--report FILE]
 *
 * Rungs that are the product's run through its own launchers. A rung is checked on the very data that it is
 * timed with: sampled rows against double precision, and every element against the product's own plain
 * kernel; one that fails is not timed. What each is expected to gain is in README.md. The CUDA backend is a
 * part of this program, in place of the module, for its launchers are not for others.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/gpu/arrays.h"
#include "bench/gpu/ladder/ladder.h"
#include "bench/gpu/pace.h"
#include "bench/gpu/report.h"
#include "bench/gpu/setting.h"
#include "bench/gpu/truth.h"
#include "kernels/cuda/device.h"
#include "kernels/number.h"

/* bfloat16 results, as in check.h; weights of attention are rounded, too. */
#define GEMM_LIMIT      3e-3
#define ATTENTION_LIMIT 5e-3
enum { SAMPLED = 32 };

struct ladder {
    struct kernels *k;
    struct cuda *self;
    const struct setting *setting;
    struct report *report;
    struct random random;
};

/* What all rungs of one case share. */
struct rung {
    struct ladder *l;
    const char *name;
    double bytes, operations;
    float *whole; /* the plain kernel's answer: [elements] */
    size_t elements;
    double limit;
    void *y; /* act [elements] */
};

/* Poisons y, queues the rung once, holds its answer to the samples and to the whole, then times it. */
static void climb(struct rung *r, const char *name, void (*queue)(void *context, size_t turn), void *context,
                  void (*sample)(void *context, const float *y, struct distance *d)) {
    struct kernels *k = r->l->k;
    struct distance samples = {0}, whole = {0};
    struct limoe_error err = {.message = "no failure"};
    char title[160];
    snprintf(title, sizeof title, "%s: %s", r->name, name);
    cudaMemsetAsync(r->y, 0xff, r->elements * k->act_size, r->l->self->stream);
    queue(context, 0);
    float *y = host_act(k, r->y, r->elements);
    const bool sound = k->ops->sync(k, &err) == LIMOE_OK;
    sample(context, y, &samples);
    for (size_t i = 0; i < r->elements; i++) {
        const double want = r->whole[i];
        distance_add(&whole, &y[i], &want, 1);
    }
    free(y);
    const bool right =
        sound && distance_relative(&samples) <= r->limit && distance_relative(&whole) <= 2 * r->limit;
    report_check(r->l->report, right, title, "error %.2e of samples, %.2e of all; %s",
                 distance_relative(&samples), distance_relative(&whole), err.message);
    if (!right)
        return;
    const double seconds = pace(k, queue, context, r->l->setting->quick || r->l->setting->tiny ? 0.02 : 0.2);
    report_figure(r->l->report, title, seconds * 1e6, "us", 0, "; %.1f TFLOP/s, %.0f GB/s at the least",
                  r->operations / seconds * 1e-12, r->bytes / seconds * 1e-9);
}

/* ---- products */

struct gemm {
    struct ladder *l;
    struct kernels_matrix *m;    /* packed */
    struct kernels_matrix plain; /* as it is in the checkpoint */
    uint16_t *weight, *bias;
    uint32_t *offset, *offset_there;
    float *x;
    void *x_there, *y;
    uint32_t rows, tile;
    CUtensorMap map;
};

static struct product product_of(const struct gemm *g, const struct kernels_matrix *m) {
    return (struct product){.weight = m->weight,
                            .bias = m->bias,
                            .offset = g->offset_there,
                            .x = g->x_there,
                            .y = g->y,
                            .rows = g->rows,
                            .groups = m->groups,
                            .out = m->out,
                            .in = m->in,
                            .padded = m->padded,
                            .pitch = m->pitch,
                            .epilogue = KERNELS_GELU_TANH};
}

static void queue_naive(void *context, size_t turn) {
    const struct gemm *g = context;
    const struct product p = product_of(g, &g->plain);
    (void)turn;
    ladder_gemm_naive(g->l->self->stream, &p);
    cuda_launched(g->l->self, "the naive product");
}

static void queue_plain(void *context, size_t turn) {
    const struct gemm *g = context;
    const struct product p = product_of(g, &g->plain);
    (void)turn;
    gemm_plain(g->l->self->stream, true, &p);
    cuda_launched(g->l->self, "the plain product");
}

static void queue_mma(void *context, size_t turn) {
    const struct gemm *g = context;
    const struct product p = product_of(g, g->m);
    (void)turn;
    gemm_mma(g->l->self->stream, g->l->self->processors, g->tile, &p);
    cuda_launched(g->l->self, "mma.sync");
}

static void queue_wgmma(void *context, size_t turn) {
    const struct gemm *g = context;
    const struct product p = product_of(g, g->m);
    (void)turn;
    gemm_wgmma(g->l->self->stream, g->l->self->processors, g->tile, &p, &g->m->map, &g->map);
    cuda_launched(g->l->self, "wgmma");
}

/* Tiles as the product chooses them. */
static void queue_product(void *context, size_t turn) {
    const struct gemm *g = context;
    (void)turn;
    cuda_grouped_linear(g->l->k, g->m, g->offset_there, g->x_there, g->rows, KERNELS_GELU_TANH, g->y);
}

#ifndef LADDER_WITHOUT_CLUSTERS
static void queue_cluster(void *context, size_t turn) {
    const struct gemm *g = context;
    const struct product p = product_of(g, g->m);
    (void)turn;
    cuda_check(g->l->self, "a cluster", ladder_gemm_cluster(g->l->self->stream, &p, &g->m->map, &g->map));
    cuda_launched(g->l->self, "a cluster");
}
#endif

static void sample_gemm(void *context, const float *y, struct distance *d) {
    struct gemm *g = context;
    const uint32_t out = g->m->out, in = g->m->in;
    double *want = array_alloc(out * sizeof *want);
    for (int i = 0; i < SAMPLED; i++) {
        const uint32_t row = random_below(&g->l->random, g->rows);
        uint32_t group = 0;
        while (row >= g->offset[group + 1])
            group++;
        truth_linear_row(g->x + (size_t)row * in, g->weight + (size_t)group * out * in,
                         g->bias + (size_t)group * out, out, in, KERNELS_GELU_TANH, want);
        distance_add(d, y + (size_t)row * out, want, out);
    }
    free(want);
}

/* Tiles of `rows` rows by TMA in boxes of `box`. */
static bool set_tile(struct gemm *g, uint32_t rows, uint32_t box) {
    g->tile = rows;
    return cuda_map_rows(g->l->self, g->x_there, g->rows, g->m->in, box, &g->map);
}

static void climb_hopper(struct rung *r, struct gemm *g) {
    static const uint32_t tiles[] = {32, 64, 128, 256};
    char name[64];
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        snprintf(name, sizeof name, "4 wgmma and TMA, %u rows a tile", tiles[i]);
        if (set_tile(g, tiles[i], tiles[i]))
            climb(r, name, queue_wgmma, g, sample_gemm);
    }
    climb(r, "4 wgmma and TMA, as the product has it", queue_product, g, sample_gemm);
#ifndef LADDER_WITHOUT_CLUSTERS
    if (set_tile(g, 256, LADDER_CLUSTER_BOX))
        climb(r, "5 rows multicast to a cluster of 2", queue_cluster, g, sample_gemm);
#endif
}

static void climb_gemm(struct ladder *l, uint32_t rows) {
    struct kernels *k = l->k;
    const bool tiny = l->setting->tiny;
    const uint32_t in = tiny ? 72 : 768, out = tiny ? 144 : 3072, experts = tiny ? 4 : 32;
    char name[64];
    struct gemm g = {.l = l, .rows = rows};
    g.m = random_matrix(k, &l->random, experts, out, in, &g.weight, &g.bias);
    g.offset = array_alloc((experts + 1) * sizeof *g.offset);
    spread_rows(&l->random, SPREAD_UNEVEN, rows, experts, g.offset);
    g.offset_there = device_copy(k, g.offset, (experts + 1) * sizeof *g.offset);
    g.x = random_floats(&l->random, (size_t)rows * in, 1, true);
    g.x_there = device_act(k, g.x, (size_t)rows * in);
    g.y = device_alloc(k, (size_t)rows * out * k->act_size);
    g.plain = (struct kernels_matrix){
        .way = CUDA_PLAIN,
        .groups = experts,
        .out = out,
        .in = in,
        .padded = out,
        .pitch = in,
        .weight = device_copy(k, g.weight, (size_t)experts * out * in * sizeof *g.weight),
        .bias = g.m->bias};
    snprintf(name, sizeof name, "%u rows", rows);
    uint32_t touched = 0;
    for (uint32_t e = 0; e < experts; e++)
        touched += g.offset[e] < g.offset[e + 1];
    struct rung r = {.l = l,
                     .name = name,
                     .bytes = 2.0 * touched * out * in + 2.0 * rows * (in + out),
                     .operations = 2.0 * rows * out * in,
                     .elements = (size_t)rows * out,
                     .limit = GEMM_LIMIT,
                     .y = g.y};
    queue_plain(&g, 0);
    r.whole = host_act(k, g.y, r.elements);
    climb(&r, "1 a thread an element", queue_naive, &g, sample_gemm);
    climb(&r, "2 tiles in shared memory, no matrix units", queue_plain, &g, sample_gemm);
    static const uint32_t tiles[] = {32, 128};
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        char rung[64];
        snprintf(rung, sizeof rung, "3 mma.sync and cp.async, %u rows a tile", tiles[i]);
        g.tile = tiles[i];
        climb(&r, rung, queue_mma, &g, sample_gemm);
    }
    if (l->self->hopper)
        climb_hopper(&r, &g);
    else
        report_absent(l->report, "4, 5: wgmma", "this card is not of compute capability 9.0");
    free(r.whole);
    k->ops->release(k, g.plain.weight);
    k->ops->release(k, g.y);
    k->ops->release(k, g.x_there);
    k->ops->release(k, g.offset_there);
    k->ops->matrix_free(k, g.m);
    free(g.x);
    free(g.offset);
    free(g.bias);
    free(g.weight);
}

/* ---- attention */

struct attention {
    struct ladder *l;
    float *qkv;
    void *qkv_there, *y;
    uint32_t sequences, length, width, heads;
};

static void queue_naive_attention(void *context, size_t turn) {
    const struct attention *a = context;
    struct cuda *self = a->l->self;
    (void)turn;
    ladder_attention_naive(self->stream, a->qkv_there, self->tile, self->tiles, a->width, a->heads, a->y);
    cuda_launched(self, "naive attention");
}

static void queue_plain_attention(void *context, size_t turn) {
    const struct attention *a = context;
    struct cuda *self = a->l->self;
    (void)turn;
    cuda_check(self, "plain attention",
               attention_plain(self->stream, true, a->qkv_there, self->tile, self->tiles, a->width, a->heads,
                               KERNELS_BIDIRECTIONAL, NULL, a->y));
    cuda_launched(self, "plain attention");
}

static void queue_mma_attention(void *context, size_t turn) {
    const struct attention *a = context;
    struct cuda *self = a->l->self;
    (void)turn;
    attention_mma(self->stream, a->qkv_there, self->tile, self->tiles, a->width, a->heads,
                  KERNELS_BIDIRECTIONAL, NULL, a->y);
    cuda_launched(self, "attention by mma.sync");
}

static void sample_attention(void *context, const float *y, struct distance *d) {
    struct attention *a = context;
    const uint32_t wide = a->width / a->heads;
    double want[LADDER_HEAD];
    for (int i = 0; i < 4 * SAMPLED; i++) {
        const uint32_t row = random_below(&a->l->random, a->sequences * a->length);
        const uint32_t head = random_below(&a->l->random, a->heads), begin = row / a->length * a->length;
        truth_attention_row(a->qkv, a->width, a->heads, head, begin, begin + a->length, row, NULL, want);
        distance_add(d, y + (size_t)row * a->width + (size_t)head * wide, want, wide);
    }
}

static void climb_attention(struct ladder *l, uint32_t sequences) {
    struct kernels *k = l->k;
    const bool tiny = l->setting->tiny;
    struct attention a = {.l = l,
                          .sequences = sequences,
                          .length = tiny ? 70 : 196,
                          .width = tiny ? 128 : 768,
                          .heads = tiny ? 2 : 12};
    const size_t n = (size_t)sequences * a.length * a.width;
    uint32_t *start = array_alloc((sequences + 1) * sizeof *start);
    char name[64];
    for (uint32_t i = 0; i <= sequences; i++)
        start[i] = i * a.length;
    a.qkv = random_floats(&l->random, 3 * n, 2, true);
    a.qkv_there = device_act(k, a.qkv, 3 * n);
    a.y = device_alloc(k, n * k->act_size);
    k->ops->sequences(k, start, sequences);
    snprintf(name, sizeof name, "attention in %u pictures", sequences);
    struct rung r = {.l = l,
                     .name = name,
                     .bytes = 8.0 * (double)n,
                     .operations = 4.0 * (double)n * a.length,
                     .elements = n,
                     .limit = ATTENTION_LIMIT,
                     .y = a.y};
    queue_plain_attention(&a, 0);
    r.whole = host_act(k, a.y, n);
    climb(&r, "1 a thread a query", queue_naive_attention, &a, sample_attention);
    climb(&r, "2 a block a query", queue_plain_attention, &a, sample_attention);
    climb(&r, "3 mma.sync, softmax kept up", queue_mma_attention, &a, sample_attention);
    free(r.whole);
    k->ops->release(k, a.y);
    k->ops->release(k, a.qkv_there);
    free(a.qkv);
    free(start);
}

int main(int argc, char **argv) {
    extern const struct kernels_module limoe_kernels_module;
    struct setting setting;
    struct report report;
    struct ladder l = {.setting = &setting, .report = &report};
    struct limoe_error err;
    char why[400] = "";
    const int status = setting_read(argc, argv, &setting);
    if (status)
        return status;
    if (!limoe_kernels_module.devices(why, sizeof why)) {
        fprintf(stderr, "no GPU was found: %s\n", why);
        return 2;
    }
    const char *colon = strchr(setting.device, ':');
    if (limoe_kernels_module.create(colon ? (uint32_t)atoi(colon + 1) : 0, LIMOE_BFLOAT16, &l.k, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    l.self = (struct cuda *)l.k;
    l.random = random_seeded(setting.seed);
    if (!report_open(&report, "ladder", setting.report)) {
        l.k->ops->destroy(l.k);
        return 1;
    }
    printf("         %s, seed %llu\n", l.k->name, (unsigned long long)setting.seed);
    climb_gemm(&l, setting.tiny ? 150 : 50000);
    climb_gemm(&l, setting.tiny ? 10 : 256);
    climb_attention(&l, setting.tiny ? 2 : 256);
    l.k->ops->destroy(l.k);
    return report_close(&report);
}
