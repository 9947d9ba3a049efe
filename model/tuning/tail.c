/* tail.c - a tail's life: its tensors wired to its layers, packed, run through. */
#include "model/tuning/tail.h"

#include <stdlib.h>

#include "base/error.h"
#include "model/tuning/layers.h"

/* ---- parameters to layers */

/* NULL where the tail has none; *gradient is NULL where it is frozen, too. */
static const float *weight_of(struct tail *t, enum layout_id id, uint32_t block, float **gradient) {
    const struct parameters *p = &t->parameters;
    const struct parameter *found = parameters_find(p, id, block);
    *gradient = found && !found->frozen ? p->gradient + found->first : NULL;
    return found ? p->weight + found->first : NULL;
}

/* Here and below the bias comes right after the weight in the layout's order. */
static struct tail_norm norm_of(struct tail *t, enum layout_id weight, uint32_t block) {
    struct tail_norm n = {.norm.eps = t->tower->ln_eps};
    n.norm.weight = weight_of(t, weight, block, &n.norm.dweight);
    n.bias = weight_of(t, weight + 1, block, &n.norm.dbias);
    return n;
}

static struct backward_matrix matrix_of(struct tail *t, enum layout_id weight, uint32_t block) {
    const struct parameter *found = parameters_find(&t->parameters, weight, block);
    struct backward_matrix m = {0};
    if (!found)
        return m;
    const uint64_t *shape = found->tensor.shape;
    const bool stack = found->tensor.rank == 3;
    m.groups = stack ? (uint32_t)shape[0] : 1;
    m.out = (uint32_t)shape[stack];
    m.in = (uint32_t)shape[stack + 1];
    m.weight = weight_of(t, weight, block, &m.dweight);
    return m;
}

static struct tail_linear linear_of(struct tail *t, enum layout_id weight, uint32_t block) {
    struct tail_linear l = {.matrix = matrix_of(t, weight, block)};
    l.bias = weight_of(t, weight + 1, block, &l.matrix.dbias);
    return l;
}

static struct tail_linear without_bias(struct tail *t, enum layout_id weight) {
    return (struct tail_linear){.matrix = matrix_of(t, weight, 0)};
}

/* Rows first .. first + out - 1 of a linear. */
static struct tail_linear rows_of(struct tail_linear l, uint32_t first, uint32_t out) {
    const size_t at = (size_t)first * l.matrix.in;
    l.matrix.out = out;
    l.matrix.weight += at;
    l.matrix.dweight += at;
    l.matrix.dbias += first;
    l.bias += first;
    return l;
}

static void wire_block(struct tail *t, uint32_t id, struct tail_block *b) {
    const struct tail_norm q = norm_of(t, LAYOUT_ATTN_Q_NORM_WEIGHT, id),
                           k = norm_of(t, LAYOUT_ATTN_K_NORM_WEIGHT, id);
    b->moe = config_is_moe(t->config, id);
    t->any_moe |= b->moe;
    b->ln1 = norm_of(t, LAYOUT_LN1_WEIGHT, id);
    b->ln2 = norm_of(t, LAYOUT_LN2_WEIGHT, id);
    b->qkv = linear_of(t, LAYOUT_ATTN_QKV_WEIGHT, id);
    b->out = linear_of(t, LAYOUT_ATTN_OUT_WEIGHT, id);
    b->qk_norm = (struct backward_qk_norm){q.norm, k.norm, q.bias, k.bias};
    b->fc1 = linear_of(t, b->moe ? LAYOUT_MOE_FC1_WEIGHT : LAYOUT_MLP_FC1_WEIGHT, id);
    b->fc2 = linear_of(t, b->moe ? LAYOUT_MOE_FC2_WEIGHT : LAYOUT_MLP_FC2_WEIGHT, id);
    b->router = matrix_of(t, LAYOUT_MOE_ROUTER_WEIGHT, id);
}

static void wire_head(struct tail *t) {
    const uint32_t d = t->tower->width;
    const struct tail_linear qkv = linear_of(t, LAYOUT_POOL_QKV_WEIGHT, 0);
    struct tail_head *h = &t->head;
    h->probe = weight_of(t, LAYOUT_POOL_PROBE, 0, &h->dprobe);
    h->q = rows_of(qkv, 0, d);
    h->kv = rows_of(qkv, d, 2 * d);
    h->out = linear_of(t, LAYOUT_POOL_OUT_WEIGHT, 0);
    h->ln = norm_of(t, LAYOUT_POOL_LN_WEIGHT, 0);
    h->fc1 = linear_of(t, LAYOUT_POOL_FC1_WEIGHT, 0);
    h->fc2 = linear_of(t, LAYOUT_POOL_FC2_WEIGHT, 0);
}

static void wire(struct tail *t, uint32_t first) {
    const struct config *c = t->config;
    static const enum layout_id own[] = {LAYOUT_IMAGE_LN_WEIGHT, LAYOUT_TEXT_LN_WEIGHT};
    for (uint32_t i = 0; i < t->blocks; i++)
        wire_block(t, first + i, &t->block[i]);
    t->ln = norm_of(t, c->towers == 1 ? LAYOUT_LN_WEIGHT : own[t->modality], 0);
    t->projection[LIMOE_IMAGE] = without_bias(t, LAYOUT_IMAGE_PROJ_WEIGHT);
    t->projection[LIMOE_TEXT] = c->text.projection_bias ? linear_of(t, LAYOUT_TEXT_PROJ_WEIGHT, 0)
                                                        : without_bias(t, LAYOUT_TEXT_PROJ_WEIGHT);
    if (t->tower->pool == CONFIG_POOL_ATTENTION)
        wire_head(t);
}

/* ---- packing */

/* Calls `each` for every linear until one fails. */
static enum limoe_status for_linears(struct tail *t,
                                     enum limoe_status (*each)(struct kernels *k, struct tail_linear *l,
                                                               struct limoe_error *err),
                                     struct limoe_error *err) {
    enum { OTHERS = 7 };
    struct tail_head *h = &t->head;
    struct tail_linear *const others[OTHERS] = {
        &t->projection[LIMOE_IMAGE], &t->projection[LIMOE_TEXT], &h->q, &h->kv, &h->out, &h->fc1, &h->fc2};
    enum limoe_status status = LIMOE_OK;
    for (size_t i = 0; i < OTHERS && !status; i++)
        if (others[i]->matrix.weight)
            status = each(t->k, others[i], err);
    for (uint32_t i = 0; i < t->blocks && !status; i++) {
        struct tail_block *b = &t->block[i];
        if ((status = each(t->k, &b->qkv, err)) || (status = each(t->k, &b->out, err)) ||
            (status = each(t->k, &b->fc1, err)))
            return status;
        status = each(t->k, &b->fc2, err);
    }
    return status;
}

static enum limoe_status pack(struct kernels *k, struct tail_linear *l, struct limoe_error *err) {
    const struct backward_matrix *m = &l->matrix;
    return k->ops->pack(k, (struct kernels_tensor){m->weight, KERNELS_F32},
                        (struct kernels_tensor){l->bias, KERNELS_F32}, m->groups, m->out, m->in, &l->packed,
                        err);
}

static enum limoe_status repack(struct kernels *k, struct tail_linear *l, struct limoe_error *err) {
    (void)err;
    k->backward->repack(k, l->packed, l->matrix.weight, l->bias);
    return LIMOE_OK;
}

static enum limoe_status unpack(struct kernels *k, struct tail_linear *l, struct limoe_error *err) {
    (void)err;
    if (l->packed)
        k->ops->matrix_free(k, l->packed);
    return LIMOE_OK;
}

/* ---- life */

static enum limoe_status check(const struct config *c, const struct kernels *k, const struct tail_shape *s,
                               struct limoe_error *err) {
    const struct config_tower *tower = &c->tower[s->tower];
    if (!k->backward)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s in %s cannot train; the CPU in float32 can", k->name,
                          limoe_dtype_name(k->dtype));
    if (tower->post_norm)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "\"%s\" has norms behind its sublayers (BERT), which cannot be trained", c->name);
    if (c->moe.capacity != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "\"%s\" has experts of limited capacity, which cannot be trained", c->name);
    if (s->first_block > tower->blocks)
        return limoe_fail(err, LIMOE_INVALID, "a tail cannot begin at block %u; 0 to %u are accepted",
                          s->first_block, tower->blocks);
    return LIMOE_OK;
}

enum limoe_status tail_create(const struct config *config, const struct safetensors *st, struct kernels *k,
                              const struct tail_shape *shape, struct tail **out, struct limoe_error *err) {
    *out = NULL;
    enum limoe_status status = check(config, k, shape, err);
    if (status)
        return status;
    const uint32_t blocks = config->tower[shape->tower].blocks - shape->first_block;
    struct tail *t = calloc(1, sizeof *t);
    if (!t)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tail");
    t->config = config;
    t->tower = &config->tower[shape->tower];
    t->modality = shape->tower;
    t->k = k;
    t->block = calloc(blocks ? blocks : 1, sizeof *t->block);
    if (!t->block)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a tail of %u blocks", blocks);
    if (!status && !(status = parameters_load(config, st, shape, &t->parameters, err))) {
        t->blocks = blocks;
        wire(t, config_first_block(config, shape->tower) + shape->first_block);
        status = for_linears(t, pack, err);
    }
    if (status) {
        tail_destroy(t);
        return status;
    }
    *out = t;
    return LIMOE_OK;
}

void tail_destroy(struct tail *t) {
    if (!t)
        return;
    t->k->ops->release(t->k, t->memory);
    for_linears(t, unpack, NULL);
    parameters_free(&t->parameters);
    free(t->block);
    free(t);
}

struct parameters *tail_parameters(struct tail *t) {
    return &t->parameters;
}

void tail_repack(struct tail *t) {
    for_linears(t, repack, NULL);
}

/* ---- a batch */

enum limoe_status tail_forward(struct tail *t, const struct tail_batch *batch, float *z,
                               struct limoe_error *err) {
    struct kernels *k = t->k;
    const size_t sequences = batch->images + batch->texts, rows = batch->start[sequences];
    enum limoe_status status = tail_reserve(t, rows, sequences, err);
    if (status)
        return status;
    t->batch = *batch;
    k->ops->sequences(k, batch->start, sequences);
    float *first = t->blocks ? t->block[0].kept.x : t->scratch.x;
    k->ops->upload(k, first, batch->rows, rows * t->tower->width * sizeof *first);
    for (uint32_t i = 0; i < t->blocks; i++)
        tail_block_forward(t, &t->block[i], i + 1 < t->blocks ? t->block[i + 1].kept.x : t->scratch.x);
    tail_answer_forward(t, z);
    return k->ops->sync(k, err);
}

enum limoe_status tail_backward(struct tail *t, const float *dz, struct limoe_error *err) {
    struct kernels *k = t->k;
    k->ops->sequences(k, t->batch.start, tail_sequences(t));
    tail_answer_backward(t, dz);
    for (uint32_t i = t->blocks; i-- > 0;)
        tail_block_backward(t, &t->block[i]);
    return k->ops->sync(k, err);
}
