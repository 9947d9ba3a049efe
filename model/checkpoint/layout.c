/* layout.c - the tensors of format "limoe-1" as one table, and what follows from it. */
#include "model/checkpoint/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Which models, or which blocks of a model, hold a tensor. */
enum where { ONCE, EVERY_BLOCK, QK_NORM_BLOCK, DENSE_BLOCK, MOE_BLOCK };

/* A size that the config gives. END is 0, so that a row's unnamed dimensions end its shape. */
enum dim { END, WIDTH, WIDTH_3, HEAD, MLP, EMBED, PATCH_VALUES, IMAGE_TOKENS, VOCAB, LENGTH, EXPERTS };

/* To add one: its id and shape (layout.h), a row here, where it is loaded and used (model/forward/), the config that
 * asks for it, docs/format.md, train/ (docs/development.md#an-architecture). */
static const struct row {
    const char *name; /* after "blocks.i." where it is a block's */
    enum where where;
    enum dim dim[3];
} table[LAYOUT_COUNT] = {
    [LAYOUT_IMAGE_PATCH_WEIGHT] = {"image.patch.weight", ONCE, {WIDTH, PATCH_VALUES}},
    [LAYOUT_IMAGE_PATCH_BIAS] = {"image.patch.bias", ONCE, {WIDTH}},
    [LAYOUT_IMAGE_POS] = {"image.pos", ONCE, {IMAGE_TOKENS, WIDTH}},
    [LAYOUT_IMAGE_PROJ_WEIGHT] = {"image.proj.weight", ONCE, {EMBED, WIDTH}},
    [LAYOUT_TEXT_TOKEN] = {"text.token", ONCE, {VOCAB, WIDTH}},
    [LAYOUT_TEXT_POS] = {"text.pos", ONCE, {LENGTH, WIDTH}},
    [LAYOUT_TEXT_PROJ_WEIGHT] = {"text.proj.weight", ONCE, {EMBED, WIDTH}},
    [LAYOUT_LN_WEIGHT] = {"ln.weight", ONCE, {WIDTH}},
    [LAYOUT_LN_BIAS] = {"ln.bias", ONCE, {WIDTH}},
    [LAYOUT_LOGIT_SCALE] = {"logit_scale", ONCE, {END}},

    [LAYOUT_LN1_WEIGHT] = {"ln1.weight", EVERY_BLOCK, {WIDTH}},
    [LAYOUT_LN1_BIAS] = {"ln1.bias", EVERY_BLOCK, {WIDTH}},
    [LAYOUT_ATTN_QKV_WEIGHT] = {"attn.qkv.weight", EVERY_BLOCK, {WIDTH_3, WIDTH}},
    [LAYOUT_ATTN_QKV_BIAS] = {"attn.qkv.bias", EVERY_BLOCK, {WIDTH_3}},
    [LAYOUT_ATTN_OUT_WEIGHT] = {"attn.out.weight", EVERY_BLOCK, {WIDTH, WIDTH}},
    [LAYOUT_ATTN_OUT_BIAS] = {"attn.out.bias", EVERY_BLOCK, {WIDTH}},
    [LAYOUT_LN2_WEIGHT] = {"ln2.weight", EVERY_BLOCK, {WIDTH}},
    [LAYOUT_LN2_BIAS] = {"ln2.bias", EVERY_BLOCK, {WIDTH}},

    [LAYOUT_ATTN_Q_NORM_WEIGHT] = {"attn.q_norm.weight", QK_NORM_BLOCK, {HEAD}},
    [LAYOUT_ATTN_Q_NORM_BIAS] = {"attn.q_norm.bias", QK_NORM_BLOCK, {HEAD}},
    [LAYOUT_ATTN_K_NORM_WEIGHT] = {"attn.k_norm.weight", QK_NORM_BLOCK, {HEAD}},
    [LAYOUT_ATTN_K_NORM_BIAS] = {"attn.k_norm.bias", QK_NORM_BLOCK, {HEAD}},

    [LAYOUT_MLP_FC1_WEIGHT] = {"mlp.fc1.weight", DENSE_BLOCK, {MLP, WIDTH}},
    [LAYOUT_MLP_FC1_BIAS] = {"mlp.fc1.bias", DENSE_BLOCK, {MLP}},
    [LAYOUT_MLP_FC2_WEIGHT] = {"mlp.fc2.weight", DENSE_BLOCK, {WIDTH, MLP}},
    [LAYOUT_MLP_FC2_BIAS] = {"mlp.fc2.bias", DENSE_BLOCK, {WIDTH}},

    [LAYOUT_MOE_ROUTER_WEIGHT] = {"moe.router.weight", MOE_BLOCK, {EXPERTS, WIDTH}},
    [LAYOUT_MOE_FC1_WEIGHT] = {"moe.fc1.weight", MOE_BLOCK, {EXPERTS, MLP, WIDTH}},
    [LAYOUT_MOE_FC1_BIAS] = {"moe.fc1.bias", MOE_BLOCK, {EXPERTS, MLP}},
    [LAYOUT_MOE_FC2_WEIGHT] = {"moe.fc2.weight", MOE_BLOCK, {EXPERTS, WIDTH, MLP}},
    [LAYOUT_MOE_FC2_BIAS] = {"moe.fc2.bias", MOE_BLOCK, {EXPERTS, WIDTH}},
};

static uint64_t size_of(const struct config *c, enum dim dim) {
    switch (dim) {
    case END:
        break;
    case WIDTH:
        return c->width;
    case WIDTH_3:
        return 3ull * c->width;
    case HEAD:
        return c->width / c->heads;
    case MLP:
        return c->mlp;
    case EMBED:
        return c->embed;
    case PATCH_VALUES:
        return 3ull * c->image.patch * c->image.patch;
    case IMAGE_TOKENS:
        return config_image_tokens(c);
    case VOCAB:
        return c->text.vocab;
    case LENGTH:
        return c->text.length;
    case EXPERTS:
        return c->moe.experts;
    }
    return 0;
}

bool layout_per_block(enum layout_id id) {
    return table[id].where != ONCE;
}

static bool holds(const struct config *c, enum where where, uint32_t block) {
    switch (where) {
    case ONCE:
        return true;
    case EVERY_BLOCK:
        return block < c->blocks;
    case QK_NORM_BLOCK:
        return block < c->blocks && c->qk_norm;
    case DENSE_BLOCK:
        return block < c->blocks && !config_is_moe(c, block);
    case MOE_BLOCK:
        return block < c->blocks && config_is_moe(c, block);
    }
    return false;
}

bool layout_expected(const struct config *config, enum layout_id id, uint32_t block,
                     struct layout_tensor *out) {
    const struct row *row = &table[id];
    if (!holds(config, row->where, block))
        return false;
    *out = (struct layout_tensor){.elements = 1};
    if (row->where == ONCE)
        snprintf(out->name, sizeof out->name, "%s", row->name);
    else
        snprintf(out->name, sizeof out->name, "blocks.%u.%s", block, row->name);
    while (out->rank < 3 && row->dim[out->rank] != END) {
        out->shape[out->rank] = size_of(config, row->dim[out->rank]);
        out->elements *= out->shape[out->rank];
        out->rank++;
    }
    /* Of the tensors stacked by expert, only the router's weight meets every token whole. */
    bool stacked = row->dim[0] == EXPERTS && id != LAYOUT_MOE_ROUTER_WEIGHT;
    out->active = stacked ? out->elements / config->moe.experts * config->moe.top_k : out->elements;
    return true;
}

enum limoe_status layout_find(const struct config *config, enum layout_id id, uint32_t block,
                              const struct safetensors *st, const struct tensor **out,
                              struct limoe_error *err) {
    struct layout_tensor expected;
    if (!layout_expected(config, id, block, &expected)) {
        return limoe_fail(err, LIMOE_INTERNAL, "block %u of \"%s\" has no tensor \"%s\"", block, config->name,
                          table[id].name);
    }
    return safetensors_expect(st, expected.name, expected.rank, expected.shape, out, err);
}

enum limoe_status layout_check(const struct config *config, const struct safetensors *st,
                               struct limoe_error *err) {
    size_t count = safetensors_count(st);
    enum limoe_status status = LIMOE_OK;
    bool *used = calloc(count + 1, sizeof *used);
    if (!used)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to check %zu tensors", count);
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        uint32_t blocks = layout_per_block((enum layout_id)id) ? config->blocks : 1;
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            const struct tensor *found = NULL;
            if (!layout_expected(config, (enum layout_id)id, block, &expected))
                continue;
            status = safetensors_expect(st, expected.name, expected.rank, expected.shape, &found, err);
            if (status != LIMOE_OK)
                goto out;
            used[found - safetensors_at(st, 0)] = true;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (!used[i]) {
            status =
                limoe_fail(err, LIMOE_CORRUPT, "%s: tensor \"%.100s\" is not one that config.json calls for",
                           safetensors_name(st), safetensors_at(st, i)->name);
            goto out;
        }
    }
out:
    free(used);
    return status;
}

void layout_count(const struct config *config, uint64_t *total, uint64_t *active) {
    *total = *active = 0;
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        uint32_t blocks = layout_per_block((enum layout_id)id) ? config->blocks : 1;
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor tensor;
            if (layout_expected(config, (enum layout_id)id, block, &tensor)) {
                *total += tensor.elements;
                *active += tensor.active;
            }
        }
    }
}
