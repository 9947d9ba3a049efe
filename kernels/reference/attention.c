/* attention.c - self-attention inside each packed sequence, attention that pools it, and attention over what was kept.
 *
 * For each query and head, with s = q k^T / sqrt(head width) over the rows that the query sees:
 *     out = softmax(s) v,   softmax(s)_j = e_j / sum e,   e_j = exp(s_j - max s)
 * The division comes last, as in Milakov & Gimelshein, "Online normalizer calculation for softmax". e is an
 * operand of a product, so bfloat16 rounds it to act; the sum is of the unrounded e.
 */
#include <math.h>
#include <stdlib.h>

#include "kernels/reference/reference.h"

/* One head's keys or values: element c of row r is x[r * stride + offset + c], or where rows are listed of row list[r]. */
struct head_rows {
    const void *x;
    size_t stride, offset;
    const uint32_t *list;
};

static size_t element(struct head_rows rows, size_t row, size_t c) {
    return (rows.list ? rows.list[row] : row) * rows.stride + rows.offset + c;
}

/* What a head's queries have in common. */
struct head {
    struct head_rows key, value;
    uint32_t width; /* of the head */
    const struct kernels_qk_norm *norm;
    float *score, *query, *other; /* room for the longest sequence's rows, and twice for `width` */
};

/* out[width] = row `row`, as float32. */
static void load_row(const struct kernels *k, struct head_rows rows, size_t row, uint32_t width, float *out) {
    for (uint32_t c = 0; c < width; c++)
        out[c] = reference_load(k, rows.x, element(rows, row, c));
}

static void norm_head(const struct kernels *k, const float *weight, const float *bias, float eps,
                      uint32_t head_width, float *x) {
    reference_layernorm_row(x, weight, bias, eps, head_width, x);
    for (uint32_t c = 0; c < head_width; c++)
        x[c] = reference_round(k, x[c]);
}

/* The query in h->query against rows first .. last - 1, to element `at` of out and on. */
static void attend(const struct kernels *k, const struct head *h, size_t first, size_t last, void *out,
                   size_t at) {
    size_t length = last - first;
    float scale = 1.0f / sqrtf((float)h->width), most = -INFINITY;
    for (size_t j = 0; j < length; j++) {
        load_row(k, h->key, first + j, h->width, h->other);
        if (h->norm)
            norm_head(k, h->norm->k_weight, h->norm->k_bias, h->norm->eps, h->width, h->other);
        float dot = 0;
        for (uint32_t c = 0; c < h->width; c++)
            dot += h->query[c] * h->other[c];
        h->score[j] = dot * scale;
        most = h->score[j] > most ? h->score[j] : most;
    }
    float sum = 0;
    for (size_t j = 0; j < length; j++) {
        h->score[j] = expf(h->score[j] - most);
        sum += h->score[j];
    }
    for (uint32_t c = 0; c < h->width; c++) {
        float acc = 0;
        for (size_t j = 0; j < length; j++)
            acc += reference_round(k, h->score[j]) *
                   reference_load(k, h->value.x, element(h->value, first + j, c));
        reference_store(k, out, at + c, acc / sum);
    }
}

/* Room for the scores of the longest of n sequences, a query and a key; NULL when there is none. */
static float *scratch(struct reference *self, const uint32_t *start, size_t n, uint32_t head_width) {
    size_t longest = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = start[i + 1] - start[i];
        longest = length > longest ? length : longest;
    }
    float *room = malloc((longest + 2 * (size_t)head_width) * sizeof *room);
    self->no_memory |= !room;
    return room;
}

/* Head `head` of keys and values that begin at elements `key` and `value` of rows of `stride`. */
static struct head make_head(const void *x, size_t stride, size_t key, size_t value, uint32_t head,
                             uint32_t head_width, const struct kernels_qk_norm *norm, float *room) {
    size_t offset = (size_t)head * head_width;
    return (struct head){.key = {x, stride, key + offset, NULL},
                         .value = {x, stride, value + offset, NULL},
                         .width = head_width,
                         .norm = norm,
                         .query = room,
                         .other = room + head_width,
                         .score = room + 2 * head_width};
}

void reference_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                         enum kernels_mask mask, const struct kernels_qk_norm *norm, void *out) {
    const struct host_sequences *sequences = &((struct reference *)k)->sequences;
    uint32_t d = width / heads;
    size_t stride = (size_t)3 * width;
    float *room = scratch((struct reference *)k, sequences->start, sequences->n, d);
    if (!room)
        return;
    for (uint32_t head = 0; head < heads; head++) {
        const struct head h = make_head(qkv, stride, width, (size_t)2 * width, head, d, norm, room);
        const struct head_rows query = {qkv, stride, (size_t)head * d, NULL};
        for (size_t i = 0; i < sequences->n; i++) {
            size_t first = sequences->start[i], last = sequences->start[i + 1];
            for (size_t row = first; row < last; row++) {
                load_row(k, query, row, d, h.query);
                if (norm)
                    norm_head(k, norm->q_weight, norm->q_bias, norm->eps, d, h.query);
                attend(k, &h, first, mask == KERNELS_CAUSAL ? row + 1 : last, out,
                       row * width + (size_t)head * d);
            }
        }
    }
    free(room);
}

void reference_attention_pool(struct kernels *k, const float *query, const void *kv, uint32_t width,
                              uint32_t heads, void *out) {
    const struct host_sequences *sequences = &((struct reference *)k)->sequences;
    uint32_t d = width / heads;
    float *room = scratch((struct reference *)k, sequences->start, sequences->n, d);
    if (!room)
        return;
    for (uint32_t head = 0; head < heads; head++) {
        const struct head h = make_head(kv, (size_t)2 * width, 0, width, head, d, NULL, room);
        for (uint32_t c = 0; c < d; c++)
            h.query[c] = reference_round(k, query[(size_t)head * d + c]);
        for (size_t i = 0; i < sequences->n; i++)
            attend(k, &h, sequences->start[i], sequences->start[i + 1], out, i * width + (size_t)head * d);
    }
    free(room);
}

void reference_attention_kept(struct kernels *k, const void *query, const void *kv, const uint32_t *start,
                              const uint32_t *row, size_t n, uint32_t width, uint32_t heads, void *out) {
    uint32_t d = width / heads;
    float *room = scratch((struct reference *)k, start, n, d);
    if (!room)
        return;
    for (uint32_t head = 0; head < heads; head++) {
        struct head h = make_head(kv, (size_t)2 * width, 0, width, head, d, NULL, room);
        const struct head_rows queries = {query, width, (size_t)head * d, NULL};
        h.key.list = h.value.list = row;
        for (size_t i = 0; i < n; i++) {
            load_row(k, queries, i, d, h.query);
            attend(k, &h, start[i], start[i + 1], out, i * width + (size_t)head * d);
        }
    }
    free(room);
}
