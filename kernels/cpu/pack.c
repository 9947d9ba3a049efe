/* pack.c - weights from the checkpoint into the panels of isa/isa.h.
 *
 * The one copy of a matrix that stays in memory: as large as its panels, in the instance's own dtype. All threads
 * pack, since most of a model's start is the first touch of its memory.
 */
#include <stdlib.h>

#include "base/error.h"
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

enum { LEAST_SHARE = 1 << 16 }; /* numbers worth another thread */

/* Rows of `in` floats, 16 of them, into one panel. */
static void pack_f32(const float *rows, uint32_t in, float *panel) {
    for (uint32_t i = 0; i < in; i++)
        for (uint32_t c = 0; c < PANEL; c++)
            panel[(size_t)i * PANEL + c] = rows[(size_t)c * in + i];
}

static void pack_bf16(const float *rows, uint32_t in, uint16_t *panel) {
    size_t padded = round_up(in, K_BLOCK);
    for (size_t i = 0; i < padded; i += 2)
        for (uint32_t c = 0; c < PANEL; c++)
            for (size_t j = i; j < i + 2; j++)
                panel[i * PANEL + c * 2 + j - i] = j < in ? bf16_from_float(rows[(size_t)c * in + j]) : 0;
}

static size_t panel_size(enum limoe_dtype dtype, uint32_t in) {
    if (dtype == LIMOE_INT8)
        return int8_panel_size(in);
    return dtype == LIMOE_BFLOAT16 ? round_up(in, K_BLOCK) * PANEL * sizeof(uint16_t)
                                   : (size_t)in * PANEL * sizeof(float);
}

size_t kernels_cpu_packed_bytes(enum limoe_dtype dtype, uint32_t out, uint32_t in) {
    return round_up(out, PANEL) / PANEL * panel_size(dtype, in);
}

struct pack_job {
    struct cpu *self;
    struct kernels_tensor weight;
    const struct kernels_matrix *to;
    size_t panels; /* of a group */
    uint32_t chunks;
};

static void pack_panel(const struct pack_job *job, size_t group, size_t p, float *rows) {
    const struct kernels_matrix *m = job->to;
    const uint32_t in = m->in;
    const size_t row = p * PANEL, n = m->out - row < PANEL ? m->out - row : PANEL;
    const size_t first = group * m->out + row;
    void *panel = (char *)m->panels + group * m->group_bytes + p * m->panel_bytes;
    if (job->self->int8) {
        int8_pack_panel(job->weight, first, (uint32_t)n, in, rows, panel);
        return;
    }
    tensor_read(job->weight, first * in, n * in, rows);
    memset(rows + n * in, 0, (PANEL - n) * in * sizeof *rows);
    if (job->self->bf16)
        pack_bf16(rows, in, panel);
    else
        pack_f32(rows, in, panel);
}

static void pack_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct pack_job *job = context;
    size_t first, last;
    chunk_range(job->to->groups * job->panels, chunk, job->chunks, &first, &last);
    for (size_t i = first; i < last; i++)
        pack_panel(job, i / job->panels, i % job->panels, job->self->scratch[thread]);
}

enum limoe_status cpu_pack(struct kernels *k, struct kernels_tensor weight, struct kernels_tensor bias,
                           uint32_t groups, uint32_t out, uint32_t in, struct kernels_matrix **packed,
                           struct limoe_error *err) {
    struct cpu *self = (struct cpu *)k;
    struct kernels_matrix *m = NULL;
    *packed = NULL;
    size_t panels = round_up(out, PANEL) / PANEL, columns, bytes, elements;
    size_t panel_bytes = panel_size(k->dtype, in);
    if (__builtin_mul_overflow((size_t)groups, out, &columns) ||
        __builtin_mul_overflow(columns, (size_t)in * sizeof(float), &elements) || !elements ||
        __builtin_mul_overflow(groups * panels, panel_bytes, &bytes))
        return limoe_fail(err, LIMOE_INVALID, "a weight of shape [%u, %u, %u] cannot be packed", groups, out,
                          in);
    if (self->int8 && in > INT8_MOST_IN)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "a weight of shape [%u, %u, %u] cannot be int8; rows of at most %u are accepted",
                          groups, out, in, INT8_MOST_IN);
    m = calloc(1, sizeof *m);
    if (!m || !cpu_scratch(self, (size_t)PANEL * in * sizeof(float)))
        goto no_memory;
    *m = (struct kernels_matrix){.groups = groups,
                                 .out = out,
                                 .in = in,
                                 .panel_bytes = panel_bytes,
                                 .group_bytes = panels * panel_bytes};
    m->panels = host_alloc(k, bytes);
    if (!m->panels)
        goto no_memory;
    if (bias.host) {
        m->bias = host_upload_vector(k, bias, columns);
        if (!m->bias)
            goto no_memory;
    }
    struct pack_job job = {.self = self, .weight = weight, .to = m, .panels = panels};
    job.chunks = cpu_chunks(self, columns * in, LEAST_SHARE, groups * panels);
    threads_run(self->threads, job.chunks, pack_chunk, &job);
    *packed = m;
    return LIMOE_OK;

no_memory:
    self->no_memory = false; /* it is told here, not by the next sync() */
    cpu_matrix_free(k, m);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a weight of shape [%u, %u, %u]", groups, out, in);
}

void cpu_matrix_free(struct kernels *k, struct kernels_matrix *m) {
    if (!m)
        return;
    host_release(k, m->panels);
    host_release(k, m->bias);
    free(m);
}
