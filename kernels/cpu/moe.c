/* moe.c - the mixture of experts around its grouped linears: router, gate, plan, dispatch, combine. */
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

enum { LEAST_SHARE = 1 << 14 };

/* ---- router */

struct router_job {
    const struct cpu *self;
    const float *x, *panels;
    size_t rows;
    uint32_t width, experts, chunks;
    float *logits;
};

enum { ROUTER_ROWS = 32, ROUTER_PANELS = 4 };

static void router_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct router_job *job = context;
    float c[ROUTER_ROWS * ROUTER_PANELS * PANEL];
    uint32_t all = (uint32_t)(round_up(job->experts, PANEL) / PANEL);
    size_t first, last, panel_elements = (size_t)job->width * PANEL;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    for (size_t row = first; row < last; row += ROUTER_ROWS)
        for (uint32_t panel = 0; panel < all; panel += ROUTER_PANELS) {
            struct product p = {.a = job->x + row * job->width,
                                .a_stride = job->width,
                                .b = job->panels + panel * panel_elements,
                                .b_stride = panel_elements * sizeof(float),
                                .rows = at_most(last - row, ROUTER_ROWS),
                                .panels = at_most(all - panel, ROUTER_PANELS),
                                .k = job->width,
                                .c = c,
                                .c_stride = ROUTER_PANELS * PANEL};
            job->self->isa->product_f32(&p);
            uint32_t column = panel * PANEL, columns = at_most(job->experts - column, p.panels * PANEL);
            for (uint32_t r = 0; r < p.rows; r++)
                memcpy(job->logits + (row + r) * job->experts + column, c + r * p.c_stride,
                       columns * sizeof *c);
        }
}

/* The router's matrix is small and kept in float32: it is packed anew each time, in no measurable time. */
void cpu_router_logits(struct kernels *k, const float *x, const float *w, size_t rows, uint32_t width,
                       uint32_t experts, float *logits) {
    struct cpu *self = (struct cpu *)k;
    if (!cpu_scratch(self, round_up(experts, PANEL) * width * sizeof(float)))
        return;
    float *panels = self->scratch[0];
    for (uint32_t e = 0; e < experts; e += PANEL)
        self->isa->rows->transpose(w + (size_t)e * width, width * sizeof *w, at_most(experts - e, PANEL),
                                   width, (uint32_t *)panels + (size_t)e * width);
    struct router_job job = {.self = self,
                             .x = x,
                             .panels = panels,
                             .rows = rows,
                             .width = width,
                             .experts = experts,
                             .chunks = cpu_chunks(self, rows * width * experts, LEAST_SHARE * 32, rows),
                             .logits = logits};
    threads_run(self->threads, job.chunks, router_chunk, &job);
}

/* ---- gate */

struct gate_job {
    const struct cpu *self;
    const float *logits;
    size_t rows;
    uint32_t experts, top_k, chunks;
    bool renormalize;
    int32_t *expert;
    float *gate;
};

/* The top_k of g[experts] by descending value, ties to the lower index. Taken values become -1. */
static void take_best(float *g, uint32_t experts, uint32_t top_k, int32_t *expert, float *gate) {
    for (uint32_t j = 0; j < top_k; j++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < experts; e++)
            if (g[e] > g[best])
                best = e;
        expert[j] = (int32_t)best;
        gate[j] = g[best];
        g[best] = -1;
    }
}

static void gate_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct gate_job *job = context;
    float *g = job->self->scratch[thread];
    size_t first, last;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++) {
        int32_t *expert = job->expert + r * job->top_k;
        float *gate = job->gate + r * job->top_k, kept = 0;
        memcpy(g, job->logits + r * job->experts, job->experts * sizeof *g);
        job->self->isa->rows->softmax(g, job->experts);
        take_best(g, job->experts, job->top_k, expert, gate);
        for (uint32_t j = 0; j < job->top_k; j++)
            kept += gate[j];
        for (uint32_t j = 0; job->renormalize && j < job->top_k; j++)
            gate[j] /= kept;
    }
}

void cpu_gate(struct kernels *k, const float *logits, size_t rows, uint32_t experts, uint32_t top_k,
              bool renormalize, int32_t *expert, float *gate) {
    struct cpu *self = (struct cpu *)k;
    if (!cpu_scratch(self, experts * sizeof(float))) {
        memset(expert, 0xff,
               rows * top_k * sizeof *expert); /* all dropped: plan() indexes by these before sync() */
        return;
    }
    struct gate_job job = {.self = self,
                           .logits = logits,
                           .rows = rows,
                           .experts = experts,
                           .top_k = top_k,
                           .chunks = cpu_chunks(self, rows * (experts + PANEL), LEAST_SHARE / 4, rows),
                           .renormalize = renormalize,
                           .expert = expert,
                           .gate = gate};
    threads_run(self->threads, job.chunks, gate_chunk, &job);
}

struct entropy_job {
    const struct cpu *self;
    const float *logits;
    size_t rows;
    uint32_t experts, chunks;
    float *entropy;
};

static void entropy_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct entropy_job *job = context;
    size_t first, last;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    for (size_t r = first; r < last; r++)
        job->entropy[r] = job->self->isa->rows->softmax_entropy(job->logits + r * job->experts, job->experts);
}

void cpu_gate_entropy(struct kernels *k, const float *logits, size_t rows, uint32_t experts, float *entropy) {
    const struct cpu *self = (struct cpu *)k;
    struct entropy_job job = {.self = self,
                              .logits = logits,
                              .rows = rows,
                              .experts = experts,
                              .chunks = cpu_chunks(self, rows * (experts + PANEL), LEAST_SHARE / 4, rows),
                              .entropy = entropy};
    threads_run(self->threads, job.chunks, entropy_chunk, &job);
}

/* ---- plan, dispatch, combine */

/* A counting sort: counts, prefix sums, then each assignment to its expert's next slot, in order. offset[e]
 * serves as expert e - 1's next slot while assignments are placed, and ends where that expert's slots end. */
void cpu_plan(struct kernels *k, const int32_t *expert, size_t rows, uint32_t experts, uint32_t top_k,
              struct kernels_plan plan) {
    (void)k;
    size_t assignments = rows * top_k;
    memset(plan.offset, 0, ((size_t)experts + 1) * sizeof *plan.offset);
    for (size_t a = 0; a < assignments; a++)
        if (expert[a] >= 0)
            plan.offset[expert[a] + 1]++;
    for (uint32_t e = 0, sum = 0; e < experts; e++) {
        uint32_t count = plan.offset[e + 1];
        plan.offset[e + 1] = sum;
        sum += count;
    }
    for (size_t r = 0, a = 0; r < rows; r++)
        for (uint32_t j = 0; j < top_k; j++, a++) {
            if (expert[a] < 0) {
                plan.slot[a] = KERNELS_DROPPED;
                continue;
            }
            uint32_t slot = plan.offset[expert[a] + 1]++;
            plan.source[slot] = (uint32_t)r;
            plan.slot[a] = slot;
        }
}

struct dispatch_job {
    const struct cpu *self;
    const void *in;
    struct kernels_plan plan;
    size_t slots;
    uint32_t width, chunks;
    void *out;
};

static void dispatch_chunk(void *context, uint32_t chunk, uint32_t thread) {
    (void)thread;
    const struct dispatch_job *job = context;
    size_t first, last;
    chunk_range(job->slots, chunk, job->chunks, &first, &last);
    for (size_t s = first; s < last; s++)
        memcpy(act_row_out(job->self, job->out, s, job->width),
               act_row(job->self, job->in, job->plan.source[s], job->width),
               job->width * job->self->base.act_size);
}

void cpu_dispatch(struct kernels *k, const void *in, struct kernels_plan plan, uint32_t experts,
                  size_t max_slots, uint32_t width, void *out) {
    (void)max_slots; /* the offsets say how many there are */
    const struct cpu *self = (struct cpu *)k;
    struct dispatch_job job = {
        .self = self, .in = in, .plan = plan, .slots = plan.offset[experts], .width = width, .out = out};
    job.chunks = cpu_chunks(self, job.slots * width, LEAST_SHARE * 4, job.slots);
    threads_run(self->threads, job.chunks, dispatch_chunk, &job);
}

struct combine_job {
    const struct cpu *self;
    const void *y;
    struct kernels_plan plan;
    const int32_t *expert;
    const float *gate;
    size_t rows;
    uint32_t top_k, width, chunks;
    float *x;
};

static void combine_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct combine_job *job = context;
    const struct cpu *self = job->self;
    size_t first, last;
    chunk_range(job->rows, chunk, job->chunks, &first, &last);
    const void **y = self->scratch[thread];
    float *gate = (float *)(y + job->top_k);
    int32_t *expert = (int32_t *)(gate + job->top_k);
    for (size_t r = first; r < last; r++) {
        uint32_t terms = 0;
        for (size_t a = r * job->top_k; a < (r + 1) * job->top_k; a++) {
            uint32_t i = terms;
            if (job->plan.slot[a] == KERNELS_DROPPED)
                continue;
            for (; i > 0 && expert[i - 1] > job->expert[a]; i--) { /* insertion, by ascending expert */
                expert[i] = expert[i - 1];
                gate[i] = gate[i - 1];
                y[i] = y[i - 1];
            }
            expert[i] = job->expert[a];
            gate[i] = job->gate[a];
            y[i] = act_row(self, job->y, job->plan.slot[a], job->width);
            terms++;
        }
        if (terms)
            self->isa->rows->combine(y, gate, terms, job->width, self->bf16, job->x + r * job->width);
    }
}

void cpu_combine(struct kernels *k, const void *y, struct kernels_plan plan, const int32_t *expert,
                 const float *gate, size_t rows, uint32_t top_k, uint32_t width, float *x) {
    struct cpu *self = (struct cpu *)k;
    if (!cpu_scratch(self, top_k * (sizeof(void *) + sizeof(float) + sizeof(int32_t))))
        return;
    struct combine_job job = {.self = self,
                              .y = y,
                              .plan = plan,
                              .expert = expert,
                              .gate = gate,
                              .rows = rows,
                              .top_k = top_k,
                              .width = width,
                              .chunks = cpu_chunks(self, rows * width * top_k, LEAST_SHARE, rows),
                              .x = x};
    threads_run(self->threads, job.chunks, combine_chunk, &job);
}
