/* layout.c - the tensors of a model as one table, and what follows from it. No state, no threads. */
#include "model/checkpoint/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Which models, or which blocks of a model, hold a tensor. */
enum where {
    ONCE, /* where its modality is, as all that follow up to the blocks' */
    PATCH_BIAS,
    CLASS_TOKEN,
    TOKEN_TYPES,
    PRE_NORM,
    IMAGE_PROJECTION,
    TEXT_PROJECTION,
    PROJECTION_BIAS,
    ONE_TOWER,
    TWO_TOWERS,
    SCORES,
    SIGMOID,
    POOL,
    DECODER,
    DECODER_BLOCK, /* of its own blocks, not of a tower's */
    EVERY_BLOCK,
    QK_NORM_BLOCK,
    DENSE_BLOCK,
    MOE_BLOCK
};

/* A size that the config gives, of the tower, or the decoder, that a tensor belongs to. ROW is the width of a picture's. END is
 * 0, so that a row's unnamed dimensions end its shape. */
enum dim {
    END,
    WIDTH,
    WIDTH_2,
    WIDTH_3,
    HEAD,
    MLP,
    EMBED,
    PATCH_VALUES,
    IMAGE_TOKENS,
    VOCAB,
    LENGTH,
    TYPES,
    EXPERTS,
    ROW,
    CAPTION
};

/* To add one: its id and shape (layout.h), a row here, where it is loaded and used (model/forward/), the config that
 * asks for it, docs/format.md, train/ (docs/development.md#an-architecture). */
static const struct row {
    enum where where;
    enum limoe_modality tower; /* of what stands once */
    enum dim dim[3];
} table[LAYOUT_COUNT] = {
    [LAYOUT_IMAGE_PATCH_WEIGHT] = {ONCE, LIMOE_IMAGE, {WIDTH, PATCH_VALUES}},
    [LAYOUT_IMAGE_PATCH_BIAS] = {PATCH_BIAS, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_IMAGE_CLASS] = {CLASS_TOKEN, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_IMAGE_POS] = {ONCE, LIMOE_IMAGE, {IMAGE_TOKENS, WIDTH}},
    [LAYOUT_IMAGE_PRE_WEIGHT] = {PRE_NORM, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_IMAGE_PRE_BIAS] = {PRE_NORM, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_IMAGE_PROJ_WEIGHT] = {IMAGE_PROJECTION, LIMOE_IMAGE, {EMBED, WIDTH}},
    [LAYOUT_TEXT_TOKEN] = {ONCE, LIMOE_TEXT, {VOCAB, WIDTH}},
    [LAYOUT_TEXT_POS] = {ONCE, LIMOE_TEXT, {LENGTH, WIDTH}},
    [LAYOUT_TEXT_TYPE] = {TOKEN_TYPES, LIMOE_TEXT, {TYPES, WIDTH}},
    [LAYOUT_TEXT_PRE_WEIGHT] = {PRE_NORM, LIMOE_TEXT, {WIDTH}},
    [LAYOUT_TEXT_PRE_BIAS] = {PRE_NORM, LIMOE_TEXT, {WIDTH}},
    [LAYOUT_TEXT_PROJ_WEIGHT] = {TEXT_PROJECTION, LIMOE_TEXT, {EMBED, WIDTH}},
    [LAYOUT_TEXT_PROJ_BIAS] = {PROJECTION_BIAS, LIMOE_TEXT, {EMBED}},
    [LAYOUT_LN_WEIGHT] = {ONE_TOWER, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_LN_BIAS] = {ONE_TOWER, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_IMAGE_LN_WEIGHT] = {TWO_TOWERS, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_IMAGE_LN_BIAS] = {TWO_TOWERS, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_TEXT_LN_WEIGHT] = {TWO_TOWERS, LIMOE_TEXT, {WIDTH}},
    [LAYOUT_TEXT_LN_BIAS] = {TWO_TOWERS, LIMOE_TEXT, {WIDTH}},
    [LAYOUT_LOGIT_SCALE] = {SCORES, LIMOE_IMAGE, {END}},
    [LAYOUT_LOGIT_BIAS] = {SIGMOID, LIMOE_IMAGE, {END}},

    [LAYOUT_POOL_PROBE] = {POOL, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_POOL_QKV_WEIGHT] = {POOL, LIMOE_IMAGE, {WIDTH_3, WIDTH}},
    [LAYOUT_POOL_QKV_BIAS] = {POOL, LIMOE_IMAGE, {WIDTH_3}},
    [LAYOUT_POOL_OUT_WEIGHT] = {POOL, LIMOE_IMAGE, {WIDTH, WIDTH}},
    [LAYOUT_POOL_OUT_BIAS] = {POOL, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_POOL_LN_WEIGHT] = {POOL, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_POOL_LN_BIAS] = {POOL, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_POOL_FC1_WEIGHT] = {POOL, LIMOE_IMAGE, {MLP, WIDTH}},
    [LAYOUT_POOL_FC1_BIAS] = {POOL, LIMOE_IMAGE, {MLP}},
    [LAYOUT_POOL_FC2_WEIGHT] = {POOL, LIMOE_IMAGE, {WIDTH, MLP}},
    [LAYOUT_POOL_FC2_BIAS] = {POOL, LIMOE_IMAGE, {WIDTH}},

    [LAYOUT_LN1_WEIGHT] = {EVERY_BLOCK, 0, {WIDTH}},
    [LAYOUT_LN1_BIAS] = {EVERY_BLOCK, 0, {WIDTH}},
    [LAYOUT_ATTN_QKV_WEIGHT] = {EVERY_BLOCK, 0, {WIDTH_3, WIDTH}},
    [LAYOUT_ATTN_QKV_BIAS] = {EVERY_BLOCK, 0, {WIDTH_3}},
    [LAYOUT_ATTN_OUT_WEIGHT] = {EVERY_BLOCK, 0, {WIDTH, WIDTH}},
    [LAYOUT_ATTN_OUT_BIAS] = {EVERY_BLOCK, 0, {WIDTH}},
    [LAYOUT_LN2_WEIGHT] = {EVERY_BLOCK, 0, {WIDTH}},
    [LAYOUT_LN2_BIAS] = {EVERY_BLOCK, 0, {WIDTH}},

    [LAYOUT_ATTN_Q_NORM_WEIGHT] = {QK_NORM_BLOCK, 0, {HEAD}},
    [LAYOUT_ATTN_Q_NORM_BIAS] = {QK_NORM_BLOCK, 0, {HEAD}},
    [LAYOUT_ATTN_K_NORM_WEIGHT] = {QK_NORM_BLOCK, 0, {HEAD}},
    [LAYOUT_ATTN_K_NORM_BIAS] = {QK_NORM_BLOCK, 0, {HEAD}},

    [LAYOUT_MLP_FC1_WEIGHT] = {DENSE_BLOCK, 0, {MLP, WIDTH}},
    [LAYOUT_MLP_FC1_BIAS] = {DENSE_BLOCK, 0, {MLP}},
    [LAYOUT_MLP_FC2_WEIGHT] = {DENSE_BLOCK, 0, {WIDTH, MLP}},
    [LAYOUT_MLP_FC2_BIAS] = {DENSE_BLOCK, 0, {WIDTH}},

    [LAYOUT_MOE_ROUTER_WEIGHT] = {MOE_BLOCK, 0, {EXPERTS, WIDTH}},
    [LAYOUT_MOE_FC1_WEIGHT] = {MOE_BLOCK, 0, {EXPERTS, MLP, WIDTH}},
    [LAYOUT_MOE_FC1_BIAS] = {MOE_BLOCK, 0, {EXPERTS, MLP}},
    [LAYOUT_MOE_FC2_WEIGHT] = {MOE_BLOCK, 0, {EXPERTS, WIDTH, MLP}},
    [LAYOUT_MOE_FC2_BIAS] = {MOE_BLOCK, 0, {EXPERTS, WIDTH}},

    [LAYOUT_DECODER_TOKEN] = {DECODER, LIMOE_IMAGE, {VOCAB, WIDTH}},
    [LAYOUT_DECODER_POS] = {DECODER, LIMOE_IMAGE, {CAPTION, WIDTH}},
    [LAYOUT_DECODER_ROWS_LN_WEIGHT] = {DECODER, LIMOE_IMAGE, {ROW}},
    [LAYOUT_DECODER_ROWS_LN_BIAS] = {DECODER, LIMOE_IMAGE, {ROW}},
    [LAYOUT_DECODER_LN_WEIGHT] = {DECODER, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_LN_BIAS] = {DECODER, LIMOE_IMAGE, {WIDTH}},

    [LAYOUT_DECODER_LN1_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_LN1_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_ATTN_Q_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH, WIDTH}},
    [LAYOUT_DECODER_ATTN_Q_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_ATTN_KV_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH_2, WIDTH}},
    [LAYOUT_DECODER_ATTN_KV_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH_2}},
    [LAYOUT_DECODER_ATTN_OUT_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH, WIDTH}},
    [LAYOUT_DECODER_ATTN_OUT_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_LN2_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_LN2_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_CROSS_Q_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH, WIDTH}},
    [LAYOUT_DECODER_CROSS_Q_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_CROSS_KV_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH_2, ROW}},
    [LAYOUT_DECODER_CROSS_KV_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH_2}},
    [LAYOUT_DECODER_CROSS_OUT_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH, WIDTH}},
    [LAYOUT_DECODER_CROSS_OUT_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_LN3_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_LN3_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
    [LAYOUT_DECODER_FC1_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {MLP, WIDTH}},
    [LAYOUT_DECODER_FC1_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {MLP}},
    [LAYOUT_DECODER_FC2_WEIGHT] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH, MLP}},
    [LAYOUT_DECODER_FC2_BIAS] = {DECODER_BLOCK, LIMOE_IMAGE, {WIDTH}},
};

static uint64_t size_of(const struct config *c, const struct config_tower *tower, enum dim dim) {
    switch (dim) {
    case END:
        break;
    case WIDTH:
        return tower->width;
    case WIDTH_2:
        return 2ull * tower->width;
    case WIDTH_3:
        return 3ull * tower->width;
    case HEAD:
        return tower->width / tower->heads;
    case MLP:
        return tower->mlp;
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
    case TYPES:
        return c->text.types;
    case EXPERTS:
        return c->moe.experts;
    case ROW:
        return c->tower[LIMOE_IMAGE].width;
    case CAPTION:
        return c->decoder.length;
    }
    return 0;
}

bool layout_per_block(enum layout_id id) {
    return table[id].where >= EVERY_BLOCK;
}

static bool of_decoder_block(enum layout_id id) {
    return table[id].where == DECODER_BLOCK;
}

uint32_t layout_blocks(const struct config *config, enum layout_id id) {
    if (of_decoder_block(id))
        return config->decoder.tower.blocks;
    return layout_per_block(id) ? config_blocks(config) : 1;
}

bool layout_is_matrix(enum layout_id id) {
    switch (id) {
    case LAYOUT_IMAGE_PATCH_WEIGHT:
    case LAYOUT_IMAGE_PROJ_WEIGHT:
    case LAYOUT_TEXT_PROJ_WEIGHT:
    case LAYOUT_POOL_OUT_WEIGHT:
    case LAYOUT_POOL_FC1_WEIGHT:
    case LAYOUT_POOL_FC2_WEIGHT:
    case LAYOUT_ATTN_QKV_WEIGHT:
    case LAYOUT_ATTN_OUT_WEIGHT:
    case LAYOUT_MLP_FC1_WEIGHT:
    case LAYOUT_MLP_FC2_WEIGHT:
    case LAYOUT_MOE_FC1_WEIGHT:
    case LAYOUT_MOE_FC2_WEIGHT:
    case LAYOUT_DECODER_ATTN_Q_WEIGHT:
    case LAYOUT_DECODER_ATTN_KV_WEIGHT:
    case LAYOUT_DECODER_ATTN_OUT_WEIGHT:
    case LAYOUT_DECODER_CROSS_Q_WEIGHT:
    case LAYOUT_DECODER_CROSS_KV_WEIGHT:
    case LAYOUT_DECODER_CROSS_OUT_WEIGHT:
    case LAYOUT_DECODER_FC1_WEIGHT:
    case LAYOUT_DECODER_FC2_WEIGHT:
        return true;
    default:
        return false;
    }
}

bool layout_table_is_int8(const struct config *config) {
    struct layout_tensor tokens;
    uint64_t total, active;
    layout_count(config, &total, &active);
    return layout_expected(config, LAYOUT_TEXT_TOKEN, 0, &tokens) && tokens.elements > total / 6;
}

bool layout_may_be_int8(const struct config *config, enum layout_id id) {
    return layout_is_matrix(id) || (id == LAYOUT_TEXT_TOKEN && layout_table_is_int8(config));
}

/* `tower`: that of a tensor that stands once. */
static bool holds(const struct config *c, enum where where, enum limoe_modality tower, uint32_t block) {
    if (where >= EVERY_BLOCK ? block >= config_blocks(c) : !config_has(c, tower))
        return false;
    switch (where) {
    case ONCE:
    case EVERY_BLOCK:
        return true;
    case PATCH_BIAS:
        return c->image.patch_bias;
    case CLASS_TOKEN:
        return c->image.class_token;
    case TOKEN_TYPES:
        return c->text.types > 0;
    case PRE_NORM:
        return c->tower[tower].pre_norm;
    case IMAGE_PROJECTION:
        return c->image.projection;
    case TEXT_PROJECTION:
        return c->text.projection;
    case PROJECTION_BIAS:
        return c->text.projection && c->text.projection_bias;
    case ONE_TOWER:
        return c->towers == 1;
    case TWO_TOWERS:
        return c->towers == 2 && !c->tower[tower].post_norm;
    case SCORES:
        return config_has_scores(c);
    case SIGMOID:
        return config_has_scores(c) && c->scores == CONFIG_SIGMOID;
    case POOL:
        return c->tower[LIMOE_IMAGE].pool == CONFIG_POOL_ATTENTION;
    case DECODER:
        return config_has_decoder(c);
    case DECODER_BLOCK:
        return block < c->decoder.tower.blocks;
    case QK_NORM_BLOCK:
        return c->tower[config_block_tower(c, block)].qk_norm;
    case DENSE_BLOCK:
        return !config_is_moe(c, block);
    case MOE_BLOCK:
        return config_is_moe(c, block);
    }
    return false;
}

static enum limoe_modality tower_of(const struct config *config, enum layout_id id, uint32_t block) {
    return layout_per_block(id) ? config_block_tower(config, block) : table[id].tower;
}

/* The name of one of its parts. */
static void name_part(const struct config *config, enum layout_id id, uint32_t block, const char *part,
                      char name[96]) {
    char prefix[48] = "";
    if (layout_per_block(id))
        names_prefix(config, block, prefix, sizeof prefix);
    else if (of_decoder_block(id))
        snprintf(prefix, sizeof prefix, "decoder.blocks.%u.", block);
    snprintf(name, 96, "%s%s", prefix, part);
}

bool layout_expected(const struct config *config, enum layout_id id, uint32_t block,
                     struct layout_tensor *out) {
    const struct row *row = &table[id];
    if (!holds(config, row->where, row->tower, block))
        return false;
    const enum limoe_modality tower = tower_of(config, id, block);
    const struct config_tower *sizes = id < LAYOUT_TOWERS ? &config->tower[tower] : &config->decoder.tower;
    const char *first = names_of(config, id, tower)->part[0];
    *out = (struct layout_tensor){.elements = 1};
    name_part(config, id, block, first ? first : "?", out->name);
    while (out->rank < 3 && row->dim[out->rank] != END) {
        out->shape[out->rank] = size_of(config, sizes, row->dim[out->rank]);
        out->elements *= out->shape[out->rank];
        out->rank++;
    }
    /* Of the tensors stacked by expert, only the router's weight meets every token whole. */
    bool stacked = row->dim[0] == EXPERTS && id != LAYOUT_MOE_ROUTER_WEIGHT;
    out->active = id >= LAYOUT_TOWERS ? 0
                  : stacked           ? out->elements / config->moe.experts * config->moe.top_k
                                      : out->elements;
    return true;
}

/* The shape that a part of `rows` rows has in the checkpoint. */
static uint32_t stored_shape(const struct config *config, const struct layout_tensor *t, enum names_form form,
                             uint64_t rows, uint64_t shape[4]) {
    const uint32_t ones = form == NAMES_LEADING_ONE ? 1 : form == NAMES_LEADING_ONES ? 2 : 0;
    shape[0] = shape[1] = 1;
    memcpy(shape + ones, t->shape, t->rank * sizeof *t->shape);
    if (t->rank)
        shape[ones] = rows;
    if (form == NAMES_TRANSPOSED) {
        shape[0] = t->shape[1];
        shape[1] = t->shape[0];
    }
    if (form == NAMES_CHANNELS_FIRST) {
        shape[1] = 3;
        shape[2] = shape[3] = config->image.patch;
        return 4;
    }
    return ones + t->rank;
}

/* The scales of a part that is I8. */
static enum limoe_status find_scale(const struct safetensors *st, const struct layout_tensor *t,
                                    const char *name, uint64_t rows, const struct tensor **out,
                                    struct limoe_error *err) {
    char scale[96 + sizeof LAYOUT_SCALE];
    snprintf(scale, sizeof scale, "%s" LAYOUT_SCALE, name);
    const struct tensor *found = safetensors_find(st, scale);
    if (!found)
        return limoe_fail(err, LIMOE_CORRUPT, "%s: tensor \"%s\" is I8, and its scales, \"%s\", are missing",
                          safetensors_name(st), name, scale);
    if (found->dtype != TENSOR_F32)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "%s: tensor \"%s\" is %s; F32 is accepted",
                          safetensors_name(st), scale, found->dtype_name);
    *out = found;
    return safetensors_expect_shape(st, found, t->rank - 1, t->rank == 3 ? t->shape : (uint64_t[]){rows},
                                    err);
}

static enum limoe_status find_part(const struct config *config, const struct safetensors *st,
                                   enum layout_id id, const struct layout_tensor *t, enum names_form form,
                                   const char *name, uint64_t rows, const struct tensor **out,
                                   const struct tensor **scale, struct limoe_error *err) {
    uint64_t shape[4];
    const uint32_t rank = stored_shape(config, t, form, rows, shape);
    const char *bare = names_bare(config, name);
    if (bare && safetensors_find(st, bare))
        name = bare;
    const struct tensor *found = safetensors_find(st, name);
    if (form == NAMES_SCALAR && found && found->rank == 1) /* [1], as some versions save a scalar */
        return safetensors_expect(st, name, 1, (uint64_t[]){1}, out, err);
    if (!found || found->dtype != TENSOR_I8 || !layout_may_be_int8(config, id))
        return safetensors_expect(st, name, rank, shape, out, err);
    *out = found;
    enum limoe_status status = safetensors_expect_shape(st, found, rank, shape, err);
    return status ? status : find_scale(st, t, name, rows, scale, err);
}

/* The rows of part i, of tensors in `parts` parts. */
static uint64_t part_rows(const struct names_entry *entry, uint32_t parts, uint32_t i, uint64_t rows) {
    uint32_t shares = 0;
    for (uint32_t p = 0; p < parts; p++)
        shares += entry->share[p];
    return shares ? rows / shares * entry->share[i] : rows / parts;
}

enum limoe_status layout_find(const struct config *config, enum layout_id id, uint32_t block,
                              const struct safetensors *st, struct layout_source *out,
                              struct limoe_error *err) {
    struct layout_tensor t;
    const struct names_entry *entry = names_of(config, id, tower_of(config, id, block));
    if (!layout_expected(config, id, block, &t) || !entry->part[0]) {
        return limoe_fail(err, LIMOE_INTERNAL, "block %u of \"%s\" has no tensor \"%s\"", block, config->name,
                          entry->part[0] ? entry->part[0] : "");
    }
    *out = (struct layout_source){.form = entry->form, .rank = t.rank, .elements = t.elements};
    memcpy(out->shape, t.shape, sizeof out->shape);
    while (out->parts < NAMES_PARTS && entry->part[out->parts])
        out->parts++;
    for (uint32_t i = 0; i < out->parts; i++) {
        char name[96];
        name_part(config, id, block, entry->part[i], name);
        enum limoe_status status =
            find_part(config, st, id, &t, entry->form, name, part_rows(entry, out->parts, i, t.shape[0]),
                      &out->part[i], &out->scale[i], err);
        if (status != LIMOE_OK)
            return status;
        if (out->part[i]->dtype != out->part[0]->dtype)
            return limoe_fail(err, LIMOE_UNSUPPORTED,
                              "%s: tensor \"%s\" is %s and \"%s\" %s; one dtype is accepted",
                              safetensors_name(st), out->part[0]->name, out->part[0]->dtype_name, name,
                              out->part[i]->dtype_name);
        out->bytes += out->part[i]->bytes;
        out->scales += out->scale[i] ? out->scale[i]->elements : 0;
    }
    return LIMOE_OK;
}

enum limoe_status layout_float_bytes(const struct config *config, enum layout_id id,
                                     const struct safetensors *st, uint64_t *bytes, struct limoe_error *err) {
    struct layout_tensor expected;
    struct layout_source found = {0};
    *bytes = 0;
    if (!layout_expected(config, id, 0, &expected))
        return LIMOE_OK;
    enum limoe_status status = layout_find(config, id, 0, st, &found, err);
    if (status == LIMOE_OK)
        *bytes = found.scales ? found.elements * sizeof(float) : found.bytes;
    return status;
}

/* Finds all that the config calls for, and notes in used[] which of the checkpoint's tensors those are. */
static enum limoe_status find_all(const struct config *config, const struct safetensors *st, bool *used,
                                  struct limoe_error *err) {
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        const uint32_t blocks = layout_blocks(config, (enum layout_id)id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            struct layout_source found = {0};
            if (!layout_expected(config, (enum layout_id)id, block, &expected))
                continue;
            enum limoe_status status = layout_find(config, (enum layout_id)id, block, st, &found, err);
            if (status != LIMOE_OK)
                return status;
            for (uint32_t i = 0; i < found.parts; i++) {
                used[found.part[i] - safetensors_at(st, 0)] = true;
                if (found.scale[i])
                    used[found.scale[i] - safetensors_at(st, 0)] = true;
            }
        }
    }
    return LIMOE_OK;
}

enum limoe_status layout_check(const struct config *config, const struct safetensors *st,
                               struct limoe_error *err) {
    size_t count = safetensors_count(st);
    bool *used = calloc(count + 1, sizeof *used);
    if (!used)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to check %zu tensors", count);
    enum limoe_status status = find_all(config, st, used, err);
    for (size_t i = 0; i < count && status == LIMOE_OK; i++) {
        const char *name = safetensors_at(st, i)->name;
        if (!used[i] && !names_ignored(config, name))
            status = limoe_fail(err, LIMOE_CORRUPT, "%s: tensor \"%.100s\" is not one that %s calls for",
                                safetensors_name(st), name, config_file_name(config));
    }
    free(used);
    return status;
}

void layout_count(const struct config *config, uint64_t *total, uint64_t *active) {
    *total = *active = 0;
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        const uint32_t blocks = layout_blocks(config, (enum layout_id)id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor tensor;
            if (layout_expected(config, (enum layout_id)id, block, &tensor)) {
                *total += tensor.elements;
                *active += tensor.active;
            }
        }
    }
}
