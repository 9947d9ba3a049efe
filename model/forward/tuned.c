/* tuned.c - which tensors an adapter changes, and to what. The caller owns it; one thread. */
#include "model/forward/tuned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/number.h"
#include "model/forward/lora.h"

enum { PIECE = 1 << 16, MOST_NAME = 600 };

static size_t place(const struct tuned *t, enum layout_id id, uint32_t block) {
    return (size_t)id * config_blocks(t->config) + block;
}

/* ---- what may be changed */

/* Of what stands once: all that lies behind the last block, but for what scores are made of. */
static bool is_behind_blocks(enum layout_id id) {
    switch (id) {
    case LAYOUT_IMAGE_PROJ_WEIGHT:
    case LAYOUT_TEXT_PROJ_WEIGHT:
    case LAYOUT_TEXT_PROJ_BIAS:
    case LAYOUT_LN_WEIGHT:
    case LAYOUT_LN_BIAS:
    case LAYOUT_IMAGE_LN_WEIGHT:
    case LAYOUT_IMAGE_LN_BIAS:
    case LAYOUT_TEXT_LN_WEIGHT:
    case LAYOUT_TEXT_LN_BIAS:
        return true;
    default:
        return id >= LAYOUT_POOL_PROBE && id <= LAYOUT_POOL_FC2_BIAS;
    }
}

/* A block's place in its own tower. */
static uint32_t in_tower(const struct config *config, uint32_t block) {
    return block - config_first_block(config, config_block_tower(config, block));
}

static enum limoe_status check_place(const struct tuned *t, enum layout_id id, uint32_t block,
                                     const char *name, struct limoe_error *err) {
    const struct limoe_adapter *a = t->adapter;
    const char *file = safetensors_name(a->st);
    if (!layout_per_block(id))
        return is_behind_blocks(id)
                   ? LIMOE_OK
                   : limoe_fail(
                         err, LIMOE_INVALID,
                         "%s: tensor \"%s\" lies before the blocks, or makes scores; blocks, final norms "
                         "and projections are accepted",
                         file, name);
    if (in_tower(t->config, block) < a->info.start_block)
        return limoe_fail(err, LIMOE_INVALID,
                          "%s: tensor \"%s\" is of block %u; blocks from %u, the start block, on "
                          "are accepted",
                          file, name, in_tower(t->config, block), a->info.start_block);
    return LIMOE_OK;
}

/* ---- what is there */

/* Looks up one part; *changed is left alone where the adapter lacks it. */
static enum limoe_status find_tail(const struct tuned *t, enum layout_id id, uint32_t block,
                                   const struct tensor *part, bool *used, bool *changed,
                                   struct limoe_error *err) {
    const struct safetensors *st = t->adapter->st;
    const struct tensor *found = safetensors_find(st, part->name);
    enum limoe_status status;
    if (!found)
        return LIMOE_OK;
    if ((status = check_place(t, id, block, part->name, err)) ||
        (status = safetensors_expect_shape(st, found, part->rank, part->shape, err)))
        return status;
    used[found - safetensors_at(st, 0)] = true;
    *changed = true;
    return LIMOE_OK;
}

static enum limoe_status find_lora(const struct tuned *t, enum layout_id id, uint32_t block,
                                   const struct layout_source *source, uint32_t part, bool *used,
                                   bool *changed, struct limoe_error *err) {
    const struct safetensors *st = t->adapter->st;
    struct lora lora;
    enum limoe_status status = lora_find(t->adapter, source->part[part], &lora, err);
    if (status || !lora.a)
        return status;
    if ((status = check_place(t, id, block, source->part[part]->name, err)))
        return status;
    used[lora.a - safetensors_at(st, 0)] = used[lora.b - safetensors_at(st, 0)] = true;
    *changed = true;
    return LIMOE_OK;
}

static enum limoe_status find_tensor(struct tuned *t, enum layout_id id, uint32_t block, bool *used,
                                     struct limoe_error *err) {
    struct layout_source source = {0};
    bool changed = false;
    enum limoe_status status = layout_find(t->config, id, block, t->base, &source, err);
    for (uint32_t i = 0; i < source.parts && !status; i++)
        status = t->adapter->info.kind == LIMOE_ADAPTER_LORA
                     ? find_lora(t, id, block, &source, i, used, &changed, err)
                     : find_tail(t, id, block, source.part[i], used, &changed, err);
    if (status || !changed || t->strength == 0)
        return status;
    t->changed[place(t, id, block)] = true;
    if (layout_per_block(id)) {
        const enum limoe_modality tower = config_block_tower(t->config, block);
        const uint32_t at = in_tower(t->config, block);
        for (int m = 0; m < LIMOE_MODALITIES; m++)
            if ((t->config->towers == 1 || m == (int)tower) && at < t->start[m])
                t->start[m] = at;
    }
    return LIMOE_OK;
}

static enum limoe_status find_all(struct tuned *t, bool *used, struct limoe_error *err) {
    for (int i = 0; i < LAYOUT_TOWERS; i++) { /* the decoder's stay as they are */
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_blocks(t->config, id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            if (!layout_expected(t->config, id, block, &expected))
                continue;
            enum limoe_status status = find_tensor(t, id, block, used, err);
            if (status)
                return status;
        }
    }
    return LIMOE_OK;
}

static enum limoe_status check_all_used(const struct tuned *t, const bool *used, struct limoe_error *err) {
    const struct safetensors *st = t->adapter->st;
    for (size_t i = 0; i < safetensors_count(st); i++)
        if (!used[i])
            return limoe_fail(err, LIMOE_INVALID, "%s: tensor \"%.100s\" is not one of the model \"%s\"",
                              safetensors_name(st), safetensors_at(st, i)->name, t->config->name);
    return LIMOE_OK;
}

static enum limoe_status check_start(const struct tuned *t, struct limoe_error *err) {
    uint32_t most = 0;
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        most = t->config->tower[m].blocks > most ? t->config->tower[m].blocks : most;
    if (t->adapter->info.start_block > most)
        return limoe_fail(err, LIMOE_INVALID,
                          "%s: \"start_block\" is %u; 0 to %u, the model's blocks, is accepted",
                          safetensors_name(t->adapter->st), t->adapter->info.start_block, most);
    return LIMOE_OK;
}

enum limoe_status tuned_create(const struct config *config, const struct safetensors *base,
                               const struct limoe_adapter *adapter, float strength, struct tuned *out,
                               struct limoe_error *err) {
    *out = (struct tuned){.config = config, .base = base, .adapter = adapter, .strength = strength};
    if (adapter->info.kind == LIMOE_ADAPTER_PROBE)
        return limoe_fail(err, LIMOE_INVALID,
                          "%s is a %s, which changes no weights; a tail or a LoRA is accepted",
                          safetensors_name(adapter->st), limoe_adapter_kind_name(adapter->info.kind));
    if (!(strength >= 0 && strength <= 1))
        return limoe_fail(err, LIMOE_INVALID, "a strength of %g; 0 to 1 is accepted", (double)strength);
    bool *used = calloc(safetensors_count(adapter->st) + 1, sizeof *used);
    out->changed = calloc((size_t)LAYOUT_TOWERS * config_blocks(config), sizeof *out->changed);
    out->piece = malloc(PIECE * sizeof *out->piece);
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        out->start[m] = config->tower[m].blocks;
    enum limoe_status status = used && out->changed && out->piece
                                   ? check_start(out, err)
                                   : limoe_fail(err, LIMOE_NO_MEMORY, "no memory to read an adapter");
    if (!status)
        status = find_all(out, used, err);
    if (!status)
        status = check_all_used(out, used, err);
    free(used);
    if (status)
        tuned_free(out);
    return status;
}

void tuned_free(struct tuned *t) {
    free(t->piece);
    free(t->changed);
    *t = (struct tuned){0};
}

/* ---- what is asked */

bool tuned_changes(const struct tuned *t, enum layout_id id, uint32_t block) {
    return id < LAYOUT_TOWERS && t->changed[place(t, id, block)];
}

/* What follows it in the layout is its bias. */
static bool has_bias(enum layout_id id) {
    return layout_is_matrix(id) && id != LAYOUT_IMAGE_PATCH_WEIGHT && id != LAYOUT_IMAGE_PROJ_WEIGHT;
}

bool tuned_changes_packed(const struct tuned *t, enum layout_id id, uint32_t block) {
    switch (id) {
    case LAYOUT_POOL_PROBE:
    case LAYOUT_POOL_QKV_WEIGHT:
    case LAYOUT_POOL_QKV_BIAS:
        return tuned_changes(t, LAYOUT_POOL_PROBE, 0) || tuned_changes(t, LAYOUT_POOL_QKV_WEIGHT, 0) ||
               tuned_changes(t, LAYOUT_POOL_QKV_BIAS, 0);
    default:
        return tuned_changes(t, id, block) || (has_bias(id) && tuned_changes(t, id + 1, block)) ||
               (id > 0 && has_bias(id - 1) && tuned_changes(t, id - 1, block));
    }
}

/* Elements of a tensor of the adapter, checked: to t->piece. */
static enum limoe_status read_piece(const struct tuned *t, const struct tensor *found, uint64_t first,
                                    size_t n, struct limoe_error *err) {
    const size_t size = found->bytes / found->elements;
    const bool half = found->dtype == TENSOR_BF16;
    /* The narrower numbers lie in the second half, and grow from the front. */
    char *raw = (char *)t->piece + (half ? n * sizeof(uint16_t) : 0);
    enum limoe_status status = safetensors_read_part(t->adapter->st, found, first * size, n * size, raw, err);
    for (size_t i = 0; half && i < n; i++) {
        uint16_t bits;
        memcpy(&bits, raw + i * sizeof bits, sizeof bits);
        t->piece[i] = bf16_to_float(bits);
    }
    return status ? status : adapter_check_finite(t->adapter->st, found->name, t->piece, n, err);
}

/* What the adapter makes of elements of a part, n up to PIECE, at full strength: to t->piece. */
static enum limoe_status read_tuned(const struct tuned *t, const struct tensor *found,
                                    const struct lora *lora, uint64_t first, size_t n, const float *value,
                                    struct limoe_error *err) {
    return found ? read_piece(t, found, first, n, err)
                 : lora_add(t->adapter, lora, first, n, value, t->piece, err);
}

enum limoe_status tuned_mix(const struct tuned *t, const struct tensor *part, uint64_t first, size_t n,
                            float *value, struct limoe_error *err) {
    const bool is_lora = t->adapter->info.kind == LIMOE_ADAPTER_LORA;
    const struct tensor *found = is_lora ? NULL : safetensors_find(t->adapter->st, part->name);
    struct lora lora = {0};
    const size_t most = PIECE;
    enum limoe_status status = is_lora ? lora_find(t->adapter, part, &lora, err) : LIMOE_OK;
    if (status || (!found && !lora.a) || t->strength == 0)
        return status;
    for (size_t at = 0; at < n && !status; at += most) {
        const size_t count = n - at < most ? n - at : most;
        status = read_tuned(t, found, &lora, first + at, count, value + at, err);
        for (size_t i = 0; i < count && !status; i++)
            value[at + i] =
                t->strength == 1 ? t->piece[i] : value[at + i] + t->strength * (t->piece[i] - value[at + i]);
    }
    return status;
}
