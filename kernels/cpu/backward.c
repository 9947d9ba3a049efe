/* backward.c - the cpu's table of gradients, their room, weights put anew, the optimizer. */
#include "kernels/cpu/backward.h"

enum { LEAST_SHARE = 1 << 14 }; /* elements, some microseconds */

float *cpu_room(struct cpu *self, size_t n) {
    const size_t bytes = n * sizeof *self->room;
    if (bytes <= self->room_bytes && self->room)
        return self->room;
    host_release(&self->base, self->room);
    self->room = host_alloc(&self->base, bytes);
    self->room_bytes = self->room ? bytes : 0;
    self->no_memory |= !self->room;
    return self->room;
}

/* ---- weights put anew: panels as pack.c makes them, by the transposition of the instruction set */

struct repack_job {
    const struct cpu *self;
    struct kernels_matrix *m;
    const float *weight;
    size_t panels; /* of a group */
    uint32_t chunks;
};

static void repack_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct repack_job *job = context;
    const struct kernels_matrix *m = job->m;
    size_t first, last;
    chunk_range(m->groups * job->panels, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++) {
        const size_t g = u / job->panels, p = u % job->panels, channel = p * PANEL;
        job->self->isa->rows->transpose(
            job->weight + (g * m->out + channel) * m->in, m->in * sizeof(float),
            at_most(m->out - channel, PANEL), m->in,
            (uint32_t *)(void *)((char *)m->panels + g * m->group_bytes + p * m->panel_bytes));
    }
}

void cpu_repack(struct kernels *k, struct kernels_matrix *m, const float *weight, const float *bias) {
    const struct cpu *self = (struct cpu *)k;
    struct repack_job job = {
        .self = self, .m = m, .weight = weight, .panels = round_up(m->out, PANEL) / PANEL};
    const size_t channels = (size_t)m->groups * m->out;
    job.chunks = cpu_chunks(self, channels * m->in, LEAST_SHARE, m->groups * job.panels);
    threads_run(self->threads, job.chunks, repack_chunk, &job);
    if (m->bias)
        memcpy(m->bias, bias, channels * sizeof *bias);
}

/* ---- the optimizer */

struct adamw_job {
    const struct adamw *how;
    size_t n;
    const float *g;
    float *w, *m, *v;
    uint32_t chunks;
};

static void adamw_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct adamw_job *job = context;
    size_t first, last;
    chunk_range(job->n, chunk, job->chunks, &first, &last);
    adamw_step(job->how, last - first, job->g + first, job->w + first, job->m + first, job->v + first);
}

void cpu_adamw(struct kernels *k, const struct adamw *how, size_t n, const float *g, float *w, float *m,
               float *v) {
    const struct cpu *self = (struct cpu *)k;
    struct adamw_job job = {.how = how, .n = n, .g = g, .w = w, .m = m, .v = v};
    job.chunks = cpu_chunks(self, n, LEAST_SHARE / 4, n);
    threads_run(self->threads, job.chunks, adamw_chunk, &job);
}

const struct backward_ops cpu_backward = {
    .repack = cpu_repack,
    .adamw = cpu_adamw,
    .linear = cpu_backward_linear,
    .activate = cpu_activate,
    .activation = cpu_backward_activation,
    .layernorm = cpu_backward_layernorm,
    .attention = cpu_backward_attention,
    .combine = cpu_backward_combine,
    .dispatch = cpu_backward_dispatch,
    .gate = cpu_backward_gate,
    .pool = cpu_backward_pool,
    .attention_pool = cpu_backward_attention_pool,
    .normalize = cpu_backward_normalize,
    .cross_entropy = cpu_cross_entropy,
};
