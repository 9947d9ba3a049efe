/* decoder.c - the decoder's forward pass, over kernels.h: the transformer of Vaswani et al., "Attention Is All You Need"
 * (arXiv 1706.03762), with the norms before what they feed, as GPT-2 has them.
 *
 *     x = token + position
 *     x += Attention(LN(x), itself and the tokens before);  x += Attention(LN(x), the picture);  x += MLP(LN(x))  in each block
 *     logits = LN(x) Token^T
 *
 * The picture is LN of the rows that its tower's last block has left. Its keys and values are made once, those of a token when
 * it is read; both stay where they are put, and each step lists the rows that each text sees.
 *
 * The decoder owns the activations of a step and the kept rows, in the backend's memory. Config, weights and kernels are
 * borrowed.
 */
#include "model/forward/decoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/forward/activation.h"
#include "model/forward/finite.h"

/* Rows that texts attend to. */
struct kept {
    void **kv;             /* [blocks]: keys and values, act [rows, 2 width] */
    size_t rows;           /* that there is room for */
    uint32_t *start, *row; /* [texts + 1], and which rows each text of a step sees; in the backend's memory */
};

struct decoder {
    const struct config *config;
    struct kernels *k;
    const struct weights_decoder *weights;
    size_t texts;
    struct kept tokens, pictures;
    /* Of one step: d = width, m = mlp. */
    float *x;                    /* [texts, d], the residual stream */
    void *h, *q, *hidden, *made; /* act [texts, d], [texts, d], [texts, m], [texts, 2 d] */
    float *logits;               /* [texts, vocab] */
    /* Of one picture, t = the image tower's width. */
    float *seen;           /* [image tokens, t] */
    void *looked;          /* act, its norm */
    uint32_t *start, *row; /* as the pictures', on the host */
};

/* ---- memory */

static size_t tokens_of(const struct decoder *d) {
    return config_image_tokens(d->config);
}

/* Bytes of a row's keys and values. */
static size_t kept_bytes(const struct decoder *d) {
    return 2 * (size_t)d->config->decoder.tower.width * d->k->act_size;
}

static bool alloc(struct decoder *d, size_t rows, size_t bytes, void *to) {
    size_t all;
    void *room = __builtin_mul_overflow(rows, bytes, &all) ? NULL : d->k->ops->alloc(d->k, all);
    memcpy(to, &room, sizeof room);
    return room;
}

/* For lists of which a text's has at most `longest` rows. */
static bool begin_kept(struct decoder *d, struct kept *kept, size_t longest) {
    kept->kv = calloc(d->weights->blocks, sizeof *kept->kv);
    return kept->kv && alloc(d, d->texts + 1, sizeof *kept->start, &kept->start) &&
           alloc(d, d->texts, longest * sizeof *kept->row, &kept->row);
}

static bool begin(struct decoder *d) {
    const struct config_tower *t = &d->config->decoder.tower;
    const size_t act = d->k->act_size, tokens = tokens_of(d), row = d->config->tower[LIMOE_IMAGE].width;
    d->start = calloc(d->texts + 1, sizeof *d->start);
    d->row = calloc(d->texts, tokens * sizeof *d->row);
    return d->start && d->row && alloc(d, d->texts, t->width * sizeof *d->x, &d->x) &&
           alloc(d, d->texts, t->width * act, &d->h) && alloc(d, d->texts, t->width * act, &d->q) &&
           alloc(d, d->texts, t->mlp * act, &d->hidden) && alloc(d, d->texts, kept_bytes(d), &d->made) &&
           alloc(d, d->texts, d->config->text.vocab * sizeof *d->logits, &d->logits) &&
           alloc(d, tokens, row * sizeof *d->seen, &d->seen) && alloc(d, tokens, row * act, &d->looked) &&
           begin_kept(d, &d->tokens, d->config->decoder.length) && begin_kept(d, &d->pictures, tokens);
}

enum limoe_status decoder_create(const struct config *config, struct kernels *k,
                                 const struct weights_decoder *weights, size_t texts, struct decoder **out,
                                 struct limoe_error *err) {
    struct decoder *d = calloc(1, sizeof *d);
    *out = d;
    if (d) {
        d->config = config;
        d->k = k;
        d->weights = weights;
        d->texts = texts;
    }
    if (d && begin(d))
        return LIMOE_OK;
    decoder_destroy(d);
    *out = NULL;
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for captions, %zu at once", texts);
}

static void release_kept(struct decoder *d, struct kept *kept) {
    for (uint32_t i = 0; kept->kv && i < d->weights->blocks; i++)
        d->k->ops->release(d->k, kept->kv[i]);
    free(kept->kv);
    d->k->ops->release(d->k, kept->row);
    d->k->ops->release(d->k, kept->start);
}

void decoder_destroy(struct decoder *d) {
    if (!d)
        return;
    void *const parts[] = {d->x, d->h, d->q, d->hidden, d->made, d->logits, d->seen, d->looked};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        d->k->ops->release(d->k, parts[i]);
    release_kept(d, &d->pictures);
    release_kept(d, &d->tokens);
    free(d->row);
    free(d->start);
    free(d);
}

/* Of all blocks or of none. */
static bool grow(struct decoder *d, struct kept *kept, size_t rows) {
    const struct kernels_ops *op = d->k->ops;
    const uint32_t blocks = d->weights->blocks;
    void **kv = calloc(blocks, sizeof *kv);
    bool good = kv;
    for (uint32_t i = 0; good && i < blocks; i++)
        good = alloc(d, rows, kept_bytes(d), &kv[i]);
    for (uint32_t i = 0; good && kept->rows && i < blocks; i++)
        op->copy(d->k, kv[i], kept->kv[i], kept->rows * kept_bytes(d));
    void **const gone = good ? kept->kv : kv;
    for (uint32_t i = 0; gone && i < blocks; i++)
        op->release(d->k, gone[i]);
    free(gone);
    if (good) {
        kept->kv = kv;
        kept->rows = rows;
    }
    return good;
}

enum limoe_status decoder_reserve(struct decoder *d, size_t pictures, size_t rows, struct limoe_error *err) {
    const size_t seen = pictures * tokens_of(d);
    if ((seen <= d->pictures.rows || grow(d, &d->pictures, seen)) &&
        (rows <= d->tokens.rows || grow(d, &d->tokens, rows)))
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for captions of %zu pictures, by %zu tokens", pictures,
                      rows);
}

/* ---- the pass */

/* Where a row's keys and values lie. */
static void *kept_row(const struct decoder *d, const struct kept *kept, uint32_t block, size_t row) {
    return (char *)kept->kv[block] + row * kept_bytes(d);
}

void decoder_look(struct decoder *d, size_t picture, const float *rows) {
    const struct kernels_ops *op = d->k->ops;
    const struct weights_norm *ln = &d->weights->rows_ln;
    const uint32_t width = d->config->tower[LIMOE_IMAGE].width;
    const size_t n = tokens_of(d);
    op->upload(d->k, d->seen, rows, n * width * sizeof *rows);
    op->layernorm(d->k, d->seen, ln->weight, ln->bias, d->config->decoder.tower.ln_eps, n, width, d->looked,
                  NULL);
    for (uint32_t i = 0; i < d->weights->blocks; i++)
        op->linear(d->k, d->weights->block[i].cross.kv, d->looked, n, KERNELS_STORE,
                   kept_row(d, &d->pictures, i, picture * n));
}

/* h = LN(x) */
static void norm(struct decoder *d, const struct weights_norm *ln, size_t n) {
    d->k->ops->layernorm(d->k, d->x, ln->weight, ln->bias, d->config->decoder.tower.ln_eps, n,
                         d->config->decoder.tower.width, d->h, NULL);
}

/* x += Attention(h, the rows that each text sees) */
static void attend(struct decoder *d, const struct weights_attention *a, const struct kept *to,
                   uint32_t block, size_t n) {
    const struct kernels_ops *op = d->k->ops;
    const struct config_tower *t = &d->config->decoder.tower;
    op->linear(d->k, a->q, d->h, n, KERNELS_STORE, d->q);
    op->attention_kept(d->k, d->q, to->kv[block], to->start, to->row, n, t->width, t->heads, d->h);
    op->linear(d->k, a->out, d->h, n, KERNELS_ADD_F32, d->x);
}

/* Keys and values of h, each where the step says; those that lie side by side at once. */
static void keep(struct decoder *d, uint32_t block, const struct decoder_step *s) {
    const size_t bytes = kept_bytes(d);
    d->k->ops->linear(d->k, d->weights->block[block].self.kv, d->h, s->n, KERNELS_STORE, d->made);
    for (size_t i = 0, end; i < s->n; i = end) {
        for (end = i + 1; end < s->n && s->row[end] == s->row[i] + (end - i);)
            end++;
        d->k->ops->copy(d->k, kept_row(d, &d->tokens, block, s->row[i]), (char *)d->made + i * bytes,
                        (end - i) * bytes);
    }
}

static void pass_block(struct decoder *d, uint32_t block, const struct decoder_step *s) {
    const struct kernels_ops *op = d->k->ops;
    const struct weights_decoder_block *b = &d->weights->block[block];
    const size_t n = s->n;
    norm(d, &b->ln1, n);
    keep(d, block, s);
    attend(d, &b->self, &d->tokens, block, n);
    norm(d, &b->ln2, n);
    attend(d, &b->cross, &d->pictures, block, n);
    norm(d, &b->ln3, n);
    op->linear(d->k, b->fc1, d->h, n, epilogue_of(&d->config->decoder.tower), d->hidden);
    op->linear(d->k, b->fc2, d->hidden, n, KERNELS_ADD_F32, d->x);
}

/* Tells the backend which rows each text sees. */
static void show(struct decoder *d, struct kept *kept, const uint32_t *start, const uint32_t *row, size_t n) {
    d->k->ops->upload(d->k, kept->start, start, (n + 1) * sizeof *start);
    d->k->ops->upload(d->k, kept->row, row, start[n] * sizeof *row);
}

/* Each text sees all of its picture. */
static void show_pictures(struct decoder *d, const uint32_t *picture, size_t n) {
    const uint32_t tokens = (uint32_t)tokens_of(d);
    for (uint32_t i = 0; i < n; i++) {
        d->start[i + 1] = (i + 1) * tokens;
        for (uint32_t j = 0; j < tokens; j++)
            d->row[i * tokens + j] = picture[i] * tokens + j;
    }
    show(d, &d->pictures, d->start, d->row, n);
}

enum limoe_status decoder_step(struct decoder *d, const struct decoder_step *s, float *logits,
                               struct limoe_error *err) {
    const struct kernels_ops *op = d->k->ops;
    const struct weights_decoder *w = d->weights;
    const size_t vocab = d->config->text.vocab;
    enum limoe_status status;
    show(d, &d->tokens, s->start, s->seen, s->n);
    show_pictures(d, s->picture, s->n);
    op->embed_tokens(d->k, w->token, w->pos, s->token, s->position, s->n, d->x);
    for (uint32_t i = 0; i < w->blocks; i++)
        pass_block(d, i, s);
    norm(d, &w->ln, s->n);
    op->linear(d->k, w->head, d->h, s->n, KERNELS_STORE_F32, d->logits);
    if ((status = op->sync(d->k, err)))
        return status;
    op->download(d->k, logits, d->logits, s->n * vocab * sizeof *logits);
    return all_finite(logits, s->n * vocab)
               ? LIMOE_OK
               : limoe_fail(err, LIMOE_INTERNAL,
                            "a caption's logits are not finite; the decoder's weights hold NaN or infinite "
                            "values, or overflow %s",
                            limoe_dtype_name(d->k->dtype));
}
