/* reference.h - what the reference operations share.
 *
 * Written to be read and to be believed: plain loops, one thread, each formula as kernels.h states it.
 * Matrices are held as float32 values, already rounded to bfloat16 where that is the dtype; act rows are
 * loaded and stored one element at a time. Nothing here is fast.
 */
#ifndef LIMOE_KERNELS_REFERENCE_REFERENCE_H
#define LIMOE_KERNELS_REFERENCE_REFERENCE_H

#include "kernels/host.h"
#include "kernels/kernels.h"
#include "kernels/number.h"

struct reference {
    struct kernels base;
    struct host_sequences sequences;
    bool no_memory; /* an operation lacked scratch; sync() says so */
};

struct kernels_matrix {
    uint32_t groups, out, in;
    float *weight; /* [groups, out, in] */
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

/* The operations of struct kernels_ops; their contracts are in kernels.h. */
void reference_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size,
                       uint32_t patch, const float mean[3], const float std[3], void *out);
void reference_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                         float *x);
void reference_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                            const int32_t *id, const uint32_t *place, size_t n, float *x);
void reference_linear(struct kernels *k, const struct kernels_matrix *m, const void *in, size_t rows,
                      enum kernels_epilogue epilogue, void *y);
void reference_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                              const void *in, size_t rows, enum kernels_epilogue epilogue, void *y);
void reference_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                         size_t rows, uint32_t width, void *out_act, float *out_f32);
void reference_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                         const struct kernels_qk_norm *norm, void *out);
void reference_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                             uint32_t experts, float *logits);
void reference_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
                    bool renormalize, int32_t *expert, float *gate);
void reference_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                            float *entropy);
void reference_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
                    struct kernels_plan plan);
void reference_dispatch(struct kernels *k, const void *in, struct kernels_plan plan, uint32_t experts,
                        size_t max_slots, uint32_t width, void *out);
void reference_combine(struct kernels *k, const void *y, struct kernels_plan plan, const int32_t *expert,
                       const float *gate, size_t rows, uint32_t top_k, uint32_t width, float *x);
void reference_pool_mean(struct kernels *k, const float *x, uint32_t width, void *out);
void reference_normalize(struct kernels *k, float *z, size_t n, uint32_t width);

#endif
