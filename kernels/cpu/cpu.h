/* cpu.h - what the operations of the cpu backend share.
 *
 * Ownership: struct cpu owns its threads, one scratch buffer per thread, the quantised rows, and the room of gradients. Only the caller's thread
 * allocates, before a loop starts; chunks run on the pool's threads and never do.
 */
#ifndef LIMOE_KERNELS_CPU_CPU_H
#define LIMOE_KERNELS_CPU_CPU_H

#include "kernels/cpu/isa/isa.h"
#include "kernels/cpu/threads.h"
#include "kernels/host.h"

/* The input of the int8 linear at hand. */
struct quantised {
    char *values;  /* [rows] of `stride` bytes; owns row's memory, too */
    size_t stride; /* bytes */
    struct int8_row *row;
    size_t bytes; /* allocated */
};

struct cpu {
    struct kernels base;
    const struct isa *isa;
    struct threads *threads;
    bool bf16, int8; /* of neither: float32 */
    struct host_sequences sequences;
    bool no_memory; /* an operation lacked scratch and did nothing; sync() says so */
    void **scratch; /* [threads], each of scratch_bytes */
    size_t scratch_bytes;
    struct quantised quantised;
    float *room; /* of the gradient at hand (backward.h) */
    size_t room_bytes;
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
kernels_pack_fn cpu_pack;
kernels_matrix_free_fn cpu_matrix_free;

/* pack_int8.c: the bytes of a panel, and one panel of the channels from `first` on, counted through a stack. rows:
 * room for two rows of floats. */
size_t int8_panel_size(uint32_t in);
void int8_pack_panel(struct kernels_tensor weight, size_t first, uint32_t channels, uint32_t in, float *rows,
                     void *to);

/* embed.c */
kernels_patches_fn cpu_patches;
kernels_tile_rows_fn cpu_tile_rows;
kernels_embed_tokens_fn cpu_embed_tokens;

/* linear.c */
kernels_linear_fn cpu_linear;
kernels_grouped_linear_fn cpu_grouped_linear;

/* linear_int8.c: x [rows, in] to self->quantised; false (and no_memory set) when there is no room. */
bool cpu_quantise(struct cpu *self, const float *x, size_t rows, uint32_t in);
void cpu_quantised_free(struct quantised *q);

/* attention.c */
kernels_attention_fn cpu_attention;
kernels_attention_pool_fn cpu_attention_pool;

/* attention_kept.c */
kernels_attention_kept_fn cpu_attention_kept;

/* moe.c */
kernels_router_logits_fn cpu_router_logits;
kernels_gate_fn cpu_gate;
kernels_gate_entropy_fn cpu_gate_entropy;
kernels_plan_fn cpu_plan;
kernels_dispatch_fn cpu_dispatch;
kernels_combine_fn cpu_combine;

/* norm.c */
kernels_layernorm_fn cpu_layernorm;
kernels_pool_fn cpu_pool;
kernels_normalize_fn cpu_normalize;

#endif
