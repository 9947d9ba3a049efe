/* adapted.c - items that are one, and steps in parts. */
#include "server/engine/adapted.h"

#include <stdlib.h>

#include "base/error.h"

enum limoe_status adapted_init(struct adapted *adapted, const struct adapted_options *options, size_t most,
                               struct limoe_error *err) {
    *adapted = (struct adapted){0};
    if (!options->dir)
        return LIMOE_OK;
    adapted->items = calloc(most, sizeof *adapted->items);
    adapted->lists = calloc(most, sizeof(void *));
    adapted->tails = tails_new(options->dir, options->tail_bytes);
    adapted->trunk = trunk_cache_new(options->trunk_bytes);
    return adapted->items && adapted->lists && adapted->tails && adapted->trunk
               ? LIMOE_OK
               : limoe_fail(err, LIMOE_NO_MEMORY, "no memory for adapters");
}

void adapted_free(struct adapted *adapted) {
    tails_free(adapted->tails);
    trunk_cache_free(adapted->trunk);
    free(adapted->items);
    free(adapted->lists);
    *adapted = (struct adapted){0};
}

/* Sets lists[0 …) for the step's items from `first` on, as far as their tails are in memory together; *end is the first that is
 * not among them. */
static enum limoe_status hold(struct adapted *adapted, struct limoe_model *model,
                              const struct frame_step *step, size_t first, size_t *end,
                              struct limoe_error *err) {
    for (*end = first; *end < step->n; ++*end) {
        const uint32_t tail = step->wants[*end].tail;
        const struct limoe_tail **to = &adapted->lists[*end - first];
        bool held = false;
        *to = NULL;
        if (!tail)
            continue;
        const enum limoe_status status =
            tails_hold(adapted->tails, model, &step->tails[tail - 1], to, &held, err);
        if (status == LIMOE_TOO_LARGE && held && *end > first)
            return LIMOE_OK;
        if (status)
            return status;
    }
    return LIMOE_OK;
}

static bool has(const struct limoe_item *item, const struct limoe_tail *tail) {
    for (uint32_t i = 0; i < item->n_tails; i++)
        if (item->tails[i] == tail)
            return true;
    return false;
}

/* Makes items[] of the step's from `first` to `end`, whose tails are lists[]. Returns how many they are. */
static size_t merge(struct adapted *adapted, const struct frame_step *step, size_t first, size_t end) {
    size_t n = 0;
    for (size_t i = first; i < end; i++) {
        const struct limoe_tail **own = &adapted->lists[i - first];
        struct limoe_item *before = n ? &adapted->items[n - 1] : NULL;
        if (before && step->wants[i].again && before->n_tails < LIMOE_MAX_TAILS && !has(before, *own)) {
            before->n_tails++;
            continue;
        }
        struct limoe_item item = step->items[i];
        if (!item.shares) { /* which are not given with tails, not even with none */
            item.tails = own;
            item.n_tails = 1;
        }
        adapted->items[n++] = item;
    }
    return n;
}

/* Rows times blocks: of the trunk from where it is known as far as the last tail goes with it, and of each tail. */
static void count(const struct limoe_model *model, const struct limoe_item *items, size_t n,
                  struct frame_tails *counts) {
    for (size_t i = 0; i < n; i++) {
        const struct limoe_item *item = &items[i];
        const uint32_t blocks = limoe_model_info(model)->tower[item->modality].blocks;
        uint32_t trunk = item->n_tails ? 0 : blocks;
        for (uint32_t t = 0; t < item->n_tails; t++) {
            const uint32_t start = item->tails[t] ? limoe_tail_start(item->tails[t], item->modality) : blocks;
            trunk = start > trunk ? start : trunk;
            counts->tail_rows += (uint64_t)item->length * (blocks - start);
        }
        trunk -= item->trunk ? limoe_item_fork(item) : 0;
        counts->trunk_rows += (uint64_t)item->length * trunk;
    }
}

/* The step's items from `first` to `end`, whose tails are held. */
static enum limoe_status embed(struct adapted *adapted, struct limoe_model *model,
                               const struct frame_step *step, size_t first, size_t end, float *embeddings,
                               const struct limoe_routing *routing, struct frame_tails *counts,
                               struct limoe_error *err) {
    const size_t n = merge(adapted, step, first, end);
    for (size_t i = 0; i < n && !routing->expert; i++)
        trunk_cache_look(adapted->trunk, model, &adapted->items[i]);
    const enum limoe_status status = limoe_model_embed(model, adapted->items, n, embeddings, routing, err);
    trunk_cache_end_step(adapted->trunk, status == LIMOE_OK);
    count(model, adapted->items, n, counts);
    return status;
}

enum limoe_status adapted_embed(struct adapted *adapted, struct limoe_model *model,
                                const struct frame_step *step, float *embeddings,
                                const struct limoe_routing *routing, struct frame_tails *counts,
                                struct limoe_error *err) {
    const size_t width = limoe_model_info(model)->embed;
    enum limoe_status status = LIMOE_OK;
    if (step->n_tails == 0)
        return limoe_model_embed(model, step->items, step->n, embeddings, routing, err);
    if (!adapted->tails)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "this engine has no adapters");
    for (size_t first = 0, end; first < step->n && !status; first = end) {
        status = hold(adapted, model, step, first, &end, err);
        if (!status && routing->expert && (first > 0 || end < step->n))
            status = limoe_fail(err, LIMOE_TOO_LARGE, "the step's adapters have no room in memory together");
        if (!status)
            status =
                embed(adapted, model, step, first, end, embeddings + first * width, routing, counts, err);
        tails_let_go(adapted->tails);
    }
    return status;
}

void adapted_count(struct adapted *adapted, struct frame_tails *counts) {
    if (!adapted->tails)
        return;
    tails_count(adapted->tails, counts);
    trunk_cache_count(adapted->trunk, counts);
}
