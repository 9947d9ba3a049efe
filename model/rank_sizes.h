/* rank_sizes.h - where a model's experts lie, and in how much memory. */
#ifndef LIMOE_MODEL_RANK_SIZES_H
#define LIMOE_MODEL_RANK_SIZES_H

#include <stdint.h>

#include "experts/placement.h"
#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/tuned.h"

/* Bytes of packed weights in the memory of such a backend. dtype not AUTO; token_bytes are those of text.token where
 * dtype is not int8 (layout_float_bytes). *dense: what every rank holds. *expert: one expert of one layer; a tower's layers are
 * alike, and of two towers it is the larger. */
void rank_sizes_bytes(const struct config *config, enum kernels_kind kind, enum limoe_dtype dtype,
                      uint64_t token_bytes, uint64_t *dense, uint64_t *expert);

/* The same of a tail of a model on one rank: what it does not share. */
uint64_t rank_sizes_tail_bytes(const struct tuned *tuned, enum kernels_kind kind, enum limoe_dtype dtype);

/* How a model is to be spread; the fields are those of struct limoe_rank_options. */
struct rank_options {
    uint32_t ranks;
    const char *load;
    uint64_t expert_bytes;
};

/* Places the model's experts; `expert` is from rank_sizes_bytes. imbalance [layers] is set with a load;
 * NULL: not wanted. Free with placement_free. */
enum limoe_status rank_sizes_place(const struct config *config, const struct rank_options *options,
                                   uint64_t expert, struct placement *out, double *imbalance,
                                   struct limoe_error *err);

#endif
