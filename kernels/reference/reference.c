/* reference.c - the reference instance: its weights and its table of operations. */
#include "kernels/reference/reference.h"

#include <stdlib.h>

#include "base/error.h"
#include "kernels/reference/backward.h"

static void destroy(struct kernels *k) {
    free(k);
}

static void matrix_free(struct kernels *k, struct kernels_matrix *m) {
    if (!m)
        return;
    host_release(k, m->scale);
    host_release(k, m->q);
    host_release(k, m->weight);
    host_release(k, m->bias);
    free(m);
}

/* The weights of n channels; false where there is no memory. */
static bool load_weights(struct kernels *k, struct kernels_tensor weight, size_t n, uint32_t in,
                         struct kernels_matrix *m) {
    if (k->dtype == LIMOE_INT8) {
        m->q = host_alloc(k, n * in);
        m->scale = host_alloc(k, n * sizeof *m->scale);
        return m->q && m->scale && host_int8_rows(weight, n, in, m->q, m->scale);
    }
    m->weight = host_upload_vector(k, weight, n * in);
    for (size_t i = 0; m->weight && i < n * in; i++)
        m->weight[i] = reference_round(k, m->weight[i]);
    return m->weight;
}

static enum limoe_status pack(struct kernels *k, struct kernels_tensor weight, struct kernels_tensor bias,
                              uint32_t groups, uint32_t out, uint32_t in, struct kernels_matrix **packed,
                              struct limoe_error *err) {
    *packed = NULL;
    size_t columns, n;
    if (__builtin_mul_overflow((size_t)groups, out, &columns) || __builtin_mul_overflow(columns, in, &n) ||
        !n)
        return limoe_fail(err, LIMOE_INVALID, "a weight of shape [%u, %u, %u] cannot be packed", groups, out,
                          in);
    if (k->dtype == LIMOE_INT8 && in > INT8_MOST_IN)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "a weight of shape [%u, %u, %u] cannot be int8; rows of at most %u are accepted",
                          groups, out, in, INT8_MOST_IN);
    struct kernels_matrix *m = calloc(1, sizeof *m);
    if (!m)
        goto no_memory;
    *m = (struct kernels_matrix){.groups = groups, .out = out, .in = in};
    if (!load_weights(k, weight, columns, in, m))
        goto no_memory;
    if (bias.host) {
        m->bias = host_upload_vector(k, bias, columns);
        if (!m->bias)
            goto no_memory;
    }
    *packed = m;
    return LIMOE_OK;

no_memory:
    matrix_free(k, m);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a weight of shape [%u, %u, %u]", groups, out, in);
}

static void sequences(struct kernels *k, const uint32_t *start, size_t n) {
    ((struct reference *)k)->sequences = (struct host_sequences){start, n};
}

static enum limoe_status sync(struct kernels *k, struct limoe_error *err) {
    struct reference *self = (struct reference *)k;
    if (self->no_memory) {
        self->no_memory = false;
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the scratch of an operation");
    }
    return LIMOE_OK;
}

static const struct kernels_ops ops = {
    .destroy = destroy,
    .alloc = host_alloc,
    .release = host_release,
    .upload = host_upload,
    .download = host_download,
    .copy = host_copy,
    .pack = pack,
    .matrix_free = matrix_free,
    .upload_vector = host_upload_vector,
    .load_table = host_load_table,
    .table_free = host_table_free,
    .sequences = sequences,
    .begin = host_begin,
    .end = host_end,
    .patches = reference_patches,
    .tile_rows = reference_tile_rows,
    .embed_tokens = reference_embed_tokens,
    .linear = reference_linear,
    .grouped_linear = reference_grouped_linear,
    .layernorm = reference_layernorm,
    .attention = reference_attention,
    .attention_kept = reference_attention_kept,
    .router_logits = reference_router_logits,
    .gate = reference_gate,
    .gate_entropy = reference_gate_entropy,
    .plan = reference_plan,
    .dispatch = reference_dispatch,
    .combine = reference_combine,
    .pool = reference_pool,
    .attention_pool = reference_attention_pool,
    .normalize = reference_normalize,
    .sync = sync,
};

enum limoe_status kernels_reference_create(enum limoe_dtype dtype, struct kernels **out,
                                           struct limoe_error *err) {
    *out = NULL;
    struct reference *self = calloc(1, sizeof *self);
    if (!self)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the reference kernels");
    self->base = (struct kernels){
        .ops = &ops,
        .name = "reference",
        .dtype = dtype == LIMOE_DTYPE_AUTO ? LIMOE_FLOAT32 : dtype,
        .act_size = dtype == LIMOE_BFLOAT16 ? sizeof(uint16_t) : sizeof(float),
        .threads = 1,
        .step_rows = HOST_STEP_ROWS,
    };
    self->base.backward = self->base.dtype == LIMOE_FLOAT32 ? &reference_backward : NULL;
    *out = &self->base;
    return LIMOE_OK;
}
