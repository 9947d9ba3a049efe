/* cpu.h - what the operations of the cpu backend share.
 *
 * Ownership: struct cpu owns its threads and one scratch buffer per thread. Only the caller's thread
 * allocates, before a loop starts; chunks run on the pool's threads and never do.
 */
#ifndef LIMOE_KERNELS_CPU_CPU_H
#define LIMOE_KERNELS_CPU_CPU_H

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/host.h"

struct cpu {
    struct kernels base;
    const struct isa *isa;
    struct threads *threads;
    bool bf16;
    struct host_sequences sequences;
    bool no_memory; /* an operation lacked scratch and did nothing; sync() says so */
    void **scratch; /* [threads], each of scratch_bytes */
    size_t scratch_bytes;
};

struct kernels_matrix {
    uint32_t groups, out, in;
    size_t panel_bytes, group_bytes; /* from panel to panel, from group to group */
    void *panels;                    /* [groups][out / 16 rounded up] panels of isa.h */
    float *bias;                     /* [groups, out], NULL for none */
};

/* An instance on a given instruction set with exactly that many threads. */
enum limoe_status cpu_create(const struct isa *isa, enum limoe_dtype dtype, uint32_t threads,
                             struct kernels **out, struct limoe_error *err);

/* Makes every thread's scratch hold `bytes`; false (and no_memory set) when there is none. */
bool cpu_scratch(struct cpu *self, size_t bytes);

static inline uint32_t at_most(size_t n, uint32_t most) {
    return n < most ? (uint32_t)n : most;
}

static inline size_t round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

/* act row `row` of a matrix of `width` columns. */
static inline const void *act_row(const struct cpu *self, const void *x, size_t row, size_t width) {
    return (const char *)x + row * width * self->base.act_size;
}

static inline void *act_row_out(const struct cpu *self, void *x, size_t row, size_t width) {
    return (char *)x + row * width * self->base.act_size;
}

/* Into how many chunks to cut `units` units of `work` in all (in elements touched or multiplied, of which
 * `least_share` are worth handing to another thread: some microseconds' worth). */
enum { CHUNKS_PER_THREAD = 4 };
uint32_t cpu_chunks(const struct cpu *self, size_t work, size_t least_share, size_t units);

/* Units *first .. *last - 1 are chunk `chunk`'s. */
static inline void chunk_range(size_t units, uint32_t chunk, uint32_t chunks, size_t *first, size_t *last) {
    *first = units * chunk / chunks;
    *last = units * (chunk + 1) / chunks;
}

/* pack.c */
enum limoe_status cpu_pack(struct kernels *k, struct kernels_tensor weight, struct kernels_tensor bias,
                           uint32_t groups, uint32_t out, uint32_t in, struct kernels_matrix **packed,
                           struct limoe_error *err);
void cpu_matrix_free(struct kernels *k, struct kernels_matrix *m);

/* embed.c */
void cpu_patches(struct kernels *k, const uint8_t *const *pixels, size_t n, uint32_t size, uint32_t patch,
                 const float mean[3], const float std[3], void *out);
void cpu_tile_rows(struct kernels *k, const float *rows, uint32_t period, size_t n, uint32_t width, float *x);
void cpu_embed_tokens(struct kernels *k, const struct kernels_table *table, const float *position,
                      const int32_t *id, const uint32_t *place, size_t n, float *x);

/* linear.c */
void cpu_linear(struct kernels *k, const struct kernels_matrix *m, const void *in, size_t rows,
                enum kernels_epilogue epilogue, void *y);
void cpu_grouped_linear(struct kernels *k, const struct kernels_matrix *m, const uint32_t *offset,
                        const void *in, size_t rows, enum kernels_epilogue epilogue, void *y);

/* attention.c */
void cpu_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                   const struct kernels_qk_norm *norm, void *out);

/* moe.c */
void cpu_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                       uint32_t experts, float *logits);
void cpu_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
              bool renormalize, int32_t *expert, float *gate);
void cpu_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts, float *entropy);
void cpu_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
              struct kernels_plan plan);
void cpu_dispatch(struct kernels *k, const void *in, struct kernels_plan plan, uint32_t experts,
                  size_t max_slots, uint32_t width, void *out);
void cpu_combine(struct kernels *k, const void *y, struct kernels_plan plan, const int32_t *expert,
                 const float *gate, size_t rows, uint32_t top_k, uint32_t width, float *x);

/* norm.c */
void cpu_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                   size_t rows, uint32_t width, void *out_act, float *out_f32);
void cpu_pool_mean(struct kernels *k, const float *x, uint32_t width, void *out);
void cpu_normalize(struct kernels *k, float *z, size_t n, uint32_t width);

#endif
