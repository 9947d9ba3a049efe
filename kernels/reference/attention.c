/* attention.c - bidirectional self-attention inside each packed sequence.
 *
 * For each sequence and head, with s = q k^T / sqrt(head width):
 *     out = softmax(s) v,   softmax(s)_j = e_j / sum e,   e_j = exp(s_j - max s)
 * The division comes last, as in Milakov & Gimelshein, "Online normalizer calculation for softmax". e is an
 * operand of a product, so bfloat16 rounds it to act; the sum is of the unrounded e.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* out[head_width] = row `row` of q, k or v (part 0, 1, 2), of one head. */
static void load_head(const struct kernels *k, const void *qkv, size_t row, uint32_t part, uint32_t head,
                      uint32_t width, uint32_t head_width, float *out) {
    size_t at = row * 3 * width + (size_t)part * width + (size_t)head * head_width;
    for (uint32_t c = 0; c < head_width; c++)
        out[c] = reference_load(k, qkv, at + c);
}

static void norm_head(const struct kernels *k, const float *weight, const float *bias, float eps,
                      uint32_t head_width, float *x) {
    reference_layernorm_row(x, weight, bias, eps, head_width, x);
    for (uint32_t c = 0; c < head_width; c++)
        x[c] = reference_round(k, x[c]);
}

/* One query of one head against rows first .. last - 1. score has room for each of them, q, kv and sum for
 * head_width. */
static void attend(const struct kernels *k, const void *qkv, size_t first, size_t last, size_t row,
                   uint32_t width, uint32_t head, uint32_t head_width, const struct kernels_qk_norm *norm,
                   float *score, float *q, float *kv, void *out) {
    size_t length = last - first;
    float scale = 1.0f / sqrtf((float)head_width), most = -INFINITY;
    load_head(k, qkv, row, 0, head, width, head_width, q);
    if (norm)
        norm_head(k, norm->q_weight, norm->q_bias, norm->eps, head_width, q);
    for (size_t j = 0; j < length; j++) {
        load_head(k, qkv, first + j, 1, head, width, head_width, kv);
        if (norm)
            norm_head(k, norm->k_weight, norm->k_bias, norm->eps, head_width, kv);
        float dot = 0;
        for (uint32_t c = 0; c < head_width; c++)
            dot += q[c] * kv[c];
        score[j] = dot * scale;
        most = score[j] > most ? score[j] : most;
    }
    float sum = 0;
    for (size_t j = 0; j < length; j++) {
        score[j] = expf(score[j] - most);
        sum += score[j];
    }
    for (uint32_t c = 0; c < head_width; c++) {
        float acc = 0;
        for (size_t j = 0; j < length; j++) {
            size_t v = (first + j) * 3 * width + 2 * (size_t)width + (size_t)head * head_width + c;
            acc += reference_round(k, score[j]) * reference_load(k, qkv, v);
        }
        reference_store(k, out, row * width + (size_t)head * head_width + c, acc / sum);
    }
}

void reference_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                         const struct kernels_qk_norm *norm, void *out) {
    const struct host_sequences *sequences = &((struct reference *)k)->sequences;
    const uint32_t *start = sequences->start;
    const size_t n = sequences->n;
    uint32_t head_width = width / heads, longest = 0;
    for (size_t i = 0; i < n; i++)
        longest = start[i + 1] - start[i] > longest ? start[i + 1] - start[i] : longest;
    float *score = malloc(((size_t)longest + 2 * head_width) * sizeof *score);
    if (!score) {
        ((struct reference *)k)->no_memory = true;
        return;
    }
    float *q = score + longest, *kv = q + head_width;
    for (size_t i = 0; i < n; i++)
        for (size_t row = start[i]; row < start[i + 1]; row++)
            for (uint32_t head = 0; head < heads; head++)
                attend(k, qkv, start[i], start[i + 1], row, width, head, head_width, norm, score, q, kv, out);
    free(score);
}
