/* backward_moe.c - the mixture of experts around its linears, backwards: combine, dispatch, gate. */
#include "kernels/cpu/backward.h"

enum { LEAST_SHARE = 1 << 14 };

struct combine_job {
    const struct cpu *self;
    const struct backward_routing *routing;
    const float *y, *dx;
    size_t assignments;
    uint32_t width, chunks;
    float *dy, *dgate;
};

static void combine_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct combine_job *job = context;
    const struct backward_routing *routing = job->routing;
    const uint32_t width = job->width;
    size_t first, last;
    chunk_range(job->assignments, chunk, job->chunks, &first, &last);
    for (size_t a = first; a < last; a++) {
        const size_t slot = routing->plan.slot[a];
        const float *dx = job->dx + a / routing->top_k * width, gate = routing->gate[a];
        job->dgate[a] = 0;
        if (slot == KERNELS_DROPPED)
            continue;
        job->dgate[a] = job->self->isa->gradients->dot(dx, job->y + slot * width, width);
        for (uint32_t c = 0; c < width; c++)
            job->dy[slot * width + c] = gate * dx[c];
    }
}

void cpu_backward_combine(struct kernels *k, const struct backward_routing *routing, const float *y,
                          const float *dx, size_t rows, uint32_t width, float *dy, float *dgate) {
    const struct cpu *self = (struct cpu *)k;
    struct combine_job job = {.self = self,
                              .routing = routing,
                              .y = y,
                              .dx = dx,
                              .assignments = rows * routing->top_k,
                              .width = width,
                              .dy = dy,
                              .dgate = dgate};
    job.chunks = cpu_chunks(self, job.assignments * width, LEAST_SHARE, job.assignments);
    threads_run(self->threads, job.chunks, combine_chunk, &job);
}

/* A combine whose gates are 1. */
void cpu_backward_dispatch(struct kernels *k, const struct backward_routing *routing, const float *dslots,
                           size_t rows, uint32_t width, float *dx) {
    const size_t assignments = rows * routing->top_k;
    float *gate = cpu_room((struct cpu *)k, assignments);
    if (!gate)
        return;
    for (size_t a = 0; a < assignments; a++)
        gate[a] = 1;
    cpu_combine(k, dslots, routing->plan, routing->expert, gate, rows, routing->top_k, width, dx);
}

struct gate_job {
    const struct cpu *self;
    const struct backward_routing *routing;
    const float *logits, *dgate;
    size_t rows;
    bool renormalize;
    float *dlogits;
    uint32_t chunks;
};

/* With p the softmax and dp the gradient of its kept elements, dlogit = p (dp - sum of p dp). Kept gates g = p / sum of
 * the kept have dp = (dg - sum of g dg) / that sum, whose sum of p dp is zero. p becomes dlogit. */
static void gate_row(const struct gate_job *job, const int32_t *expert, const float *dgate, float *p) {
    const uint32_t top_k = job->routing->top_k;
    float kept = 0, weighted = 0;
    for (uint32_t j = 0; j < top_k; j++)
        if (expert[j] >= 0) {
            kept += p[expert[j]];
            weighted += p[expert[j]] * dgate[j];
        }
    const float among = job->renormalize && kept > 0 ? kept : 1, mean = weighted / among;
    for (uint32_t e = 0; e < job->routing->experts; e++) {
        float d = job->renormalize ? 0 : -mean;
        for (uint32_t j = 0; j < top_k; j++)
            if (expert[j] == (int32_t)e)
                d = (dgate[j] - mean) / among;
        p[e] *= d;
    }
}

static void gate_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct gate_job *job = context;
    const uint32_t experts = job->routing->experts, top_k = job->routing->top_k;
    size_t first, last;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++) {
        float *p = job->dlogits + r * experts;
        memcpy(p, job->logits + r * experts, experts * sizeof *p);
        job->self->isa->rows->softmax(p, experts);
        gate_row(job, job->routing->expert + r * top_k, job->dgate + r * top_k, p);
    }
}

void cpu_backward_gate(struct kernels *k, const struct backward_routing *routing, const float *logits,
                       const float *dgate, size_t rows, bool renormalize, float *dlogits) {
    const struct cpu *self = (struct cpu *)k;
    struct gate_job job = {.self = self,
                           .routing = routing,
                           .logits = logits,
                           .dgate = dgate,
                           .rows = rows,
                           .renormalize = renormalize,
                           .dlogits = dlogits};
    job.chunks = cpu_chunks(self, rows * (routing->experts + PANEL), LEAST_SHARE / 4, rows);
    threads_run(self->threads, job.chunks, gate_chunk, &job);
}
