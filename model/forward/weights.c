/* weights.c - checkpoint to packed matrices. The caller owns the weights and the checkpoint; one thread.
 *
 * Tensors, of a stack of experts this rank's, are read one at a time into a staging buffer, and packing
 * copies them out of it: opening a model holds what is packed so far and one tensor, and an open model needs
 * its files no more.
 */
#include "model/forward/weights.h"

#include <stdlib.h>

#include "base/error.h"
#include "model/checkpoint/layout.h"

/* A linear's weight and bias are packed together, so that two tensors are staged at a time. */
enum slot { WEIGHT, BIAS, SLOTS };

/* What every load below needs. */
struct source {
    const struct config *config;
    const struct safetensors *st;
    struct kernels *k;
    const struct placement *placement;
    uint32_t rank;
    struct digests *digests;
    struct limoe_error *err;
    struct {
        void *bytes;
        size_t room;
    } staged[SLOTS];
};

static enum limoe_status stage(struct source *s, enum slot slot, size_t bytes) {
    if (bytes <= s->staged[slot].room)
        return LIMOE_OK;
    free(s->staged[slot].bytes);
    s->staged[slot].bytes = malloc(bytes);
    s->staged[slot].room = s->staged[slot].bytes ? bytes : 0;
    return s->staged[slot].bytes
               ? LIMOE_OK
               : limoe_fail(s->err, LIMOE_NO_MEMORY, "no memory to read a tensor of %zu bytes", bytes);
}

static const enum kernels_storage storage[] = {
    [TENSOR_F32] = KERNELS_F32, [TENSOR_BF16] = KERNELS_BF16, [TENSOR_F16] = KERNELS_F16};

/* Reads a tensor of the layout; *host is good until the slot's next. */
static enum limoe_status fetch(struct source *s, enum slot slot, enum layout_id id, uint32_t block,
                               const struct tensor **t, struct kernels_tensor *host) {
    enum limoe_status status;
    if ((status = layout_find(s->config, id, block, s->st, t, s->err)) ||
        (status = stage(s, slot, (*t)->bytes)) ||
        (status = safetensors_read(s->st, *t, s->staged[slot].bytes, s->err)))
        return status;
    digests_note(s->digests, id, block, 0, *t, s->staged[slot].bytes, (*t)->bytes);
    *host = (struct kernels_tensor){.host = s->staged[slot].bytes, .storage = storage[(*t)->dtype]};
    return LIMOE_OK;
}

static enum limoe_status load_vector(struct source *s, enum layout_id id, uint32_t block, float **out) {
    const struct tensor *t;
    struct kernels_tensor host;
    enum limoe_status status = fetch(s, WEIGHT, id, block, &t, &host);
    if (status)
        return status;
    *out = s->k->ops->upload_vector(s->k, host, t->elements);
    return *out ? LIMOE_OK : limoe_fail(s->err, LIMOE_NO_MEMORY, "no memory for tensor \"%s\"", t->name);
}

/* The bias comes right after the weight in layout.h's order. */
static enum limoe_status load_norm(struct source *s, enum layout_id weight, uint32_t block,
                                   struct weights_norm *out) {
    enum limoe_status status = load_vector(s, weight, block, &out->weight);
    return status ? status : load_vector(s, weight + 1, block, &out->bias);
}

/* The same of a stack of experts: the parts of those that the rank holds, ascending, end to end. */
static enum limoe_status fetch_held(struct source *s, enum slot slot, enum layout_id id, uint32_t block,
                                    uint32_t layer, const struct tensor **t, struct kernels_tensor *host) {
    const uint32_t experts = s->config->moe.experts;
    enum limoe_status status;
    if ((status = layout_find(s->config, id, block, s->st, t, s->err)))
        return status;
    const size_t part = (*t)->bytes / experts;
    if ((status = stage(s, slot, part * placement_held(s->placement, s->rank, layer))))
        return status;
    char *to = s->staged[slot].bytes;
    for (uint32_t e = 0; e < experts; e++) {
        if (!placement_holds(s->placement, s->rank, layer, e))
            continue;
        if ((status = safetensors_read_part(s->st, *t, e * part, part, to, s->err)))
            return status;
        digests_note(s->digests, id, block, e, *t, to, part);
        to += part;
    }
    *host = (struct kernels_tensor){.host = s->staged[slot].bytes, .storage = storage[(*t)->dtype]};
    return LIMOE_OK;
}

/* Stacks [held, out, in] of the block's experts; there are some. */
static enum limoe_status load_experts(struct source *s, enum layout_id weight, uint32_t block, uint32_t layer,
                                      uint32_t held, struct kernels_matrix **out) {
    const struct tensor *t;
    struct kernels_tensor host, bias;
    enum limoe_status status;
    if ((status = fetch_held(s, BIAS, weight + 1, block, layer, &t, &bias)) ||
        (status = fetch_held(s, WEIGHT, weight, block, layer, &t, &host)))
        return status;
    return s->k->ops->pack(s->k, host, bias, held, (uint32_t)t->shape[1], (uint32_t)t->shape[2], out, s->err);
}

static enum limoe_status pack(struct source *s, enum layout_id id, uint32_t block, struct kernels_tensor bias,
                              struct kernels_matrix **out) {
    const struct tensor *t;
    struct kernels_tensor host;
    enum limoe_status status = fetch(s, WEIGHT, id, block, &t, &host);
    if (status)
        return status;
    return s->k->ops->pack(s->k, host, bias, 1, (uint32_t)t->shape[0], (uint32_t)t->shape[1], out, s->err);
}

static enum limoe_status load_projection(struct source *s, enum layout_id id, struct kernels_matrix **out) {
    return pack(s, id, 0, (struct kernels_tensor){.host = NULL}, out);
}

static enum limoe_status load_linear(struct source *s, enum layout_id weight, uint32_t block,
                                     struct kernels_matrix **out) {
    const struct tensor *t;
    struct kernels_tensor bias;
    enum limoe_status status = fetch(s, BIAS, weight + 1, block, &t, &bias);
    return status ? status : pack(s, weight, block, bias, out);
}

static enum limoe_status load_token_table(struct source *s, struct kernels_table **out) {
    const struct tensor *t;
    struct kernels_tensor host;
    enum limoe_status status = fetch(s, WEIGHT, LAYOUT_TEXT_TOKEN, 0, &t, &host);
    if (status)
        return status;
    return s->k->ops->load_table(s->k, host, s->config->text.vocab, s->config->width, out, s->err);
}

/* `layer` counts MoE blocks. */
static enum limoe_status load_moe(struct source *s, uint32_t i, uint32_t layer, struct weights_block *b) {
    enum limoe_status status = load_vector(s, LAYOUT_MOE_ROUTER_WEIGHT, i, &b->router);
    b->moe = true;
    b->held = placement_held(s->placement, s->rank, layer);
    if (status || !b->held)
        return status;
    status = load_experts(s, LAYOUT_MOE_FC1_WEIGHT, i, layer, b->held, &b->fc1);
    return status ? status : load_experts(s, LAYOUT_MOE_FC2_WEIGHT, i, layer, b->held, &b->fc2);
}

/* `layer`: the MoE blocks before this one. */
static enum limoe_status load_block(struct source *s, uint32_t i, uint32_t layer, struct weights_block *b) {
    enum limoe_status status;
    if ((status = load_norm(s, LAYOUT_LN1_WEIGHT, i, &b->ln1)) ||
        (status = load_linear(s, LAYOUT_ATTN_QKV_WEIGHT, i, &b->qkv)) ||
        (status = load_linear(s, LAYOUT_ATTN_OUT_WEIGHT, i, &b->out)) ||
        (status = load_norm(s, LAYOUT_LN2_WEIGHT, i, &b->ln2)))
        return status;
    if (s->config->qk_norm && ((status = load_norm(s, LAYOUT_ATTN_Q_NORM_WEIGHT, i, &b->q_norm)) ||
                               (status = load_norm(s, LAYOUT_ATTN_K_NORM_WEIGHT, i, &b->k_norm))))
        return status;
    if (config_is_moe(s->config, i))
        return load_moe(s, i, layer, b);
    status = load_linear(s, LAYOUT_MLP_FC1_WEIGHT, i, &b->fc1);
    return status ? status : load_linear(s, LAYOUT_MLP_FC2_WEIGHT, i, &b->fc2);
}

/* The staging buffer at its full size from the start: grown tensor by tensor, it would leave holes. Stacks of
 * experts alone have three dimensions. */
static enum limoe_status stage_largest(struct source *s) {
    size_t largest = 0;
    uint32_t held = 0;
    for (uint32_t layer = 0; layer < s->placement->shape.layers; layer++) {
        const uint32_t here = placement_held(s->placement, s->rank, layer);
        held = here > held ? here : held;
    }
    for (size_t i = 0; i < safetensors_count(s->st); i++) {
        const struct tensor *t = safetensors_at(s->st, i);
        const size_t bytes = t->rank == 3 ? t->bytes / t->shape[0] * held : t->bytes;
        largest = bytes > largest ? bytes : largest;
    }
    return stage(s, WEIGHT, largest);
}

enum limoe_status weights_load(const struct config *config, const struct safetensors *st, struct kernels *k,
                               const struct placement *placement, uint32_t rank, struct digests *digests,
                               struct weights *weights, struct limoe_error *err) {
    struct source s = {.config = config,
                       .st = st,
                       .k = k,
                       .placement = placement,
                       .rank = rank,
                       .digests = digests,
                       .err = err};
    uint32_t layer = 0;
    const struct tensor *scale; /* no weight of the tower, but scores are made with it */
    struct kernels_tensor host;
    enum limoe_status status;
    *weights = (struct weights){.blocks = config->blocks};
    weights->block = calloc(config->blocks, sizeof *weights->block);
    if (!weights->block) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u blocks", config->blocks);
        goto out;
    }
    if ((status = stage_largest(&s)) ||
        (status = load_linear(&s, LAYOUT_IMAGE_PATCH_WEIGHT, 0, &weights->image.patch)) ||
        (status = load_vector(&s, LAYOUT_IMAGE_POS, 0, &weights->image.pos)) ||
        (status = load_projection(&s, LAYOUT_IMAGE_PROJ_WEIGHT, &weights->image.proj)) ||
        (status = load_token_table(&s, &weights->text.token)) ||
        (status = load_vector(&s, LAYOUT_TEXT_POS, 0, &weights->text.pos)) ||
        (status = load_projection(&s, LAYOUT_TEXT_PROJ_WEIGHT, &weights->text.proj)))
        goto out;
    for (uint32_t i = 0; i < config->blocks; i++) {
        if ((status = load_block(&s, i, layer, &weights->block[i])))
            goto out;
        layer += weights->block[i].moe;
    }
    if ((status = load_norm(&s, LAYOUT_LN_WEIGHT, 0, &weights->ln)))
        goto out;
    status = fetch(&s, WEIGHT, LAYOUT_LOGIT_SCALE, 0, &scale, &host);
out:
    if (status)
        weights_free(k, weights);
    for (int slot = 0; slot < SLOTS; slot++)
        free(s.staged[slot].bytes);
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
