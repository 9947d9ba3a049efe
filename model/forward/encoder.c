/* encoder.c - the forward pass of LIMoE (arXiv 2206.02770, section 2; figure 1), over kernels.h.
 *
 *     x = patch or token embedding + position
 *     x += Attention(LN(x));  x += MLP(LN(x)) or sum of gate_e Expert_e(LN(x))     in each block
 *     z = Projection_modality(mean over tokens of LN(x)),  z / |z|
 *
 * One tower serves both modalities; only the first and the last line know which is which.
 *
 * With several ranks each has its own sequences, and all of this is done by each on its own but for the sum
 * over experts, for which rows travel (experts/sharded.h).
 *
 * The encoder owns the workspace and the packed step; config, weights and kernels are borrowed. It runs on
 * the caller's thread, and the kernels bring their own threads.
 */
#include "model/forward/encoder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "experts/sharded.h"
#include "model/forward/routing.h"
#include "model/forward/step.h"
#include "model/forward/workspace.h"

struct encoder {
    const struct config *config;
    struct kernels *k;
    const struct weights *weights;
    const struct exchange *ranks;
    struct sharded *sharded; /* NULL: one rank, or a dense model */
    enum kernels_epilogue activation;
    struct step step;
    struct workspace work;
};

enum limoe_status encoder_create(const struct config *config, struct kernels *k,
                                 const struct weights *weights, const struct exchange *ranks,
                                 const struct placement *placement, struct encoder **out,
                                 struct limoe_error *err) {
    static const enum kernels_epilogue activation[] = {[CONFIG_GELU_TANH] = KERNELS_GELU_TANH,
                                                       [CONFIG_GELU] = KERNELS_GELU_ERF,
                                                       [CONFIG_QUICK_GELU] = KERNELS_QUICK_GELU};
    struct encoder *e = calloc(1, sizeof *e);
    *out = e;
    if (!e)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an encoder");
    e->config = config;
    e->k = k;
    e->weights = weights;
    e->ranks = ranks;
    e->activation = activation[config->activation];
    /* All that a step can need, at once: what is not touched is not resident, and nothing is moved later. */
    enum limoe_status status = workspace_reserve(&e->work, k, config, k->step_rows, k->step_rows, err);
    if (!status && ranks->ranks > 1 && config->moe.layers)
        status = sharded_create(k, ranks, placement, config->width, config->mlp, config->moe.top_k,
                                &e->sharded, err);
    if (status) {
        encoder_destroy(e);
        *out = NULL;
    }
    return status;
}

void encoder_destroy(struct encoder *e) {
    if (!e)
        return;
    sharded_destroy(e->sharded);
    workspace_release(&e->work, e->k);
    step_free(&e->step);
    free(e);
}

/* x = patches W + b + position, or token + position. */
static void embed_input(struct encoder *e) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    const struct weights *w = e->weights;
    const struct step *s = &e->step;
    if (s->images) {
        op->tile_rows(e->k, w->image.pos, config_image_tokens(c), s->images, c->width, e->work.x);
        op->patches(e->k, s->pixels, s->images, c->image.size, c->image.patch, 0, c->image.mean, c->image.std,
                    e->work.patches);
        op->linear(e->k, w->image.patch, e->work.patches, s->image_rows, KERNELS_ADD_F32, e->work.x);
    }
    if (s->texts)
        op->embed_tokens(e->k, w->text.token, w->text.pos, s->token, s->position_id, s->text_rows,
                         e->work.x + s->image_rows * c->width);
}

/* x += Attention(LN(x)) */
static void attention(struct encoder *e, const struct weights_block *b) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    const struct step *s = &e->step;
    const struct workspace *w = &e->work;
    const struct kernels_qk_norm norm = {.q_weight = b->q_norm.weight,
                                         .q_bias = b->q_norm.bias,
                                         .k_weight = b->k_norm.weight,
                                         .k_bias = b->k_norm.bias,
                                         .eps = c->ln_eps};
    const size_t rows = step_rows(s);
    op->layernorm(e->k, w->x, b->ln1.weight, b->ln1.bias, c->ln_eps, rows, c->width, w->h, NULL);
    op->linear(e->k, b->qkv, w->h, rows, KERNELS_STORE, w->qkv);
    op->attention(e->k, w->qkv, c->width, c->heads, KERNELS_BIDIRECTIONAL, c->qk_norm ? &norm : NULL, w->h);
    op->linear(e->k, b->out, w->h, rows, KERNELS_ADD_F32, w->x);
}

/* x += MLP(LN(x)) */
static void dense_mlp(struct encoder *e, const struct weights_block *b) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    const struct workspace *w = &e->work;
    const size_t rows = step_rows(&e->step);
    op->layernorm(e->k, w->x, b->ln2.weight, b->ln2.bias, c->ln_eps, rows, c->width, w->h, NULL);
    op->linear(e->k, b->fc1, w->h, rows, e->activation, w->hidden);
    op->linear(e->k, b->fc2, w->hidden, rows, KERNELS_ADD_F32, w->x);
}

static bool wants_entropy(const struct routing_sink *sink) {
    return sink->to && sink->to->entropy;
}

/* Sends the rows to their experts, wherever those are, and adds what they make of them. */
static enum limoe_status run_experts(struct encoder *e, const struct weights_block *b, size_t layer,
                                     const struct routing_sink *sink, struct limoe_error *err) {
    const struct config *c = e->config;
    const struct step *s = &e->step;
    struct workspace *w = &e->work;
    const size_t rows = step_rows(s), first = layer * rows;
    int32_t *const expert = w->expert + first * c->moe.top_k;
    float *const gate = w->gate + first * c->moe.top_k;
    const struct experts experts = {.fc1 = b->fc1,
                                    .fc2 = b->fc2,
                                    .count = b->held,
                                    .width = c->width,
                                    .mlp = c->mlp,
                                    .top_k = c->moe.top_k,
                                    .activation = e->activation};
    if (!e->sharded) {
        const struct experts_scratch scratch = {.rows = w->slots, .hidden = w->hidden};
        e->k->ops->plan(e->k, expert, rows, c->moe.experts, c->moe.top_k, w->plan);
        experts_forward(e->k, &experts, w->h, w->plan, expert, gate, rows, scratch, w->x);
        return LIMOE_OK;
    }
    const struct sharded_rows own = {.h = w->h,
                                     .expert = expert,
                                     .gate = gate,
                                     .start = s->start,
                                     .sequences = s->images + s->texts,
                                     .rows = rows};
    struct sharded_traffic traffic = {0};
    enum limoe_status status =
        sharded_forward(e->sharded, (uint32_t)layer, &experts, &own, w->x, &traffic, err);
    if (status)
        return status;
    if (sink->to && sink->to->rows_sent)
        sink->to->rows_sent[layer] += traffic.rows;
    if (sink->to && sink->to->bytes_sent)
        sink->to->bytes_sent[layer] += traffic.bytes;
    if (sink->to && sink->to->exchange_ns)
        sink->to->exchange_ns[layer] += traffic.ns;
    return LIMOE_OK;
}

/* x += sum over a token's experts of gate * Expert(LN(x)) */
static enum limoe_status moe_mlp(struct encoder *e, const struct weights_block *b, size_t layer,
                                 const struct routing_sink *sink, struct limoe_error *err) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    struct workspace *w = &e->work;
    const size_t rows = step_rows(&e->step), first = layer * rows;
    const bool limited = c->moe.capacity != 0;
    /* Capacity drops before it renormalises, so with it the gate must not. */
    const struct gate gate = {.weight = b->router,
                              .width = c->width,
                              .experts = c->moe.experts,
                              .top_k = c->moe.top_k,
                              .renormalize = c->moe.renormalize && !limited};
    enum limoe_status status = LIMOE_OK;
    op->layernorm(e->k, w->x, b->ln2.weight, b->ln2.bias, c->ln_eps, rows, c->width, w->h,
                  w->h32 == w->h ? NULL : w->h32);
    gate_route(e->k, &gate, w->h32, rows, w->logits, w->expert + first * c->moe.top_k,
               w->gate + first * c->moe.top_k);
    if (wants_entropy(sink))
        op->gate_entropy(e->k, w->logits, rows, c->moe.experts, w->entropy + first);
    if (limited)
        status = routing_limit(c, e->k, w, layer, rows, err);
    return status ? status : run_experts(e, b, layer, sink, err);
}

/* z = Projection_modality(mean over tokens of LN(x)), z / |z|. LN's output takes the place of h32. */
static void project(struct encoder *e) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    const struct weights *weights = e->weights;
    const struct step *s = &e->step;
    const struct workspace *w = &e->work;
    const size_t sequences = s->images + s->texts;
    op->layernorm(e->k, w->x, weights->ln.weight, weights->ln.bias, c->ln_eps, step_rows(s), c->width, NULL,
                  w->h32);
    op->pool(e->k, KERNELS_POOL_MEAN, w->h32, c->width, w->pooled, NULL);
    if (s->images)
        op->linear(e->k, weights->image.proj, w->pooled, s->images, KERNELS_STORE_F32, w->z);
    if (s->texts)
        op->linear(e->k, weights->text.proj, (char *)w->pooled + s->images * c->width * e->k->act_size,
                   s->texts, KERNELS_STORE_F32, w->z + s->images * c->embed);
    op->normalize(e->k, w->z, sequences, c->embed);
}

static bool all_finite(const float *z, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(z[i]))
            return false;
    return true;
}

/* Embeddings to their items' places. Items were sound, so one that is not finite means that the weights are
 * not, or that they overflow: an error, for a NaN would be compared, ranked and believed. */
static enum limoe_status deliver(struct encoder *e, float *embeddings, const struct routing_sink *sink,
                                 struct limoe_error *err) {
    const struct step *s = &e->step;
    const size_t sequences = s->images + s->texts, embed = e->config->embed;
    enum limoe_status status = e->k->ops->sync(e->k, err);
    if (status)
        return status;
    routing_report(e->config, e->k, &e->work, s, sink);
    e->k->ops->download(e->k, e->work.host_z, e->work.z, sequences * embed * sizeof *e->work.z);
    for (size_t i = 0; i < sequences; i++) {
        const float *z = e->work.host_z + i * embed;
        if (!all_finite(z, embed))
            return limoe_fail(
                err, LIMOE_INTERNAL,
                "item %zu: its embedding is not finite; the model's weights hold NaN or infinite "
                "values, or overflow %s",
                s->item[i], limoe_dtype_name(e->k->dtype));
        memcpy(embeddings + s->item[i] * embed, z, embed * sizeof *z);
    }
    return LIMOE_OK;
}

/* x from the embedded input to the last block. */
static enum limoe_status tower(struct encoder *e, const struct routing_sink *sink, struct limoe_error *err) {
    size_t layer = 0;
    for (uint32_t i = 0; i < e->weights->blocks; i++) {
        const struct weights_block *b = &e->weights->block[i];
        enum limoe_status status;
        attention(e, b);
        if (!b->moe)
            dense_mlp(e, b);
        else if ((status = moe_mlp(e, b, layer++, sink, err)))
            return status;
    }
    project(e);
    return LIMOE_OK;
}

/* A step up to its embeddings, in the workspace. */
static enum limoe_status compute(struct encoder *e, const struct routing_sink *sink,
                                 struct limoe_error *err) {
    const struct kernels_ops *op = e->k->ops;
    const struct step *s = &e->step;
    const struct kernels_shape shape = {{s->images, s->image_rows, s->text_rows, wants_entropy(sink)}};
    const bool alone = !e->sharded && e->config->moe.capacity == 0; /* no layer needs the host */
    enum limoe_status status =
        workspace_reserve(&e->work, e->k, e->config, step_rows(s), s->images + s->texts, err);
    if (status)
        return status;
    op->sequences(e->k, s->start, s->images + s->texts);
    embed_input(e);
    if (alone && op->begin(e->k, &shape))
        return LIMOE_OK;
    status = tower(e, sink, err);
    if (alone)
        op->end(e->k);
    return status;
}

/* A step without sequences: others' rows come to the experts here. */
static enum limoe_status serve_others(struct encoder *e, const struct routing_sink *sink,
                                      struct limoe_error *err) {
    size_t layer = 0;
    enum limoe_status status = LIMOE_OK;
    for (uint32_t i = 0; e->sharded && !status && i < e->weights->blocks; i++)
        if (e->weights->block[i].moe)
            status = run_experts(e, &e->weights->block[i], layer++, sink, err);
    return status;
}

/* What one rank cannot do in a step, the others wait for; what is wrong with its embeddings is its own
 * business, and it stays for the steps to come. A step that the ranks have lost is lost for all of them. */
enum limoe_status encoder_embed(struct encoder *e, const struct limoe_item *items, size_t n,
                                float *embeddings, const struct limoe_routing *routing,
                                struct limoe_error *err) {
    const size_t max_rows =
        e->config->moe.capacity != 0 ? SIZE_MAX : e->k->step_rows; /* unless one item alone is longer */
    struct routing_sink sink = {.to = routing};
    for (size_t i = 0; i < n; i++)
        sink.rows += items[i].length;
    struct step_cursor cursor = {0};
    enum limoe_status answer = LIMOE_OK;
    uint64_t steps = step_count(items, n, max_rows);
    enum limoe_status status = e->ranks->ops->largest(e->ranks, &steps, 1, err);
    if (status)
        return status;
    for (uint64_t i = 0; i < steps; i++) {
        struct limoe_error failure;
        bool more;
        status = step_next(&e->step, &cursor, items, n, max_rows, &more, &failure);
        if (!status && more)
            status = compute(e, &sink, &failure);
        else if (!status)
            status = serve_others(e, &sink, &failure);
        if (status == LIMOE_LOST)
            return limoe_fail(err, status, "%s", failure.message);
        if (status && e->ranks->ranks > 1)
            e->ranks->ops->end(e->ranks, failure.message);
        if (!status && more)
            status = deliver(e, embeddings, &sink, &failure);
        if (status && !answer)
            answer = limoe_fail(err, status, "%s", failure.message);
        if (answer && e->ranks->ranks == 1)
            return answer;
    }
    return answer;
}
