/* reference.h - what the reference operations share.
 *
 * Written to be read and to be believed: plain loops, one thread, each formula as kernels.h states it.
 * Matrices are held as float32 values, already rounded to bfloat16 where that is the dtype, or as int8; act rows are
 * loaded and stored one element at a time. Nothing here is fast.
 */
#ifndef LIMOE_KERNELS_REFERENCE_REFERENCE_H
#define LIMOE_KERNELS_REFERENCE_REFERENCE_H

#include "kernels/host.h"
#include "kernels/int8.h"
#include "kernels/kernels.h"
#include "kernels/number.h"

struct reference {
    struct kernels base;
    struct host_sequences sequences;
    bool no_memory; /* an operation lacked scratch; sync() says so */
};

struct kernels_matrix {
    uint32_t groups, out, in;
    float *weight; /* [groups, out, in]; NULL: int8's are */
    int8_t *q;     /* [groups, out, in] and */
    float *scale;  /* [groups, out] */
    float *bias;   /* [groups, out], NULL for none */
};

/* v as the instance's act type would hold it. */
static inline float reference_round(const struct kernels *k, float v) {
    return k->dtype == LIMOE_BFLOAT16 ? bf16_to_float(bf16_from_float(v)) : v;
}

static inline float reference_load(const struct kernels *k, const void *act, size_t i) {
    return k->dtype == LIMOE_BFLOAT16 ? bf16_to_float(((const uint16_t *)act)[i]) : ((const float *)act)[i];
}

static inline void reference_store(const struct kernels *k, void *act, size_t i, float v) {
    if (k->dtype == LIMOE_BFLOAT16)
        ((uint16_t *)act)[i] = bf16_from_float(v);
    else
        ((float *)act)[i] = v;
}

/* One row: out = (x - mean) / sqrt(var + eps) * weight + bias. out may be x. */
void reference_layernorm_row(const float *x, const float *weight, const float *bias, float eps,
                             uint32_t width, float *out);

/* x [in] to q [in]. */
struct int8_row reference_int8_row(const float *x, uint32_t in, uint8_t *q);
/* The product of a row and a channel. */
float reference_int8_dot(const uint8_t *x, struct int8_row row, const int8_t *w, float scale, uint32_t in);

/* The operations of struct kernels_ops; their contracts are in kernels.h. */
kernels_patches_fn reference_patches;
kernels_tile_rows_fn reference_tile_rows;
kernels_embed_tokens_fn reference_embed_tokens;
kernels_linear_fn reference_linear;
kernels_grouped_linear_fn reference_grouped_linear;
kernels_layernorm_fn reference_layernorm;
kernels_attention_fn reference_attention;
kernels_router_logits_fn reference_router_logits;
kernels_gate_fn reference_gate;
kernels_gate_entropy_fn reference_gate_entropy;
kernels_plan_fn reference_plan;
kernels_dispatch_fn reference_dispatch;
kernels_combine_fn reference_combine;
kernels_pool_fn reference_pool;
kernels_attention_pool_fn reference_attention_pool;
kernels_attention_kept_fn reference_attention_kept;
kernels_normalize_fn reference_normalize;

#endif
