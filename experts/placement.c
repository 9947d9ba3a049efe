/* placement.c - experts to ranks. The caller owns the placement; no threads.
 *
 * From a load, each layer is a scheduling problem: experts are jobs, ranks machines, and the layer takes as
 * long as the busiest machine. Heaviest first, each to the rank with the least so far (Graham 1969), is
 * within a third of the best. What it cannot divide is one expert hotter than a rank's even share; so those
 * are copied first, until no copy is hotter than that or there is no slot left. More copies would cost memory
 * and gain nothing. Where whole experts happen to lie evenly already, contiguous may be better: it is kept
 * then.
 */
#include "experts/placement.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* One layer being placed. */
struct draft {
    uint32_t ranks, experts;
    bool *held;       /* [ranks, experts] */
    uint32_t *copies; /* [experts] */
    uint32_t *room;   /* [ranks]: slots left */
    uint64_t *busy;   /* [ranks]: rows so far */
    uint32_t *order;  /* [experts] */
};

static void draft_free(struct draft *d) {
    free(d->order);
    free(d->busy);
    free(d->room);
    free(d->copies);
    free(d->held);
}

static bool draft_alloc(struct draft *d, const struct placement_shape *s) {
    *d = (struct draft){.ranks = s->ranks,
                        .experts = s->experts,
                        .held = calloc((size_t)s->ranks * s->experts + 1, sizeof *d->held),
                        .copies = calloc(s->experts + 1u, sizeof *d->copies),
                        .room = calloc(s->ranks, sizeof *d->room),
                        .busy = calloc(s->ranks, sizeof *d->busy),
                        .order = calloc(s->experts + 1u, sizeof *d->order)};
    return d->held && d->copies && d->room && d->busy && d->order;
}

/* ---- the finished form */

static enum limoe_status check(const struct placement_shape *s, struct limoe_error *err) {
    if (s->ranks < 1 || s->ranks > PLACEMENT_MAX_RANKS) {
        limoe_fail(err, LIMOE_INVALID, "%u ranks; 1 to %u are accepted", s->ranks, PLACEMENT_MAX_RANKS);
        return LIMOE_INVALID;
    }
    if (s->layers > PLACEMENT_MAX_LAYERS ||
        (s->layers && (s->experts < 1 || s->experts > PLACEMENT_MAX_EXPERTS))) {
        limoe_fail(err, LIMOE_INVALID,
                   "%u layers of %u experts; up to %u layers of 1 to %u experts are accepted", s->layers,
                   s->experts, PLACEMENT_MAX_LAYERS, PLACEMENT_MAX_EXPERTS);
        return LIMOE_INVALID;
    }
    return LIMOE_OK;
}

/* A layer has less than `ranks` copies beyond its experts (choose_copies). */
static enum limoe_status start(const struct placement_shape *s, struct placement *out, struct draft *d,
                               struct limoe_error *err) {
    *out = (struct placement){0};
    *d = (struct draft){0};
    enum limoe_status status = check(s, err);
    if (status)
        return status;
    const uint32_t experts = s->layers ? s->experts : 0;
    out->shape = (struct placement_shape){s->ranks, s->layers, experts};
    out->first = calloc((size_t)s->layers * experts + 1, sizeof *out->first);
    out->owner = calloc((size_t)s->layers * (experts + s->ranks) + 1, sizeof *out->owner);
    if (!out->first || !out->owner || !draft_alloc(d, &out->shape)) {
        limoe_fail(err, LIMOE_NO_MEMORY, "no memory to place %u experts on %u ranks", experts, s->ranks);
        return LIMOE_NO_MEMORY;
    }
    return LIMOE_OK;
}

/* Writes the draft down as the next layer. */
static void append(struct placement *p, uint32_t layer, const struct draft *d) {
    uint32_t *first = p->first + (size_t)layer * d->experts, at = *first;
    for (uint32_t e = 0; e < d->experts; e++) {
        for (uint32_t r = 0; r < d->ranks; r++)
            if (d->held[(size_t)r * d->experts + e])
                p->owner[at++] = r;
        first[e + 1] = at;
    }
}

void placement_free(struct placement *p) {
    free(p->owner);
    free(p->first);
    *p = (struct placement){0};
}

/* ---- contiguous */

static void draft_contiguous(struct draft *d) {
    memset(d->held, 0, (size_t)d->ranks * d->experts * sizeof *d->held);
    for (uint32_t r = 0; r < d->ranks; r++)
        for (uint32_t e = d->experts * r / d->ranks; e < d->experts * (r + 1) / d->ranks; e++)
            d->held[(size_t)r * d->experts + e] = true;
}

enum limoe_status placement_contiguous(const struct placement_shape *shape, struct placement *out,
                                       struct limoe_error *err) {
    struct draft d;
    enum limoe_status status = start(shape, out, &d, err);
    for (uint32_t layer = 0; status == LIMOE_OK && layer < out->shape.layers; layer++) {
        draft_contiguous(&d);
        append(out, layer, &d);
    }
    draft_free(&d);
    if (status)
        placement_free(out);
    return status;
}

/* ---- from a load */

/* Copies the hottest expert until an even share is the most that any copy gets. With T rows on R ranks that
 * takes load / (T / R + 1) more copies of each expert, rounded down: less than R in all. */
static void choose_copies(struct draft *d, const uint64_t *load, uint32_t slots) {
    uint64_t total = 0, spare = (uint64_t)d->ranks * slots - d->experts;
    for (uint32_t e = 0; e < d->experts; e++) {
        d->copies[e] = 1;
        total += load[e];
    }
    for (const uint64_t even = total / d->ranks; spare > 0; spare--) {
        uint32_t hottest = 0;
        for (uint32_t e = 1; e < d->experts; e++)
            if (load[e] / d->copies[e] > load[hottest] / d->copies[hottest])
                hottest = e;
        if (load[hottest] / d->copies[hottest] <= even)
            return;
        d->copies[hottest]++;
    }
}

/* Experts by descending share of one copy, ties to the lower index. An insertion, for there are few. */
static void order_by_share(struct draft *d, const uint64_t *load) {
    for (uint32_t e = 0; e < d->experts; e++) {
        const uint64_t share = load[e] / d->copies[e];
        uint32_t i = e;
        for (; i > 0 && load[d->order[i - 1]] / d->copies[d->order[i - 1]] < share; i--)
            d->order[i] = d->order[i - 1];
        d->order[i] = e;
    }
}

/* The least busy rank with room that does not hold the expert yet, ties to the lower; d->ranks: there is
 * none. */
static uint32_t least_busy(const struct draft *d, uint32_t expert) {
    uint32_t best = d->ranks;
    for (uint32_t r = 0; r < d->ranks; r++)
        if (d->room[r] && !d->held[(size_t)r * d->experts + expert] &&
            (best == d->ranks || d->busy[r] < d->busy[best]))
            best = r;
    return best;
}

/* There are as many slots as copies, so an expert's first finds room; another may find it only beside the
 * first, and is left out. */
static void draft_by_load(struct draft *d, const uint64_t *load, uint32_t slots) {
    memset(d->held, 0, (size_t)d->ranks * d->experts * sizeof *d->held);
    for (uint32_t r = 0; r < d->ranks; r++) {
        d->room[r] = slots;
        d->busy[r] = 0;
    }
    choose_copies(d, load, slots);
    order_by_share(d, load);
    for (uint32_t i = 0; i < d->experts; i++) {
        const uint32_t e = d->order[i];
        for (uint32_t copy = 0; copy < d->copies[e]; copy++) {
            const uint32_t r = least_busy(d, e);
            if (r == d->ranks)
                break;
            d->held[(size_t)r * d->experts + e] = true;
            d->room[r]--;
            d->busy[r] += load[e] / d->copies[e];
        }
    }
}

/* The busiest rank's rows, from the copies that found room. */
static double busiest(struct draft *d, const uint64_t *load) {
    double most = 0;
    for (uint32_t e = 0; e < d->experts; e++) {
        d->copies[e] = 0;
        for (uint32_t r = 0; r < d->ranks; r++)
            d->copies[e] += d->held[(size_t)r * d->experts + e];
    }
    for (uint32_t r = 0; r < d->ranks; r++) {
        double rows = 0;
        for (uint32_t e = 0; e < d->experts; e++)
            if (d->held[(size_t)r * d->experts + e])
                rows += (double)load[e] / d->copies[e];
        most = rows > most ? rows : most;
    }
    return most;
}

enum limoe_status placement_from_load(const struct placement_shape *shape, const uint64_t *load,
                                      uint32_t slots, struct placement *out, struct limoe_error *err) {
    struct draft d;
    enum limoe_status status = start(shape, out, &d, err);
    if (status)
        goto out;
    const uint32_t experts = out->shape.experts, ranks = shape->ranks;
    if (slots < (experts + ranks - 1) / ranks) {
        status = limoe_fail(err, LIMOE_INVALID,
                            "%u ranks with room for %u of %u experts in a layer; at least %u are needed",
                            ranks, slots, experts, (experts + ranks - 1) / ranks);
        goto out;
    }
    slots = slots < experts ? slots : experts;
    for (uint32_t layer = 0; layer < out->shape.layers; layer++) {
        const uint64_t *rows = load + (size_t)layer * experts;
        for (uint32_t e = 0; e < experts; e++) {
            if (rows[e] > PLACEMENT_MAX_LOAD) {
                status = limoe_fail(
                    err, LIMOE_INVALID, "layer %u, expert %u: a load of %llu rows; at most %llu are accepted",
                    layer, e, (unsigned long long)rows[e], (unsigned long long)PLACEMENT_MAX_LOAD);
                goto out;
            }
        }
        draft_contiguous(&d);
        const double unmoved = busiest(&d, rows);
        draft_by_load(&d, rows, slots);
        if (busiest(&d, rows) >= unmoved)
            draft_contiguous(&d);
        append(out, layer, &d);
    }
out:
    draft_free(&d);
    if (status)
        placement_free(out);
    return status;
}

/* ---- asking */

static const uint32_t *owners(const struct placement *p, uint32_t layer, uint32_t expert, uint32_t *n) {
    const uint32_t *first = p->first + (size_t)layer * p->shape.experts + expert;
    *n = first[1] - first[0];
    return p->owner + first[0];
}

uint32_t placement_copies(const struct placement *p, uint32_t layer, uint32_t expert) {
    uint32_t n;
    owners(p, layer, expert, &n);
    return n;
}

/* The expert is added so that the first tokens of short sequences do not all go to the lowest ranks. */
uint32_t placement_copy(const struct placement *p, uint32_t layer, uint32_t expert, uint32_t position) {
    const uint32_t *first = p->first + (size_t)layer * p->shape.experts + expert;
    return first[0] + (uint32_t)(((uint64_t)position + expert) % (first[1] - first[0]));
}

uint32_t placement_owner(const struct placement *p, uint32_t layer, uint32_t expert, uint32_t position) {
    return p->owner[placement_copy(p, layer, expert, position)];
}

bool placement_holds(const struct placement *p, uint32_t rank, uint32_t layer, uint32_t expert) {
    uint32_t n;
    const uint32_t *owner = owners(p, layer, expert, &n);
    for (uint32_t i = 0; i < n; i++)
        if (owner[i] == rank)
            return true;
    return false;
}

uint32_t placement_held(const struct placement *p, uint32_t rank, uint32_t layer) {
    uint32_t held = 0;
    for (uint32_t e = 0; e < p->shape.experts; e++)
        held += placement_holds(p, rank, layer, e);
    return held;
}

double placement_imbalance(const struct placement *p, uint32_t layer, const uint64_t *load) {
    double most = 0, total = 0;
    for (uint32_t r = 0; r < p->shape.ranks; r++) {
        double rows = 0;
        for (uint32_t e = 0; e < p->shape.experts; e++)
            if (placement_holds(p, r, layer, e))
                rows += (double)load[e] / placement_copies(p, layer, e);
        most = rows > most ? rows : most;
        total += rows;
    }
    return total > 0 ? most * p->shape.ranks / total : 1;
}
