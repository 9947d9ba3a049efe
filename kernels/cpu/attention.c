/* attention.c - bidirectional self-attention inside each packed sequence.
 *
 * A unit is one head of one sequence. Its keys, transposed, and its values are packed as the panels of
 * isa/isa.h, so that both products run on the same units as the linear layers:
 *     scores [queries, keys] = q k^T         float32
 *     p = exp((scores - max) / sqrt(d))      float32, stored as act
 *     out = p v / sum p
 * Queries go BLOCK at a time, so the scores of a block stay near. Keys are padded to a multiple of 32 with
 * weights and values of zero; that padding depends on the sequence's length alone, hence so do the bits.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

enum {
    BLOCK = 32,            /* queries at a time */
    LEAST_SHARE = 1 << 16, /* products worth another thread */
};

struct attention_job {
    const struct cpu *self;
    const void *qkv;
    const uint32_t *start;
    size_t n;
    uint32_t width, heads, head_width, chunks;
    const struct kernels_qk_norm *norm;
    void *out;
};

/* The parts of a thread's scratch for sequences of `length` rows. */
struct buffers {
    void *keys, *values; /* panels */
    float *score;        /* [BLOCK, padded length] */
    void *p;             /* act [BLOCK, padded length] */
    float *sum;          /* [BLOCK] */
    float *product;      /* [BLOCK, padded head width] */
    void *query;         /* act [BLOCK, head width], normalised */
    void *key;           /* act [length, head width], normalised */
    float *row;          /* [head width] */
};

static void *take(char *base, size_t *used, size_t bytes) {
    void *part = base ? base + *used : NULL;
    *used += round_up(bytes, 64);
    return part;
}

/* Lays the buffers out from `base` (NULL: only counts) and returns their size. */
static size_t lay_out(const struct cpu *self, uint32_t head_width, size_t length, bool norm, char *base,
                      struct buffers *b) {
    size_t keys = round_up(length, K_BLOCK), k = round_up(head_width, K_BLOCK), used = 0;
    size_t columns = round_up(head_width, PANEL), act = self->base.act_size;
    b->keys = take(base, &used, keys * k * act);
    b->values = take(base, &used, keys * columns * act);
    b->score = take(base, &used, BLOCK * keys * sizeof(float));
    b->p = take(base, &used, BLOCK * keys * act);
    b->sum = take(base, &used, BLOCK * sizeof(float));
    b->product = take(base, &used, BLOCK * columns * sizeof(float));
    if (norm) {
        b->query = take(base, &used, BLOCK * head_width * act);
        b->key = take(base, &used, length * head_width * act);
        b->row = take(base, &used, head_width * sizeof(float));
    }
    return used;
}

/* Rows of act, any row stride, and how many. */
struct rows {
    const void *x;
    size_t stride; /* elements */
    size_t n;
};

/* Part 0, 1, 2: q, k, v of a head, from row `row` on. */
static struct rows head_rows(const struct attention_job *job, uint32_t part, uint32_t head, size_t row,
                             size_t n) {
    size_t stride = (size_t)3 * job->width;
    size_t at = row * stride + (size_t)part * job->width + (size_t)head * job->head_width;
    return (struct rows){(const char *)job->qkv + at * job->self->base.act_size, stride, n};
}

/* LayerNorm over each row, into act rows of head_width. */
static struct rows normalise(const struct attention_job *job, struct rows from, const float *weight,
                             const float *bias, float *row, void *out) {
    const struct cpu *self = job->self;
    for (size_t r = 0; r < from.n; r++) {
        const void *x = act_row(self, from.x, r, from.stride);
        for (uint32_t c = 0; c < job->head_width; c++)
            row[c] = self->bf16 ? bf16_to_float(((const uint16_t *)x)[c]) : ((const float *)x)[c];
        self->isa->rows->layernorm(row, weight, bias, job->norm->eps, job->head_width, self->bf16,
                                   act_row_out(self, out, r, job->head_width), NULL);
    }
    return (struct rows){out, job->head_width, from.n};
}

/* The panels of B = k^T: [head width, keys]. Returns the bytes of a panel. */
static size_t pack_keys(const struct attention_job *job, struct rows key, size_t scored, char *panels) {
    const struct cpu *self = job->self;
    size_t words = self->bf16 ? job->head_width / 2 : job->head_width; /* whole words of a row */
    size_t panel_words = self->bf16 ? round_up(job->head_width, K_BLOCK) / 2 : job->head_width;
    size_t panel_bytes = panel_words * PANEL * sizeof(uint32_t);
    for (size_t first = 0; first < scored; first += PANEL, panels += panel_bytes) {
        uint32_t *panel = (uint32_t *)(void *)panels;
        uint32_t n = at_most(key.n - first, PANEL);
        const void *x = act_row(self, key.x, first, key.stride);
        self->isa->rows->transpose(x, key.stride * self->base.act_size, n, words, panel);
        size_t done = words;
        if (self->bf16 && job->head_width % 2) {
            for (uint32_t c = 0; c < PANEL; c++)
                panel[words * PANEL + c] =
                    c < n ? ((const uint16_t *)x)[c * key.stride + job->head_width - 1] : 0;
            done++;
        }
        memset(panel + done * PANEL, 0, (panel_words - done) * PANEL * sizeof *panel);
    }
    return panel_bytes;
}

/* One row of 16 pairs: elements of rows `even` and `odd` side by side; n of them, the rest zero. */
static void interleave(const uint16_t *even, const uint16_t *odd, uint32_t n, uint32_t *out) {
    if (n == PANEL) {
        for (uint32_t c = 0; c < PANEL; c++)
            out[c] = (uint32_t)odd[c] << 16 | even[c];
        return;
    }
    for (uint32_t c = 0; c < PANEL; c++)
        out[c] = c < n ? (uint32_t)odd[c] << 16 | even[c] : 0;
}

/* The panels of B = v: [padded keys, head width]. Returns the bytes of a panel. */
static size_t pack_values(const struct attention_job *job, struct rows value, size_t padded, char *panels) {
    static const uint16_t zero[PANEL];
    const struct cpu *self = job->self;
    size_t panel_bytes = padded * PANEL * self->base.act_size;
    for (uint32_t first = 0; first < job->head_width; first += PANEL, panels += panel_bytes) {
        uint32_t n = at_most(job->head_width - first, PANEL);
        if (self->bf16) {
            const uint16_t *x = (const uint16_t *)value.x + first;
            for (size_t r = 0; r < padded; r += 2)
                interleave(r < value.n ? x + r * value.stride : zero,
                           r + 1 < value.n ? x + (r + 1) * value.stride : zero, n,
                           (uint32_t *)(void *)panels + r / 2 * PANEL);
        } else {
            const float *x = (const float *)value.x + first;
            float *panel = (float *)(void *)panels;
            memset(panel, 0, panel_bytes);
            for (size_t r = 0; r < value.n; r++)
                memcpy(panel + r * PANEL, x + r * value.stride, n * sizeof *x);
        }
    }
    return panel_bytes;
}

static void attend(const struct attention_job *job, size_t sequence, uint32_t head, char *scratch,
                   uint32_t *tiles) {
    const struct cpu *self = job->self;
    const struct isa *isa = self->isa;
    void (*product)(const struct product *) = self->bf16 ? isa->product_bf16 : isa->product_f32;
    uint32_t d = job->head_width;
    size_t first = job->start[sequence], length = job->start[sequence + 1] - first;
    size_t padded = round_up(length, K_BLOCK), scored = round_up(length, PANEL);
    const struct kernels_qk_norm *norm = job->norm;
    struct buffers b;
    lay_out(self, d, length, norm != NULL, scratch, &b);

    struct rows key = head_rows(job, 1, head, first, length);
    if (norm)
        key = normalise(job, key, norm->k_weight, norm->k_bias, b.row, b.key);
    size_t key_panel = pack_keys(job, key, scored, b.keys);
    size_t value_panel = pack_values(job, head_rows(job, 2, head, first, length), padded, b.values);
    for (size_t done = 0; done < length; done += BLOCK) {
        uint32_t rows = at_most(length - done, BLOCK);
        struct rows query = head_rows(job, 0, head, first + done, rows);
        if (norm)
            query = normalise(job, query, norm->q_weight, norm->q_bias, b.row, b.query);
        product(&(struct product){.a = query.x,
                                  .a_stride = query.stride,
                                  .b = b.keys,
                                  .b_stride = key_panel,
                                  .rows = rows,
                                  .panels = (uint32_t)(scored / PANEL),
                                  .k = d,
                                  .c = b.score,
                                  .c_stride = scored,
                                  .tiles = tiles});
        isa->rows->exponents(&(struct exponents){.bf16 = self->bf16,
                                                 .rows = rows,
                                                 .length = (uint32_t)length,
                                                 .padded = (uint32_t)padded,
                                                 .scale = 1.0f / sqrtf((float)d),
                                                 .score = b.score,
                                                 .score_stride = scored,
                                                 .p = b.p,
                                                 .sum = b.sum});
        size_t columns = round_up(d, PANEL);
        product(&(struct product){.a = b.p,
                                  .a_stride = padded,
                                  .b = b.values,
                                  .b_stride = value_panel,
                                  .rows = rows,
                                  .panels = (uint32_t)(columns / PANEL),
                                  .k = (uint32_t)padded,
                                  .c = b.product,
                                  .c_stride = columns,
                                  .tiles = tiles});
        for (uint32_t r = 0; r < rows; r++)
            isa->rows->divide(b.product + r * columns, b.sum[r], d, self->bf16,
                              (char *)job->out +
                                  ((first + done + r) * job->width + (size_t)head * d) * self->base.act_size);
    }
}

static void attention_chunk(void *context, uint32_t chunk, uint32_t thread) {
    const struct attention_job *job = context;
    uint32_t tiles = 0;
    size_t first, last;
    chunk_range(job->n * job->heads, chunk, job->chunks, &first, &last);
    for (size_t u = first; u < last; u++)
        attend(job, u / job->heads, (uint32_t)(u % job->heads), job->self->scratch[thread], &tiles);
    if (job->self->isa->finish)
        job->self->isa->finish(&tiles);
}

void cpu_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads,
                   const struct kernels_qk_norm *norm, void *out) {
    struct cpu *self = (struct cpu *)k;
    const uint32_t *start = self->sequences.start;
    const size_t n = self->sequences.n;
    struct buffers b;
    size_t longest = 0, pairs = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length = start[i + 1] - start[i];
        longest = length > longest ? length : longest;
        pairs += length * length;
    }
    if (!longest || !cpu_scratch(self, lay_out(self, width / heads, longest, norm != NULL, NULL, &b)))
        return;
    struct attention_job job = {.self = self,
                                .qkv = qkv,
                                .start = start,
                                .n = n,
                                .width = width,
                                .heads = heads,
                                .head_width = width / heads,
                                .chunks = cpu_chunks(self, pairs * width * 2, LEAST_SHARE, n * heads),
                                .norm = norm,
                                .out = out};
    threads_run(self->threads, job.chunks, attention_chunk, &job);
}
