/* sharded.c - dispatch, exchange, expert MLPs, exchange, combine. A sharded owns its buffers; it runs on the
 * caller's thread.
 *
 * Each copy of an expert, wherever it is held, is a bin for rows. Bins are numbered by holder, beginning
 * with the rank after this one and ending with this one, and by expert on each. So the rows that stay come
 * last, and those that arrive go right behind them:
 *
 *     travelling: [ to the next rank | … | to the one before | stay | from the next rank | … ]
 *                                                            `------- computed here --------'
 *
 * Both sorts, by bin here and by expert there, are the kernels' own plan.
 *
 * The rows that stay are not computed while the others travel. It was tried, with MPI_Ialltoallv: a step of
 * two ranks on one host took 3 % longer, for experts' weights are read twice, and while a rank computes MPI
 * moves nothing.
 */
#include "experts/sharded.h"

#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "router/plan.h"

/* The bins of one layer. */
struct bins {
    uint32_t *bin;  /* [copies]: of placement's owners of the layer, in their order */
    uint32_t *held; /* [ranks]: experts that each peer holds, itself last */
    uint32_t count;
};

struct sharded {
    struct kernels *k;
    const struct exchange *x;
    const struct placement *placement;
    uint32_t width, mlp, top_k, most_bins;
    struct bins *layer; /* [layers] */

    uint32_t *offset;    /* host [most_bins + 1]: of the plan's bins */
    uint32_t *out_count; /* [most_bins]: rows to each bin */
    uint32_t *in_count;  /* [ranks, experts held here]: rows from each peer to each, those that stay last */
    uint32_t *out_rows, *in_rows; /* [ranks]: rows to and from each peer */

    size_t row_room;                 /* of this rank's own rows: */
    int32_t *host_expert, *host_bin; /* host [row_room, top_k] */
    int32_t *bin;                    /* [row_room, top_k] */
    struct kernels_plan plan;        /* of row_room rows, by bin */

    size_t travelling_room, here_room;
    void *travelling;              /* act [travelling_room, width] */
    void *sorted;                  /* act [here_room, width]: the rows computed here, by expert */
    void *hidden;                  /* act [here_room, mlp] */
    int32_t *host_held, *held;     /* [here_room]: which of the experts held here a row is for */
    struct kernels_plan here_plan; /* of here_room rows, by expert held here */
};

/* ---- bins */

static bool number_bins(const struct sharded *s, uint32_t layer, struct bins *l) {
    const struct placement *p = s->placement;
    const uint32_t experts = p->shape.experts, *first = p->first + (size_t)layer * experts;
    l->bin = calloc(first[experts] - first[0], sizeof *l->bin);
    l->held = calloc(s->x->ranks, sizeof *l->held);
    if (!l->bin || !l->held)
        return false;
    for (uint32_t peer = 0; peer < s->x->ranks; peer++) {
        for (uint32_t i = first[0]; i < first[experts]; i++) {
            if (p->owner[i] == exchange_peer(s->x, peer)) {
                l->bin[i - first[0]] = l->count++;
                l->held[peer]++;
            }
        }
    }
    return true;
}

enum limoe_status sharded_create(struct kernels *k, const struct exchange *x, const struct placement *p,
                                 uint32_t width, uint32_t mlp, uint32_t top_k, struct sharded **out,
                                 struct limoe_error *err) {
    const uint32_t layers = p->shape.layers;
    const size_t cells = (size_t)x->ranks * p->shape.experts;
    struct sharded *s = calloc(1, sizeof *s);
    bool good = s;
    if (s) {
        *s = (struct sharded){.k = k, .x = x, .placement = p, .width = width, .mlp = mlp, .top_k = top_k};
        good = (s->layer = calloc(layers + 1u, sizeof *s->layer));
    }
    for (uint32_t i = 0; good && i < layers; i++) {
        good = number_bins(s, i, &s->layer[i]);
        s->most_bins = s->layer[i].count > s->most_bins ? s->layer[i].count : s->most_bins;
    }
    if (good) {
        s->offset = calloc(s->most_bins + 1u, sizeof *s->offset);
        s->out_count = calloc(s->most_bins + 1u, sizeof *s->out_count);
        s->in_count = calloc(cells, sizeof *s->in_count);
        s->out_rows = calloc(x->ranks, sizeof *s->out_rows);
        s->in_rows = calloc(x->ranks, sizeof *s->in_rows);
        good = s->offset && s->out_count && s->in_count && s->out_rows && s->in_rows;
    }
    if (!good) {
        sharded_destroy(s);
        s = NULL;
        limoe_fail(err, LIMOE_NO_MEMORY, "no memory to place %u experts on %u ranks", p->shape.experts,
                   x->ranks);
    }
    *out = s;
    return good ? LIMOE_OK : LIMOE_NO_MEMORY;
}

static void release_own(struct sharded *s) {
    plan_release(s->k, &s->plan);
    s->k->ops->release(s->k, s->bin);
    free(s->host_bin);
    free(s->host_expert);
}

static void release_here(struct sharded *s) {
    plan_release(s->k, &s->here_plan);
    s->k->ops->release(s->k, s->held);
    free(s->host_held);
    s->k->ops->release(s->k, s->hidden);
    s->k->ops->release(s->k, s->sorted);
}

void sharded_destroy(struct sharded *s) {
    if (!s)
        return;
    release_here(s);
    s->k->ops->release(s->k, s->travelling);
    release_own(s);
    free(s->in_rows);
    free(s->out_rows);
    free(s->in_count);
    free(s->out_count);
    free(s->offset);
    for (uint32_t i = 0; s->layer && i < s->placement->shape.layers; i++) {
        free(s->layer[i].held);
        free(s->layer[i].bin);
    }
    free(s->layer);
    free(s);
}

/* ---- room; contents are not kept */

/* Room for some more rows than are asked for, since how many come differs from layer to layer. */
static size_t grown(size_t rows) {
    return rows + rows / 4 + 64;
}

static bool reserve_own(struct sharded *s, size_t rows) {
    rows = rows ? rows : 1;
    if (rows <= s->row_room)
        return true;
    const size_t assignments = rows * s->top_k;
    release_own(s);
    s->row_room = rows;
    s->host_expert = malloc(assignments * sizeof *s->host_expert);
    s->host_bin = malloc(assignments * sizeof *s->host_bin);
    s->bin = s->k->ops->alloc(s->k, assignments * sizeof *s->bin);
    return s->host_expert && s->host_bin && s->bin &&
           plan_alloc(s->k, rows, s->most_bins, s->top_k, &s->plan, NULL) == LIMOE_OK;
}

static bool reserve_travelling(struct sharded *s, size_t rows) {
    if (s->travelling && rows <= s->travelling_room)
        return true;
    s->k->ops->release(s->k, s->travelling);
    s->travelling_room = grown(rows);
    s->travelling = s->k->ops->alloc(s->k, s->travelling_room * s->width * s->k->act_size);
    return s->travelling;
}

static bool reserve_here(struct sharded *s, size_t rows) {
    if (rows <= s->here_room)
        return true;
    const size_t room = s->here_room = grown(rows);
    release_here(s);
    s->sorted = s->k->ops->alloc(s->k, room * s->width * s->k->act_size);
    s->hidden = s->k->ops->alloc(s->k, room * s->mlp * s->k->act_size);
    s->host_held = malloc(room * sizeof *s->host_held);
    s->held = s->k->ops->alloc(s->k, room * sizeof *s->held);
    return s->sorted && s->hidden && s->host_held && s->held &&
           plan_alloc(s->k, room, s->placement->shape.experts, 1, &s->here_plan, NULL) == LIMOE_OK;
}

enum limoe_status sharded_reserve(struct sharded *s, size_t rows, size_t assignments,
                                  struct limoe_error *err) {
    if (reserve_own(s, rows) && reserve_travelling(s, assignments) && reserve_here(s, assignments))
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu rows of several ranks", assignments);
}

/* ---- one layer */

/* Sends each assignment to a copy of its expert and sorts the rows by bin: s->plan and s->offset. */
static void plan_bins(struct sharded *s, uint32_t layer, const struct sharded_rows *rows) {
    const struct kernels_ops *op = s->k->ops;
    const struct placement *p = s->placement;
    const struct bins *l = &s->layer[layer];
    const uint32_t base = p->first[(size_t)layer * p->shape.experts];
    const size_t assignments = rows->rows * s->top_k;
    if (!reserve_own(s, rows->rows))
        s->x->ops->end(s->x, "no memory to plan a step");
    op->download(s->k, s->host_expert, rows->expert, assignments * sizeof *s->host_expert);
    for (size_t i = 0; i < rows->sequences; i++) {
        for (uint32_t row = rows->start[i]; row < rows->start[i + 1]; row++) {
            for (size_t a = (size_t)row * s->top_k; a < ((size_t)row + 1) * s->top_k; a++) {
                const int32_t expert = s->host_expert[a];
                s->host_bin[a] =
                    expert < 0
                        ? -1
                        : (int32_t)
                              l->bin[placement_copy(p, layer, (uint32_t)expert, row - rows->start[i]) - base];
            }
        }
    }
    op->upload(s->k, s->bin, s->host_bin, assignments * sizeof *s->bin);
    op->plan(s->k, s->bin, rows->rows, l->count, s->top_k, s->plan);
    op->download(s->k, s->offset, s->plan.offset, (l->count + 1u) * sizeof *s->offset);
}

static uint32_t sum(const uint32_t *count, size_t n) {
    uint32_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += count[i];
    return total;
}

size_t sharded_counts_bytes(const struct sharded *s) {
    const size_t peers = s->x->ranks - 1;
    size_t most = 0;
    for (uint32_t i = 0; i < s->placement->shape.layers; i++) {
        const struct bins *l = &s->layer[i];
        const size_t mine = l->held[peers], bytes = (l->count - mine + peers * mine) * sizeof *s->out_count;
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Tells each rank how many rows go to each of its experts, and is told. `mine` experts are held here. */
static enum limoe_status swap_counts(struct sharded *s, const struct bins *l, uint32_t mine,
                                     struct limoe_error *err) {
    const uint32_t peers = s->x->ranks - 1;
    for (uint32_t i = 0; i < l->count; i++)
        s->out_count[i] = s->offset[i + 1] - s->offset[i];
    for (uint32_t p = 0; p < peers; p++)
        s->in_rows[p] = mine;
    enum limoe_status status = s->x->ops->swap(s->x, EXCHANGE_HOST, s->out_count, l->held, s->in_count,
                                               s->in_rows, sizeof *s->out_count, err);
    if (status)
        return status;
    for (uint32_t p = 0, at = 0; p < peers; at += l->held[p++]) {
        s->out_rows[p] = sum(s->out_count + at, l->held[p]);
        s->in_rows[p] = sum(s->in_count + (size_t)p * mine, mine);
    }
    for (uint32_t e = 0; e < mine; e++)
        s->in_count[(size_t)peers * mine + e] = s->out_count[l->count - mine + e];
    return LIMOE_OK;
}

/* Sorts the `here` rows by expert: those that stay, then each peer's, are by expert already. */
static void plan_here(struct sharded *s, uint32_t mine, size_t here) {
    size_t row = 0;
    for (uint32_t i = 0; i < s->x->ranks; i++) {
        const uint32_t peer = i == 0 ? s->x->ranks - 1 : i - 1;
        for (uint32_t e = 0; e < mine; e++)
            for (uint32_t n = s->in_count[(size_t)peer * mine + e]; n > 0; n--)
                s->host_held[row++] = (int32_t)e;
    }
    s->k->ops->upload(s->k, s->held, s->host_held, here * sizeof *s->held);
    s->k->ops->plan(s->k, s->held, here, mine, 1, s->here_plan);
}

/* Turns rows into answers, which overwrite them: act [here, width]. */
static void compute_here(struct sharded *s, const struct experts *experts, size_t here, void *rows) {
    const struct kernels_ops *op = s->k->ops;
    const struct kernels_plan sorted = s->here_plan;
    const struct kernels_plan back = {.offset = sorted.offset, .source = sorted.slot};
    op->dispatch(s->k, rows, sorted, experts->count, here, s->width, s->sorted);
    op->grouped_linear(s->k, experts->fc1, sorted.offset, s->sorted, here, experts->activation, s->hidden);
    op->grouped_linear(s->k, experts->fc2, sorted.offset, s->hidden, here, KERNELS_STORE, s->sorted);
    op->dispatch(s->k, s->sorted, back, experts->count, here, s->width, rows);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Swaps rows once all that was queued for them is done; adds the time it took. */
static enum limoe_status swap_rows(struct sharded *s, const void *out, const uint32_t *out_rows, void *in,
                                   const uint32_t *in_rows, uint64_t *ns, struct limoe_error *err) {
    enum limoe_status status = s->k->ops->sync(s->k, err);
    const uint64_t start = now();
    if (!status)
        status = s->x->ops->swap(s->x, EXCHANGE_DEVICE, out, out_rows, in, in_rows, s->width * s->k->act_size,
                                 err);
    *ns += now() - start;
    return status;
}

enum limoe_status sharded_forward(struct sharded *s, uint32_t layer, const struct experts *experts,
                                  const struct sharded_rows *rows, float *x, struct sharded_traffic *traffic,
                                  struct limoe_error *err) {
    const struct kernels_ops *op = s->k->ops;
    const struct bins *l = &s->layer[layer];
    const size_t row_bytes = s->width * s->k->act_size;
    const uint32_t peers = s->x->ranks - 1, mine = l->held[peers];

    plan_bins(s, layer, rows);
    const uint64_t start = now();
    enum limoe_status status = swap_counts(s, l, mine, err);
    if (status)
        return status;
    traffic->ns += now() - start;

    const uint32_t sent = sum(s->out_rows, peers), slots = s->offset[l->count];
    const uint64_t came = sum(s->in_rows, peers), here = slots - sent + came;
    if (!reserve_travelling(s, slots + came))
        s->x->ops->end(s->x, "no memory for rows that travel to their experts");
    if (!reserve_here(s, here))
        s->x->ops->end(s->x, "no memory for the rows that came to this rank's experts");
    char *out = s->travelling, *staying = out + sent * row_bytes, *in = out + slots * row_bytes;

    op->dispatch(s->k, rows->h, s->plan, l->count, slots, s->width, out);
    if ((status = swap_rows(s, out, s->out_rows, in, s->in_rows, &traffic->ns, err)))
        return status;
    if (here) {
        plan_here(s, mine, here);
        compute_here(s, experts, here, staying);
    }
    if ((status = swap_rows(s, in, s->in_rows, out, s->out_rows, &traffic->ns, err)))
        return status;
    op->combine(s->k, out, s->plan, rows->expert, rows->gate, rows->rows, s->top_k, s->width, x);

    traffic->rows += sent;
    traffic->bytes += (sent + came) * row_bytes + (l->count - mine) * sizeof *s->out_count;
    return LIMOE_OK;
}
