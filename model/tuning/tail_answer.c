/* tail_answer.c - from the last block's rows to unit vectors, and back: the final norm, pooling, projection.
 *
 * The order is the encoder's: the norm of each row and then pooling, or where one row stands for all, or the config says
 * so, the norm of what was pooled; SigLIP's pictures have a head instead.
 */
#include <string.h>

#include "model/tuning/layers.h"

static enum kernels_pooling pooling_of(const struct tail *t) {
    static const enum kernels_pooling kinds[] = {[CONFIG_POOL_MEAN] = KERNELS_POOL_MEAN,
                                                 [CONFIG_POOL_REST] = KERNELS_POOL_REST,
                                                 [CONFIG_POOL_FIRST] = KERNELS_POOL_FIRST,
                                                 [CONFIG_POOL_LAST] = KERNELS_POOL_LAST};
    return kinds[t->tower->pool];
}

static bool norm_comes_late(const struct tail *t) {
    const enum config_pool pool = t->tower->pool;
    return pool != CONFIG_POOL_ATTENTION &&
           (t->tower->late_norm || pool == CONFIG_POOL_FIRST || pool == CONFIG_POOL_LAST);
}

static void normalise(const struct tail *t, const struct tail_norm *n, const float *x, size_t rows,
                      float *out) {
    t->k->ops->layernorm(t->k, x, n->norm.weight, n->bias, n->norm.eps, rows, t->tower->width, out, NULL);
}

/* ---- the head: pooled = Attention(query, LN(x)) Wo + bo;  pooled += MLP(LN(pooled)) */

/* To scratch.pooled. */
static void head_forward(struct tail *t) {
    const struct kernels_ops *op = t->k->ops;
    const struct tail_head *h = &t->head;
    struct tail_scratch *s = &t->scratch;
    const size_t rows = tail_rows(t), n = tail_sequences(t);
    normalise(t, &t->ln, s->x, rows, s->h);
    op->linear(t->k, h->q.packed, h->probe, 1, KERNELS_STORE_F32, s->query);
    op->linear(t->k, h->kv.packed, s->h, rows, KERNELS_STORE, s->head_kv);
    op->attention_pool(t->k, s->query, s->head_kv, t->tower->width, t->tower->heads, s->head_mixed);
    op->linear(t->k, h->out.packed, s->head_mixed, n, KERNELS_STORE_F32, s->head_z);
    normalise(t, &h->ln, s->head_z, n, s->normed);
    op->linear(t->k, h->fc1.packed, s->normed, n, KERNELS_STORE, s->head_sums);
    t->k->backward->activate(t->k, tail_activation(t), s->head_sums, n * t->tower->mlp, s->hidden);
    memcpy(s->pooled, s->head_z, n * t->tower->width * sizeof(float));
    op->linear(t->k, h->fc2.packed, s->hidden, n, KERNELS_ADD_F32, s->pooled);
}

/* The MLP's: scratch.dpooled += of its input, from its output's. */
static void head_mlp_backward(struct tail *t) {
    const struct backward_ops *op = t->k->backward;
    struct tail_scratch *s = &t->scratch;
    const size_t n = tail_sequences(t), sums = n * t->tower->mlp;
    op->activate(t->k, tail_activation(t), s->head_sums, sums, s->hidden);
    op->linear(t->k, &t->head.fc2.matrix, NULL, s->hidden, s->dpooled, n, s->dhidden);
    op->activation(t->k, tail_activation(t), s->head_sums, s->dhidden, sums, s->dhidden);
    op->linear(t->k, &t->head.fc1.matrix, NULL, s->normed, s->dhidden, n, s->head_dmixed);
    op->layernorm(t->k, &t->head.ln.norm, s->head_z, s->head_dmixed, n, t->tower->width, s->dpooled);
}

/* The query is the probe's projection, the same for all. */
static void query_backward(struct tail *t) {
    struct tail_scratch *s = &t->scratch;
    const uint32_t width = t->tower->width;
    t->k->backward->linear(t->k, &t->head.q.matrix, NULL, t->head.probe, s->dquery, 1, s->query);
    for (uint32_t c = 0; c < width; c++)
        t->head.dprobe[c] += s->query[c];
}

/* From scratch.dpooled to scratch.dh, the gradient of the normalised rows. */
static void head_backward(struct tail *t) {
    const struct backward_ops *op = t->k->backward;
    const struct tail_head *h = &t->head;
    struct tail_scratch *s = &t->scratch;
    const uint32_t width = t->tower->width;
    const size_t rows = tail_rows(t), n = tail_sequences(t);
    head_mlp_backward(t);
    op->linear(t->k, &h->out.matrix, NULL, s->head_mixed, s->dpooled, n, s->head_dmixed);
    memset(s->dquery, 0, width * sizeof *s->dquery);
    op->attention_pool(t->k, s->query, s->head_kv, s->head_dmixed, width, t->tower->heads, s->dquery,
                       s->dqkv);
    normalise(t, &t->ln, s->x, rows, s->h);
    op->linear(t->k, &h->kv.matrix, NULL, s->h, s->dqkv, rows, s->dh);
    query_backward(t);
}

/* ---- pooling: to scratch.pooled, and in the end to what is projected */

static float *pool_forward(struct tail *t) {
    const struct kernels_ops *op = t->k->ops;
    struct tail_scratch *s = &t->scratch;
    if (t->tower->pool == CONFIG_POOL_ATTENTION) {
        head_forward(t);
        return s->pooled;
    }
    if (norm_comes_late(t)) {
        op->pool(t->k, pooling_of(t), s->x, t->tower->width, NULL, s->pooled);
        normalise(t, &t->ln, s->pooled, tail_sequences(t), s->normed);
        return s->normed;
    }
    normalise(t, &t->ln, s->x, tail_rows(t), s->h);
    op->pool(t->k, pooling_of(t), s->h, t->tower->width, NULL, s->pooled);
    return s->pooled;
}

/* From scratch.dpooled, of what was projected, to scratch.dx. */
static void pool_backward(struct tail *t) {
    const struct backward_ops *op = t->k->backward;
    struct tail_scratch *s = &t->scratch;
    const uint32_t width = t->tower->width;
    const size_t rows = tail_rows(t), n = tail_sequences(t);
    if (norm_comes_late(t)) {
        memset(s->normed, 0, n * width * sizeof *s->normed); /* dead once it was projected */
        op->layernorm(t->k, &t->ln.norm, s->pooled, s->dpooled, n, width, s->normed);
        op->pool(t->k, pooling_of(t), s->normed, width, s->dx);
        return;
    }
    if (t->tower->pool == CONFIG_POOL_ATTENTION)
        head_backward(t);
    else
        op->pool(t->k, pooling_of(t), s->dpooled, width, s->dh);
    memset(s->dx, 0, rows * width * sizeof *s->dx);
    op->layernorm(t->k, &t->ln.norm, s->x, s->dh, rows, width, s->dx);
}

/* ---- projection */

/* The sequences of a modality, images first. */
static size_t first_of(const struct tail *t, int modality) {
    return modality == LIMOE_IMAGE ? 0 : t->batch.images;
}

static size_t count_of(const struct tail *t, int modality) {
    return modality == LIMOE_IMAGE ? t->batch.images : t->batch.texts;
}

void tail_answer_forward(struct tail *t, float *z) {
    struct tail_scratch *s = &t->scratch;
    const size_t width = t->tower->width, embed = t->config->embed;
    const float *pooled = pool_forward(t);
    for (int m = 0; m < LIMOE_MODALITIES; m++) {
        const size_t first = first_of(t, m), n = count_of(t, m);
        if (n && t->projection[m].packed)
            t->k->ops->linear(t->k, t->projection[m].packed, pooled + first * width, n, KERNELS_STORE_F32,
                              s->z + first * embed);
        else
            memcpy(s->z + first * embed, pooled + first * width, n * embed * sizeof *z);
    }
    memcpy(z, s->z, tail_sequences(t) * embed * sizeof *z);
    t->k->ops->normalize(t->k, z, tail_sequences(t), t->config->embed);
}

void tail_answer_backward(struct tail *t, const float *dz) {
    struct tail_scratch *s = &t->scratch;
    const size_t width = t->tower->width, embed = t->config->embed;
    const float *projected = norm_comes_late(t) ? s->normed : s->pooled;
    t->k->backward->normalize(t->k, s->z, dz, tail_sequences(t), t->config->embed, s->dz);
    for (int m = 0; m < LIMOE_MODALITIES; m++) {
        const size_t first = first_of(t, m), n = count_of(t, m);
        if (n && t->projection[m].packed)
            t->k->backward->linear(t->k, &t->projection[m].matrix, NULL, projected + first * width,
                                   s->dz + first * embed, n, s->dpooled + first * width);
        else
            memcpy(s->dpooled + first * width, s->dz + first * embed, n * embed * sizeof *dz);
    }
    pool_backward(t);
}
