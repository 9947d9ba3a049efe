/* rank_sizes.c - sizes from the arithmetic that packs the weights, and a placement from those. No threads. */
#include "model/rank_sizes.h"

#include <stdlib.h>

#include "base/error.h"
#include "model/checkpoint/layout.h"
#include "model/expert_load.h"

/* The bytes of one packed or copied tensor; an expert stack's are those of one expert. */
static uint64_t tensor_bytes(const struct config *config, enum kernels_kind kind, enum limoe_dtype dtype,
                             uint64_t token_bytes, enum layout_id id, const struct layout_tensor *t) {
    if (layout_is_matrix(id))
        return kernels_packed_bytes(kind, dtype, (uint32_t)t->shape[t->rank - 2],
                                    (uint32_t)t->shape[t->rank - 1]);
    switch (id) {
    case LAYOUT_MOE_FC1_BIAS:
    case LAYOUT_MOE_FC2_BIAS:
        return t->elements / config->moe.experts * sizeof(float);
    case LAYOUT_POOL_QKV_WEIGHT: /* the query's part is spent on the probe, which leaves a vector */
        return kernels_packed_bytes(kind, dtype, (uint32_t)(t->shape[0] / 3 * 2), (uint32_t)t->shape[1]);
    case LAYOUT_TEXT_TOKEN: /* with int8 a scale a row, or 16 bits */
        if (dtype != LIMOE_INT8)
            return token_bytes;
        return layout_table_is_int8(config) ? t->elements + t->shape[0] * sizeof(float)
                                            : t->elements * sizeof(uint16_t);
    case LAYOUT_DECODER_TOKEN: /* looked up in, and multiplied by */
        return kernels_packed_bytes(kind, dtype, (uint32_t)t->shape[0], (uint32_t)t->shape[1]) +
               t->elements * (dtype == LIMOE_INT8 ? sizeof(uint16_t) : sizeof(float));
    case LAYOUT_LOGIT_SCALE:
    case LAYOUT_LOGIT_BIAS:
    case LAYOUT_IMAGE_CLASS: /* in its row of the positions */
        return 0;
    default:
        return t->elements * sizeof(float);
    }
}

static bool of_one_expert(enum layout_id id) {
    return id == LAYOUT_MOE_FC1_WEIGHT || id == LAYOUT_MOE_FC1_BIAS || id == LAYOUT_MOE_FC2_WEIGHT ||
           id == LAYOUT_MOE_FC2_BIAS;
}

/* One expert of a MoE block. */
static uint64_t expert_bytes(const struct config *config, enum kernels_kind kind, enum limoe_dtype dtype,
                             uint32_t block) {
    uint64_t bytes = 0;
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        struct layout_tensor t;
        if (of_one_expert((enum layout_id)id) && layout_expected(config, (enum layout_id)id, block, &t))
            bytes += tensor_bytes(config, kind, dtype, 0, (enum layout_id)id, &t);
    }
    return bytes;
}

void rank_sizes_bytes(const struct config *config, enum kernels_kind kind, enum limoe_dtype dtype,
                      uint64_t token_bytes, uint64_t *dense, uint64_t *expert) {
    *dense = *expert = 0;
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_blocks(config, id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor t;
            if (!of_one_expert(id) && layout_expected(config, id, block, &t))
                *dense += tensor_bytes(config, kind, dtype, token_bytes, id, &t);
        }
    }
    for (uint32_t layer = 0; layer < config->moe.layers; layer++) {
        const uint64_t bytes = expert_bytes(config, kind, dtype, config->moe.block[layer]);
        *expert = bytes > *expert ? bytes : *expert;
    }
}

uint64_t rank_sizes_tail_bytes(const struct tuned *tuned, enum kernels_kind kind, enum limoe_dtype dtype) {
    const struct config *config = tuned->config;
    uint64_t all = 0;
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_blocks(config, id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor t;
            if (!layout_expected(config, id, block, &t) || !tuned_changes_packed(tuned, id, block))
                continue;
            const uint64_t bytes = tensor_bytes(config, kind, dtype, 0, id, &t);
            all += of_one_expert(id) ? bytes * config->moe.experts : bytes;
        }
    }
    return all;
}

static enum limoe_status place_by_load(const struct rank_options *options,
                                       const struct placement_shape *shape, uint64_t expert,
                                       struct placement *out, double *imbalance, struct limoe_error *err) {
    uint64_t *load = NULL;
    const uint32_t even = (shape->experts + shape->ranks - 1) / shape->ranks;
    const uint64_t slot_bytes = shape->layers * expert; /* one expert in every layer */
    const uint64_t slots = options->expert_bytes ? options->expert_bytes / slot_bytes : even;
    enum limoe_status status = expert_load_read(options->load, shape->layers, shape->experts, &load, err);
    if (status)
        goto out;
    if (slots < even) {
        const uint64_t least = even * slot_bytes;
        status =
            limoe_fail(err, LIMOE_INVALID,
                       "%llu bytes of experts on a rank; %u of %u experts in each of %u layers take %llu",
                       (unsigned long long)options->expert_bytes, even, shape->experts, shape->layers,
                       (unsigned long long)least);
        goto out;
    }
    status = placement_from_load(shape, load, slots < UINT32_MAX ? (uint32_t)slots : UINT32_MAX, out, err);
    for (uint32_t layer = 0; status == LIMOE_OK && imbalance && layer < shape->layers; layer++)
        imbalance[layer] = placement_imbalance(out, layer, load + (size_t)layer * shape->experts);
out:
    free(load);
    return status;
}

enum limoe_status rank_sizes_place(const struct config *config, const struct rank_options *options,
                                   uint64_t expert, struct placement *out, double *imbalance,
                                   struct limoe_error *err) {
    const struct placement_shape shape = {options->ranks, config->moe.layers, config->moe.experts};
    if (!options->load || !shape.layers || !shape.ranks) /* which is refused */
        return placement_contiguous(&shape, out, err);
    return place_by_load(options, &shape, expert, out, imbalance, err);
}
