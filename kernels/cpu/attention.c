/* attention.c - self-attention inside each packed sequence, and attention that pools it.
 *
 * A unit is one head of one sequence. Its keys, transposed, and its values are packed as the panels of
 * isa/isa.h, so that both products run on the same units as the linear layers:
 *     scores [queries, keys] = q k^T         float32
 *     p = exp((scores - max) / sqrt(d))      float32, stored as act
 *     out = p v / sum p
 * Queries go BLOCK at a time, so the scores of a block stay near. Keys are padded to a multiple of 32 with
 * weights and values of zero; that padding depends on the sequence's length alone, hence so do the bits.
 *
 * With a causal mask a block of queries meets the keys up to its own last one, padded as if the sequence ended
 * there. A row's weights are zero beyond itself, so what follows it adds zeros at most.
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/number.h"

enum {
    BLOCK = 32, /* queries at a time; K_BLOCK or a multiple, so that padding ends where a block may */
    LEAST_SHARE = 1 << 16, /* products worth another thread */
};

/* act rows that are `stride` elements apart; heads are contiguous from x on. */
struct operand {
    const void *x;
    size_t stride;
};

struct attention_job {
    const struct cpu *self;
    struct operand query, key, value;
    const float *pool_query; /* [width]: the one query of every sequence; NULL: each row has its own */
    const uint32_t *start;
    size_t n;
    uint32_t width, heads, head_width, chunks;
    enum kernels_mask mask;
    const struct kernels_qk_norm *norm;
    void *out;
};

/* The parts of a thread's scratch for sequences of `length` rows. */
struct buffers {
    void *keys, *values;           /* panels */
    size_t key_panel, value_panel; /* bytes from panel to panel */
    float *score;                  /* [BLOCK, padded length] */
    void *p;                       /* act [BLOCK, padded length] */
    float *sum;                    /* [BLOCK] */
    float *product;                /* [BLOCK, padded head width] */
    void *query;                   /* act [BLOCK, head width], normalised or rounded */
    void *key;                     /* act [length, head width], normalised */
    float *row;                    /* [head width] */
};

static void *take(char *base, size_t *used, size_t bytes) {
    void *part = base ? base + *used : NULL;
    *used += round_up(bytes, 64);
    return part;
}

/* Lays the buffers out from `base` (NULL: only counts) and returns their size. */
static size_t lay_out(const struct attention_job *job, size_t length, char *base, struct buffers *b) {
    size_t d = job->head_width, act = job->self->base.act_size, used = 0;
    size_t keys = round_up(length, K_BLOCK), k = round_up(d, K_BLOCK), columns = round_up(d, PANEL);
    b->keys = take(base, &used, keys * k * act);
    b->values = take(base, &used, keys * columns * act);
    b->score = take(base, &used, BLOCK * keys * sizeof(float));
    b->p = take(base, &used, BLOCK * keys * act);
    b->sum = take(base, &used, BLOCK * sizeof(float));
    b->product = take(base, &used, BLOCK * columns * sizeof(float));
    b->query = take(base, &used, job->norm || job->pool_query ? BLOCK * d * act : 0);
    b->key = take(base, &used, job->norm ? length * d * act : 0);
    b->row = take(base, &used, job->norm ? d * sizeof(float) : 0);
    return used;
}

/* Rows of act, any row stride, and how many. */
struct rows {
    const void *x;
    size_t stride; /* elements */
    size_t n;
};

/* One head of n rows, from row `row` on. */
static struct rows head_rows(const struct attention_job *job, struct operand of, uint32_t head, size_t row,
                             size_t n) {
    size_t at = row * of.stride + (size_t)head * job->head_width;
    return (struct rows){(const char *)of.x + at * job->self->base.act_size, of.stride, n};
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

/* How many keys the first query of a block sees, and how many more each further one: 0 or 1. */
struct sight {
    size_t keys;
    uint32_t longer;
};

/* At most BLOCK queries, to rows of out that are `width` elements apart. */
static void attend_block(const struct attention_job *job, const struct buffers *b, struct rows query,
                         struct sight sight, void *out, uint32_t *tiles) {
    const struct cpu *self = job->self;
    const struct isa *isa = self->isa;
    void (*product)(const struct product *) = self->bf16 ? isa->product_bf16 : isa->product_f32;
    uint32_t d = job->head_width, rows = (uint32_t)query.n;
    size_t keys = sight.keys + (rows - 1) * sight.longer, columns = round_up(d, PANEL);
    size_t padded = round_up(keys, K_BLOCK), scored = round_up(keys, PANEL);
    product(&(struct product){.a = query.x,
                              .a_stride = query.stride,
                              .b = b->keys,
                              .b_stride = b->key_panel,
                              .rows = rows,
                              .panels = (uint32_t)(scored / PANEL),
                              .k = d,
                              .c = b->score,
                              .c_stride = scored,
                              .tiles = tiles});
    isa->rows->exponents(&(struct exponents){.bf16 = self->bf16,
                                             .rows = rows,
                                             .length = (uint32_t)sight.keys,
                                             .longer = sight.longer,
                                             .padded = (uint32_t)padded,
                                             .scale = 1.0f / sqrtf((float)d),
                                             .score = b->score,
                                             .score_stride = scored,
                                             .p = b->p,
                                             .sum = b->sum});
    product(&(struct product){.a = b->p,
                              .a_stride = padded,
                              .b = b->values,
                              .b_stride = b->value_panel,
                              .rows = rows,
                              .panels = (uint32_t)(columns / PANEL),
                              .k = (uint32_t)padded,
                              .c = b->product,
                              .c_stride = columns,
                              .tiles = tiles});
    for (uint32_t r = 0; r < rows; r++)
        isa->rows->divide(b->product + r * columns, b->sum[r], d, self->bf16,
                          act_row_out(self, out, r, job->width));
}

/* A head of the pooling query, as act. */
static struct rows round_query(const struct attention_job *job, uint32_t head, void *to) {
    const float *query = job->pool_query + (size_t)head * job->head_width;
    if (!job->self->bf16)
        return (struct rows){query, job->head_width, 1};
    for (uint32_t c = 0; c < job->head_width; c++)
        ((uint16_t *)to)[c] = bf16_from_float(query[c]);
    return (struct rows){to, job->head_width, 1};
}

static void attend(const struct attention_job *job, size_t sequence, uint32_t head, char *scratch,
                   uint32_t *tiles) {
    size_t first = job->start[sequence], length = job->start[sequence + 1] - first;
    const struct kernels_qk_norm *norm = job->norm;
    char *out = (char *)job->out + (size_t)head * job->head_width * job->self->base.act_size;
    struct buffers b;
    lay_out(job, length, scratch, &b);

    struct rows key = head_rows(job, job->key, head, first, length);
    if (norm)
        key = normalise(job, key, norm->k_weight, norm->k_bias, b.row, b.key);
    b.key_panel = pack_keys(job, key, round_up(length, PANEL), b.keys);
    b.value_panel = pack_values(job, head_rows(job, job->value, head, first, length),
                                round_up(length, K_BLOCK), b.values);
    if (job->pool_query) {
        attend_block(job, &b, round_query(job, head, b.query), (struct sight){length, 0},
                     act_row_out(job->self, out, sequence, job->width), tiles);
        return;
    }
    for (size_t done = 0; done < length; done += BLOCK) {
        struct rows query = head_rows(job, job->query, head, first + done, at_most(length - done, BLOCK));
        if (norm)
            query = normalise(job, query, norm->q_weight, norm->q_bias, b.row, b.query);
        struct sight sight =
            job->mask == KERNELS_CAUSAL ? (struct sight){done + 1, 1} : (struct sight){length, 0};
        attend_block(job, &b, query, sight, act_row_out(job->self, out, first + done, job->width), tiles);
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

/* The queries and keys that meet in a sequence, about; packing a key is worth a few of them. */
static size_t meetings(const struct attention_job *job, size_t length) {
    if (job->pool_query)
        return 4 * length;
    return job->mask == KERNELS_CAUSAL ? length * (length + BLOCK) / 2 : length * length;
}

static void run(struct cpu *self, struct attention_job *job) {
    struct buffers b;
    size_t longest = 0, pairs = 0;
    job->self = self;
    job->start = self->sequences.start;
    job->n = self->sequences.n;
    job->head_width = job->width / job->heads;
    for (size_t i = 0; i < job->n; i++) {
        size_t length = job->start[i + 1] - job->start[i];
        longest = length > longest ? length : longest;
        pairs += meetings(job, length);
    }
    if (!longest || !cpu_scratch(self, lay_out(job, longest, NULL, &b)))
        return;
    job->chunks = cpu_chunks(self, pairs * job->width * 2, LEAST_SHARE, job->n * job->heads);
    threads_run(self->threads, job->chunks, attention_chunk, job);
}

/* Column `column` of act rows of `stride` elements. */
static struct operand columns_from(const struct cpu *self, const void *x, size_t column, size_t stride) {
    return (struct operand){(const char *)x + column * self->base.act_size, stride};
}

void cpu_attention(struct kernels *k, const void *qkv, uint32_t width, uint32_t heads, enum kernels_mask mask,
                   const struct kernels_qk_norm *norm, void *out) {
    struct cpu *self = (struct cpu *)k;
    size_t stride = (size_t)3 * width;
    run(self, &(struct attention_job){.query = columns_from(self, qkv, 0, stride),
                                      .key = columns_from(self, qkv, width, stride),
                                      .value = columns_from(self, qkv, (size_t)2 * width, stride),
                                      .width = width,
                                      .heads = heads,
                                      .mask = mask,
                                      .norm = norm,
                                      .out = out});
}

void cpu_attention_pool(struct kernels *k, const float *query, const void *kv, uint32_t width, uint32_t heads,
                        void *out) {
    struct cpu *self = (struct cpu *)k;
    size_t stride = (size_t)2 * width;
    run(self, &(struct attention_job){.pool_query = query,
                                      .key = columns_from(self, kv, 0, stride),
                                      .value = columns_from(self, kv, width, stride),
                                      .width = width,
                                      .heads = heads,
                                      .mask = KERNELS_BIDIRECTIONAL,
                                      .out = out});
}
