/* tail_blocks.c - one block, forward and backward.
 *
 *     middle = x + Attention(LN(x)),   to = middle + MLP(LN(middle))     or the sum of gate_e Expert_e(LN(middle))
 * Backward goes through the two in reverse: the residual stream's gradient stays in scratch.dx, and each sublayer adds its
 * own. A sublayer's normalised input is computed again, and so is what an activation makes of its sums.
 */
#include <string.h>

#include "model/tuning/layers.h"

static void normalise(const struct tail *t, const struct tail_norm *n, const float *x) {
    t->k->ops->layernorm(t->k, x, n->norm.weight, n->bias, n->norm.eps, tail_rows(t), t->tower->width,
                         t->scratch.h, NULL);
}

/* scratch.dx += of LN's input x, from scratch.dh of its output. */
static void normalise_backward(const struct tail *t, const struct tail_norm *n, const float *x) {
    t->k->backward->layernorm(t->k, &n->norm, x, t->scratch.dh, tail_rows(t), t->tower->width, t->scratch.dx);
}

static enum kernels_mask mask_of(const struct tail *t) {
    return t->tower->causal ? KERNELS_CAUSAL : KERNELS_BIDIRECTIONAL;
}

static size_t row_bytes(const struct tail *t) {
    return tail_rows(t) * t->tower->width * sizeof(float);
}

/* ---- attention */

static void attention_forward(struct tail *t, struct tail_block *b) {
    const struct kernels_ops *op = t->k->ops;
    const struct backward_qk_norm *qk = &b->qk_norm;
    const struct kernels_qk_norm norm = {.q_weight = qk->q.weight,
                                         .q_bias = qk->q_bias,
                                         .k_weight = qk->k.weight,
                                         .k_bias = qk->k_bias,
                                         .eps = t->tower->ln_eps};
    normalise(t, &b->ln1, b->kept.x);
    op->linear(t->k, b->qkv.packed, t->scratch.h, tail_rows(t), KERNELS_STORE, b->kept.qkv);
    op->attention(t->k, b->kept.qkv, t->tower->width, t->tower->heads, mask_of(t),
                  t->tower->qk_norm ? &norm : NULL, b->kept.mixed);
    memcpy(b->kept.middle, b->kept.x, row_bytes(t));
    op->linear(t->k, b->out.packed, b->kept.mixed, tail_rows(t), KERNELS_ADD_F32, b->kept.middle);
}

static void attention_backward(struct tail *t, struct tail_block *b) {
    const struct backward_ops *op = t->k->backward;
    struct tail_scratch *s = &t->scratch;
    const size_t rows = tail_rows(t);
    op->linear(t->k, &b->out.matrix, NULL, b->kept.mixed, s->dx, rows, s->dh);
    op->attention(t->k, b->kept.qkv, s->dh, t->tower->width, t->tower->heads, mask_of(t),
                  t->tower->qk_norm ? &b->qk_norm : NULL, s->dqkv);
    normalise(t, &b->ln1, b->kept.x);
    op->linear(t->k, &b->qkv.matrix, NULL, s->h, s->dqkv, rows, s->dh);
    normalise_backward(t, &b->ln1, b->kept.x);
}

/* ---- a dense MLP */

static void activate(struct tail *t, const struct tail_block *b, size_t rows) {
    t->k->backward->activate(t->k, tail_activation(t), b->kept.sums, rows * t->tower->mlp, t->scratch.hidden);
}

static void mlp_forward(struct tail *t, struct tail_block *b, float *to) {
    const struct kernels_ops *op = t->k->ops;
    const size_t rows = tail_rows(t);
    op->linear(t->k, b->fc1.packed, t->scratch.h, rows, KERNELS_STORE, b->kept.sums);
    activate(t, b, rows);
    op->linear(t->k, b->fc2.packed, t->scratch.hidden, rows, KERNELS_ADD_F32, to);
}

/* Of two linears with an activation between, rows to matrices by `offset`: dy of what came out, from x to dx. */
static void mlp_gradient(struct tail *t, struct tail_block *b, const uint32_t *offset, const float *x,
                         const float *dy, size_t rows, float *dx) {
    const struct backward_ops *op = t->k->backward;
    struct tail_scratch *s = &t->scratch;
    activate(t, b, rows);
    op->linear(t->k, &b->fc2.matrix, offset, s->hidden, dy, rows, s->dhidden);
    op->activation(t->k, tail_activation(t), b->kept.sums, s->dhidden, rows * t->tower->mlp, s->dhidden);
    op->linear(t->k, &b->fc1.matrix, offset, x, s->dhidden, rows, dx);
}

/* ---- experts */

static void experts_forward(struct tail *t, struct tail_block *b, float *to) {
    const struct kernels_ops *op = t->k->ops;
    const uint32_t experts = t->config->moe.experts, top_k = t->config->moe.top_k, width = t->tower->width;
    const size_t rows = tail_rows(t), slots = rows * top_k;
    struct tail_kept *kept = &b->kept;
    op->router_logits(t->k, t->scratch.h, b->router.weight, rows, width, experts, kept->logits);
    op->gate(t->k, kept->logits, rows, experts, top_k, t->config->moe.renormalize, kept->expert, kept->gate);
    op->plan(t->k, kept->expert, rows, experts, top_k, kept->plan);
    op->dispatch(t->k, t->scratch.h, kept->plan, experts, slots, width, t->scratch.slots);
    op->grouped_linear(t->k, b->fc1.packed, kept->plan.offset, t->scratch.slots, slots, KERNELS_STORE,
                       kept->sums);
    activate(t, b, slots);
    op->grouped_linear(t->k, b->fc2.packed, kept->plan.offset, t->scratch.hidden, slots, KERNELS_STORE,
                       kept->answer);
    op->combine(t->k, kept->answer, kept->plan, kept->expert, kept->gate, rows, top_k, width, to);
}

/* The experts' own input and output gradients share scratch.dslots: the first linear has read the one when the last
 * writes the other. */
static void experts_backward(struct tail *t, struct tail_block *b) {
    const struct backward_ops *op = t->k->backward;
    struct tail_scratch *s = &t->scratch;
    const struct tail_kept *kept = &b->kept;
    const uint32_t width = t->tower->width;
    const struct backward_routing routing = {.plan = kept->plan,
                                             .expert = kept->expert,
                                             .gate = kept->gate,
                                             .experts = t->config->moe.experts,
                                             .top_k = t->config->moe.top_k};
    const size_t rows = tail_rows(t), slots = rows * routing.top_k;
    op->combine(t->k, &routing, kept->answer, s->dx, rows, width, s->dslots, s->dgate);
    t->k->ops->dispatch(t->k, s->h, kept->plan, routing.experts, slots, width, s->slots);
    mlp_gradient(t, b, kept->plan.offset, s->slots, s->dslots, slots, s->dslots);
    op->gate(t->k, &routing, kept->logits, s->dgate, rows, t->config->moe.renormalize, s->dlogits);
    op->linear(t->k, &b->router, NULL, s->h, s->dlogits, rows, s->dh);
    op->dispatch(t->k, &routing, s->dslots, rows, width, s->dh);
}

/* ---- a block */

void tail_block_forward(struct tail *t, struct tail_block *b, float *to) {
    attention_forward(t, b);
    normalise(t, &b->ln2, b->kept.middle);
    memcpy(to, b->kept.middle, row_bytes(t));
    if (b->moe)
        experts_forward(t, b, to);
    else
        mlp_forward(t, b, to);
}

void tail_block_backward(struct tail *t, struct tail_block *b) {
    normalise(t, &b->ln2, b->kept.middle);
    if (b->moe)
        experts_backward(t, b);
    else
        mlp_gradient(t, b, NULL, t->scratch.h, t->scratch.dx, tail_rows(t), t->scratch.dh);
    normalise_backward(t, &b->ln2, b->kept.middle);
    attention_backward(t, b);
}
