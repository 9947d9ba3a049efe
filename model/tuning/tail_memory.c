/* tail_memory.c - one allocation for what a batch keeps and passes through. */

#include "base/error.h"
#include "model/tuning/layers.h"

/* Hands out parts of `base`, aligned to 64 bytes; of NULL it only counts. */
struct carver {
    float *base;
    size_t used; /* floats */
};

static float *carve(struct carver *c, size_t n) {
    float *part = c->base ? c->base + c->used : NULL;
    c->used += (n + 15) / 16 * 16;
    return part;
}

/* Integers are as large as floats are. */
static uint32_t *carve_integers(struct carver *c, size_t n) {
    _Static_assert(sizeof(uint32_t) == sizeof(float), "one size of element");
    return (uint32_t *)(void *)carve(c, n);
}

static size_t slots_of(const struct tail *t, bool moe, size_t rows) {
    return moe ? rows * t->config->moe.top_k : rows;
}

static void carve_block(const struct tail *t, struct carver *c, size_t rows, struct tail_block *b) {
    const size_t d = t->tower->width, slots = slots_of(t, b->moe, rows), experts = t->config->moe.experts;
    struct tail_kept *kept = &b->kept;
    kept->x = carve(c, rows * d);
    kept->qkv = carve(c, rows * 3 * d);
    kept->mixed = carve(c, rows * d);
    kept->middle = carve(c, rows * d);
    kept->sums = carve(c, slots * t->tower->mlp);
    if (!b->moe)
        return;
    kept->answer = carve(c, slots * d);
    kept->logits = carve(c, rows * experts);
    kept->gate = carve(c, slots);
    kept->expert = (int32_t *)carve_integers(c, slots);
    kept->plan.offset = carve_integers(c, experts + 1);
    kept->plan.source = carve_integers(c, slots);
    kept->plan.slot = carve_integers(c, slots);
}

static void carve_rows(struct tail *t, struct carver *c, size_t rows) {
    const size_t d = t->tower->width, slots = slots_of(t, t->any_moe, rows);
    struct tail_scratch *s = &t->scratch;
    s->x = carve(c, rows * d);
    s->dx = carve(c, rows * d);
    s->h = carve(c, rows * d);
    s->dh = carve(c, rows * d);
    s->dqkv = carve(c, rows * 3 * d);
    s->hidden = carve(c, slots * t->tower->mlp);
    s->dhidden = carve(c, slots * t->tower->mlp);
    if (t->tower->pool == CONFIG_POOL_ATTENTION)
        s->head_kv = carve(c, rows * 2 * d);
    if (!t->any_moe)
        return;
    s->slots = carve(c, slots * d);
    s->dslots = carve(c, slots * d);
    s->dgate = carve(c, slots);
    s->dlogits = carve(c, rows * t->config->moe.experts);
}

static void carve_sequences(struct tail *t, struct carver *c, size_t sequences) {
    const size_t d = t->tower->width, embed = t->config->embed;
    struct tail_scratch *s = &t->scratch;
    s->pooled = carve(c, sequences * d);
    s->normed = carve(c, sequences * d);
    s->dpooled = carve(c, sequences * d);
    s->z = carve(c, sequences * embed);
    s->dz = carve(c, sequences * embed);
    if (t->tower->pool != CONFIG_POOL_ATTENTION)
        return;
    s->head_mixed = carve(c, sequences * d);
    s->head_sums = carve(c, sequences * t->tower->mlp);
    s->head_z = carve(c, sequences * d);
    s->head_dmixed = carve(c, sequences * d);
    s->query = carve(c, d);
    s->dquery = carve(c, d);
}

static size_t carve_all(struct tail *t, float *base, size_t rows, size_t sequences) {
    struct carver c = {.base = base};
    for (uint32_t i = 0; i < t->blocks; i++)
        carve_block(t, &c, rows, &t->block[i]);
    carve_rows(t, &c, rows);
    carve_sequences(t, &c, sequences);
    return c.used;
}

enum limoe_status tail_reserve(struct tail *t, size_t rows, size_t sequences, struct limoe_error *err) {
    if (t->memory && rows <= t->rows_room && sequences <= t->sequences_room)
        return LIMOE_OK;
    rows = rows > t->rows_room ? rows : t->rows_room;
    sequences = sequences > t->sequences_room ? sequences : t->sequences_room;
    t->k->ops->release(t->k, t->memory);
    t->rows_room = t->sequences_room = 0;
    const size_t floats = carve_all(t, NULL, rows, sequences);
    t->memory = t->k->ops->alloc(t->k, floats * sizeof(float));
    if (!t->memory)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to train on %zu tokens at once", rows);
    carve_all(t, t->memory, rows, sequences);
    t->rows_room = rows;
    t->sequences_room = sequences;
    return LIMOE_OK;
}
