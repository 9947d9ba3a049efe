/* attention_kept.c - attention of one query over keys and values that lie where earlier steps have left them.
 *
 * A unit is one head of one query. Nothing is packed: a key meets one query, so that it is read once and multiplied as it
 * lies. Scores are a chain a lane over the head's width, weights and their sum those of attention.c, and of the values
 * one chain an element in the order of the rows. So the bits depend on the query and its own rows alone.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

enum { LEAST_SHARE = 1 << 15 /* products worth another thread */ };

struct kept_job {
    const struct cpu *self;
    const void *query, *kv;
    const uint32_t *start, *row;
    size_t n;
    uint32_t width, heads, head_width, chunks;
    void *out;
};

/* The parts of a thread's scratch for `length` rows; `padded` is length to a multiple of K_BLOCK. */
struct buffers {
    float *score;       /* [length] */
    void *p;            /* act [padded] */
    float *weight;      /* [length], p as float32 */
    const void **value; /* [length] */
    float *query, *key; /* [head width], as float32 where act is not */
    float *product;     /* [head width] */
};

static void *take(char *base, size_t *used, size_t bytes) {
    void *part = base ? base + *used : NULL;
    *used += round_up(bytes, 64);
    return part;
}

/* Lays the buffers out from `base` (NULL: only counts) and returns their size. */
static size_t lay_out(const struct kept_job *job, size_t length, char *base, struct buffers *b) {
    const size_t d = job->head_width * sizeof(float);
    size_t used = 0;
    b->score = take(base, &used, length * sizeof *b->score);
    b->p = take(base, &used, round_up(length, K_BLOCK) * job->self->base.act_size);
    b->weight = take(base, &used, length * sizeof *b->weight);
    b->value = take(base, &used, length * sizeof *b->value);
    b->query = take(base, &used, d);
    b->key = take(base, &used, d);
    b->product = take(base, &used, d);
    return used;
}

/* x[n] as float32: where it lies, or in `room`. */
static const float *as_floats(const struct cpu *self, const void *x, size_t n, float *room) {
    if (!self->bf16)
        return x;
    for (size_t i = 0; i < n; i++)
        room[i] = bf16_to_float(((const uint16_t *)x)[i]);
    return room;
}

static void weigh(const struct cpu *self, const struct buffers *b, size_t length, uint32_t head_width,
                  float *sum) {
    self->isa->rows->exponents(&(struct exponents){.bf16 = self->bf16,
                                                   .rows = 1,
                                                   .length = (uint32_t)length,
                                                   .padded = (uint32_t)round_up(length, K_BLOCK),
                                                   .scale = 1.0f / sqrtf((float)head_width),
                                                   .score = b->score,
                                                   .score_stride = length,
                                                   .p = b->p,
                                                   .sum = sum});
}

/* Head `head` of query i. */
static void attend(const struct kept_job *job, size_t i, uint32_t head, char *scratch) {
    const struct cpu *self = job->self;
    const uint32_t d = job->head_width, *row = job->row + job->start[i];
    const size_t length = job->start[i + 1] - job->start[i], act = self->base.act_size,
                 column = (size_t)head * d, stride = (size_t)2 * job->width;
    const char *kv = (const char *)job->kv + column * act;
    struct buffers b;
    float sum;
    lay_out(job, length, scratch, &b);
    const float *query =
        as_floats(self, (const char *)job->query + (i * job->width + column) * act, d, b.query);
    for (size_t j = 0; j < length; j++) {
        const char *key = kv + row[j] * stride * act;
        b.score[j] = self->isa->gradients->dot(query, as_floats(self, key, d, b.key), d);
        b.value[j] = key + job->width * act;
    }
    weigh(self, &b, length, d, &sum);
    memset(b.product, 0, d * sizeof *b.product);
    self->isa->rows->combine(b.value, as_floats(self, b.p, length, b.weight), (uint32_t)length, d, self->bf16,
                             b.product);
    self->isa->rows->divide(b.product, sum, d, self->bf16,
                            (char *)job->out + (i * job->width + column) * act);
}

static void kept_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct kept_job *job = context;
    size_t first, last;
    chunk_range(job->n * job->heads, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++)
        attend(job, u / job->heads, (uint32_t)(u % job->heads), job->self->scratch[thread]);
}

void cpu_attention_kept(struct kernels *k, const void *query, const void *kv, const uint32_t *start,
                        const uint32_t *row, size_t n, uint32_t width, uint32_t heads, void *out) {
    struct cpu *self = (struct cpu *)k;
    struct kept_job job = {.self = self,
                           .query = query,
                           .kv = kv,
                           .start = start,
                           .row = row,
                           .n = n,
                           .width = width,
                           .heads = heads,
                           .head_width = width / heads,
                           .out = out};
    struct buffers b;
    size_t longest = 0;
    for (size_t i = 0; i < n; i++)
        longest = start[i + 1] - start[i] > longest ? start[i + 1] - start[i] : longest;
    if (!longest || !cpu_scratch(self, lay_out(&job, longest, NULL, &b)))
        return;
    job.chunks = cpu_chunks(self, (size_t)(start[n] - start[0]) * width * 2, LEAST_SHARE, n * heads);
    threads_run(self->threads, job.chunks, kept_chunk, &job);
}
