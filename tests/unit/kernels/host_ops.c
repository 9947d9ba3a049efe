#include "tests/unit/kernels/host_ops.h"

#include <math.h>
#include <stdlib.h>

#include "tests/unit/kernels/fixture.h"

/* ---- to the instance and back */

static void *put(struct kernels *k, const void *host, size_t bytes) {
    void *p = k->ops->alloc(k, bytes);
    assert_non_null(p);
    k->ops->upload(k, p, host, bytes);
    return p;
}

static float *put_nans(struct kernels *k, size_t n) {
    float *nans = malloc((n ? n : 1) * sizeof *nans);
    assert_non_null(nans);
    for (size_t i = 0; i < n; i++)
        nans[i] = NAN;
    float *p = put(k, nans, n * sizeof *nans); /* as act they are NaN, too */
    free(nans);
    return p;
}

static void take(struct kernels *k, void *host, void *from, size_t bytes) {
    k->ops->download(k, host, from, bytes);
    k->ops->release(k, from);
}

static void take_act(struct kernels *k, float *host, void *from, size_t n) {
    float *v = get_act(k, from, n);
    for (size_t i = 0; i < n; i++)
        host[i] = v[i];
    free(v);
    k->ops->release(k, from);
}

static struct kernels_plan put_plan(struct kernels *k, struct kernels_plan host, uint32_t experts,
                                    size_t slots) {
    return (struct kernels_plan){
        .offset = host.offset ? put(k, host.offset, (experts + 1) * sizeof *host.offset) : NULL,
        .source = host.source ? put(k, host.source, slots * sizeof *host.source) : NULL,
        .slot = host.slot ? put(k, host.slot, slots * sizeof *host.slot) : NULL,
    };
}

static void release_plan(struct kernels *k, struct kernels_plan plan) {
    k->ops->release(k, plan.slot);
    k->ops->release(k, plan.source);
    k->ops->release(k, plan.offset);
}

/* ---- rows */

void host_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                    size_t rows, uint32_t width, float *out_act, float *out_f32) {
    const size_t n = rows * width;
    float *px = put_floats(k, x, n), *pw = put_floats(k, weight, width), *pb = put_floats(k, bias, width);
    void *act = out_act ? put_nans(k, n) : NULL;
    float *f32 = out_f32 == x ? px : out_f32 ? put_nans(k, n) : NULL;
    k->ops->layernorm(k, px, pw, pb, eps, rows, width, act, f32);
    if (act)
        take_act(k, out_act, act, n);
    if (f32)
        take(k, out_f32, f32, n * sizeof *f32);
    if (f32 != px)
        k->ops->release(k, px);
    k->ops->release(k, pw);
    k->ops->release(k, pb);
}

void host_pool(struct kernels *k, enum kernels_pooling pooling, const float *x, const uint32_t *start,
               size_t n, uint32_t width, float *out_act, float *out_f32) {
    float *px = put_floats(k, x, (size_t)start[n] * width);
    void *act = out_act ? put_nans(k, n * width) : NULL;
    float *f32 = out_f32 ? put_nans(k, n * width) : NULL;
    k->ops->sequences(k, start, n);
    k->ops->pool(k, pooling, px, width, act, f32);
    if (act)
        take_act(k, out_act, act, n * width);
    if (f32)
        take(k, out_f32, f32, n * width * sizeof *f32);
    k->ops->release(k, px);
}

void host_normalize(struct kernels *k, float *z, size_t n, uint32_t width) {
    float *p = put_floats(k, z, n * width);
    k->ops->normalize(k, p, n, width);
    take(k, z, p, n * width * sizeof *z);
}

size_t patches_elements(size_t n, uint32_t size, uint32_t patch, uint32_t lead) {
    const size_t side = size / patch;
    return n * (lead + side * side) * patch * patch * 3;
}

void *host_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                   uint32_t lead, const float mean[3], const float std[3]) {
    const size_t elements = patches_elements(n, size, patch, lead);
    void *y = put_nans(k, elements), *out = malloc(elements * k->act_size);
    assert_non_null(out);
    k->ops->patches(k, pixels, n, size, patch, lead, mean, std, y);
    take(k, out, y, elements * k->act_size);
    return out;
}

void host_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                    float *x) {
    const size_t elements = n * period * width;
    float *p = put_floats(k, rows, (size_t)period * width), *y = put_nans(k, elements);
    k->ops->tile_rows(k, p, period, n, width, y);
    take(k, x, y, elements * sizeof *x);
    k->ops->release(k, p);
}

void host_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                       uint32_t positions, const int32_t *id, const uint32_t *position_id, size_t n,
                       uint32_t width, float *x) {
    float *p = put_floats(k, position, (size_t)positions * width), *y = put_nans(k, n * width);
    k->ops->embed_tokens(k, table, p, id, position_id, n, y);
    take(k, x, y, n * width * sizeof *x);
    k->ops->release(k, p);
}

void host_attention(struct kernels *k, const float *qkv, const uint32_t *start, size_t n, uint32_t width,
                    uint32_t heads, enum kernels_mask mask, const struct kernels_qk_norm *norm, float *out) {
    const size_t rows = start[n], d = width / heads;
    struct kernels_qk_norm there = {0};
    void *in = put_act(k, qkv, rows * 3 * width), *y = put_nans(k, rows * width);
    if (norm)
        there = (struct kernels_qk_norm){put_floats(k, norm->q_weight, d), put_floats(k, norm->q_bias, d),
                                         put_floats(k, norm->k_weight, d), put_floats(k, norm->k_bias, d),
                                         norm->eps};
    k->ops->sequences(k, start, n);
    k->ops->attention(k, in, width, heads, mask, norm ? &there : NULL, y);
    take_act(k, out, y, rows * width);
    k->ops->release(k, in);
    k->ops->release(k, (void *)there.q_weight);
    k->ops->release(k, (void *)there.q_bias);
    k->ops->release(k, (void *)there.k_weight);
    k->ops->release(k, (void *)there.k_bias);
}

void host_attention_pool(struct kernels *k, const float *query, const float *kv, const uint32_t *start,
                         size_t n, uint32_t width, uint32_t heads, float *out) {
    float *q = put_floats(k, query, width);
    void *in = put_act(k, kv, (size_t)start[n] * 2 * width), *y = put_nans(k, n * width);
    k->ops->sequences(k, start, n);
    k->ops->attention_pool(k, q, in, width, heads, y);
    take_act(k, out, y, n * width);
    k->ops->release(k, in);
    k->ops->release(k, q);
}

static uint32_t *put_numbers(struct kernels *k, const uint32_t *host, size_t n) {
    uint32_t *there = k->ops->alloc(k, n * sizeof *host);
    assert_non_null(there);
    k->ops->upload(k, there, host, n * sizeof *host);
    return there;
}

void host_attention_kept(struct kernels *k, const float *query, const float *kv, size_t rows,
                         const uint32_t *start, const uint32_t *row, size_t n, uint32_t width, uint32_t heads,
                         float *out) {
    void *q = put_act(k, query, n * width), *in = put_act(k, kv, rows * 2 * width),
         *y = put_nans(k, n * width);
    uint32_t *starts = put_numbers(k, start, n + 1), *list = put_numbers(k, row, start[n]);
    k->ops->attention_kept(k, q, in, starts, list, n, width, heads, y);
    take_act(k, out, y, n * width);
    k->ops->release(k, list);
    k->ops->release(k, starts);
    k->ops->release(k, in);
    k->ops->release(k, q);
}

/* ---- mixture of experts */

void host_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                        uint32_t experts, float *logits) {
    float *px = put_floats(k, x, rows * width), *pw = put_floats(k, w, (size_t)experts * width);
    float *y = put_nans(k, rows * experts);
    k->ops->router_logits(k, px, pw, rows, width, experts, y);
    take(k, logits, y, rows * experts * sizeof *logits);
    k->ops->release(k, px);
    k->ops->release(k, pw);
}

void host_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
               bool renormalize, int32_t *expert, float *gate) {
    const size_t n = rows * top_k;
    float *p = put_floats(k, logits, rows * experts), *g = put_nans(k, n);
    int32_t *e = (int32_t *)put_nans(k, n);
    k->ops->gate(k, p, rows, experts, top_k, renormalize, e, g);
    take(k, expert, e, n * sizeof *expert);
    take(k, gate, g, n * sizeof *gate);
    k->ops->release(k, p);
}

void host_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                       float *entropy) {
    float *p = put_floats(k, logits, rows * experts), *h = put_nans(k, rows);
    k->ops->gate_entropy(k, p, rows, experts, h);
    take(k, entropy, h, rows * sizeof *entropy);
    k->ops->release(k, p);
}

void host_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
               struct kernels_plan plan) {
    const size_t slots = rows * top_k;
    const struct kernels_plan there = put_plan(k, plan, experts, slots);
    int32_t *e = put(k, expert, slots * sizeof *expert);
    k->ops->plan(k, e, rows, experts, top_k, there);
    k->ops->download(k, plan.offset, there.offset, (experts + 1) * sizeof *plan.offset);
    k->ops->download(k, plan.source, there.source, slots * sizeof *plan.source);
    k->ops->download(k, plan.slot, there.slot, slots * sizeof *plan.slot);
    k->ops->release(k, e);
    release_plan(k, there);
}

void host_dispatch(struct kernels *k, const float *in, size_t rows, struct kernels_plan plan,
                   uint32_t experts, size_t max_slots, uint32_t width, float *out) {
    const struct kernels_plan there = put_plan(k, plan, experts, max_slots);
    void *x = put_act(k, in, rows * width), *y = put_nans(k, max_slots * width);
    k->ops->dispatch(k, x, there, experts, max_slots, width, y);
    take_act(k, out, y, max_slots * width);
    k->ops->release(k, x);
    release_plan(k, there);
}

void host_combine(struct kernels *k, const float *y, size_t slots, struct kernels_plan plan,
                  const int32_t *expert, const float *gate, size_t rows, uint32_t top_k, uint32_t width,
                  float *x) {
    const size_t n = rows * top_k;
    const struct kernels_plan there = put_plan(k, (struct kernels_plan){.slot = plan.slot}, 0, n);
    void *py = put_act(k, y, slots * width);
    int32_t *e = put(k, expert, n * sizeof *expert);
    float *g = put_floats(k, gate, n), *px = put_floats(k, x, rows * width);
    k->ops->combine(k, py, there, e, g, rows, top_k, width, px);
    take(k, x, px, rows * width * sizeof *x);
    k->ops->release(k, py);
    k->ops->release(k, e);
    k->ops->release(k, g);
    release_plan(k, there);
}

void host_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                         uint32_t groups, const float *x, size_t rows, uint32_t in, uint32_t out,
                         enum kernels_epilogue epilogue, float *y) {
    const bool f32 = epilogue == KERNELS_STORE_F32;
    uint32_t *o = put(k, offset, (groups + 1) * sizeof *offset);
    void *px = put_act(k, x, rows * in), *py = f32 ? put_floats(k, y, rows * out) : put_act(k, y, rows * out);
    k->ops->grouped_linear(k, m, o, px, rows, epilogue, py);
    if (f32)
        take(k, y, py, rows * out * sizeof *y);
    else
        take_act(k, y, py, rows * out);
    k->ops->release(k, px);
    k->ops->release(k, o);
}
