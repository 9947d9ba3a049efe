/* encoder.c - the forward pass of LIMoE (arXiv 2206.02770, section 2; figure 1) and its relatives, over kernels.h.
 *
 *     x = patch or token embedding + position
 *     x += Attention(LN(x));  x += MLP(LN(x)) or sum of gate_e Expert_e(LN(x))     in each block
 *     z = Projection_modality(pooled LN(x)),  z / |z|
 *
 * LIMoE's one tower serves both modalities; only the first and the last line know which is which. CLIP and SigLIP have a
 * tower for each, or one alone: then a step holds sequences of one modality, and passes its tower (config.h: struct
 * config_tower says what a tower does, of masks, norms and pooling). Of BERT's blocks, x = LN(x + Attention(x)) and
 * x = LN(x + MLP(x)).
 *
 * With several ranks each has its own sequences, and all of this is done by each on its own but for the sum
 * over experts, for which rows travel (experts/sharded.h).
 *
 * The encoder owns the workspace and the packed step; config, weights and kernels are borrowed. It runs on
 * the caller's thread, and the kernels bring their own threads.
 */
#include "model/forward/encoder.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "experts/sharded.h"
#include "model/forward/activation.h"
#include "model/forward/finite.h"
#include "model/forward/routing.h"
#include "model/forward/shares.h"
#include "model/forward/step.h"
#include "model/forward/tail.h"
#include "model/forward/workspace.h"

struct encoder {
    const struct config *config;
    struct kernels *k;
    const struct weights *weights;
    const struct exchange *ranks;
    struct sharded *sharded[LIMOE_MODALITIES]; /* by tower; NULL: one rank, or a dense tower */
    struct step step;
    struct workspace work;
    struct shares shares; /* of the step in hand */
    struct tail_pack moving,
        aside; /* of a step with tails: what lies in the workspace's x, and the trunk meanwhile */
    /* What passes the blocks now: the step with the model's weights, or what goes on with a tail's. */
    struct {
        const struct weights *weights;
        const struct pack *pack;
        const uint32_t *place; /* as in struct routing_rows */
        size_t output;  /* the first of the step's outputs that it makes, or that are still to be made */
        uint32_t block; /* the tower's at which it began */
    } now;
};

enum limoe_status encoder_create(const struct config *config, struct kernels *k,
                                 const struct weights *weights, const struct exchange *ranks,
                                 const struct placement *placement, struct encoder **out,
                                 struct limoe_error *err) {
    struct encoder *e = calloc(1, sizeof *e);
    *out = e;
    if (!e)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an encoder");
    e->config = config;
    e->k = k;
    e->weights = weights;
    e->ranks = ranks;
    /* All that a step can need, at once: what is not touched is not resident, and nothing is moved later. */
    enum limoe_status status = workspace_reserve(&e->work, k, config, k->step_rows, k->step_rows, err);
    for (uint32_t t = 0; t < config->towers && !status && ranks->ranks > 1; t++)
        if (config_layers(config, (enum limoe_modality)t))
            status = sharded_create(k, ranks, placement, config->tower[t].width, config->tower[t].mlp,
                                    config->moe.top_k, &e->sharded[t], err);
    if (status) {
        encoder_destroy(e);
        *out = NULL;
    }
    return status;
}

void encoder_destroy(struct encoder *e) {
    if (!e)
        return;
    for (int t = 0; t < LIMOE_MODALITIES; t++)
        sharded_destroy(e->sharded[t]);
    shares_end(&e->shares);
    workspace_release(&e->work, e->k);
    tail_pack_free(&e->aside);
    tail_pack_free(&e->moving);
    step_free(&e->step);
    free(e);
}

/* Whose tower the step passes; of one tower for both, the pictures'. */
static enum limoe_modality modality_of(const struct encoder *e) {
    return e->config->towers == 2 && !e->step.pack.images ? LIMOE_TEXT : LIMOE_IMAGE;
}

static const struct config_tower *tower_of(const struct encoder *e) {
    return &e->config->tower[modality_of(e)];
}

/* x = patches W + b + position, or token + position, of what comes in as pixels and ids. */
static void embed_input(struct encoder *e) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    const struct weights *w = e->weights;
    const struct step *step = &e->step;
    const struct pack *s = e->now.pack;
    const struct config_tower *t = tower_of(e);
    const struct weights_norm *pre = s->images ? &w->image.pre : &w->text.pre;
    const uint32_t width = t->width;
    if (s->images) {
        op->tile_rows(e->k, w->image.pos, config_image_tokens(c), s->images, width, e->work.x);
        op->patches(e->k, step->pixels, s->images, c->image.size, c->image.patch, c->image.class_token,
                    c->image.mean, c->image.std, e->work.patches);
        op->linear(e->k, w->image.patch, e->work.patches, s->image_rows, KERNELS_ADD_F32, e->work.x);
    }
    if (s->texts)
        op->embed_tokens(e->k, w->text.token, w->text.pos, step->token, step->position_id, s->text_rows,
                         e->work.x + s->image_rows * width);
    if (t->pre_norm && pack_sequences(s))
        op->layernorm(e->k, e->work.x, pre->weight, pre->bias, t->ln_eps, pack_rows(s), width,
                      t->post_norm ? e->work.h : NULL, e->work.x);
}

/* h = LN(x), what a sublayer reads; with post_norm it is there from the norm behind the one before. */
static void norm_before(struct encoder *e, const struct weights_norm *ln) {
    const struct config_tower *t = tower_of(e);
    const struct workspace *w = &e->work;
    if (!t->post_norm)
        e->k->ops->layernorm(e->k, w->x, ln->weight, ln->bias, t->ln_eps, pack_rows(e->now.pack), t->width,
                             w->h, NULL);
}

/* With post_norm x = LN(x), and h the same. */
static void norm_behind(struct encoder *e, const struct weights_norm *ln) {
    const struct config_tower *t = tower_of(e);
    const struct workspace *w = &e->work;
    if (t->post_norm)
        e->k->ops->layernorm(e->k, w->x, ln->weight, ln->bias, t->ln_eps, pack_rows(e->now.pack), t->width,
                             w->h, w->x);
}

/* x += Attention(LN(x)) */
static void attention(struct encoder *e, const struct weights_block *b) {
    const struct kernels_ops *op = e->k->ops;
    const struct config_tower *t = tower_of(e);
    const struct workspace *w = &e->work;
    const struct kernels_qk_norm norm = {.q_weight = b->q_norm.weight,
                                         .q_bias = b->q_norm.bias,
                                         .k_weight = b->k_norm.weight,
                                         .k_bias = b->k_norm.bias,
                                         .eps = t->ln_eps};
    const size_t rows = pack_rows(e->now.pack);
    norm_before(e, &b->ln1);
    op->linear(e->k, b->qkv, w->h, rows, KERNELS_STORE, w->qkv);
    shares_attend(&e->shares, b, &e->step, w->qkv);
    op->attention(e->k, w->qkv, t->width, t->heads, t->causal ? KERNELS_CAUSAL : KERNELS_BIDIRECTIONAL,
                  t->qk_norm ? &norm : NULL, w->h);
    op->linear(e->k, b->out, w->h, rows, KERNELS_ADD_F32, w->x);
    norm_behind(e, &b->ln1);
}

/* x += MLP(LN(x)) */
static void dense_mlp(struct encoder *e, const struct weights_block *b) {
    const struct kernels_ops *op = e->k->ops;
    const struct config_tower *t = tower_of(e);
    const struct workspace *w = &e->work;
    const size_t rows = pack_rows(e->now.pack);
    norm_before(e, &b->ln2);
    op->linear(e->k, b->fc1, w->h, rows, epilogue_of(t), w->hidden);
    op->linear(e->k, b->fc2, w->hidden, rows, KERNELS_ADD_F32, w->x);
    norm_behind(e, &b->ln2);
}

static bool wants_entropy(const struct routing_sink *sink) {
    return sink->to && sink->to->entropy;
}

/* Sends the rows to their experts, wherever those are, and adds what they make of them. */
static enum limoe_status run_experts(struct encoder *e, enum limoe_modality modality,
                                     const struct weights_block *b, size_t layer,
                                     const struct routing_sink *sink, struct limoe_error *err) {
    const struct config *c = e->config;
    const struct config_tower *t = &c->tower[modality];
    struct sharded *const sharded = e->sharded[modality];
    const struct pack *s = e->now.pack;
    struct workspace *w = &e->work;
    const size_t rows = pack_rows(s), first = layer * rows;
    int32_t *const expert = w->expert + first * c->moe.top_k;
    float *const gate = w->gate + first * c->moe.top_k;
    const struct experts experts = {.fc1 = b->fc1,
                                    .fc2 = b->fc2,
                                    .count = b->held,
                                    .width = t->width,
                                    .mlp = t->mlp,
                                    .top_k = c->moe.top_k,
                                    .activation = epilogue_of(t)};
    if (!sharded) {
        const struct experts_scratch scratch = {.rows = w->slots, .hidden = w->hidden};
        e->k->ops->plan(e->k, expert, rows, c->moe.experts, c->moe.top_k, w->plan);
        experts_forward(e->k, &experts, w->h, w->plan, expert, gate, rows, scratch, w->x);
        return LIMOE_OK;
    }
    const struct sharded_rows own = {.h = w->h,
                                     .expert = expert,
                                     .gate = gate,
                                     .start = s->start,
                                     .sequences = pack_sequences(s),
                                     .rows = rows};
    struct sharded_traffic traffic = {0};
    enum limoe_status status = sharded_forward(sharded, (uint32_t)layer, &experts, &own, w->x, &traffic, err);
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
    const struct config_tower *t = tower_of(e);
    struct workspace *w = &e->work;
    const size_t rows = pack_rows(e->now.pack), first = layer * rows;
    const bool limited = c->moe.capacity != 0;
    /* Capacity drops before it renormalises, so with it the gate must not. */
    const struct gate gate = {.weight = b->router,
                              .width = t->width,
                              .experts = c->moe.experts,
                              .top_k = c->moe.top_k,
                              .renormalize = c->moe.renormalize && !limited};
    enum limoe_status status = LIMOE_OK;
    op->layernorm(e->k, w->x, b->ln2.weight, b->ln2.bias, t->ln_eps, rows, t->width, w->h,
                  w->h32 == w->h ? NULL : w->h32);
    gate_route(e->k, &gate, w->h32, rows, w->logits, w->expert + first * c->moe.top_k,
               w->gate + first * c->moe.top_k);
    if (wants_entropy(sink))
        op->gate_entropy(e->k, w->logits, rows, c->moe.experts, w->entropy + first);
    if (limited)
        status = routing_limit(c, e->k, w, layer, rows, err);
    return status ? status : run_experts(e, modality_of(e), b, layer, sink, err);
}

/* SigLIP's head: pooled = Attention(query, LN(x)) Wo + bo;  pooled += MLP(LN(pooled)). There is no projection after it. */
static void pool_by_attention(struct encoder *e, const struct weights_norm *ln, float *z) {
    const struct kernels_ops *op = e->k->ops;
    const struct config_tower *t = tower_of(e);
    const struct weights_pool *p = &e->now.weights->image.pool;
    const struct workspace *w = &e->work;
    const size_t rows = pack_rows(e->now.pack), sequences = pack_sequences(e->now.pack);
    op->layernorm(e->k, w->x, ln->weight, ln->bias, t->ln_eps, rows, t->width, w->h, NULL);
    op->linear(e->k, p->kv, w->h, rows, KERNELS_STORE, w->qkv);
    shares_pool(&e->shares, &e->step, w->qkv);
    op->attention_pool(e->k, p->query, w->qkv, t->width, t->heads, w->pooled);
    op->linear(e->k, p->out, w->pooled, sequences, KERNELS_STORE_F32, z);
    op->layernorm(e->k, z, p->ln.weight, p->ln.bias, t->ln_eps, sequences, t->width, w->pooled, NULL);
    op->linear(e->k, p->fc1, w->pooled, sequences, epilogue_of(t), w->hidden);
    op->linear(e->k, p->fc2, w->hidden, sequences, KERNELS_ADD_F32, z);
}

/* One vector a sequence: to `pooled`, or where it is not projected to `out`. A norm of each token takes the place of h32;
 * where one token alone is kept, its norm is as good as all tokens' and costs less. */
static void pool(struct encoder *e, bool projected, float *out) {
    static const enum kernels_pooling kinds[] = {[CONFIG_POOL_MEAN] = KERNELS_POOL_MEAN,
                                                 [CONFIG_POOL_REST] = KERNELS_POOL_REST,
                                                 [CONFIG_POOL_FIRST] = KERNELS_POOL_FIRST,
                                                 [CONFIG_POOL_LAST] = KERNELS_POOL_LAST};
    const struct kernels_ops *op = e->k->ops;
    const struct config_tower *t = tower_of(e);
    const struct weights_norm *ln = &e->now.weights->ln[modality_of(e)];
    const struct workspace *w = &e->work;
    void *const pooled = projected ? w->pooled : NULL;
    float *const z = projected ? NULL : out;
    if (t->pool == CONFIG_POOL_ATTENTION) {
        pool_by_attention(e, ln, out);
    } else if (t->post_norm) { /* the last block's norm was the final one */
        op->pool(e->k, kinds[t->pool], w->x, t->width, pooled, z);
    } else if (t->late_norm || t->pool == CONFIG_POOL_FIRST || t->pool == CONFIG_POOL_LAST) {
        op->pool(e->k, kinds[t->pool], w->x, t->width, NULL, w->pooled32);
        op->layernorm(e->k, w->pooled32, ln->weight, ln->bias, t->ln_eps, pack_sequences(e->now.pack),
                      t->width, pooled, z);
    } else {
        op->layernorm(e->k, w->x, ln->weight, ln->bias, t->ln_eps, pack_rows(e->now.pack), t->width, NULL,
                      w->h32);
        op->pool(e->k, kinds[t->pool], w->h32, t->width, pooled, z);
    }
}

/* z = Projection_modality(pooled LN(x)), z / |z|. */
static void project(struct encoder *e) {
    const struct kernels_ops *op = e->k->ops;
    const struct config *c = e->config;
    const struct weights *weights = e->now.weights;
    const struct pack *s = e->now.pack;
    const struct workspace *w = &e->work;
    float *const z = w->z + e->now.output * c->embed;
    const size_t images = s->images * tower_of(e)->width * e->k->act_size; /* their bytes of `pooled` */
    pool(e, s->images ? c->image.projection : c->text.projection, z);
    if (s->images && c->image.projection)
        op->linear(e->k, weights->image.proj, w->pooled, s->images, KERNELS_STORE_F32, z);
    if (s->texts && c->text.projection)
        op->linear(e->k, weights->text.proj, (char *)w->pooled + images, s->texts, KERNELS_STORE_F32,
                   z + s->images * c->embed);
    shares_measure(&e->shares, z);
    op->normalize(e->k, z, pack_sequences(s), c->embed);
}

/* Of one step's tower, the MoE layers before a block, among all of the model. */
static size_t layers_before(const struct encoder *e, uint32_t block) {
    const enum limoe_modality modality = modality_of(e);
    const struct weights_block *b = e->weights->block + config_first_block(e->config, modality);
    size_t layers = config_first_layer(e->config, modality);
    for (uint32_t i = 0; i < block; i++)
        layers += b[i].moe;
    return layers;
}

/* Tells of the routing that rows have met together, up to a block: that of `outputs`, from the first they make on. */
static void report(struct encoder *e, uint32_t block, size_t outputs, const struct routing_sink *sink) {
    const size_t first = layers_before(e, e->now.block);
    const struct routing_rows rows = {.pack = e->now.pack,
                                      .place = e->now.place,
                                      .output = e->step.output + e->now.output,
                                      .outputs = outputs,
                                      .first = first,
                                      .layers = layers_before(e, block) - first};
    routing_report(e->config, e->k, &e->work, &rows, sink);
}

/* Embeddings to their items' places. Items were sound, so one that is not finite means that the weights are
 * not, or that they overflow: an error, for a NaN would be compared, ranked and believed. */
static enum limoe_status deliver(struct encoder *e, float *embeddings, const struct routing_sink *sink,
                                 struct limoe_error *err) {
    const struct step *s = &e->step;
    const size_t embed = e->config->embed;
    enum limoe_status status = e->k->ops->sync(e->k, err);
    if (status)
        return status;
    report(e, tower_of(e)->blocks, s->outputs - e->now.output, sink);
    routing_report_absent(e->config, s, sink);
    e->k->ops->download(e->k, e->work.host_z, e->work.z, s->outputs * embed * sizeof *e->work.z);
    for (size_t i = 0; i < s->outputs; i++) {
        const float *z = e->work.host_z + i * embed;
        if (!all_finite(z, embed))
            return limoe_fail(
                err, LIMOE_INTERNAL,
                "item %zu: its embedding is not finite; the model's weights hold NaN or infinite "
                "values, or overflow %s",
                s->item[s->output[i].sequence], limoe_dtype_name(e->k->dtype));
        memcpy(embeddings + s->output[i].at * embed, z, embed * sizeof *z);
    }
    return shares_deliver(&e->shares, s, &e->work, e->work.host_z, err);
}

/* Blocks `from` to `to` - 1 of the step's tower, by what is there to pass them. */
static enum limoe_status blocks(struct encoder *e, uint32_t from, uint32_t to,
                                const struct routing_sink *sink, struct limoe_error *err) {
    const uint32_t first = config_first_block(e->config, modality_of(e));
    size_t layer = layers_before(e, from);
    for (uint32_t i = from; i < to && pack_sequences(e->now.pack); i++) {
        const struct weights_block *b = &e->now.weights->block[first + i];
        enum limoe_status status;
        attention(e, b);
        if (!b->moe)
            dense_mlp(e, b);
        else if ((status = moe_mlp(e, b, layer++, sink, err)))
            return status;
    }
    return LIMOE_OK;
}

/* Brings together, out of the trunk's rows aside, those that outputs [first, first + n) are made of. Returns where. */
static struct tail_rows gather(struct encoder *e, uint32_t block, size_t first, size_t n) {
    const struct workspace *w = &e->work;
    const struct tail_rows to = tail_rows(tower_of(e), e->k, w->x, w->h),
                           from = tail_rows(tower_of(e), e->k, w->x_aside, w->h_aside);
    tail_pack_some(&e->moving, &e->step, e->step.output + first, n, block);
    tail_gather(e->k, &e->moving, &e->aside, pack_sequences(&e->step.pack), &to, &from);
    return to;
}

/* What outputs [first, first + n) are made of goes on from a block. */
static void go_on(struct encoder *e, const struct weights *weights, uint32_t block, size_t first, size_t n) {
    gather(e, block, first, n);
    e->k->ops->sequences(e->k, e->moving.pack.start, pack_sequences(&e->moving.pack));
    e->now.weights = weights;
    e->now.pack = &e->moving.pack;
    e->now.place = e->moving.place;
    e->now.output = first;
    e->now.block = block;
}

/* The trunk stays aside while tails are computed that leave it at this block. */
static void set_trunk_aside(struct encoder *e) {
    const struct tail_pack trunk = e->moving;
    e->moving = e->aside;
    e->aside = trunk;
    workspace_set_aside(&e->work);
}

/* The trunk has come to a block: what is to be kept of it is, and sequences come in whose rows there are known. Outputs from
 * `first` on are still to be made. */
static void fork_at(struct encoder *e, uint32_t block, size_t first) {
    const struct tail_rows here = tail_rows(tower_of(e), e->k, e->work.x, e->work.h);
    tail_keep(e->k, &e->step, &e->moving, block, &here);
    set_trunk_aside(e);
    if (!tail_enters(&e->step, block))
        return;
    const struct tail_rows all = gather(e, block, first, e->step.outputs - first);
    tail_take_in(e->k, &e->step, &e->moving, block, &all);
    set_trunk_aside(e);
}

/* x from the embedded input to the embeddings of all tails: the trunk up to where the first of them begin, those to their
 * end one after the other, the trunk on to the next. What is left of it at the end is asked for without a tail. */
static enum limoe_status trunk_and_tails(struct encoder *e, const struct routing_sink *sink,
                                         struct limoe_error *err) {
    const enum limoe_modality modality = modality_of(e);
    const struct step_output *output = e->step.output;
    const size_t outputs = e->step.outputs;
    const uint32_t end = tower_of(e)->blocks;
    enum limoe_status status;
    for (size_t at = 0, n; at < outputs && output[at].tail;) {
        const uint32_t fork = output[at].tail->start[modality];
        if ((status = blocks(e, e->now.block, fork, sink, err)))
            return status;
        report(e, fork, outputs - at, sink);
        fork_at(e, fork, at);
        for (; at < outputs && output[at].tail && output[at].tail->start[modality] == fork; at += n) {
            n = tail_run(output + at, outputs - at);
            go_on(e, &output[at].tail->weights, fork, at, n);
            if ((status = blocks(e, fork, end, sink, err)))
                return status;
            project(e);
            report(e, end, n, sink);
        }
        go_on(e, e->weights, fork, at, outputs - at);
    }
    return LIMOE_OK;
}

/* x from the embedded input to the embeddings. */
static enum limoe_status tower(struct encoder *e, const struct routing_sink *sink, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    if (step_has_tails(&e->step))
        status = trunk_and_tails(e, sink, err);
    if (status || pack_sequences(e->now.pack) == 0)
        return status;
    if (!(status = blocks(e, e->now.block, tower_of(e)->blocks, sink, err)))
        project(e);
    return status;
}

/* All of a step, with the model's weights. */
static void start(struct encoder *e) {
    e->now.weights = e->weights;
    e->now.pack = &e->step.pack;
    e->now.place = NULL;
    e->now.output = e->now.block = 0;
}

/* Room for a step, and what of it passes the first block. */
static enum limoe_status begin(struct encoder *e, struct limoe_error *err) {
    const struct step *s = &e->step;
    enum limoe_status status =
        workspace_reserve(&e->work, e->k, e->config, pack_rows(&s->pack), s->outputs, err);
    if (status || !step_has_tails(s))
        return status;
    if ((status = workspace_reserve_aside(&e->work, e->k, e->config, err)) ||
        (status = tail_pack_reserve(&e->aside, s, err)) || (status = tail_pack_reserve(&e->moving, s, err)))
        return status;
    tail_pack_some(&e->moving, s, s->output, s->outputs, 0);
    e->now.pack = &e->moving.pack;
    e->now.place = e->moving.place;
    return LIMOE_OK;
}

/* A step up to its embeddings, in the workspace. */
static enum limoe_status compute(struct encoder *e, const struct routing_sink *sink,
                                 struct limoe_error *err) {
    const struct kernels_ops *op = e->k->ops;
    const struct pack *s = &e->step.pack;
    const struct kernels_shape shape = {{s->images, s->image_rows, s->text_rows, wants_entropy(sink)}};
    enum limoe_status status = begin(e, err);
    if (status || (status = shares_begin(&e->shares, e->config, e->weights, e->k, &e->step, err)))
        return status;
    const bool alone = !e->sharded[modality_of(e)] && e->config->moe.capacity == 0 && !e->shares.count &&
                       !step_has_tails(&e->step); /* no layer needs the host */
    op->sequences(e->k, e->now.pack->start, pack_sequences(e->now.pack));
    embed_input(e);
    if (alone && op->begin(e->k, &shape))
        return LIMOE_OK;
    status = tower(e, sink, err);
    if (alone)
        op->end(e->k);
    return status;
}

/* A step without sequences: others' rows come to the experts here. */
static enum limoe_status serve_others(struct encoder *e, enum limoe_modality modality,
                                      const struct routing_sink *sink, struct limoe_error *err) {
    const struct config_tower *t = &e->config->tower[modality];
    const struct weights_block *b = e->weights->block + config_first_block(e->config, modality);
    size_t layer = config_first_layer(e->config, modality);
    enum limoe_status status = LIMOE_OK;
    for (uint32_t i = 0; e->sharded[modality] && !status && i < t->blocks; i++)
        if (b[i].moe)
            status = run_experts(e, modality, &b[i], layer++, sink, err);
    return status;
}

/* A call's items of one tower, step by step. What one rank cannot do in a step, the others wait for; what is wrong with
 * its embeddings is its own business: it goes to *answer, and the steps to come are still taken. A step that the ranks
 * have lost is lost for all of them. */
static enum limoe_status embed_through(struct encoder *e, struct step_cursor cursor,
                                       const struct step_items *items, float *embeddings,
                                       const struct routing_sink *sink, enum limoe_status *answer,
                                       struct limoe_error *err) {
    const enum limoe_modality modality = cursor.modality;
    uint64_t steps = step_count(cursor, items);
    enum limoe_status status = e->ranks->ops->largest(e->ranks, &steps, 1, err);
    if (status)
        return status;
    for (uint64_t i = 0; i < steps; i++) {
        struct limoe_error failure;
        bool more;
        status = step_next(&e->step, &cursor, items, &more, &failure);
        start(e);
        if (!status && more)
            status = compute(e, sink, &failure);
        else if (!status)
            status = serve_others(e, modality, sink, &failure);
        if (status == LIMOE_LOST) {
            shares_end(&e->shares);
            return limoe_fail(err, status, "%s", failure.message);
        }
        if (status && e->ranks->ranks > 1)
            e->ranks->ops->end(e->ranks, failure.message);
        if (!status && more)
            status = deliver(e, embeddings, sink, &failure);
        shares_end(&e->shares);
        if (status && !*answer)
            *answer = limoe_fail(err, status, "%s", failure.message);
        if (*answer && e->ranks->ranks == 1)
            return *answer;
    }
    return LIMOE_OK;
}

enum limoe_status encoder_embed(struct encoder *e, const struct limoe_item *items, size_t n,
                                float *embeddings, const struct limoe_routing *routing,
                                struct limoe_error *err) {
    const bool apart = e->config->towers == 2; /* then ranks meet in one tower, and afterwards in the other */
    const struct step_items call = {.item = items,
                                    .count = n, /* max_rows: unless one item alone is longer */
                                    .max_rows = e->config->moe.capacity != 0 ? SIZE_MAX : e->k->step_rows};
    struct routing_sink sink = {.to = routing};
    enum limoe_status answer = LIMOE_OK, status;
    for (size_t i = 0; i < n; i++)
        sink.rows += (size_t)items[i].length * limoe_item_embeddings(&items[i]);
    for (int tower = 0; tower < (apart ? 2 : 1); tower++) {
        const struct step_cursor cursor = {.modality = (enum limoe_modality)tower, .apart = apart};
        if ((status = embed_through(e, cursor, &call, embeddings, &sink, &answer, err)))
            return status;
    }
    return answer;
}

enum limoe_status encoder_trunk(struct encoder *e, const struct limoe_item *items, size_t n, uint32_t block,
                                float *rows, struct limoe_error *err) {
    const struct step_items call = {.item = items, .count = n, .max_rows = e->k->step_rows};
    const struct routing_sink none = {0};
    struct step_cursor cursor = {.modality = items[0].modality, .apart = true};
    enum limoe_status status;
    bool more;
    while (!(status = step_next(&e->step, &cursor, &call, &more, err)) && more) {
        const struct pack *s = &e->step.pack;
        start(e);
        if ((status = begin(e, err)))
            return status;
        e->k->ops->sequences(e->k, s->start, pack_sequences(s));
        embed_input(e);
        if ((status = blocks(e, 0, block, &none, err)) || (status = e->k->ops->sync(e->k, err)))
            return status;
        const size_t floats = pack_rows(s) * tower_of(e)->width;
        e->k->ops->download(e->k, rows, e->work.x, floats * sizeof *rows);
        rows += floats;
    }
    return status;
}
