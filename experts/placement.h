/* placement.h - which rank holds which experts.
 *
 * Every rank holds the whole dense part of a model and some experts of each MoE layer. An expert may have
 * copies on several ranks; a row that is sent to it goes to one of them, by the row's position in its own
 * sequence alone. So who computes a row never depends on what else is in the batch, and neither does the
 * number of rows that cross between ranks for a given item.
 *
 * Pure functions of their arguments: every rank that makes a placement from the same numbers makes the same
 * one. No threads; a finished placement is read-only.
 */
#ifndef LIMOE_EXPERTS_PLACEMENT_H
#define LIMOE_EXPERTS_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#define PLACEMENT_MAX_RANKS   1024u
#define PLACEMENT_MAX_LAYERS  256u
#define PLACEMENT_MAX_EXPERTS 1024u
#define PLACEMENT_MAX_LOAD    (UINT64_C(1) << 53) /* of one expert: a layer's sum stays below 2^63 */

/* For whom a placement is made. */
struct placement_shape {
    uint32_t ranks;   /* 1 to PLACEMENT_MAX_RANKS; may exceed experts, and some ranks then hold none */
    uint32_t layers;  /* MoE layers, 0 to PLACEMENT_MAX_LAYERS */
    uint32_t experts; /* in each, 1 to PLACEMENT_MAX_EXPERTS (any where there are no layers) */
};

struct placement {
    struct placement_shape shape;
    uint32_t *first; /* [layers * experts + 1]: expert e of layer l is on owner[first[l * experts + e]] up to
                        the next expert's first: at least one rank, ascending */
    uint32_t *owner;
};

/* Rank r holds experts E r / R up to E (r + 1) / R of each layer: as even as whole experts allow, without
 * copies. LIMOE_INVALID for a shape outside its limits. */
enum limoe_status placement_contiguous(const struct placement_shape *shape, struct placement *out,
                                       struct limoe_error *err);

/* Evens out a measured load[layers, experts] (rows that each expert got), layer by layer: ranks wait for each
 * other in every layer. No rank holds more than `slots` experts of a layer; what slots there are beyond one
 * for each expert take copies of the hottest. Each layer is at most as uneven as contiguous. LIMOE_INVALID
 * where ranks * slots < experts needs more room, or a load is over PLACEMENT_MAX_LOAD. */
enum limoe_status placement_from_load(const struct placement_shape *shape, const uint64_t *load,
                                      uint32_t slots, struct placement *out, struct limoe_error *err);

void placement_free(struct placement *p); /* an empty one is fine; leaves an empty one */

/* How many ranks hold the expert. */
uint32_t placement_copies(const struct placement *p, uint32_t layer, uint32_t expert);

/* Which of its expert's copies computes a row: an index into owner. `position` is as in placement_owner. */
uint32_t placement_copy(const struct placement *p, uint32_t layer, uint32_t expert, uint32_t position);

/* The rank that computes a row sent to the expert; `position` is the row's index in its sequence. */
uint32_t placement_owner(const struct placement *p, uint32_t layer, uint32_t expert, uint32_t position);

bool placement_holds(const struct placement *p, uint32_t rank, uint32_t layer, uint32_t expert);

/* How many experts of the layer the rank holds. */
uint32_t placement_held(const struct placement *p, uint32_t rank, uint32_t layer);

/* The busiest rank's rows over the mean of all ranks, in one layer whose experts get load[experts], shared
 * evenly among copies: 1 is even, `ranks` is all on one. 1 where there is no load. */
double placement_imbalance(const struct placement *p, uint32_t layer, const uint64_t *load);

#endif
