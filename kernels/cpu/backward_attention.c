/* backward_attention.c - self-attention inside each packed sequence, and attention that pools it, backwards.
 *
 * A unit is one head of one sequence, all of whose scores are computed again. With n rows of d columns, on the products
 * of the linears:
 *     p = softmax(q k^T / sqrt d)           ds = p (dout v^T - sum of p (dout v^T)) / sqrt d      [n, n]
 *     dq = ds k,   dk = ds^T q,   dv = p^T dout                                                   [n, d]
 * Rows of the [n, n] are padded to a multiple of 32, with zeros. A causal mask makes p zero beyond a row, and so ds.
 */
#include <math.h>

#include "kernels/cpu/backward.h"

enum { LEAST_SHARE = 1 << 16 }; /* products worth another thread */

/* One head's rows, `stride` floats apart. */
struct rows {
    const float *x;
    size_t stride;
};

struct attention_job {
    const struct cpu *self;
    const float *qkv, *dout;
    uint32_t width, heads, head_width, chunks;
    enum kernels_mask mask;
    const struct backward_qk_norm *norm;
    float *dqkv;
};

/* The parts of a thread's scratch for a sequence of `length` rows; padded: length, and columns: head width, to whole
 * panels. */
struct buffers {
    size_t padded, columns;
    float *panels;      /* of one operand at a time */
    float *p, *ds;      /* [length, padded] */
    float *turned;      /* [length, padded] */
    float *stripe;      /* [padded, 16] */
    float *product;     /* [length, columns] */
    float *sum;         /* [length] */
    float *query, *key; /* [length, head width], normalised */
};

static float *take(float *base, size_t *used, size_t n) {
    float *part = base ? base + *used : NULL;
    *used += round_up(n, PANEL);
    return part;
}

/* Lays the buffers out from `base` (NULL: only counts) and returns their floats. */
static size_t lay_out(const struct attention_job *job, size_t length, float *base, struct buffers *b) {
    size_t used = 0;
    b->padded = round_up(length, K_BLOCK);
    b->columns = round_up(job->head_width, PANEL);
    b->panels = take(base, &used, b->padded * b->columns);
    b->p = take(base, &used, length * b->padded);
    b->ds = take(base, &used, length * b->padded);
    b->turned = take(base, &used, length * b->padded);
    b->stripe = take(base, &used, b->padded * PANEL);
    b->product = take(base, &used, length * b->columns);
    b->sum = take(base, &used, length);
    b->query = take(base, &used, job->norm ? length * job->head_width : 0);
    b->key = take(base, &used, job->norm ? length * job->head_width : 0);
    return used;
}

/* c[n, padded] = a b^T, for rows a and b of the head's width. */
static void scores(const struct attention_job *job, const struct buffers *b, struct rows a, struct rows other,
                   size_t n, float *c) {
    const struct isa *isa = job->self->isa;
    const uint32_t d = job->head_width;
    for (size_t first = 0; first < b->padded; first += PANEL) {
        const uint32_t rows = first < n ? at_most(n - first, PANEL) : 0;
        isa->rows->transpose(other.x + (rows ? first * other.stride : 0), other.stride * sizeof(float), rows,
                             d, (uint32_t *)b->panels + first * d);
    }
    isa->product_f32(&(struct product){.a = a.x,
                                       .a_stride = a.stride,
                                       .b = b->panels,
                                       .b_stride = (size_t)d * PANEL * sizeof(float),
                                       .rows = (uint32_t)n,
                                       .panels = (uint32_t)(b->padded / PANEL),
                                       .k = d,
                                       .c = c,
                                       .c_stride = b->padded});
}

/* out[n rows, head width] = a b, for a [n, padded] and rows b. */
static void multiply(const struct attention_job *job, const struct buffers *b, const float *a,
                     struct rows other, size_t n, float *out, size_t stride) {
    const uint32_t d = job->head_width;
    for (uint32_t first = 0; first < d; first += PANEL) {
        const uint32_t columns = at_most(d - first, PANEL);
        float *panel = b->panels + n * first;
        memset(panel, 0, columns < PANEL ? n * PANEL * sizeof *panel : 0);
        for (size_t r = 0; r < n; r++)
            memcpy(panel + r * PANEL, other.x + r * other.stride + first, columns * sizeof *panel);
    }
    job->self->isa->product_f32(&(struct product){.a = a,
                                                  .a_stride = b->padded,
                                                  .b = b->panels,
                                                  .b_stride = n * PANEL * sizeof(float),
                                                  .rows = (uint32_t)n,
                                                  .panels = (uint32_t)(b->columns / PANEL),
                                                  .k = (uint32_t)n,
                                                  .c = b->product,
                                                  .c_stride = b->columns});
    for (size_t r = 0; r < n; r++)
        memcpy(out + r * stride, b->product + r * b->columns, d * sizeof *out);
}

/* b->turned = the transpose of a [n, padded], of which n columns count. */
static void turn(const struct attention_job *job, const struct buffers *b, const float *a, size_t n) {
    for (size_t r = 0; r < n; r += PANEL) {
        job->self->isa->rows->transpose(a + r * b->padded, b->padded * sizeof *a, at_most(n - r, PANEL), n,
                                        (uint32_t *)b->stripe);
        for (size_t c = 0; c < n; c++)
            memcpy(b->turned + c * b->padded + r, b->stripe + c * PANEL, PANEL * sizeof *a);
    }
}

/* p = the softmax of the scores that lie in ds. */
static void weigh(const struct attention_job *job, const struct buffers *b, size_t n) {
    const struct row_ops *op = job->self->isa->rows;
    const bool causal = job->mask == KERNELS_CAUSAL;
    op->exponents(&(struct exponents){.rows = (uint32_t)n,
                                      .length = causal ? 1 : (uint32_t)n,
                                      .longer = causal,
                                      .padded = (uint32_t)b->padded,
                                      .scale = 1.0f / sqrtf((float)job->head_width),
                                      .score = b->ds,
                                      .score_stride = b->padded,
                                      .p = b->p,
                                      .sum = b->sum});
    for (size_t r = 0; r < n; r++)
        op->divide(b->p + r * b->padded, b->sum[r], b->padded, false, b->p + r * b->padded);
}

static struct rows normalise(const struct attention_job *job, struct rows from, size_t n,
                             const struct backward_norm *norm, const float *bias, float *out) {
    for (size_t r = 0; r < n; r++)
        job->self->isa->rows->layernorm(from.x + r * from.stride, norm->weight, bias, norm->eps,
                                        job->head_width, false, NULL, out + r * job->head_width);
    return (struct rows){out, job->head_width};
}

/* With norms dq and dk are those of what the norms made. */
static void attend(const struct attention_job *job, size_t sequence, uint32_t head, float *scratch) {
    const uint32_t *start = job->self->sequences.start;
    const size_t first = start[sequence], n = start[sequence + 1] - first, stride = (size_t)3 * job->width;
    const size_t column = (size_t)head * job->head_width, at = first * stride + column;
    struct rows q = {job->qkv + at, stride}, k = {q.x + job->width, stride};
    const struct rows v = {k.x + job->width, stride},
                      dout = {job->dout + first * job->width + column, job->width};
    float *dq = job->dqkv + at, *dk = dq + job->width, *dv = dk + job->width;
    struct buffers b;
    lay_out(job, n, scratch, &b);
    if (job->norm) {
        q = normalise(job, q, n, &job->norm->q, job->norm->q_bias, b.query);
        k = normalise(job, k, n, &job->norm->k, job->norm->k_bias, b.key);
    }
    scores(job, &b, q, k, n, b.ds);
    weigh(job, &b, n);
    turn(job, &b, b.p, n);
    multiply(job, &b, b.turned, dout, n, dv, stride);
    scores(job, &b, dout, v, n, b.ds);
    for (size_t r = 0; r < n; r++)
        job->self->isa->gradients->softmax(b.p + r * b.padded, 1.0f / sqrtf((float)job->head_width), b.padded,
                                           b.ds + r * b.padded);
    multiply(job, &b, b.ds, k, n, dq, stride);
    turn(job, &b, b.ds, n);
    multiply(job, &b, b.turned, q, n, dk, stride);
}

static void attention_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct attention_job *job = context;
    size_t first, last;
    chunk_range(job->self->sequences.n * job->heads, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++)
        if (job->self->sequences.start[u / job->heads] < job->self->sequences.start[u / job->heads + 1])
            attend(job, u / job->heads, (uint32_t)(u % job->heads), job->self->scratch[thread]);
}

/* The longest sequence, and the sum of lengths squared. */
static size_t measure(const struct host_sequences *s, size_t *pairs) {
    size_t longest = 0;
    *pairs = 0;
    for (size_t i = 0; i < s->n; i++) {
        const size_t length = s->start[i + 1] - s->start[i];
        longest = length > longest ? length : longest;
        *pairs += length * length;
    }
    return longest;
}

void cpu_backward_attention(struct kernels *k, const float *qkv, const float *dout, uint32_t width,
                            uint32_t heads, enum kernels_mask mask, const struct backward_qk_norm *norm,
                            float *dqkv) {
    struct cpu *self = (struct cpu *)k;
    const struct host_sequences *s = &self->sequences;
    struct attention_job job = {.self = self,
                                .qkv = qkv,
                                .dout = dout,
                                .width = width,
                                .heads = heads,
                                .head_width = width / heads,
                                .mask = mask,
                                .norm = norm,
                                .dqkv = dqkv};
    struct buffers b;
    size_t pairs, longest = measure(s, &pairs);
    if (!longest || !cpu_scratch(self, lay_out(&job, longest, NULL, &b) * sizeof(float)))
        return;
    job.chunks = cpu_chunks(self, pairs * width * 5, LEAST_SHARE, s->n * heads);
    threads_run(self->threads, job.chunks, attention_chunk, &job);
    if (!norm)
        return;
    const struct head_layout layout = {.rows = (size_t)s->start[s->n] * heads,
                                       .width = job.head_width,
                                       .heads = heads,
                                       .stride = (size_t)3 * width};
    cpu_norm_gradient(self, &norm->q, &layout, qkv, dqkv, false, dqkv);
    cpu_norm_gradient(self, &norm->k, &layout, qkv + width, dqkv + width, false, dqkv + width);
}

/* ---- one query for all sequences */

struct pool_job {
    const struct cpu *self;
    const float *query, *kv, *dout;
    uint32_t width, heads, head_width, chunks;
    float *ds; /* [rows, heads] */
    float *dkv;
};

static void pool_head(const struct pool_job *job, size_t sequence, uint32_t head, float *p) {
    const struct gradient_ops *op = job->self->isa->gradients;
    const uint32_t *start = job->self->sequences.start, d = job->head_width;
    const size_t first = start[sequence], n = start[sequence + 1] - first, stride = (size_t)2 * job->width;
    const size_t column = (size_t)head * d, at = first * stride + column;
    const float *query = job->query + column, *dout = job->dout + sequence * job->width + column;
    const float scale = 1.0f / sqrtf((float)d);
    float *ds = p + n;
    for (size_t j = 0; j < n; j++) {
        const float *key = job->kv + at + j * stride;
        p[j] = scale * op->dot(query, key, d);
        ds[j] = op->dot(dout, key + job->width, d);
    }
    job->self->isa->rows->softmax(p, n);
    op->softmax(p, scale, n, ds);
    for (size_t j = 0; j < n; j++) {
        float *dkey = job->dkv + at + j * stride;
        job->ds[(first + j) * job->heads + head] = ds[j];
        for (uint32_t c = 0; c < d; c++) {
            dkey[c] = ds[j] * query[c];
            dkey[job->width + c] = p[j] * dout[c];
        }
    }
}

static void pool_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct pool_job *job = context;
    size_t first, last;
    chunk_range(job->self->sequences.n * job->heads, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++)
        if (job->self->sequences.start[u / job->heads] < job->self->sequences.start[u / job->heads + 1])
            pool_head(job, u / job->heads, (uint32_t)(u % job->heads), job->self->scratch[thread]);
}

void cpu_backward_attention_pool(struct kernels *k, const float *query, const float *kv, const float *dout,
                                 uint32_t width, uint32_t heads, float *dquery, float *dkv) {
    struct cpu *self = (struct cpu *)k;
    const struct host_sequences *s = &self->sequences;
    const uint32_t d = width / heads;
    size_t pairs, longest = measure(s, &pairs);
    const size_t rows = s->n ? s->start[s->n] : 0;
    struct pool_job job = {.self = self,
                           .query = query,
                           .kv = kv,
                           .dout = dout,
                           .width = width,
                           .heads = heads,
                           .head_width = d,
                           .ds = longest ? cpu_room(self, rows * heads) : NULL,
                           .dkv = dkv};
    if (!job.ds || !cpu_scratch(self, 2 * longest * sizeof(float)))
        return;
    job.chunks = cpu_chunks(self, rows * width * 4, LEAST_SHARE, s->n * heads);
    threads_run(self->threads, job.chunks, pool_chunk, &job);
    for (size_t r = 0; dquery && r < rows; r++)
        for (uint32_t h = 0; h < heads; h++)
            self->isa->gradients->add_scaled(kv + r * 2 * width + (size_t)h * d, job.ds[r * heads + h], d,
                                             dquery + (size_t)h * d);
}
