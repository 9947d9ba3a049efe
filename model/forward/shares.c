/* shares.c - splits pictures' embeddings by patches. The encoder owns what is here for as long as a step; no threads. */
#include "model/forward/shares.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "kernels/number.h"

struct shares_picture {
    size_t sequence; /* of the step */
    float *to;       /* the item's [patches + 1, embed] */
    float
        *taken; /* the backend's [patches + 1, width]: what the attentions add, summed up; NULL with a mean */
    double length; /* |z| */
};

enum limoe_shares shares_of(const struct config *config) {
    static const enum limoe_shares kinds[] = {[CONFIG_POOL_MEAN] = LIMOE_SHARES_MEAN,
                                              [CONFIG_POOL_REST] = LIMOE_SHARES_MEAN,
                                              [CONFIG_POOL_FIRST] = LIMOE_SHARES_CLASS_TOKEN,
                                              [CONFIG_POOL_LAST] = LIMOE_SHARES_CLASS_TOKEN,
                                              [CONFIG_POOL_ATTENTION] = LIMOE_SHARES_ATTENTION};
    const struct config_tower *t = &config->tower[LIMOE_IMAGE];
    if (!config_has(config, LIMOE_IMAGE))
        return LIMOE_SHARES_NONE;
    const enum limoe_shares kind = kinds[t->pool];
    /* Norms behind each sublayer leave no sum that a token could be split into. */
    return kind == LIMOE_SHARES_CLASS_TOKEN && t->post_norm ? LIMOE_SHARES_NONE : kind;
}

static const struct config_tower *tower_of(const struct shares *s) {
    return &s->config->tower[LIMOE_IMAGE];
}

static size_t patches_of(const struct shares *s) {
    return config_patches(s->config);
}

/* Rows before the first patch's. */
static size_t lead_of(const struct shares *s) {
    return s->config->image.class_token ? 1 : 0;
}

/* ---- memory */

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

/* The backend's memory for a sum, which begins as zeros. */
static float *zeros(const struct shares *s) {
    const size_t bytes = (patches_of(s) + 1) * tower_of(s)->width * sizeof(float);
    float *sum = s->k->ops->alloc(s->k, bytes);
    if (sum) {
        memset(s->part, 0, bytes);
        s->k->ops->upload(s->k, sum, s->part, bytes);
    }
    return sum;
}

/* Room for one picture, and for each a sum of what the attentions add. */
static bool allocate(struct shares *s) {
    const struct kernels_ops *op = s->k->ops;
    const size_t width = tower_of(s)->width, embed = s->config->embed, rows = patches_of(s) + 1;
    const size_t tokens = config_image_tokens(s->config);
    bool good = true;
    s->in = op->alloc(s->k, rows * width * s->k->act_size);
    s->out = op->alloc(s->k, rows * embed * sizeof *s->out);
    s->act = malloc(largest(tokens * 3, rows) * width * s->k->act_size);
    s->taken = malloc(tokens * 3 * width * sizeof *s->taken);
    s->part = malloc(rows * largest(width, embed) * sizeof *s->part);
    s->small = malloc(largest(tokens, 2 * width) * sizeof *s->small);
    s->z = malloc(embed * sizeof *s->z);
    if (!s->in || !s->out || !s->act || !s->taken || !s->part || !s->small || !s->z)
        return false;
    for (size_t i = 0; shares_of(s->config) != LIMOE_SHARES_MEAN && i < s->count; i++)
        good = (s->picture[i].taken = zeros(s)) && good;
    return good;
}

static size_t count_asking(const struct step *step) {
    size_t n = 0;
    for (size_t i = 0; i < step->pack.images; i++)
        n += step->shares[i] != NULL;
    return n;
}

enum limoe_status shares_begin(struct shares *s, const struct config *config, const struct weights *weights,
                               struct kernels *k, const struct step *step, struct limoe_error *err) {
    const size_t asking = count_asking(step);
    *s = (struct shares){.config = config, .weights = weights, .k = k};
    if (!asking)
        return LIMOE_OK;
    s->picture = calloc(asking, sizeof *s->picture);
    for (size_t i = 0; s->picture && i < step->pack.images; i++)
        if (step->shares[i])
            s->picture[s->count++] = (struct shares_picture){.sequence = i, .to = step->shares[i]};
    if (s->picture && allocate(s))
        return LIMOE_OK;
    shares_end(s);
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the shares of %zu pictures' patches", asking);
}

void shares_end(struct shares *s) {
    for (size_t i = 0; s->picture && i < s->count; i++)
        s->k->ops->release(s->k, s->picture[i].taken);
    if (s->k) {
        s->k->ops->release(s->k, s->in);
        s->k->ops->release(s->k, s->out);
    }
    free(s->picture);
    free(s->act);
    free(s->taken);
    free(s->part);
    free(s->small);
    free(s->z);
    *s = (struct shares){0};
}

/* ---- numbers */

static void from_act(const struct kernels *k, const void *act, size_t n, float *out) {
    const struct kernels_tensor t = {act, k->act_size == sizeof *out ? KERNELS_F32 : KERNELS_BF16};
    tensor_read(t, 0, n, out);
}

static void to_act(const struct kernels *k, const float *x, size_t n, void *act) {
    if (k->act_size == sizeof *x) {
        memcpy(act, x, n * sizeof *x);
        return;
    }
    for (size_t i = 0; i < n; i++)
        ((uint16_t *)act)[i] = bf16_from_float(x[i]);
}

struct moments {
    double mean, scale; /* scale = 1 / sqrt(variance + eps) */
};

static struct moments measure(const float *x, size_t width, double eps) {
    double mean = 0, variance = 0;
    for (size_t c = 0; c < width; c++)
        mean += x[c] / (double)width;
    for (size_t c = 0; c < width; c++)
        variance += (x[c] - mean) * (x[c] - mean) / (double)width;
    return (struct moments){mean, 1 / sqrt(variance + eps)};
}

void shares_weigh(const struct shares_head *head, size_t first, size_t n, float *score, float *part,
                  size_t part_stride) {
    const double scale = 1 / sqrt((double)head->width);
    double most = -INFINITY, sum = 0;
    for (size_t j = 0; j < head->rows; j++) {
        double dot = 0;
        for (uint32_t c = 0; c < head->width; c++)
            dot += (double)head->query[c] * head->key[j * head->stride + c];
        score[j] = (float)(dot * scale);
        most = score[j] > most ? score[j] : most;
    }
    for (size_t j = 0; j < head->rows; j++)
        sum += exp(score[j] - most);
    for (size_t i = 0; i < n; i++) {
        const double weight = first + i < head->rows ? exp(score[first + i] - most) / sum : 0;
        for (uint32_t c = 0; c < head->width; c++)
            part[i * part_stride + c] =
                weight != 0 ? (float)(weight * head->value[(first + i) * head->stride + c]) : 0;
    }
}

/* ---- what the attentions add */

/* y += part W^T + b, or y = that. */
static void multiply(const struct shares *s, const struct kernels_matrix *m, enum kernels_epilogue epilogue,
                     float *y) {
    const size_t rows = patches_of(s) + 1, n = rows * tower_of(s)->width;
    to_act(s->k, s->part, n, s->act);
    s->k->ops->upload(s->k, s->in, s->act, n * s->k->act_size);
    s->k->ops->linear(s->k, m, s->in, rows, epilogue, y);
}

/* The rows of a picture, of `columns` numbers, to s->taken. */
static void take_rows(struct shares *s, const struct step *step, size_t sequence, const void *act,
                      size_t columns) {
    const size_t tokens = config_image_tokens(s->config), row_bytes = columns * s->k->act_size;
    s->k->ops->download(s->k, s->act, (const char *)act + step->pack.start[sequence] * row_bytes,
                        tokens * row_bytes);
    from_act(s->k, s->act, tokens * columns, s->taken);
}

/* s->part = weight times value of each patch, all heads; the last row is zeros. Columns of s->taken begin with the keys
 * at `key`, and the values follow them. `rows` is how many the query sees. */
static void weigh(struct shares *s, const float *query, size_t key, size_t stride, size_t rows) {
    const struct config_tower *t = tower_of(s);
    const size_t patches = patches_of(s);
    const uint32_t head_width = t->width / t->heads;
    for (size_t at = 0; at < t->width; at += head_width) {
        const struct shares_head head = {.query = query + at,
                                         .key = s->taken + key + at,
                                         .value = s->taken + key + t->width + at,
                                         .rows = rows,
                                         .stride = stride,
                                         .width = head_width};
        shares_weigh(&head, lead_of(s), patches, s->small, s->part + at, t->width);
    }
    memset(s->part + patches * t->width, 0, t->width * sizeof *s->part);
}

/* LayerNorm of each head of a row. */
static void norm_heads(const struct config_tower *t, const float *weight, const float *bias, float *row) {
    const uint32_t head_width = t->width / t->heads;
    for (size_t at = 0; at < t->width; at += head_width) {
        const struct moments m = measure(row + at, head_width, t->ln_eps);
        for (uint32_t c = 0; c < head_width; c++)
            row[at + c] = (float)((row[at + c] - m.mean) * m.scale * weight[c] + bias[c]);
    }
}

/* The norm's weight and bias, on the host: *weight [n], *bias [n] behind it. */
static void take_norm(const struct shares *s, const struct weights_norm *norm, size_t n, float *weight) {
    s->k->ops->download(s->k, weight, norm->weight, n * sizeof *weight);
    s->k->ops->download(s->k, weight + n, norm->bias, n * sizeof *weight);
}

/* With "qk_norm", the queries or keys of all rows of s->taken. */
static void norm_columns(struct shares *s, const struct weights_norm *norm, size_t column, size_t rows) {
    const struct config_tower *t = tower_of(s);
    const uint32_t head_width = t->width / t->heads;
    if (!t->qk_norm)
        return;
    take_norm(s, norm, head_width, s->small);
    for (size_t r = 0; r < rows; r++)
        norm_heads(t, s->small, s->small + head_width, s->taken + r * 3 * t->width + column);
}

void shares_attend(struct shares *s, const struct weights_block *block, const struct step *step,
                   const void *qkv) {
    if (!s->count || shares_of(s->config) != LIMOE_SHARES_CLASS_TOKEN)
        return;
    const struct config_tower *t = tower_of(s);
    const size_t tokens = config_image_tokens(s->config), stride = (size_t)3 * t->width;
    const size_t token = t->pool == CONFIG_POOL_LAST ? tokens - 1 : 0; /* the one that is kept */
    for (size_t i = 0; i < s->count; i++) {
        take_rows(s, step, s->picture[i].sequence, qkv, stride);
        norm_columns(s, &block->q_norm, 0, tokens);
        norm_columns(s, &block->k_norm, t->width, tokens);
        weigh(s, s->taken + token * stride, t->width, stride, t->causal ? token + 1 : tokens);
        multiply(s, block->out, KERNELS_ADD_F32, s->picture[i].taken);
    }
}

void shares_pool(struct shares *s, const struct step *step, const void *kv) {
    if (!s->count || shares_of(s->config) != LIMOE_SHARES_ATTENTION)
        return;
    const struct weights_pool *pool = &s->weights->image.pool;
    const size_t width = tower_of(s)->width, tokens = config_image_tokens(s->config);
    float *const query = s->taken + tokens * 2 * width; /* behind the rows */
    for (size_t i = 0; i < s->count; i++) {
        take_rows(s, step, s->picture[i].sequence, kv, 2 * width);
        s->k->ops->download(s->k, query, pool->query, width * sizeof *query);
        weigh(s, query, 0, 2 * width, tokens);
        multiply(s, pool->out, KERNELS_STORE_F32, s->picture[i].taken);
    }
}

void shares_measure(struct shares *s, const float *z) {
    const size_t embed = s->config->embed;
    for (size_t i = 0; i < s->count; i++) {
        double sum = 0;
        s->k->ops->download(s->k, s->z, z + s->picture[i].sequence * embed, embed * sizeof *s->z);
        for (size_t c = 0; c < embed; c++)
            sum += (double)s->z[c] * s->z[c];
        s->picture[i].length = sqrt(sum);
    }
}

/* ---- rows of the embedding */

/* What biases have added to each row, which the row of zeros shows, is nobody's. */
static void subtract_last(float *rows, size_t n, size_t width) {
    const float *last = rows + n * width;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < width; c++)
            rows[i * width + c] -= last[c];
    memset(rows + n * width, 0, width * sizeof *rows);
}

/* s->part = each patch's part of the mean. */
static void part_of_mean(struct shares *s, const struct shares_picture *picture, const struct step *step,
                         const struct workspace *work) {
    const struct config_tower *t = tower_of(s);
    const size_t patches = patches_of(s), width = t->width;
    const float *rows = t->late_norm || t->post_norm ? work->x : work->h32;
    const double pooled = t->pool == CONFIG_POOL_REST ? (double)patches : config_image_tokens(s->config);
    s->k->ops->download(s->k, s->part, rows + (step->pack.start[picture->sequence] + lead_of(s)) * width,
                        patches * width * sizeof *s->part);
    for (size_t i = 0; i < patches * width; i++)
        s->part[i] = (float)(s->part[i] / pooled);
    memset(s->part + patches * width, 0, width * sizeof *s->part);
}

/* s->part = what the attentions have added of each patch. */
static void part_taken(struct shares *s, const struct shares_picture *picture) {
    const size_t patches = patches_of(s), width = tower_of(s)->width;
    s->k->ops->download(s->k, s->part, picture->taken, (patches + 1) * width * sizeof *s->part);
    subtract_last(s->part, patches, width);
}

/* The norm of what was pooled, of its parts: linear in them, given the mean and variance of the whole. Its bias is
 * nobody's. */
static void norm_parts(struct shares *s, const struct shares_picture *picture, const float *pooled32) {
    const struct config_tower *t = tower_of(s);
    const size_t width = t->width;
    const float *weight = s->small;
    s->k->ops->download(s->k, s->taken, pooled32 + picture->sequence * width, width * sizeof *s->taken);
    const double scale = measure(s->taken, width, t->ln_eps).scale;
    take_norm(s, &s->weights->ln[LIMOE_IMAGE], width, s->small);
    for (size_t i = 0; i < patches_of(s); i++) {
        float *part = s->part + i * width;
        const double mean = measure(part, width, 0).mean;
        for (size_t c = 0; c < width; c++)
            part[c] = (float)((part[c] - mean) * scale * weight[c]);
    }
}

/* Whether a norm follows the pooling. */
static bool norms_late(const struct shares *s) {
    const struct config_tower *t = tower_of(s);
    return shares_of(s->config) == LIMOE_SHARES_CLASS_TOKEN || (t->late_norm && !t->post_norm);
}

static void project_parts(struct shares *s) {
    const size_t patches = patches_of(s), embed = s->config->embed;
    multiply(s, s->weights->image.proj, KERNELS_STORE_F32, s->out);
    s->k->ops->download(s->k, s->part, s->out, (patches + 1) * embed * sizeof *s->part);
    subtract_last(s->part, patches, embed);
}

/* to = s->part / |z|, and behind it what the sum lacks of the embedding. False: some are not finite. */
static bool finish(const struct shares *s, const struct shares_picture *picture, const float *embedding) {
    const size_t patches = patches_of(s), embed = s->config->embed;
    const double scale = picture->length > 0 ? 1 / picture->length : 0;
    bool finite = true;
    for (size_t c = 0; c < embed; c++) {
        double rest = embedding[c];
        for (size_t i = 0; i < patches; i++) {
            float *to = &picture->to[i * embed + c];
            *to = (float)(s->part[i * embed + c] * scale);
            rest -= *to;
            finite = finite && isfinite(*to);
        }
        picture->to[patches * embed + c] = (float)rest;
        finite = finite && isfinite((float)rest);
    }
    return finite;
}

enum limoe_status shares_deliver(struct shares *s, const struct step *step, const struct workspace *work,
                                 const float *host_z, struct limoe_error *err) {
    for (size_t i = 0; i < s->count; i++) {
        const struct shares_picture *picture = &s->picture[i];
        if (picture->taken)
            part_taken(s, picture);
        else
            part_of_mean(s, picture, step, work);
        if (shares_of(s->config) != LIMOE_SHARES_ATTENTION) {
            if (norms_late(s))
                norm_parts(s, picture, work->pooled32);
            if (s->config->image.projection)
                project_parts(s);
        }
        if (!finish(s, picture, host_z + picture->sequence * s->config->embed))
            return limoe_fail(err, LIMOE_INTERNAL,
                              "item %zu: the shares of its patches are not finite; they overflow %s",
                              step->item[picture->sequence], limoe_dtype_name(s->k->dtype));
    }
    return LIMOE_OK;
}
