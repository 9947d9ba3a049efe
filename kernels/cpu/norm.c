/* norm.c - operations on independent rows: LayerNorm, what stands for a sequence, unit vectors. */
#include <math.h>

#include "kernels/cpu/cpu.h"

enum { LEAST_SHARE = 1 << 14 }; /* elements, a few microseconds */

struct layernorm_job {
    const struct cpu *self;
    const float *x, *weight, *bias;
    float eps;
    size_t rows;
    uint32_t width, chunks;
    void *out_act;
    float *out_f32;
};

static void layernorm_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct layernorm_job *job = context;
    const struct cpu *self = job->self;
    size_t first, last;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++)
        self->isa->rows->layernorm(job->x + r * job->width, job->weight, job->bias, job->eps, job->width,
                                   self->bf16,
                                   job->out_act ? act_row_out(self, job->out_act, r, job->width) : NULL,
                                   job->out_f32 ? job->out_f32 + r * job->width : NULL);
}

void cpu_layernorm(struct kernels *k, const float *x, const float *weight, const float *bias, float eps,
                   size_t rows, uint32_t width, void *out_act, float *out_f32) {
    const struct cpu *self = (struct cpu *)k;
    struct layernorm_job job = {.self = self,
                                .x = x,
                                .weight = weight,
                                .bias = bias,
                                .eps = eps,
                                .rows = rows,
                                .width = width,
                                .chunks = cpu_chunks(self, rows * width, LEAST_SHARE, rows),
                                .out_act = out_act,
                                .out_f32 = out_f32};
    threads_run(self->threads, job.chunks, layernorm_chunk, &job);
}

struct pool_job {
    const struct cpu *self;
    enum kernels_pooling pooling;
    const float *x;
    const uint32_t *start;
    size_t n;
    uint32_t width, chunks;
    void *out_act;
    float *out_f32;
};

/* A single row is the mean of itself. */
static void pool_sequence(const struct pool_job *job, size_t i) {
    const struct cpu *self = job->self;
    size_t first = job->start[i], rows = job->start[i + 1] - first;
    const bool rest = job->pooling == KERNELS_POOL_REST && rows > 1;
    if (job->pooling == KERNELS_POOL_LAST)
        first += rows - 1;
    if (job->pooling == KERNELS_POOL_FIRST || job->pooling == KERNELS_POOL_LAST)
        rows = 1;
    first += rest;
    rows -= rest;
    self->isa->rows->mean(job->x + first * job->width, rows, job->width, self->bf16,
                          job->out_act ? act_row_out(self, job->out_act, i, job->width) : NULL,
                          job->out_f32 ? job->out_f32 + i * job->width : NULL);
}

static void pool_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct pool_job *job = context;
    size_t first, last;
    chunk_range(job->n, chunk, job->chunks, &first, &last);
    for (size_t i = first; i < last; i++)
        pool_sequence(job, i);
}

void cpu_pool(struct kernels *k, enum kernels_pooling pooling, const float *x, uint32_t width, void *out_act,
              float *out_f32) {
    const struct cpu *self = (struct cpu *)k;
    const uint32_t *start = self->sequences.start;
    const size_t n = self->sequences.n;
    struct pool_job job = {.self = self,
                           .pooling = pooling,
                           .x = x,
                           .start = start,
                           .n = n,
                           .width = width,
                           .out_act = out_act,
                           .out_f32 = out_f32};
    const bool mean = pooling == KERNELS_POOL_MEAN || pooling == KERNELS_POOL_REST;
    size_t rows = !n ? 0 : mean ? start[n] - start[0] : n;
    job.chunks = n ? cpu_chunks(self, rows * width, LEAST_SHARE, n) : 0;
    threads_run(self->threads, job.chunks, pool_chunk, &job);
}

void cpu_normalize(struct kernels *k, float *z, size_t n, uint32_t width) {
    const struct cpu *self = (struct cpu *)k;
    for (size_t i = 0; i < n; i++, z += width) {
        float length = sqrtf(self->isa->rows->sum_squares(z, width));
        if (length > 0)
            self->isa->rows->divide(z, length, width, false, z);
    }
}
