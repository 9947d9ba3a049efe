/* weights.c - checkpoint to packed matrices. The caller owns the weights and the checkpoint; one thread. */
#include "model/forward/weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/host.h"
#include "kernels/number.h"
#include "model/checkpoint/layout.h"
#include "model/forward/staging.h"

/* What every load below needs. */
struct source {
    struct kernels *k;
    struct staging staging;
};

static enum limoe_status fetch(struct source *s, enum layout_id id, uint32_t block, struct layout_source *t,
                               struct kernels_tensor *host) {
    return staging_read(&s->staging, STAGING_WEIGHT, id, block, t, host);
}

static enum limoe_status upload(struct source *s, struct kernels_tensor host, size_t n, float **out) {
    *out = s->k->ops->upload_vector(s->k, host, n);
    return *out ? LIMOE_OK : limoe_fail(s->staging.err, LIMOE_NO_MEMORY, "no memory for a vector of %zu", n);
}

/* A tail has the base's in its place already. */
static bool kept(const struct source *s, enum layout_id id, uint32_t block) {
    return s->staging.tuned && !tuned_changes_packed(s->staging.tuned, id, block);
}

static enum limoe_status load_vector(struct source *s, enum layout_id id, uint32_t block, float **out) {
    struct layout_source t;
    struct kernels_tensor host;
    if (kept(s, id, block))
        return LIMOE_OK;
    enum limoe_status status = fetch(s, id, block, &t, &host);
    return status ? status : upload(s, host, t.elements, out);
}

/* The bias comes right after the weight in the layout's order. */
static enum limoe_status load_norm(struct source *s, enum layout_id weight, uint32_t block,
                                   struct weights_norm *out) {
    enum limoe_status status = load_vector(s, weight, block, &out->weight);
    return status ? status : load_vector(s, weight + 1, block, &out->bias);
}

/* Stacks [held, out, in] of the block's experts; there are some. */
static enum limoe_status load_experts(struct source *s, enum layout_id weight, uint32_t block, uint32_t layer,
                                      uint32_t held, struct kernels_matrix **out) {
    struct layout_source t;
    struct kernels_tensor host, bias;
    enum limoe_status status;
    if (kept(s, weight, block))
        return LIMOE_OK;
    if ((status = staging_read_held(&s->staging, STAGING_BIAS, weight + 1, block, layer, &t, &bias)) ||
        (status = staging_read_held(&s->staging, STAGING_WEIGHT, weight, block, layer, &t, &host)))
        return status;
    return s->k->ops->pack(s->k, host, bias, held, (uint32_t)t.shape[1], (uint32_t)t.shape[2], out,
                           s->staging.err);
}

static enum limoe_status pack(struct source *s, enum layout_id id, uint32_t block, struct kernels_tensor bias,
                              struct kernels_matrix **out) {
    struct layout_source t;
    struct kernels_tensor host;
    enum limoe_status status = fetch(s, id, block, &t, &host);
    if (status)
        return status;
    return s->k->ops->pack(s->k, host, bias, 1, (uint32_t)t.shape[0], (uint32_t)t.shape[1], out,
                           s->staging.err);
}

static enum limoe_status load_without_bias(struct source *s, enum layout_id id, struct kernels_matrix **out) {
    return kept(s, id, 0) ? LIMOE_OK : pack(s, id, 0, (struct kernels_tensor){.host = NULL}, out);
}

static enum limoe_status load_linear(struct source *s, enum layout_id weight, uint32_t block,
                                     struct kernels_matrix **out) {
    struct layout_source t;
    struct kernels_tensor bias;
    if (kept(s, weight, block))
        return LIMOE_OK;
    enum limoe_status status = staging_read(&s->staging, STAGING_BIAS, weight + 1, block, &t, &bias);
    return status ? status : pack(s, weight, block, bias, out);
}

/* ---- pictures */

/* A class token is a row before the patches whose input is zeros: its row of the positions gets the token itself, and
 * the other rows get the patches' bias, which it must not have. */
static enum limoe_status load_class_positions(struct source *s, float **out) {
    const struct config *c = s->staging.config;
    const size_t width = c->tower[LIMOE_IMAGE].width, rows = config_image_tokens(c);
    float *pos = NULL, *token = NULL, *bias = NULL;
    enum limoe_status status;
    if ((status = staging_read_floats(&s->staging, LAYOUT_IMAGE_POS, &pos)) ||
        (status = staging_read_floats(&s->staging, LAYOUT_IMAGE_CLASS, &token)) ||
        (c->image.patch_bias && (status = staging_read_floats(&s->staging, LAYOUT_IMAGE_PATCH_BIAS, &bias))))
        goto out;
    for (size_t i = 0; i < width; i++)
        pos[i] += token[i];
    for (size_t i = width; bias && i < rows * width; i++)
        pos[i] += bias[i % width];
    status = upload(s, (struct kernels_tensor){pos, KERNELS_F32}, rows * width, out);
out:
    free(bias);
    free(token);
    free(pos);
    return status;
}

static enum limoe_status load_patches(struct source *s, struct weights *w) {
    const struct config *c = s->staging.config;
    enum limoe_status status = c->image.patch_bias && !c->image.class_token
                                   ? load_linear(s, LAYOUT_IMAGE_PATCH_WEIGHT, 0, &w->image.patch)
                                   : load_without_bias(s, LAYOUT_IMAGE_PATCH_WEIGHT, &w->image.patch);
    if (status)
        return status;
    return c->image.class_token ? load_class_positions(s, &w->image.pos)
                                : load_vector(s, LAYOUT_IMAGE_POS, 0, &w->image.pos);
}

/* query = Wq probe + bq, summed in double. */
static enum limoe_status project_probe(struct source *s, const float *weight, const float *bias,
                                       float **out) {
    const size_t width = s->staging.config->tower[LIMOE_IMAGE].width;
    float *probe = NULL, *query = malloc(width * sizeof *query);
    enum limoe_status status = query ? staging_read_floats(&s->staging, LAYOUT_POOL_PROBE, &probe)
                                     : limoe_fail(s->staging.err, LIMOE_NO_MEMORY, "no memory for a query");
    for (size_t o = 0; !status && probe && o < width; o++) {
        double sum = bias[o];
        for (size_t i = 0; i < width; i++)
            sum += (double)weight[o * width + i] * probe[i];
        query[o] = (float)sum;
    }
    if (!status)
        status = upload(s, (struct kernels_tensor){query, KERNELS_F32}, width, out);
    free(query);
    free(probe);
    return status;
}

/* What its projection of q, k and v makes: the query, and a matrix for k and v. */
static enum limoe_status load_pool_qkv(struct source *s, struct weights_pool *p) {
    const uint32_t width = s->staging.config->tower[LIMOE_IMAGE].width;
    float *weight = NULL, *bias = NULL;
    enum limoe_status status;
    if (kept(s, LAYOUT_POOL_QKV_WEIGHT, 0))
        return LIMOE_OK;
    if ((status = staging_read_floats(&s->staging, LAYOUT_POOL_QKV_WEIGHT, &weight)) ||
        (status = staging_read_floats(&s->staging, LAYOUT_POOL_QKV_BIAS, &bias)) ||
        (status = project_probe(s, weight, bias, &p->query)))
        goto out;
    const struct kernels_tensor kv = {weight + (size_t)width * width, KERNELS_F32},
                                kv_bias = {bias + width, KERNELS_F32};
    status = s->k->ops->pack(s->k, kv, kv_bias, 1, 2 * width, width, &p->kv, s->staging.err);
out:
    free(bias);
    free(weight);
    return status;
}

static enum limoe_status load_pool(struct source *s, struct weights_pool *p) {
    enum limoe_status status;
    if ((status = load_pool_qkv(s, p)) || (status = load_linear(s, LAYOUT_POOL_OUT_WEIGHT, 0, &p->out)) ||
        (status = load_norm(s, LAYOUT_POOL_LN_WEIGHT, 0, &p->ln)) ||
        (status = load_linear(s, LAYOUT_POOL_FC1_WEIGHT, 0, &p->fc1)))
        return status;
    return load_linear(s, LAYOUT_POOL_FC2_WEIGHT, 0, &p->fc2);
}

/* What a picture passes behind the blocks, but for the final norm. */
static enum limoe_status load_image_end(struct source *s, struct weights *w) {
    const struct config *c = s->staging.config;
    enum limoe_status status = LIMOE_OK;
    if (c->tower[LIMOE_IMAGE].pool == CONFIG_POOL_ATTENTION)
        status = load_pool(s, &w->image.pool);
    if (!status && c->image.projection)
        status = load_without_bias(s, LAYOUT_IMAGE_PROJ_WEIGHT, &w->image.proj);
    return status;
}

static enum limoe_status load_image(struct source *s, struct weights *w) {
    enum limoe_status status = load_patches(s, w);
    if (!status && s->staging.config->tower[LIMOE_IMAGE].pre_norm)
        status = load_norm(s, LAYOUT_IMAGE_PRE_WEIGHT, 0, &w->image.pre);
    return status ? status : load_image_end(s, w);
}

/* ---- texts */

/* Rounded as quantising would have it, with as much memory more for as long as it takes. */
static enum limoe_status load_rounded_table(struct source *s, struct kernels_tensor host, uint32_t rows,
                                            uint32_t width, struct kernels_table **out) {
    float *scale = malloc(rows * sizeof *scale);
    int8_t *q = malloc((size_t)rows * width);
    const struct kernels_int8 rounded = {.value = q, .scale = scale, .row = width};
    enum limoe_status status =
        scale && q && host_int8_rows(host, rows, width, q, scale)
            ? s->k->ops->load_table(s->k, (struct kernels_tensor){&rounded, KERNELS_I8}, rows, width, out,
                                    s->staging.err)
            : limoe_fail(s->staging.err, LIMOE_NO_MEMORY, "no memory for a table of %u rows", rows);
    free(q);
    free(scale);
    return status;
}

static enum limoe_status load_token_table(struct source *s, struct kernels_table **out) {
    const struct config *c = s->staging.config;
    const uint32_t rows = c->text.vocab, width = c->tower[LIMOE_TEXT].width;
    struct layout_source t;
    struct kernels_tensor host;
    enum limoe_status status = fetch(s, LAYOUT_TEXT_TOKEN, 0, &t, &host);
    if (status)
        return status;
    if (s->staging.int8 && host.storage != KERNELS_I8 && layout_table_is_int8(c))
        return load_rounded_table(s, host, rows, width, out);
    return s->k->ops->load_table(s->k, host, rows, width, out, s->staging.err);
}

/* Each token is of the first type, so that its row can as well be added to the positions: one rounding lies elsewhere
 * than where the type is added to the token. */
static enum limoe_status load_typed_positions(struct source *s, float **out) {
    const struct config *c = s->staging.config;
    const size_t width = c->tower[LIMOE_TEXT].width, rows = c->text.length;
    float *pos = NULL, *type = NULL;
    enum limoe_status status;
    if ((status = staging_read_floats(&s->staging, LAYOUT_TEXT_POS, &pos)) ||
        (status = staging_read_floats(&s->staging, LAYOUT_TEXT_TYPE, &type)))
        goto out;
    for (size_t i = 0; i < rows * width; i++)
        pos[i] += type[i % width];
    status = upload(s, (struct kernels_tensor){pos, KERNELS_F32}, rows * width, out);
out:
    free(type);
    free(pos);
    return status;
}

static enum limoe_status load_text_end(struct source *s, struct weights *w) {
    const struct config *c = s->staging.config;
    if (!c->text.projection)
        return LIMOE_OK;
    return c->text.projection_bias ? load_linear(s, LAYOUT_TEXT_PROJ_WEIGHT, 0, &w->text.proj)
                                   : load_without_bias(s, LAYOUT_TEXT_PROJ_WEIGHT, &w->text.proj);
}

static enum limoe_status load_text(struct source *s, struct weights *w) {
    const struct config *c = s->staging.config;
    enum limoe_status status;
    if ((status = load_token_table(s, &w->text.token)) ||
        (status = c->text.types ? load_typed_positions(s, &w->text.pos)
                                : load_vector(s, LAYOUT_TEXT_POS, 0, &w->text.pos)) ||
        (c->tower[LIMOE_TEXT].pre_norm && (status = load_norm(s, LAYOUT_TEXT_PRE_WEIGHT, 0, &w->text.pre))))
        return status;
    return load_text_end(s, w);
}

/* ---- blocks */

/* `layer` counts MoE blocks. */
static enum limoe_status load_moe(struct source *s, uint32_t i, uint32_t layer, struct weights_block *b) {
    enum limoe_status status = load_vector(s, LAYOUT_MOE_ROUTER_WEIGHT, i, &b->router);
    b->moe = true;
    b->held = placement_held(s->staging.placement, s->staging.rank, layer);
    if (status || !b->held)
        return status;
    status = load_experts(s, LAYOUT_MOE_FC1_WEIGHT, i, layer, b->held, &b->fc1);
    return status ? status : load_experts(s, LAYOUT_MOE_FC2_WEIGHT, i, layer, b->held, &b->fc2);
}

/* `layer`: the MoE blocks before this one. */
static enum limoe_status load_block(struct source *s, uint32_t i, uint32_t layer, struct weights_block *b) {
    const struct config *c = s->staging.config;
    enum limoe_status status;
    if ((status = load_norm(s, LAYOUT_LN1_WEIGHT, i, &b->ln1)) ||
        (status = load_linear(s, LAYOUT_ATTN_QKV_WEIGHT, i, &b->qkv)) ||
        (status = load_linear(s, LAYOUT_ATTN_OUT_WEIGHT, i, &b->out)) ||
        (status = load_norm(s, LAYOUT_LN2_WEIGHT, i, &b->ln2)))
        return status;
    if (c->tower[config_block_tower(c, i)].qk_norm &&
        ((status = load_norm(s, LAYOUT_ATTN_Q_NORM_WEIGHT, i, &b->q_norm)) ||
         (status = load_norm(s, LAYOUT_ATTN_K_NORM_WEIGHT, i, &b->k_norm))))
        return status;
    if (config_is_moe(c, i))
        return load_moe(s, i, layer, b);
    status = load_linear(s, LAYOUT_MLP_FC1_WEIGHT, i, &b->fc1);
    return status ? status : load_linear(s, LAYOUT_MLP_FC2_WEIGHT, i, &b->fc2);
}

/* Room for them; a tail's begin as the base's. */
static enum limoe_status reserve_blocks(struct source *s, struct weights *w, const struct weights *base) {
    w->blocks = config_blocks(s->staging.config);
    w->block = calloc(w->blocks, sizeof *w->block);
    if (!w->block)
        return limoe_fail(s->staging.err, LIMOE_NO_MEMORY, "no memory for %u blocks", w->blocks);
    if (base)
        memcpy(w->block, base->block, w->blocks * sizeof *w->block);
    return LIMOE_OK;
}

static enum limoe_status load_blocks(struct source *s, struct weights *w) {
    uint32_t layer = 0;
    for (uint32_t i = 0; i < w->blocks; i++) {
        enum limoe_status status = load_block(s, i, layer, &w->block[i]);
        if (status)
            return status;
        layer += w->block[i].moe;
    }
    return LIMOE_OK;
}

static enum limoe_status load_final_norms(struct source *s, struct weights *w) {
    static const enum layout_id own[] = {LAYOUT_IMAGE_LN_WEIGHT, LAYOUT_TEXT_LN_WEIGHT};
    const struct config *c = s->staging.config;
    enum limoe_status status = LIMOE_OK;
    if (c->towers == 1)
        return load_norm(s, LAYOUT_LN_WEIGHT, 0, &w->ln[LIMOE_IMAGE]);
    for (int m = 0; m < LIMOE_MODALITIES && !status; m++)
        if (config_has(c, (enum limoe_modality)m) && !c->tower[m].post_norm)
            status = load_norm(s, own[m], 0, &w->ln[m]);
    return status;
}

/* ---- the decoder */

static enum limoe_status load_attention(struct source *s, enum layout_id q_weight, uint32_t block,
                                        struct weights_attention *a) {
    enum limoe_status status;
    if ((status = load_linear(s, q_weight, block, &a->q)) ||
        (status = load_linear(s, q_weight + 2, block, &a->kv)))
        return status;
    return load_linear(s, q_weight + 4, block, &a->out);
}

static enum limoe_status load_decoder_block(struct source *s, uint32_t i, struct weights_decoder_block *b) {
    enum limoe_status status;
    if ((status = load_norm(s, LAYOUT_DECODER_LN1_WEIGHT, i, &b->ln1)) ||
        (status = load_attention(s, LAYOUT_DECODER_ATTN_Q_WEIGHT, i, &b->self)) ||
        (status = load_norm(s, LAYOUT_DECODER_LN2_WEIGHT, i, &b->ln2)) ||
        (status = load_attention(s, LAYOUT_DECODER_CROSS_Q_WEIGHT, i, &b->cross)) ||
        (status = load_norm(s, LAYOUT_DECODER_LN3_WEIGHT, i, &b->ln3)) ||
        (status = load_linear(s, LAYOUT_DECODER_FC1_WEIGHT, i, &b->fc1)))
        return status;
    return load_linear(s, LAYOUT_DECODER_FC2_WEIGHT, i, &b->fc2);
}

/* One tensor to look up in and to multiply by. float32, so that its memory does not depend on the file's dtype. */
static enum limoe_status load_tied(struct source *s, struct weights_decoder *d) {
    const struct config *c = s->staging.config;
    const uint32_t rows = c->text.vocab, width = c->decoder.tower.width;
    float *token = NULL;
    enum limoe_status status = staging_read_floats(&s->staging, LAYOUT_DECODER_TOKEN, &token);
    const struct kernels_tensor host = {token, KERNELS_F32}, none = {.host = NULL};
    if (!status)
        status = s->k->ops->load_table(s->k, host, rows, width, &d->token, s->staging.err);
    if (!status)
        status = s->k->ops->pack(s->k, host, none, 1, rows, width, &d->head, s->staging.err);
    free(token);
    return status;
}

static enum limoe_status load_decoder(struct source *s, struct weights_decoder *d) {
    enum limoe_status status;
    d->blocks = s->staging.config->decoder.tower.blocks;
    d->block = calloc(d->blocks, sizeof *d->block);
    if (!d->block)
        return limoe_fail(s->staging.err, LIMOE_NO_MEMORY, "no memory for %u blocks", d->blocks);
    if ((status = load_tied(s, d)) || (status = load_vector(s, LAYOUT_DECODER_POS, 0, &d->pos)) ||
        (status = load_norm(s, LAYOUT_DECODER_ROWS_LN_WEIGHT, 0, &d->rows_ln)) ||
        (status = load_norm(s, LAYOUT_DECODER_LN_WEIGHT, 0, &d->ln)))
        return status;
    for (uint32_t i = 0; i < d->blocks && !status; i++)
        status = load_decoder_block(s, i, &d->block[i]);
    return status;
}

/* No weights of a tower, but scores are made with them, so that the model's name must depend on them. */
static enum limoe_status note_scalars(struct source *s) {
    struct layout_source t;
    struct kernels_tensor host;
    if (!config_has_scores(s->staging.config))
        return LIMOE_OK;
    enum limoe_status status = fetch(s, LAYOUT_LOGIT_SCALE, 0, &t, &host);
    return status || s->staging.config->scores != CONFIG_SIGMOID ? status
                                                                 : fetch(s, LAYOUT_LOGIT_BIAS, 0, &t, &host);
}

enum limoe_status weights_load(const struct config *config, const struct safetensors *st, struct kernels *k,
                               const struct placement *placement, uint32_t rank, struct digests *digests,
                               struct weights *weights, struct limoe_error *err) {
    struct source s = {.k = k,
                       .staging = {.config = config,
                                   .st = st,
                                   .placement = placement,
                                   .rank = rank,
                                   .int8 = k->dtype == LIMOE_INT8,
                                   .digests = digests,
                                   .err = err}};
    enum limoe_status status;
    *weights = (struct weights){0};
    if ((status = staging_reserve(&s.staging)) ||
        (config_has(config, LIMOE_IMAGE) && (status = load_image(&s, weights))) ||
        (config_has(config, LIMOE_TEXT) && (status = load_text(&s, weights))) ||
        (status = reserve_blocks(&s, weights, NULL)) || (status = load_blocks(&s, weights)) ||
        (status = load_final_norms(&s, weights)) || (status = note_scalars(&s)) ||
        (config_has_decoder(config) && (status = load_decoder(&s, &weights->decoder))))
        weights_free(k, weights);
    staging_free(&s.staging);
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

static void free_pool(struct kernels *k, struct weights_pool *p) {
    free_matrix(k, p->fc2);
    free_matrix(k, p->fc1);
    free_norm(k, &p->ln);
    free_matrix(k, p->out);
    free_matrix(k, p->kv);
    k->ops->release(k, p->query);
}

static void free_block(struct kernels *k, struct weights_block *b) {
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

static void free_attention(struct kernels *k, struct weights_attention *a) {
    free_matrix(k, a->out);
    free_matrix(k, a->kv);
    free_matrix(k, a->q);
}

static void free_decoder(struct kernels *k, struct weights_decoder *d) {
    for (uint32_t i = 0; d->block && i < d->blocks; i++) {
        struct weights_decoder_block *b = &d->block[i];
        free_matrix(k, b->fc2);
        free_matrix(k, b->fc1);
        free_norm(k, &b->ln3);
        free_attention(k, &b->cross);
        free_norm(k, &b->ln2);
        free_attention(k, &b->self);
        free_norm(k, &b->ln1);
    }
    free(d->block);
    free_norm(k, &d->ln);
    free_norm(k, &d->rows_ln);
    k->ops->release(k, d->pos);
    free_matrix(k, d->head);
    if (d->token)
        k->ops->table_free(k, d->token);
}

void weights_free(struct kernels *k, struct weights *weights) {
    free_decoder(k, &weights->decoder);
    for (int tower = 0; tower < LIMOE_MODALITIES; tower++)
        free_norm(k, &weights->ln[tower]);
    for (uint32_t i = 0; weights->block && i < weights->blocks; i++)
        free_block(k, &weights->block[i]);
    free(weights->block);
    free_matrix(k, weights->text.proj);
    free_norm(k, &weights->text.pre);
    k->ops->release(k, weights->text.pos);
    if (weights->text.token)
        k->ops->table_free(k, weights->text.token);
    free_matrix(k, weights->image.proj);
    free_pool(k, &weights->image.pool);
    free_norm(k, &weights->image.pre);
    k->ops->release(k, weights->image.pos);
    free_matrix(k, weights->image.patch);
    *weights = (struct weights){0};
}

/* ---- tails */

enum limoe_status weights_load_tail(const struct weights *base, const struct tuned *tuned, struct kernels *k,
                                    const struct placement *placement, struct digests *digests,
                                    struct weights *weights, struct limoe_error *err) {
    const struct config *config = tuned->config;
    struct source s = {.k = k,
                       .staging = {.config = config,
                                   .st = tuned->base,
                                   .placement = placement,
                                   .int8 = k->dtype == LIMOE_INT8,
                                   .digests = digests,
                                   .tuned = tuned,
                                   .err = err}};
    enum limoe_status status;
    *weights = *base;
    if ((status = reserve_blocks(&s, weights, base)) || (status = load_blocks(&s, weights)) ||
        (config_has(config, LIMOE_IMAGE) && (status = load_image_end(&s, weights))) ||
        (config_has(config, LIMOE_TEXT) && (status = load_text_end(&s, weights))) ||
        (status = load_final_norms(&s, weights)))
        weights_free_tail(k, base, weights);
    staging_free(&s.staging);
    return status;
}

/* What is the base's is not there to be freed. */
static void disown(void *pointer, const void *base) {
    void *own;
    memcpy(&own, pointer, sizeof own);
    if (own == base)
        memset(pointer, 0, sizeof own);
}

static void disown_norm(struct weights_norm *n, const struct weights_norm *base) {
    disown(&n->weight, base->weight);
    disown(&n->bias, base->bias);
}

static void disown_block(struct weights_block *b, const struct weights_block *base) {
    disown_norm(&b->ln1, &base->ln1);
    disown_norm(&b->ln2, &base->ln2);
    disown(&b->qkv, base->qkv);
    disown(&b->out, base->out);
    disown_norm(&b->q_norm, &base->q_norm);
    disown_norm(&b->k_norm, &base->k_norm);
    disown(&b->fc1, base->fc1);
    disown(&b->fc2, base->fc2);
    disown(&b->router, base->router);
}

static void disown_pool(struct weights_pool *p, const struct weights_pool *base) {
    disown(&p->query, base->query);
    disown(&p->kv, base->kv);
    disown(&p->out, base->out);
    disown_norm(&p->ln, &base->ln);
    disown(&p->fc1, base->fc1);
    disown(&p->fc2, base->fc2);
}

void weights_free_tail(struct kernels *k, const struct weights *base, struct weights *w) {
    disown(&w->image.patch, base->image.patch);
    disown(&w->image.pos, base->image.pos);
    disown_norm(&w->image.pre, &base->image.pre);
    disown_pool(&w->image.pool, &base->image.pool);
    disown(&w->image.proj, base->image.proj);
    disown(&w->text.token, base->text.token);
    disown(&w->text.pos, base->text.pos);
    disown_norm(&w->text.pre, &base->text.pre);
    disown(&w->text.proj, base->text.proj);
    for (uint32_t i = 0; w->block && i < w->blocks; i++)
        disown_block(&w->block[i], &base->block[i]);
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        disown_norm(&w->ln[m], &base->ln[m]);
    w->decoder = (struct weights_decoder){0}; /* no tail has one of its own */
    weights_free(k, w);
}
