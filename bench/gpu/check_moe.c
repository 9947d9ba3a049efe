/* check_moe.c - the way of rows to their experts and back, and the input's: what is exact is held to be
 * exact, against the reference kernels (kernels/reference). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/gpu/check.h"
#include "bench/gpu/truth.h"
#include "kernels/number.h"

enum { TEXTS = 301, PICTURES = 3, LEAD = 1, TABLE = 5000 };

/* The device's answer and the twin's, byte by byte. */
static void judge_bytes(struct check *c, const char *name, const void *there, const void *want,
                        size_t bytes) {
    unsigned char *got = array_alloc(bytes);
    c->k->ops->download(c->k, got, there, bytes);
    size_t differ = 0;
    for (size_t i = 0; i < bytes; i++)
        differ += got[i] != ((const unsigned char *)want)[i];
    report_check(c->report, differ == 0, name, "%zu bytes, %zu differ from the reference", bytes, differ);
    free(got);
}

static struct kernels *open_twin(struct check *c) {
    struct kernels *twin;
    struct limoe_error err;
    if (kernels_reference_create(c->k->dtype, &twin, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return twin;
}

static void check_patches(struct check *c, struct kernels *twin, const struct size *s) {
    static const float mean[] = {0.48f, 0.46f, 0.41f}, std[] = {0.27f, 0.26f, 0.28f};
    struct kernels *k = c->k;
    const size_t bytes = (size_t)s->image * s->image * 3;
    const size_t side = s->image / s->patch;
    const size_t n = PICTURES * (LEAD + side * side) * s->patch * s->patch * 3;
    uint8_t *pixels = array_alloc(PICTURES * bytes);
    const uint8_t *picture[PICTURES];
    char name[80];
    for (size_t i = 0; i < PICTURES * bytes; i++)
        pixels[i] = (uint8_t)random_next(&c->random);
    for (size_t i = 0; i < PICTURES; i++)
        picture[i] = pixels + i * bytes;
    void *out = device_poisoned(k, n * k->act_size), *want = array_alloc(n * k->act_size);
    k->ops->patches(k, picture, PICTURES, s->image, s->patch, LEAD, mean, std, out);
    twin->ops->patches(twin, picture, PICTURES, s->image, s->patch, LEAD, mean, std, want);
    snprintf(name, sizeof name, "%s patches of pictures", s->name);
    judge_bytes(c, name, out, want, n * k->act_size);
    k->ops->release(k, out);
    free(want);
    free(pixels);
}

static void check_tokens(struct check *c, struct kernels *twin, const struct size *s) {
    struct kernels *k = c->k;
    const uint32_t length = 16, width = s->width;
    struct kernels_table *table, *twins;
    struct limoe_error err;
    uint16_t *rows = random_bf16(&c->random, (size_t)TABLE * width, 1);
    float *position = random_floats(&c->random, (size_t)length * width, 1, false);
    float *position_there = device_copy(k, position, (size_t)length * width * sizeof *position);
    const struct kernels_tensor t = {rows, KERNELS_BF16};
    int32_t id[TEXTS];
    uint32_t position_id[TEXTS];
    const size_t bytes = (size_t)TEXTS * width * sizeof(float);
    const size_t tiled_bytes = (size_t)5 * length * width * sizeof(float);
    char name[80];
    for (uint32_t i = 0; i < TEXTS; i++) {
        id[i] = (int32_t)random_below(&c->random, TABLE);
        position_id[i] = i % length;
    }
    if (k->ops->load_table(k, t, TABLE, width, &table, &err) ||
        twin->ops->load_table(twin, t, TABLE, width, &twins, &err)) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    float *out = device_poisoned(k, bytes), *want = array_alloc(bytes);
    k->ops->embed_tokens(k, table, position_there, id, position_id, TEXTS, out);
    twin->ops->embed_tokens(twin, twins, position, id, position_id, TEXTS, want);
    snprintf(name, sizeof name, "%s token embeddings", s->name);
    judge_bytes(c, name, out, want, bytes);
    float *tiled = device_poisoned(k, tiled_bytes), *want_tiled = array_alloc(tiled_bytes);
    k->ops->tile_rows(k, position_there, length, 5, width, tiled);
    twin->ops->tile_rows(twin, position, length, 5, width, want_tiled);
    snprintf(name, sizeof name, "%s positions", s->name);
    judge_bytes(c, name, tiled, want_tiled, tiled_bytes);
    free(want_tiled);
    k->ops->release(k, tiled);
    k->ops->release(k, out);
    free(want);
    k->ops->table_free(k, table);
    twin->ops->table_free(twin, twins);
    k->ops->release(k, position_there);
    free(position);
    free(rows);
}

void check_embed(struct check *c, const struct size *s) {
    struct kernels *twin = open_twin(c);
    check_patches(c, twin, s);
    check_tokens(c, twin, s);
    twin->ops->destroy(twin);
}

/* ---- routing */

/* Rows and what they are routed by, and then to. */
struct routing {
    char name[64];
    uint32_t rows, width, experts, top_k;
    float *x, *w, *logits; /* host */
    float *logits_there, *gate_there;
    int32_t *expert_there;
};

static void judge(struct check *c, const struct routing *r, const char *what, double error, double limit) {
    char name[96];
    snprintf(name, sizeof name, "%s, %s", r->name, what);
    report_check(c->report, error <= limit, name, "%u rows, error %.2e (limit %.0e)", r->rows, error, limit);
}

static void check_router(struct check *c, struct routing *r) {
    struct kernels *k = c->k;
    const size_t n = (size_t)r->rows * r->experts;
    float *x = device_copy(k, r->x, (size_t)r->rows * r->width * sizeof *x);
    float *w = device_copy(k, r->w, (size_t)r->experts * r->width * sizeof *w);
    double *want = array_alloc(n * sizeof *want);
    struct distance d = {0};
    k->ops->router_logits(k, x, w, r->rows, r->width, r->experts, r->logits_there);
    r->logits = host_floats(k, r->logits_there, n);
    for (size_t i = 0; i < n; i++) {
        const float *row = r->x + i / r->experts * r->width, *of = r->w + i % r->experts * r->width;
        want[i] = 0;
        for (uint32_t f = 0; f < r->width; f++)
            want[i] += (double)row[f] * of[f];
    }
    distance_add(&d, r->logits, want, n);
    judge(c, r, "router", distance_relative(&d), 1e-5);
    free(want);
    k->ops->release(k, w);
    k->ops->release(k, x);
}

/* The device's own logits are the truth's input, so that ties and near ties are the same ones. */
static void check_gate(struct check *c, struct routing *r, bool renormalize) {
    struct kernels *k = c->k;
    const size_t n = (size_t)r->rows * r->top_k;
    double *p = array_alloc(r->experts * sizeof *p), worst = 0, worst_entropy = 0;
    float *entropy_there = device_poisoned(k, r->rows * sizeof(float));
    size_t wrong = 0;
    char name[96];
    k->ops->gate(k, r->logits_there, r->rows, r->experts, r->top_k, renormalize, r->expert_there,
                 r->gate_there);
    k->ops->gate_entropy(k, r->logits_there, r->rows, r->experts, entropy_there);
    float *gate = host_floats(k, r->gate_there, n), *entropy = host_floats(k, entropy_there, r->rows);
    int32_t *expert = array_alloc(n * sizeof *expert);
    k->ops->download(k, expert, r->expert_there, n * sizeof *expert);
    for (uint32_t row = 0; row < r->rows; row++) {
        const float *logit = r->logits + (size_t)row * r->experts;
        double most = -INFINITY, sum = 0, h = 0, kept = 0;
        for (uint32_t e = 0; e < r->experts; e++)
            most = fmax(most, logit[e]);
        for (uint32_t e = 0; e < r->experts; e++)
            sum += p[e] = exp(logit[e] - most);
        for (uint32_t e = 0; e < r->experts; e++) {
            p[e] /= sum;
            h -= p[e] > 0 ? p[e] * log(p[e]) : 0;
        }
        worst_entropy = fabs(entropy[row] - h) <= worst_entropy ? worst_entropy : fabs(entropy[row] - h);
        for (uint32_t j = 0; renormalize && j < r->top_k; j++) {
            const int32_t e = expert[(size_t)row * r->top_k + j];
            kept += e >= 0 && (uint32_t)e < r->experts ? p[e] : NAN;
        }
        for (uint32_t j = 0; j < r->top_k; j++) {
            const int32_t e = expert[(size_t)row * r->top_k + j];
            double best = -1;
            for (uint32_t i = 0; i < r->experts; i++)
                best = fmax(best, p[i]);
            /* Two gates that a float32 softmax cannot tell apart may come in either order. */
            if (e < 0 || (uint32_t)e >= r->experts || !(p[e] >= best * (1 - 1e-5))) {
                wrong++;
                continue;
            }
            const double off =
                fabs(gate[(size_t)row * r->top_k + j] - p[e] / (renormalize ? kept : 1)) / p[e];
            worst = off <= worst ? worst : off;
            p[e] = -1;
        }
    }
    snprintf(name, sizeof name, "%s, gate%s", r->name, renormalize ? " renormalised" : "");
    report_check(c->report, !wrong && worst <= 1e-5, name, "%zu of %zu choices wrong, gates off by %.1e",
                 wrong, n, worst);
    judge(c, r, "gate's entropy", worst_entropy, 1e-4);
    free(expert);
    free(entropy);
    free(gate);
    k->ops->release(k, entropy_there);
    free(p);
}

/* Plan, dispatch and combine with every 7th assignment dropped, as capacity does. */
static void check_ways(struct check *c, struct kernels *twin, struct routing *r) {
    struct kernels *k = c->k;
    const size_t n = (size_t)r->rows * r->top_k, elements = (size_t)r->rows * r->width;
    int32_t *expert = array_alloc(n * sizeof *expert);
    float *gate = host_floats(k, r->gate_there, n);
    char name[96];
    k->ops->download(k, expert, r->expert_there, n * sizeof *expert);
    for (size_t a = 0; a < n; a += 7)
        expert[a] = -1;
    k->ops->upload(k, r->expert_there, expert, n * sizeof *expert);
    const size_t offset_bytes = (r->experts + 1) * sizeof(uint32_t), bytes = n * sizeof(uint32_t);
    struct kernels_plan plan = {device_poisoned(k, offset_bytes), device_poisoned(k, bytes),
                                device_poisoned(k, bytes)};
    struct kernels_plan want = {array_alloc(offset_bytes), array_alloc(bytes), array_alloc(bytes)};
    k->ops->plan(k, r->expert_there, r->rows, r->experts, r->top_k, plan);
    twin->ops->plan(twin, expert, r->rows, r->experts, r->top_k, want);
    const size_t slots = want.offset[r->experts];
    snprintf(name, sizeof name, "%s, plan: offsets", r->name);
    judge_bytes(c, name, plan.offset, want.offset, offset_bytes);
    snprintf(name, sizeof name, "%s, plan: slots", r->name);
    judge_bytes(c, name, plan.slot, want.slot, bytes);
    snprintf(name, sizeof name, "%s, plan: sources", r->name);
    judge_bytes(c, name, plan.source, want.source, slots * sizeof(uint32_t));

    float *rounded = random_floats(&c->random, elements, 1, true);
    void *h = device_act(k, rounded, elements), *h_twin = device_act(twin, rounded, elements);
    void *sorted = device_poisoned(k, n * r->width * k->act_size);
    void *sorted_twin = array_alloc(n * r->width * k->act_size);
    k->ops->dispatch(k, h, plan, r->experts, n, r->width, sorted);
    twin->ops->dispatch(twin, h_twin, want, r->experts, n, r->width, sorted_twin);
    snprintf(name, sizeof name, "%s, dispatch", r->name);
    judge_bytes(c, name, sorted, sorted_twin, slots * r->width * k->act_size);

    float *x = device_copy(k, r->x, elements * sizeof *x), *x_twin = array_alloc(elements * sizeof *x);
    memcpy(x_twin, r->x, elements * sizeof *x_twin);
    k->ops->combine(k, sorted, plan, r->expert_there, r->gate_there, r->rows, r->top_k, r->width, x);
    twin->ops->combine(twin, sorted_twin, want, expert, gate, r->rows, r->top_k, r->width, x_twin);
    float *got = host_floats(k, x, elements);
    double *x_want = array_alloc(elements * sizeof *x_want);
    struct distance d = {0};
    for (size_t i = 0; i < elements; i++)
        x_want[i] = x_twin[i];
    distance_add(&d, got, x_want, elements);
    judge(c, r, "combine", distance_relative(&d), 1e-6);

    void *const there[] = {plan.offset, plan.source, plan.slot, h, sorted, x};
    void *const here[] = {want.offset, want.source, want.slot, sorted_twin, x_twin,
                          got,         x_want,      rounded,   gate,        expert};
    for (size_t i = 0; i < sizeof there / sizeof *there; i++)
        k->ops->release(k, there[i]);
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        free(here[i]);
    twin->ops->release(twin, h_twin);
}

void check_moe(struct check *c, const struct size *s, uint32_t experts, uint32_t top_k) {
    struct kernels *k = c->k, *twin = open_twin(c);
    struct routing r = {
        .rows = c->setting->tiny ? 90 : 1777, .width = s->width, .experts = experts, .top_k = top_k};
    snprintf(r.name, sizeof r.name, "%s %u experts, top %u", s->name, experts, top_k);
    const size_t n = (size_t)r.rows * top_k;
    r.x = random_floats(&c->random, (size_t)r.rows * r.width, 1, false);
    r.w = random_floats(&c->random, (size_t)experts * r.width, 0.1f, false);
    memcpy(r.w, r.w + r.width, r.width * sizeof *r.w); /* experts 0 and 1 tie in every row */
    r.logits_there = device_poisoned(k, (size_t)r.rows * experts * sizeof(float));
    r.expert_there = device_poisoned(k, n * sizeof(int32_t));
    r.gate_there = device_poisoned(k, n * sizeof(float));
    check_router(c, &r);
    check_gate(c, &r, false);
    check_gate(c, &r, true);
    check_ways(c, twin, &r);
    k->ops->release(k, r.gate_there);
    k->ops->release(k, r.expert_there);
    k->ops->release(k, r.logits_there);
    free(r.logits);
    free(r.w);
    free(r.x);
    twin->ops->destroy(twin);
}
