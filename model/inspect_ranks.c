/* inspect_ranks.c - limoe_inspect_ranks: who would hold which experts, and in how much memory. No threads.
 *
 * The sizes are those of the packed weights, from the same arithmetic that packs them; nothing is loaded.
 */
#include <stdlib.h>

#include "base/error.h"
#include "kernels/kernels.h"
#include "model/inspect.h"
#include "model/model.h"
#include "model/rank_sizes.h"

enum limoe_status limoe_inspect_ranks(const struct limoe_inspection *inspection,
                                      const struct limoe_rank_options *options, struct limoe_placement **out,
                                      struct limoe_error *err) {
    const struct inspection *in = inspection_of(inspection);
    const struct rank_options ranks = {options->ranks, options->load, options->expert_bytes};
    enum limoe_dtype dtype;
    uint64_t dense;
    *out = NULL;
    struct inspected_ranks *r = calloc(1, sizeof *r);
    if (!r)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a placement");
    enum limoe_status status;
    if ((status = kernels_kind_of(options->device, &r->kind, err)) ||
        (status = kernels_dtype(r->kind, model_dtype(options->dtype, r->kind, in->int8), &dtype, err)))
        goto out;
    rank_sizes_bytes(&in->config, r->kind, dtype, in->token_bytes, &dense, &r->public.expert_bytes);
    if (options->load && in->config.moe.layers) {
        r->public.imbalance = calloc(in->config.moe.layers, sizeof *r->public.imbalance);
        if (!r->public.imbalance) {
            status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a placement");
            goto out;
        }
    }
    status = rank_sizes_place(&in->config, &ranks, r->public.expert_bytes, &r->placement, r->public.imbalance,
                              err);
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
        limoe_placement_free(&r->public);
    return status;
}

void limoe_placement_free(struct limoe_placement *ranks) {
    if (!ranks)
        return;
    struct inspected_ranks *r = (struct inspected_ranks *)(void *)ranks;
    free(ranks->rank);
    free(ranks->imbalance);
    placement_free(&r->placement);
    free(r);
}
