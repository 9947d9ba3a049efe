/* lora.h - low-rank products that an adapter adds to matrices: W + scale B A, A [r, in], B [out, r] (Hu et al., "LoRA",
 * arXiv 2106.09685). */
#ifndef LIMOE_MODEL_FORWARD_LORA_H
#define LIMOE_MODEL_FORWARD_LORA_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/checkpoint/adapter.h"
#include "model/checkpoint/safetensors.h"

/* The two of a matrix of the base; NULL both: there are none. */
struct lora {
    const struct tensor *a, *b;
};

/* Looks for those of a matrix "X.weight", X.lora_A.weight and X.lora_B.weight, and checks their shapes. LIMOE_CORRUPT: one
 * alone is there, or has another shape. */
enum limoe_status lora_find(const struct limoe_adapter *adapter, const struct tensor *matrix,
                            struct lora *out, struct limoe_error *err);

/* Of the matrix's elements first .. first + n - 1, value[n]: out = value + scale B A, summed in double; out may be value.
 * LIMOE_CORRUPT: a number is not finite. */
enum limoe_status lora_add(const struct limoe_adapter *adapter, const struct lora *lora, uint64_t first,
                           size_t n, const float *value, float *out, struct limoe_error *err);

#endif
