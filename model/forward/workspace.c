/* workspace.c - memory for a step's activations. The encoder owns its workspace; no threads.
 *
 * Patches are dead once they are embedded, qkv once attention has read it, and hidden and slots when a block
 * ends, so these share one arena. It is the largest part of the workspace by far.
 */
#include "model/forward/workspace.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "router/plan.h"

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Multiples of 64 keep whatever follows as aligned as alloc() is. */
static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* What patches, qkv, hidden and slots share, in a step of one tower. */
static size_t arena_bytes(const struct config *c, enum limoe_modality modality, size_t rows, size_t act,
                          size_t *hidden) {
    const struct config_tower *t = &c->tower[modality];
    const bool moe = config_layers(c, modality);
    const size_t slots = rows * (moe ? c->moe.top_k : 1);
    const size_t patch = (size_t)c->image.patch * c->image.patch * 3;
    *hidden = largest(*hidden, aligned(slots * t->mlp * act));
    return largest(*hidden + (moe ? slots * t->width * act : 0),
                   rows * largest(3 * (size_t)t->width, patch) * act);
}

static size_t widest(const struct config *c) {
    return largest(c->tower[LIMOE_IMAGE].width, c->tower[LIMOE_TEXT].width);
}

static bool reserve_rows(struct workspace *w, struct kernels *k, const struct config *c, size_t rows) {
    const struct kernels_ops *op = k->ops;
    const size_t d = widest(c), act = k->act_size;
    size_t hidden = 0, arena = 0;
    for (int pass = 0; pass < 2; pass++) /* the second knows the larger `hidden` */
        for (int m = 0; m < LIMOE_MODALITIES; m++)
            arena = largest(arena, arena_bytes(c, (enum limoe_modality)m, rows, act, &hidden));

    w->x = op->alloc(k, rows * d * sizeof *w->x);
    w->h = op->alloc(k, rows * d * act);
    w->h32 = k->dtype == LIMOE_FLOAT32 ? w->h : op->alloc(k, rows * d * sizeof *w->h32);
    w->arena = op->alloc(k, arena);
    if (!w->x || !w->h || !w->h32 || !w->arena)
        return false;
    w->patches = w->qkv = w->hidden = w->arena;
    w->slots = (char *)w->arena + hidden;
    return true;
}

static bool reserve_routing(struct workspace *w, struct kernels *k, const struct config *c, size_t rows) {
    const size_t decided = rows * c->moe.layers, assignments = decided * c->moe.top_k;
    w->logits = k->ops->alloc(k, rows * c->moe.experts * sizeof *w->logits);
    w->expert = k->ops->alloc(k, assignments * sizeof *w->expert);
    w->gate = k->ops->alloc(k, assignments * sizeof *w->gate);
    w->entropy = k->ops->alloc(k, decided * sizeof *w->entropy);
    w->host_expert = malloc(assignments * sizeof *w->host_expert);
    w->host_kept = malloc(assignments * sizeof *w->host_kept);
    w->host_gate = malloc(assignments * sizeof *w->host_gate);
    w->host_entropy = malloc(decided * sizeof *w->host_entropy);
    return w->logits && w->expert && w->gate && w->entropy && w->host_expert && w->host_kept &&
           w->host_gate && w->host_entropy &&
           plan_alloc(k, rows, c->moe.experts, c->moe.top_k, &w->plan, NULL) == LIMOE_OK;
}

static bool reserve_sequences(struct workspace *w, struct kernels *k, const struct config *c,
                              size_t sequences) {
    w->pooled = k->ops->alloc(k, sequences * widest(c) * k->act_size);
    w->pooled32 = k->ops->alloc(k, sequences * widest(c) * sizeof *w->pooled32);
    w->z = k->ops->alloc(k, sequences * c->embed * sizeof *w->z);
    w->host_z = malloc(sequences * c->embed * sizeof *w->host_z);
    return w->pooled && w->pooled32 && w->z && w->host_z;
}

enum limoe_status workspace_reserve(struct workspace *w, struct kernels *k, const struct config *config,
                                    size_t rows, size_t sequences, struct limoe_error *err) {
    if (rows <= w->rows && sequences <= w->sequences)
        return LIMOE_OK;
    rows = largest(rows, w->rows);
    sequences = largest(sequences, w->sequences);
    workspace_release(w, k);
    if (!reserve_rows(w, k, config, rows) || !reserve_sequences(w, k, config, sequences) ||
        (config->moe.layers && !reserve_routing(w, k, config, rows))) {
        workspace_release(w, k);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a step of %zu tokens", rows);
    }
    w->rows = rows;
    w->sequences = sequences;
    return LIMOE_OK;
}

enum limoe_status workspace_reserve_aside(struct workspace *w, struct kernels *k, const struct config *config,
                                          struct limoe_error *err) {
    const size_t elements = w->rows * widest(config);
    if (!w->x_aside)
        w->x_aside = k->ops->alloc(k, elements * sizeof *w->x_aside);
    if (!w->h_aside)
        w->h_aside = k->ops->alloc(k, elements * k->act_size);
    if (!w->x_aside || !w->h_aside)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the tails of a step of %zu tokens", w->rows);
    return LIMOE_OK;
}

void workspace_set_aside(struct workspace *w) {
    const bool one = w->h32 == w->h;
    float *const x = w->x;
    void *const h = w->h;
    w->x = w->x_aside;
    w->h = w->h_aside;
    w->x_aside = x;
    w->h_aside = h;
    if (one)
        w->h32 = w->h;
}

void workspace_release(struct workspace *w, struct kernels *k) {
    k->ops->release(k, w->h_aside);
    k->ops->release(k, w->x_aside);
    plan_release(k, &w->plan);
    free(w->host_entropy);
    free(w->host_gate);
    free(w->host_kept);
    free(w->host_expert);
    k->ops->release(k, w->entropy);
    k->ops->release(k, w->gate);
    k->ops->release(k, w->expert);
    k->ops->release(k, w->logits);
    free(w->host_z);
    k->ops->release(k, w->z);
    k->ops->release(k, w->pooled32);
    k->ops->release(k, w->pooled);
    k->ops->release(k, w->arena);
    if (w->h32 != w->h)
        k->ops->release(k, w->h32);
    k->ops->release(k, w->h);
    k->ops->release(k, w->x);
    *w = (struct workspace){0};
}
