/* operations.c - the operations of kernels.h that are a kernel or a few: host data to the device, then
 * queued.
 *
 * Nothing is queued for nothing: a launch of no blocks is an error.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/device.h"

/* ---- a step's sequences */

static void cut(const uint32_t *start, size_t n, struct attention_tile *tile) {
    for (size_t i = 0; i < n; i++)
        for (uint32_t first = start[i]; first < start[i + 1]; first += ATTENTION_QUERIES)
            *tile++ = (struct attention_tile){start[i], start[i + 1], first};
}

void cuda_sequences(struct kernels *k, const uint32_t *start, size_t n) {
    struct cuda *self = (struct cuda *)k;
    const size_t tiles = attention_tiles(start, n);
    struct attention_tile *tile = malloc((tiles ? tiles : 1) * sizeof *tile);
    cuda_enter(self);
    self->sequences = self->tiles = 0;
    self->start = cuda_grow(self, self->start, &self->start_room, n + 1, sizeof *self->start);
    self->tile = cuda_grow(self, self->tile, &self->tile_room, tiles, sizeof *self->tile);
    if (!tile)
        cuda_check(self, "memory for a step", cudaErrorMemoryAllocation);
    if (tile && self->start && (self->tile || !tiles)) {
        cut(start, n, tile);
        cuda_upload(k, self->start, start, (n + 1) * sizeof *start);
        cuda_upload(k, self->tile, tile, tiles * sizeof *tile);
        self->sequences = (uint32_t)n;
        self->tiles = (uint32_t)tiles;
    }
    free(tile);
}

/* ---- the input */

/* What the pictures of a call have in common. */
struct cutting {
    uint32_t size, patch, lead;
    const float *mean, *std;
};

/* n pictures that lie on the device, one behind the other. */
static void cut_pictures(struct cuda *self, const uint8_t *pixels, size_t n, const struct cutting *c,
                         void *out) {
    patches_run(self->stream, self->bf16, pixels, n, c->size, c->patch, c->lead, c->mean, c->std, out);
    cuda_launched(self, "cutting pictures");
}

/* A picture that no slot holds: all in the order of the one stream, through memory that stays for the next. */
static void cut_large_picture(struct cuda *self, const uint8_t *pixels, size_t bytes, const struct cutting *c,
                              void *out) {
    self->picture = cuda_grow(self, self->picture, &self->picture_room, bytes, 1);
    if (!self->picture)
        return;
    cuda_upload(&self->base, self->picture, pixels, bytes);
    cut_pictures(self, self->picture, 1, c, out);
}

/* Pictures go over some at a time, while those before them are cut up. */
void cuda_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                  uint32_t lead, const float mean[3], const float std[3], void *out) {
    struct cuda *self = (struct cuda *)k;
    const struct cutting c = {size, patch, lead, mean, std};
    const size_t bytes = (size_t)size * size * 3, side = size / patch;
    const size_t out_bytes = (lead + side * side) * patch * patch * 3 * k->act_size;
    const size_t most = STAGING_BYTES / bytes;
    for (size_t i = 0; i < n && !most; i++)
        cut_large_picture(self, pixels[i], bytes, &c, (char *)out + i * out_bytes);
    for (size_t first = 0; first < n && most; first += most) {
        const size_t piece = n - first < most ? n - first : most;
        unsigned char *pinned = staging_take(self);
        if (!pinned)
            return;
        for (size_t i = 0; i < piece; i++)
            memcpy(pinned + i * bytes, pixels[first + i], bytes);
        const uint8_t *from = staging_send(self, piece * bytes);
        if (!from)
            return;
        cut_pictures(self, from, piece, &c, (char *)out + first * out_bytes);
        staging_done(self);
    }
}

void cuda_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width,
                    float *x) {
    struct cuda *self = (struct cuda *)k;
    if (n)
        tile_rows_run(self->stream, rows, period, n, width, x);
    cuda_launched(self, "positions");
}

void cuda_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                       const int32_t *id, const uint32_t *position_id, size_t n, float *x) {
    struct cuda *self = (struct cuda *)k;
    const size_t most = STAGING_BYTES / (sizeof *id + sizeof *position_id);
    for (size_t first = 0; first < n; first += most) {
        const size_t piece = n - first < most ? n - first : most;
        unsigned char *pinned = staging_take(self);
        if (!pinned)
            return;
        memcpy(pinned, id + first, piece * sizeof *id);
        memcpy(pinned + piece * sizeof *id, position_id + first, piece * sizeof *position_id);
        const int32_t *from = staging_send(self, piece * (sizeof *id + sizeof *position_id));
        if (!from)
            return;
        embed_tokens_run(self->stream, table, position, from, (const uint32_t *)(from + piece), piece,
                         x + first * table->width);
        cuda_launched(self, "token embeddings");
        staging_done(self);
    }
}

/* ---- the tower */

void cuda_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                    size_t rows, uint32_t width, void *out_act, float *out_f32) {
    struct cuda *self = (struct cuda *)k;
    if (rows)
        layernorm_run(self->stream, self->bf16, x, weight, bias, eps, rows, width, out_act, out_f32);
    cuda_launched(self, "LayerNorm");
}

void cuda_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                    enum kernels_mask mask, const struct kernels_qk_norm *norm, void *out) {
    struct cuda *self = (struct cuda *)k;
    if (self->tiles && self->bf16 && attention_mma_takes(width / heads))
        attention_mma(self->stream, qkv, self->tile, self->tiles, width, heads, mask, norm, out);
    else if (self->tiles)
        cuda_check(self, "attention",
                   attention_plain(self->stream, self->bf16, qkv, self->tile, self->tiles, width, heads, mask,
                                   norm, out));
    cuda_launched(self, "attention");
}

void cuda_attention_kept(struct kernels *k, const void *query, const void *kv, const uint32_t *start,
                         const uint32_t *row, size_t n, uint32_t width, uint32_t heads, void *out) {
    struct cuda *self = (struct cuda *)k;
    if (n)
        cuda_check(self, "attention over what was kept",
                   attention_kept_run(self->stream, self->bf16, query, kv, start, row, (uint32_t)n, width,
                                      heads, out));
    cuda_launched(self, "attention over what was kept");
}

/* ---- mixture of experts */

void cuda_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
               bool renormalize, int32_t *expert, float *gate) {
    struct cuda *self = (struct cuda *)k;
    if (rows)
        gate_run(self->stream, logits, rows, experts, top_k, renormalize, expert, gate);
    cuda_launched(self, "the gate");
}

void cuda_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts,
                       float *entropy) {
    struct cuda *self = (struct cuda *)k;
    if (rows)
        gate_entropy_run(self->stream, logits, rows, experts, entropy);
    cuda_launched(self, "the gate's entropy");
}

void cuda_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
               struct kernels_plan plan) {
    struct cuda *self = (struct cuda *)k;
    const size_t assignments = rows * top_k, elements = plan_scratch_elements(assignments, experts);
    self->plan_scratch =
        cuda_grow(self, self->plan_scratch, &self->plan_room, elements, sizeof *self->plan_scratch);
    if (!self->plan_scratch)
        return;
    plan_run(self->stream, expert, assignments, experts, top_k, plan, self->plan_scratch);
    cuda_launched(self, "the dispatch plan");
}

void cuda_dispatch(struct kernels *k, const void *in, struct kernels_plan plan, uint32_t experts,
                   size_t max_slots, uint32_t width, void *out) {
    struct cuda *self = (struct cuda *)k;
    if (max_slots)
        dispatch_run(self->stream, in, plan, experts, max_slots, width * k->act_size, out);
    cuda_launched(self, "dispatch");
}

void cuda_combine(struct kernels *k, const void *y, struct kernels_plan plan, const int32_t *expert,
                  const float *gate, size_t rows, uint32_t top_k, uint32_t width, float *x) {
    struct cuda *self = (struct cuda *)k;
    if (rows)
        combine_run(self->stream, self->bf16, y, plan, expert, gate, rows, top_k, width, x);
    cuda_launched(self, "combine");
}

/* ---- the answer */

void cuda_pool(struct kernels *k, enum kernels_pooling pooling, const float *x, uint32_t width, void *out_act,
               float *out_f32) {
    struct cuda *self = (struct cuda *)k;
    if (self->sequences)
        pool_run(self->stream, self->bf16, pooling, x, self->start, self->sequences, width, out_act, out_f32);
    cuda_launched(self, "pooling");
}

void cuda_attention_pool(struct kernels *k, const float *query, const void *kv, uint32_t width,
                         uint32_t heads, void *out) {
    struct cuda *self = (struct cuda *)k;
    if (self->sequences)
        cuda_check(self, "pooling by attention",
                   attention_pool_run(self->stream, self->bf16, query, kv, self->start, self->sequences,
                                      width, heads, out));
    cuda_launched(self, "pooling by attention");
}

void cuda_normalize(struct kernels *k, float *z, size_t n, uint32_t width) {
    struct cuda *self = (struct cuda *)k;
    if (n)
        normalize_run(self->stream, z, n, width);
    cuda_launched(self, "normalising");
}
