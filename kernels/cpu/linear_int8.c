/* linear_int8.c - the input of an int8 linear, quantised once before its products.
 *
 * The instance owns the quantised rows of the operation at hand. They are made by all threads, a row by one of them:
 * a row's numbers depend on nothing else. */
#include "kernels/cpu/cpu.h"

enum { LEAST_SHARE = 1 << 14 }; /* elements, a few microseconds */

struct quantise_job {
    const struct cpu *self;
    const float *x;
    size_t rows;
    uint32_t in, chunks;
};

static void quantise_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct quantise_job *job = context;
    const struct quantised *to = &job->self->quantised;
    size_t first, last;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++)
        job->self->isa->int8->quantise(job->x + r * job->in, job->in, to->values + r * to->stride,
                                       &to->row[r]);
}

/* Room for the rows: as large as the largest operation so far. */
static bool reserve(struct cpu *self, size_t rows, size_t stride) {
    struct quantised *q = &self->quantised;
    const size_t bytes = rows * (stride + sizeof *q->row);
    if (bytes > q->bytes) {
        cpu_quantised_free(q);
        q->values = host_alloc(&self->base, bytes);
        q->bytes = q->values ? bytes : 0;
    }
    q->stride = stride;
    q->row = (struct int8_row *)(void *)(q->values + rows * stride);
    self->no_memory |= !q->values;
    return q->values;
}

bool cpu_quantise(struct cpu *self, const float *x, size_t rows, uint32_t in) {
    if (!reserve(self, rows, round_up(in, INT8_BLOCK) * self->isa->int8->spread))
        return false;
    struct quantise_job job = {.self = self, .x = x, .rows = rows, .in = in};
    job.chunks = cpu_chunks(self, rows * in, LEAST_SHARE, rows);
    threads_run(self->threads, job.chunks, quantise_chunk, &job);
    return true;
}

void cpu_quantised_free(struct quantised *q) {
    host_release(NULL, q->values);
    *q = (struct quantised){0};
}
