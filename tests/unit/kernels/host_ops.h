/* host_ops.h - operations of kernels.h from host arrays to host arrays, so that a test can be run on an
 * instance whose memory is elsewhere. act arrays are floats here, as the instance rounds them.
 *
 * Where an operation writes, what was there before is NaN, so that what it leaves out shows; but for what it
 * adds to, which is the caller's.
 */
#ifndef LIMOE_TESTS_UNIT_KERNELS_HOST_OPS_H
#define LIMOE_TESTS_UNIT_KERNELS_HOST_OPS_H

#include "kernels/kernels.h"

/* out_act and out_f32 [rows, width]; either may be NULL. out_f32 may be x: then the instance works in place. */
void host_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                    size_t rows, uint32_t width, float *out_act, float *out_f32);
/* out_act and out_f32 [n, width]; either may be NULL. */
void host_pool(struct kernels *k, enum kernels_pooling pooling, const float *x, const uint32_t *start,
               size_t n, uint32_t width, float *out_act, float *out_f32);
void host_normalize(struct kernels *k, float *z, size_t n, uint32_t width);
/* out act, malloc'd: raw elements of the instance's own type */
void *host_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                   uint32_t lead, const float mean[3], const float std[3]);
/* act elements of n pictures */
size_t patches_elements(size_t n, uint32_t size, uint32_t patch, uint32_t lead);
void host_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                    float *x);
/* position [positions, width] */
void host_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                       uint32_t positions, const int32_t *id, const uint32_t *position_id, size_t n,
                       uint32_t width, float *x);
/* qkv [start[n], 3 width]; norm's vectors are host arrays, norm may be NULL. out [start[n], width] */
void host_attention(struct kernels *k, const float *qkv, const uint32_t *start, size_t n, uint32_t width,
                    uint32_t heads, enum kernels_mask mask, const struct kernels_qk_norm *norm, float *out);
/* query [width]; kv [start[n], 2 width]; out [n, width] */
void host_attention_pool(struct kernels *k, const float *query, const float *kv, const uint32_t *start,
                         size_t n, uint32_t width, uint32_t heads, float *out);

/* query [n, width]; kv [rows, 2 width]; start [n + 1]; row [start[n]]; out [n, width] */
void host_attention_kept(struct kernels *k, const float *query, const float *kv, size_t rows,
                         const uint32_t *start, const uint32_t *row, size_t n, uint32_t width, uint32_t heads,
                         float *out);

void host_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                        uint32_t experts, float *logits);
void host_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
               bool renormalize, int32_t *expert, float *gate);
void host_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts, float *entropy);
/* plan's arrays are host arrays: offset [experts + 1], source and slot [rows * top_k]; those of source that
 * have no slot keep what they held. */
void host_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
               struct kernels_plan plan);
/* in [rows, width], out [max_slots, width], of which slots are set */
void host_dispatch(struct kernels *k, const float *in, size_t rows, struct kernels_plan plan,
                   uint32_t experts, size_t max_slots, uint32_t width, float *out);
/* y [slots, width]; of plan slot alone is looked at */
void host_combine(struct kernels *k, const float *y, size_t slots, struct kernels_plan plan,
                  const int32_t *expert, const float *gate, size_t rows, uint32_t top_k, uint32_t width,
                  float *x);
/* offset [groups + 1]; x [rows, in] act; y [rows, out] is read first, so that what is not written stays. */
void host_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                         uint32_t groups, const float *x, size_t rows, uint32_t in, uint32_t out,
                         enum kernels_epilogue epilogue, float *y);

#endif
