/* pack.c - weights from the checkpoint into the panels of isa/isa.h.
 *
 * The one copy of a matrix that stays in memory: as large as its panels, in the instance's own dtype.
 */
#include <stdlib.h>

#include "base/error.h"
#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

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

enum limoe_status cpu_pack(struct kernels *k, struct kernels_tensor weight, struct kernels_tensor bias,
                           uint32_t groups, uint32_t out, uint32_t in, struct kernels_matrix **packed,
                           struct limoe_error *err) {
    struct cpu *self = (struct cpu *)k;
    struct kernels_matrix *m = NULL;
    float *rows = NULL;
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
    rows = calloc((size_t)PANEL * in, sizeof *rows);
    if (!m || !rows)
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
    for (size_t g = 0; g < groups; g++)
        for (size_t p = 0; p < panels; p++) {
            size_t first = p * PANEL, n = out - first < PANEL ? out - first : PANEL;
            void *panel = (char *)m->panels + g * m->group_bytes + p * panel_bytes;
            if (self->int8) {
                int8_pack_panel(weight, g * out + first, (uint32_t)n, in, rows, panel);
                continue;
            }
            tensor_read(weight, (g * out + first) * in, n * in, rows);
            memset(rows + n * in, 0, (PANEL - n) * in * sizeof *rows);
            if (self->bf16)
                pack_bf16(rows, in, panel);
            else
                pack_f32(rows, in, panel);
        }
    free(rows);
    *packed = m;
    return LIMOE_OK;

no_memory:
    free(rows);
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
