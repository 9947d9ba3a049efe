/* cpu.c - the cpu instance: its scratch, its threads and its table of operations. */
#include "kernels/cpu/cpu.h"

#include <stdlib.h>

#include "base/error.h"
#include "kernels/cpu/backward.h"
#include "kernels/cpu/cpuid.h"

static void destroy(struct kernels *k) {
    if (!k)
        return;
    struct cpu *self = (struct cpu *)k;
    if (self->scratch)
        for (uint32_t i = 0; i < k->threads; i++)
            free(self->scratch[i]);
    free(self->scratch);
    cpu_quantised_free(&self->quantised);
    free(self->room);
    threads_destroy(self->threads);
    free(self);
}

static void sequences(struct kernels *k, const uint32_t *start, size_t n) {
    ((struct cpu *)k)->sequences = (struct host_sequences){start, n};
}

static enum limoe_status sync(struct kernels *k, struct limoe_error *err) {
    struct cpu *self = (struct cpu *)k;
    if (self->no_memory) {
        self->no_memory = false;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the scratch of an operation");
    }
    return LIMOE_OK;
}

bool cpu_scratch(struct cpu *self, size_t bytes) {
    if (bytes <= self->scratch_bytes)
        return true;
    for (uint32_t i = 0; i < self->base.threads; i++) {
        free(self->scratch[i]);
        self->scratch[i] = NULL;
    }
    self->scratch_bytes = 0;
    for (uint32_t i = 0; i < self->base.threads; i++) {
        self->scratch[i] = host_alloc(&self->base, bytes);
        if (!self->scratch[i]) {
            self->no_memory = true;
            return false;
        }
    }
    self->scratch_bytes = bytes;
    return true;
}

uint32_t cpu_chunks(const struct cpu *self, size_t work, size_t least_share, size_t units) {
    size_t shares = work / least_share;
    if (self->base.threads == 1 || shares < 2)
        return 1;
    size_t chunks = (size_t)self->base.threads * CHUNKS_PER_THREAD;
    chunks = chunks < shares ? chunks : shares;
    return at_most(chunks < units ? chunks : units, THREADS_MOST_CHUNKS);
}

static const struct kernels_ops ops = {
    .destroy = destroy,
    .alloc = host_alloc,
    .release = host_release,
    .upload = host_upload,
    .download = host_download,
    .copy = host_copy,
    .pack = cpu_pack,
    .matrix_free = cpu_matrix_free,
    .upload_vector = host_upload_vector,
    .load_table = host_load_table,
    .table_free = host_table_free,
    .sequences = sequences,
    .begin = host_begin,
    .end = host_end,
    .patches = cpu_patches,
    .tile_rows = cpu_tile_rows,
    .embed_tokens = cpu_embed_tokens,
    .linear = cpu_linear,
    .grouped_linear = cpu_grouped_linear,
    .layernorm = cpu_layernorm,
    .attention = cpu_attention,
    .attention_kept = cpu_attention_kept,
    .router_logits = cpu_router_logits,
    .gate = cpu_gate,
    .gate_entropy = cpu_gate_entropy,
    .plan = cpu_plan,
    .dispatch = cpu_dispatch,
    .combine = cpu_combine,
    .pool = cpu_pool,
    .attention_pool = cpu_attention_pool,
    .normalize = cpu_normalize,
    .sync = sync,
};

static enum limoe_dtype choose_dtype(const struct isa *isa, enum limoe_dtype asked) {
    if (asked != LIMOE_DTYPE_AUTO)
        return asked;
    return isa->fast_bf16 ? LIMOE_BFLOAT16 : LIMOE_FLOAT32;
}

enum limoe_status cpu_create(const struct isa *isa, enum limoe_dtype dtype, uint32_t threads,
                             struct kernels **out, struct limoe_error *err) {
    *out = NULL;
    dtype = choose_dtype(isa, dtype);
    bool bf16 = dtype == LIMOE_BFLOAT16;
    struct cpu *self = calloc(1, sizeof *self);
    if (!self)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the cpu kernels");
    *self = (struct cpu){
        .base = {.ops = &ops,
                 .name = isa->backend,
                 .dtype = dtype,
                 .act_size = bf16 ? sizeof(uint16_t) : sizeof(float),
                 .threads = threads,
                 .step_rows = HOST_STEP_ROWS,
                 .backward = dtype == LIMOE_FLOAT32 ? &cpu_backward : NULL},
        .isa = isa,
        .bf16 = bf16,
        .int8 = dtype == LIMOE_INT8,
    };
    enum limoe_status status = LIMOE_OK;
    self->scratch = calloc(threads, sizeof *self->scratch);
    if (!self->scratch)
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the cpu kernels");
    else
        status = threads_create(threads, &self->threads, err);
    if (status) {
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return LIMOE_OK;
}

enum limoe_status kernels_cpu_create(enum limoe_dtype dtype, uint32_t threads, struct kernels **out,
                                     struct limoe_error *err) {
    *out = NULL;
    const struct isa *isa;
    enum limoe_status status = isa_choose(&isa, err);
    if (status)
        return status;
    uint32_t allowed = threads_allowed();
    return cpu_create(isa, dtype, threads && threads < allowed ? threads : allowed, out, err);
}

enum limoe_status kernels_cpu_dtype(enum limoe_dtype asked, enum limoe_dtype *out, struct limoe_error *err) {
    const struct isa *isa;
    enum limoe_status status = isa_choose(&isa, err);
    if (status == LIMOE_OK)
        *out = choose_dtype(isa, asked);
    return status;
}
