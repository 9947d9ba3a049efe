/* tuned.h - a model's tensors as an adapter makes them.
 *
 * A changed tensor is base + strength (tuned - base), in float32. At strength 1 it is the tuned one and at 0 the base's,
 * without any arithmetic. Packing a model with a tail and writing a merged model both ask here, so that they have the
 * same bits.
 */
#ifndef LIMOE_MODEL_FORWARD_TUNED_H
#define LIMOE_MODEL_FORWARD_TUNED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"

/* Borrows config, base and adapter. */
struct tuned {
    const struct config *config;
    const struct safetensors *base;
    const struct limoe_adapter *adapter;
    float strength;
    bool *changed; /* [LAYOUT_TOWERS, blocks] */
    uint32_t
        start[LIMOE_MODALITIES]; /* by tower: its first block that is changed, counted from its own first; its
                                         number of blocks: none is */
    float *piece;                /* what tuned_mix reads by */
};

/* Holds the adapter, a tail or a LoRA, against the base: names, blocks, shapes. What it may change: blocks, of a tail
 * those from its start block on, final norms, projections, the head that pools. LIMOE_INVALID, LIMOE_CORRUPT and
 * LIMOE_UNSUPPORTED name the tensor. Free with tuned_free. */
enum limoe_status tuned_create(const struct config *config, const struct safetensors *base,
                               const struct limoe_adapter *adapter, float strength, struct tuned *out,
                               struct limoe_error *err);
void tuned_free(struct tuned *t); /* an empty one is fine */

/* Whether any part of the tensor becomes another. At strength 0 none does. */
bool tuned_changes(const struct tuned *t, enum layout_id id, uint32_t block);
/* The same of what is packed as one: a matrix and its bias, the query of pooling by attention and what makes it. */
bool tuned_changes_packed(const struct tuned *t, enum layout_id id, uint32_t block);

/* Of a part of a tensor, as it lies in the base: elements first .. first + n - 1, the base's in value[n], become the
 * adapter's. A part that it does not change stays as it is. LIMOE_CORRUPT: a weight of the adapter is not finite. */
enum limoe_status tuned_mix(const struct tuned *t, const struct tensor *part, uint64_t first, size_t n,
                            float *value, struct limoe_error *err);

#endif
