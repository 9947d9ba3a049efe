/* weights.c - checkpoint to packed matrices. The caller owns the weights and the checkpoint; one thread.
 *
 * The checkpoint is mapped, and packing copies it. Its pages are given back to the system block by block, so
 * that opening a model never holds two copies of it.
 */
#include "weights.h"

#include <stdlib.h>

#include "error.h"
#include "layout.h"

/* What every load below needs. */
struct source {
    const struct config *config;
    const struct safetensors *st;
    struct kernels *k;
    struct fingerprint *fingerprint;
    struct limoe_error *err;
};

static enum limoe_status find(const struct source *s, enum layout_id id, uint32_t block,
                              const struct tensor **t) {
    enum limoe_status status = layout_find(s->config, id, block, s->st, t, s->err);
    if (status)
        return status;
    fingerprint_add(s->fingerprint, (*t)->dtype_name, NULL, 0);
    fingerprint_add(s->fingerprint, (*t)->name, (*t)->data, (*t)->bytes);
    return LIMOE_OK;
}

static struct kernels_tensor on_host(const struct tensor *t) {
    static const enum kernels_storage storage[] = {
        [TENSOR_F32] = KERNELS_F32, [TENSOR_BF16] = KERNELS_BF16, [TENSOR_F16] = KERNELS_F16};
    return (struct kernels_tensor){.host = t->data, .storage = storage[t->dtype]};
}

static enum limoe_status load_vector(const struct source *s, enum layout_id id, uint32_t block, float **out) {
    const struct tensor *t;
    enum limoe_status status = find(s, id, block, &t);
    if (status)
        return status;
    *out = s->k->ops->upload_vector(s->k, on_host(t), t->elements);
    return *out ? LIMOE_OK : limoe_fail(s->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", t->name);
}

/* The bias comes right after the weight in layout.h's order. */
static enum limoe_status load_norm(const struct source *s, enum layout_id weight, uint32_t block,
                                   struct weights_norm *out) {
    enum limoe_status status = load_vector(s, weight, block, &out->weight);
    return status ? status : load_vector(s, weight + 1, block, &out->bias);
}

/* [out, in], or a stack [groups, out, in]. */
static enum limoe_status pack(const struct source *s, enum layout_id id, uint32_t block,
                              struct kernels_tensor bias, struct kernels_matrix **out) {
    const struct tensor *t;
    enum limoe_status status = find(s, id, block, &t);
    if (status)
        return status;
    const uint64_t *shape = t->shape + (t->rank - 2);
    uint32_t groups = t->rank == 3 ? (uint32_t)t->shape[0] : 1;
    return s->k->ops->pack(s->k, on_host(t), bias, groups, (uint32_t)shape[0], (uint32_t)shape[1], out,
                           s->err);
}

static enum limoe_status load_projection(const struct source *s, enum layout_id id,
                                         struct kernels_matrix **out) {
    return pack(s, id, 0, (struct kernels_tensor){.host = NULL}, out);
}

static enum limoe_status load_linear(const struct source *s, enum layout_id weight, uint32_t block,
                                     struct kernels_matrix **out) {
    const struct tensor *bias;
    enum limoe_status status = find(s, weight + 1, block, &bias);
    return status ? status : pack(s, weight, block, on_host(bias), out);
}

static enum limoe_status load_token_table(const struct source *s, struct kernels_table **out) {
    const struct tensor *t;
    enum limoe_status status = find(s, LAYOUT_TEXT_TOKEN, 0, &t);
    if (status)
        return status;
    return s->k->ops->load_table(s->k, on_host(t), s->config->text.vocab, s->config->width, out, s->err);
}

static enum limoe_status load_block(const struct source *s, uint32_t i, struct weights_block *b) {
    enum limoe_status status;
    if ((status = load_norm(s, LAYOUT_LN1_WEIGHT, i, &b->ln1)) ||
        (status = load_linear(s, LAYOUT_ATTN_QKV_WEIGHT, i, &b->qkv)) ||
        (status = load_linear(s, LAYOUT_ATTN_OUT_WEIGHT, i, &b->out)) ||
        (status = load_norm(s, LAYOUT_LN2_WEIGHT, i, &b->ln2)))
        return status;
    if (s->config->qk_norm && ((status = load_norm(s, LAYOUT_ATTN_Q_NORM_WEIGHT, i, &b->q_norm)) ||
                               (status = load_norm(s, LAYOUT_ATTN_K_NORM_WEIGHT, i, &b->k_norm))))
        return status;
    b->moe = config_is_moe(s->config, i);
    if (b->moe && (status = load_vector(s, LAYOUT_MOE_ROUTER_WEIGHT, i, &b->router)))
        return status;
    if ((status = load_linear(s, b->moe ? LAYOUT_MOE_FC1_WEIGHT : LAYOUT_MLP_FC1_WEIGHT, i, &b->fc1)))
        return status;
    return load_linear(s, b->moe ? LAYOUT_MOE_FC2_WEIGHT : LAYOUT_MLP_FC2_WEIGHT, i, &b->fc2);
}

enum limoe_status weights_load(const struct config *config, const struct safetensors *st, struct kernels *k,
                               struct fingerprint *fingerprint, struct weights *weights,
                               struct limoe_error *err) {
    const struct source s = {.config = config, .st = st, .k = k, .fingerprint = fingerprint, .err = err};
    const struct tensor *logit_scale; /* is no weight of the tower, but the model's scores are made with it */
    enum limoe_status status;
    *weights = (struct weights){.blocks = config->blocks};
    weights->block = calloc(config->blocks, sizeof *weights->block);
    if (!weights->block) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u blocks", config->blocks);
        goto out;
    }
    if ((status = load_linear(&s, LAYOUT_IMAGE_PATCH_WEIGHT, 0, &weights->image.patch)) ||
        (status = load_vector(&s, LAYOUT_IMAGE_POS, 0, &weights->image.pos)) ||
        (status = load_projection(&s, LAYOUT_IMAGE_PROJ_WEIGHT, &weights->image.proj)) ||
        (status = load_token_table(&s, &weights->text.token)) ||
        (status = load_vector(&s, LAYOUT_TEXT_POS, 0, &weights->text.pos)) ||
        (status = load_projection(&s, LAYOUT_TEXT_PROJ_WEIGHT, &weights->text.proj)))
        goto out;
    for (uint32_t i = 0; i < config->blocks; i++) {
        if ((status = load_block(&s, i, &weights->block[i])))
            goto out;
        safetensors_release_pages(st);
    }
    if ((status = load_norm(&s, LAYOUT_LN_WEIGHT, 0, &weights->ln)))
        goto out;
    status = find(&s, LAYOUT_LOGIT_SCALE, 0, &logit_scale);
out:
    if (status)
        weights_free(k, weights);
    return status;
}

static void free_norm(struct kernels *k, struct weights_norm *n) {
    k->ops->release(k, n->bias);
    k->ops->release(k, n->weight);
}

static void free_matrix(struct kernels *k, struct kernels_matrix *m) {
    if (m)
        k->ops->matrix_free(k, m);
}

void weights_free(struct kernels *k, struct weights *weights) {
    free_norm(k, &weights->ln);
    for (uint32_t i = 0; weights->block && i < weights->blocks; i++) {
        struct weights_block *b = &weights->block[i];
        free_matrix(k, b->fc2);
        free_matrix(k, b->fc1);
        k->ops->release(k, b->router);
        free_norm(k, &b->k_norm);
        free_norm(k, &b->q_norm);
        free_norm(k, &b->ln2);
        free_matrix(k, b->out);
        free_matrix(k, b->qkv);
        free_norm(k, &b->ln1);
    }
    free(weights->block);
    free_matrix(k, weights->text.proj);
    k->ops->release(k, weights->text.pos);
    if (weights->text.token)
        k->ops->table_free(k, weights->text.token);
    free_matrix(k, weights->image.proj);
    k->ops->release(k, weights->image.pos);
    free_matrix(k, weights->image.patch);
    *weights = (struct weights){0};
}
