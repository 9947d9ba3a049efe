/* ranks.c - limoe_inspect_ranks: who would hold which experts, and in how much memory. No threads.
 *
 * The sizes are those of the packed weights, from the same arithmetic that packs them; nothing is loaded.
 */
#include <stdlib.h>

#include "error.h"
#include "inspect.h"
#include "kernels.h"
#include "layout.h"
#include "load_file.h"
#include "placement.h"

struct ranks {
    struct limoe_ranks public; /* first: limoe_ranks_free gets its address */
    struct placement placement;
};

/* The bytes of one packed or copied tensor; an expert stack's are those of one expert. */
static uint64_t tensor_bytes(const struct inspection *in, enum limoe_dtype dtype, enum layout_id id,
                             const struct layout_tensor *t) {
    switch (id) {
    case LAYOUT_IMAGE_PATCH_WEIGHT:
    case LAYOUT_IMAGE_PROJ_WEIGHT:
    case LAYOUT_TEXT_PROJ_WEIGHT:
    case LAYOUT_ATTN_QKV_WEIGHT:
    case LAYOUT_ATTN_OUT_WEIGHT:
    case LAYOUT_MLP_FC1_WEIGHT:
    case LAYOUT_MLP_FC2_WEIGHT:
    case LAYOUT_MOE_FC1_WEIGHT:
    case LAYOUT_MOE_FC2_WEIGHT:
        return kernels_cpu_packed_bytes(dtype, (uint32_t)t->shape[t->rank - 2],
                                        (uint32_t)t->shape[t->rank - 1]);
    case LAYOUT_MOE_FC1_BIAS:
    case LAYOUT_MOE_FC2_BIAS:
        return t->elements / in->config.moe.experts * sizeof(float);
    case LAYOUT_TEXT_TOKEN:
        return in->token_bytes;
    case LAYOUT_LOGIT_SCALE:
        return 0;
    default:
        return t->elements * sizeof(float);
    }
}

static bool of_one_expert(enum layout_id id) {
    return id == LAYOUT_MOE_FC1_WEIGHT || id == LAYOUT_MOE_FC1_BIAS || id == LAYOUT_MOE_FC2_WEIGHT ||
           id == LAYOUT_MOE_FC2_BIAS;
}

/* *dense: what every rank holds. *expert: one expert of one layer; layers are alike. */
static void count_bytes(const struct inspection *in, enum limoe_dtype dtype, uint64_t *dense,
                        uint64_t *expert) {
    *dense = *expert = 0;
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        const enum layout_id id = (enum layout_id)i;
        const uint32_t blocks = layout_per_block(id) ? in->config.blocks : 1;
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor t;
            if (!layout_expected(&in->config, id, block, &t))
                continue;
            if (!of_one_expert(id))
                *dense += tensor_bytes(in, dtype, id, &t);
            else if (block == in->config.moe.block[0])
                *expert += tensor_bytes(in, dtype, id, &t);
        }
    }
}

/* Places by the load file; *r->public.imbalance says how well that went. */
static enum limoe_status place_by_load(const struct limoe_rank_options *options,
                                       const struct placement_shape *shape, struct ranks *r,
                                       struct limoe_error *err) {
    uint64_t *load = NULL;
    const uint32_t even = (shape->experts + shape->ranks - 1) / shape->ranks;
    const uint64_t slot_bytes = shape->layers * r->public.expert_bytes; /* one expert in every layer */
    const uint64_t slots = options->expert_bytes ? options->expert_bytes / slot_bytes : even;
    enum limoe_status status = load_read(options->load, shape->layers, shape->experts, &load, err);
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
    status = placement_from_load(shape, load, slots < UINT32_MAX ? (uint32_t)slots : UINT32_MAX,
                                 &r->placement, err);
    for (uint32_t layer = 0; status == LIMOE_OK && layer < shape->layers; layer++)
        r->public.imbalance[layer] =
            placement_imbalance(&r->placement, layer, load + (size_t)layer * shape->experts);
out:
    free(load);
    return status;
}

enum limoe_status limoe_inspect_ranks(const struct limoe_inspection *inspection,
                                      const struct limoe_rank_options *options, struct limoe_ranks **out,
                                      struct limoe_error *err) {
    const struct inspection *in = inspection_of(inspection);
    const struct placement_shape shape = {options->ranks, in->config.moe.layers, in->config.moe.experts};
    enum limoe_dtype dtype;
    uint64_t dense;
    *out = NULL;
    struct ranks *r = calloc(1, sizeof *r);
    if (!r)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a placement");
    enum limoe_status status = kernels_cpu_dtype(options->dtype, &dtype, err);
    if (status)
        goto out;
    count_bytes(in, dtype, &dense, &r->public.expert_bytes);
    if (options->load && shape.layers) {
        r->public.imbalance = calloc(shape.layers, sizeof *r->public.imbalance);
        status = !r->public.imbalance ? limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a placement")
                 : !shape.ranks       ? placement_contiguous(&shape, &r->placement, err) /* refuses */
                                      : place_by_load(options, &shape, r, err);
    } else {
        status = placement_contiguous(&shape, &r->placement, err);
    }
    if (status)
        goto out;
    r->public.ranks = r->placement.shape.ranks;
    r->public.dtype = dtype;
    r->public.layers = r->placement.shape.layers;
    r->public.experts = r->placement.shape.experts;
    r->public.first = r->placement.first;
    r->public.owner = r->placement.owner;
    r->public.rank = calloc(r->public.ranks, sizeof *r->public.rank);
    if (!r->public.rank) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %u ranks", r->public.ranks);
        goto out;
    }
    for (uint32_t i = 0; i < r->public.ranks; i++)
        r->public.rank[i].dense_bytes = dense;
    const size_t copies = r->placement.first[(size_t)r->public.layers * r->public.experts];
    for (size_t i = 0; i < copies; i++)
        r->public.rank[r->placement.owner[i]].experts++;
    for (uint32_t i = 0; i < r->public.ranks; i++)
        r->public.rank[i].expert_bytes = r->public.rank[i].experts * r->public.expert_bytes;
    *out = &r->public;
    r = NULL;
out:
    if (r)
        limoe_ranks_free(&r->public);
    return status;
}

void limoe_ranks_free(struct limoe_ranks *ranks) {
    if (!ranks)
        return;
    struct ranks *r = (struct ranks *)(void *)ranks;
    free(ranks->rank);
    free(ranks->imbalance);
    placement_free(&r->placement);
    free(r);
}
