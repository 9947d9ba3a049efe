/* backward_attention.c - self-attention inside each packed sequence, and attention that pools it.
 *
 * Of one query, with s_j = scale q . k_j, p = softmax(s) and out = sum of p_j v_j:
 *     dv_j = p_j dout,   dp_j = dout . v_j,   ds_j = p_j (dp_j - sum of p dp)
 *     dq = scale sum of ds_j k_j,   dk_j = scale ds_j q
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/reference/backward.h"
#include "kernels/reference/reference.h"

/* One head of rows of `stride` elements. */
struct head_rows {
    const float *x;
    float *dx; /* NULL: nothing is written */
    size_t stride;
};

/* A query beside the keys and values of rows 0 .. n - 1. p, ds: room for n. */
struct query {
    const float *q, *dout;
    float *dq; /* +=; NULL: not wanted */
    struct head_rows key, value;
    size_t n;
    uint32_t width; /* of the head */
    double *p, *ds;
};

static double dot(const float *a, const float *b, uint32_t n) {
    double sum = 0;
    for (uint32_t c = 0; c < n; c++)
        sum += (double)a[c] * (double)b[c];
    return sum;
}

static void weigh(const struct query *at, double scale) {
    double most = -INFINITY, sum = 0;
    for (size_t j = 0; j < at->n; j++) {
        at->p[j] = scale * dot(at->q, at->key.x + j * at->key.stride, at->width);
        most = at->p[j] > most ? at->p[j] : most;
    }
    for (size_t j = 0; j < at->n; j++)
        sum += at->p[j] = exp(at->p[j] - most);
    for (size_t j = 0; j < at->n; j++)
        at->p[j] /= sum;
}

/* Adds to dq, and to the keys' and values' gradients. */
static void attend(const struct query *at) {
    const double scale = 1 / sqrt(at->width);
    double mean = 0;
    weigh(at, scale);
    for (size_t j = 0; j < at->n; j++) {
        at->ds[j] = dot(at->dout, at->value.x + j * at->value.stride, at->width);
        mean += at->p[j] * at->ds[j];
    }
    for (size_t j = 0; j < at->n; j++) {
        const double ds = scale * at->p[j] * (at->ds[j] - mean);
        const float *key = at->key.x + j * at->key.stride;
        for (uint32_t c = 0; c < at->width; c++) {
            if (at->dq)
                at->dq[c] += (float)(ds * (double)key[c]);
            at->key.dx[j * at->key.stride + c] += (float)(ds * (double)at->q[c]);
            at->value.dx[j * at->value.stride + c] += (float)(at->p[j] * (double)at->dout[c]);
        }
    }
}

static size_t longest(const struct host_sequences *sequences) {
    size_t most = 0;
    for (size_t i = 0; i < sequences->n; i++) {
        const size_t length = sequences->start[i + 1] - sequences->start[i];
        most = length > most ? length : most;
    }
    return most;
}

/* All heads of qkv [rows, 3 width], as the scores see them. */
static void self_attention(const struct host_sequences *sequences, const float *qkv, const float *dout,
                           uint32_t width, uint32_t heads, enum kernels_mask mask, double *room,
                           float *dqkv) {
    const uint32_t d = width / heads;
    const size_t stride = (size_t)3 * width, most = longest(sequences);
    for (uint32_t h = 0; h < heads; h++)
        for (size_t i = 0; i < sequences->n; i++) {
            const size_t first = sequences->start[i], last = sequences->start[i + 1];
            const size_t key = first * stride + width + (size_t)h * d, value = key + width;
            for (size_t row = first; row < last; row++) {
                const size_t q = row * stride + (size_t)h * d;
                attend(&(struct query){.q = qkv + q,
                                       .dout = dout + row * width + (size_t)h * d,
                                       .dq = dqkv + q,
                                       .key = {qkv + key, dqkv + key, stride},
                                       .value = {qkv + value, dqkv + value, stride},
                                       .n = (mask == KERNELS_CAUSAL ? row + 1 : last) - first,
                                       .width = d,
                                       .p = room,
                                       .ds = room + most});
            }
        }
}

/* normed [rows, 3 width] = qkv with q and k as their norms make them. */
static void norm_heads(const struct backward_qk_norm *norm, const float *qkv, size_t rows, uint32_t width,
                       uint32_t heads, float *normed) {
    const uint32_t d = width / heads;
    memcpy(normed, qkv, rows * 3 * width * sizeof *normed);
    for (size_t r = 0; r < rows; r++)
        for (uint32_t h = 0; h < heads; h++) {
            const size_t q = r * 3 * width + (size_t)h * d, key = q + width;
            reference_layernorm_row(qkv + q, norm->q.weight, norm->q_bias, norm->q.eps, d, normed + q);
            reference_layernorm_row(qkv + key, norm->k.weight, norm->k_bias, norm->k.eps, d, normed + key);
        }
}

/* dqkv's q and k, gradients of what the norms made, become those of what they were made of. row: room for a head. */
static void norm_gradients(const struct backward_qk_norm *norm, const float *qkv, size_t rows, uint32_t width,
                           uint32_t heads, float *row, float *dqkv) {
    const uint32_t d = width / heads;
    for (size_t r = 0; r < rows; r++)
        for (uint32_t h = 0; h < 2 * heads; h++) {
            const size_t at = r * 3 * width + (size_t)h * d;
            memset(row, 0, d * sizeof *row);
            reference_backward_layernorm_row(h < heads ? &norm->q : &norm->k, qkv + at, dqkv + at, d, row);
            memcpy(dqkv + at, row, d * sizeof *row);
        }
}

void reference_backward_attention(struct kernels *k, const float *qkv, const float *dout, uint32_t width,
                                  uint32_t heads, enum kernels_mask mask, const struct backward_qk_norm *norm,
                                  float *dqkv) {
    struct reference *self = (struct reference *)k;
    const struct host_sequences *sequences = &self->sequences;
    const size_t rows = sequences->n ? sequences->start[sequences->n] : 0;
    double *room = malloc((2 * longest(sequences) + 1) * sizeof *room);
    float *normed = norm ? malloc((rows * 3 * width + width / heads) * sizeof *normed) : NULL;
    if (room && (normed || !norm)) {
        if (norm)
            norm_heads(norm, qkv, rows, width, heads, normed);
        memset(dqkv, 0, rows * 3 * width * sizeof *dqkv);
        self_attention(sequences, norm ? normed : qkv, dout, width, heads, mask, room, dqkv);
        if (norm)
            norm_gradients(norm, qkv, rows, width, heads, normed, dqkv);
    } else {
        self->no_memory = true;
    }
    free(normed);
    free(room);
}

void reference_backward_attention_pool(struct kernels *k, const float *query, const float *kv,
                                       const float *dout, uint32_t width, uint32_t heads, float *dquery,
                                       float *dkv) {
    struct reference *self = (struct reference *)k;
    const struct host_sequences *sequences = &self->sequences;
    const uint32_t d = width / heads;
    const size_t stride = (size_t)2 * width, most = longest(sequences);
    double *room = malloc((2 * most + 1) * sizeof *room);
    self->no_memory |= !room;
    for (size_t i = 0; room && i < sequences->n; i++) {
        const size_t first = sequences->start[i], last = sequences->start[i + 1];
        memset(dkv + first * stride, 0, (last - first) * stride * sizeof *dkv);
        for (uint32_t h = 0; h < heads; h++) {
            const size_t head = (size_t)h * d, key = first * stride + head, value = key + width;
            attend(&(struct query){.q = query + head,
                                   .dout = dout + i * width + head,
                                   .dq = dquery ? dquery + head : NULL,
                                   .key = {kv + key, dkv + key, stride},
                                   .value = {kv + value, dkv + value, stride},
                                   .n = last - first,
                                   .width = d,
                                   .p = room,
                                   .ds = room + most});
        }
    }
    free(room);
}
