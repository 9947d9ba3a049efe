/* ranks.c - how long a step takes on several ranks, and how much of it is exchange.
 *
 *     mpirun -n N bench/ranks --model DIR [--device D] [--dtype float32|bfloat16|int8] [--threads N] [--batch N]
 *                             [--seconds S]
 *     bench/ranks --local …          on one rank, without MPI
 *
 * The batch is that of all ranks together, divided evenly; threads are each rank's. Ranks begin each call
 * together. Prints one JSON object: the median over the calls made within --seconds of the slowest rank's
 * time, in milliseconds; pictures per second at that; of the same rank's time, the share that was exchange,
 * waiting for other ranks included; and the bytes that all ranks sent in one call. Pictures are noise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/arguments.h"
#include "bench/timing.h"
#include "experts/exchange.h"
#include "limoe.h"

enum { MAX_CALLS = 1 << 18, WARM_UP = 10 };

static int usage(void) {
    fputs("usage: mpirun -n N bench/ranks " ARGUMENTS_USAGE " [--local]\n", stderr);
    return 2;
}

/* One rank's calls, and what it needs for them. */
struct run {
    const struct exchange *x;
    struct limoe_model *model;
    struct limoe_item *items;
    size_t n;
    float *embeddings;
    uint64_t *ns, *bytes; /* [moe_layers] */
    double *ms;           /* [MAX_CALLS]: the slowest rank's */
    size_t calls;
    uint64_t step_ns, exchange_ns, sent; /* this rank's, over all calls */
};

static bool make_items(struct run *r, size_t first) {
    const struct limoe_info *info = limoe_model_info(r->model);
    const size_t bytes = (size_t)info->image_size * info->image_size * 3;
    uint8_t *pixels = malloc((r->n + 1) * bytes);
    r->items = calloc(r->n + 1, sizeof *r->items);
    r->embeddings = calloc((r->n + 1) * info->embed, sizeof *r->embeddings);
    r->ns = calloc(info->moe_layers + 1u, sizeof *r->ns);
    r->bytes = calloc(info->moe_layers + 1u, sizeof *r->bytes);
    r->ms = malloc(MAX_CALLS * sizeof *r->ms);
    if (!pixels || !r->items || !r->embeddings || !r->ns || !r->bytes || !r->ms) {
        free(pixels);
        return false;
    }
    srand((unsigned)first + 1);
    for (size_t i = 0; i < (r->n + 1) * bytes; i++)
        pixels[i] = (uint8_t)(rand() >> 8);
    for (size_t i = 0; i <= r->n; i++)
        r->items[i] = (struct limoe_item){
            .modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels + i * bytes};
    return true;
}

/* The ranks agree on when to stop, and so begin each call together. */
static enum limoe_status measure(struct run *r, double seconds, struct limoe_error *err) {
    const struct limoe_info *info = limoe_model_info(r->model);
    const struct limoe_routing routing = {.exchange_ns = r->ns, .bytes_sent = r->bytes};
    double end = now() + 3600;
    for (size_t i = 0;; i++) {
        uint64_t stop = i >= WARM_UP + MAX_CALLS || now() > end;
        r->x->ops->largest(r->x, &stop, 1, NULL);
        if (stop)
            break;
        memset(r->ns, 0, info->moe_layers * sizeof *r->ns);
        memset(r->bytes, 0, info->moe_layers * sizeof *r->bytes);
        const double start = now();
        enum limoe_status status = limoe_model_embed(r->model, r->items, r->n, r->embeddings, &routing, err);
        const uint64_t took = (uint64_t)((now() - start) * 1e9);
        if (status)
            return status;
        if (i == WARM_UP)
            end = now() + seconds;
        if (i < WARM_UP)
            continue;
        uint64_t slowest = took;
        r->x->ops->largest(r->x, &slowest, 1, NULL);
        r->ms[r->calls++] = (double)slowest * 1e-6;
        r->step_ns += took;
        for (uint32_t layer = 0; layer < info->moe_layers; layer++) {
            r->exchange_ns += r->ns[layer];
            r->sent += r->bytes[layer];
        }
    }
    return LIMOE_OK;
}

static bool report(struct run *r, const struct arguments *a) {
    uint64_t mine[3] = {r->step_ns, r->exchange_ns, r->sent}, sent = 0;
    uint64_t *all = calloc(r->x->ranks, sizeof mine);
    double share = 0;
    if (!all)
        return false;
    r->x->ops->gather(r->x, mine, sizeof mine, all, NULL);
    for (uint32_t i = 0; i < r->x->ranks; i++) {
        const double of = (double)all[3 * i + 1] / (double)all[3 * i];
        share = i == 0 || of > share ? of : share;
        sent += all[3 * i + 2];
    }
    qsort(r->ms, r->calls, sizeof *r->ms, by_value);
    const double median = r->ms[r->calls / 2];
    if (r->x->rank == 0)
        printf("{\"model\": \"%s\", \"backend\": \"%s\", \"dtype\": \"%s\", \"ranks\": %u, \"threads\": %u, "
               "\"batch\": %zu, \"calls\": %zu, \"median_ms\": %.4f, \"images_per_s\": %.1f, "
               "\"exchange_share\": %.4f, \"bytes_per_call\": %.0f}\n",
               limoe_model_info(r->model)->name, limoe_model_backend(r->model),
               limoe_dtype_name(limoe_model_dtype(r->model)), r->x->ranks, limoe_model_threads(r->model),
               a->batch, r->calls, median, 1e3 * (double)a->batch / median, share,
               (double)sent / (double)r->calls);
    free(all);
    return true;
}

int main(int argc, char **argv) {
    struct arguments a = {.batch = 32, .seconds = 5, .options.threads = 1};
    struct limoe_error err;
    struct run r = {0};
    int exit_status = 1;
    if (!arguments_read(argc, argv, "local", &a) || a.profile)
        return usage();
    if (limoe_ranks_open(a.flag ? "local" : "mpi", &a.options.ranks, &err) ||
        limoe_model_open(a.model, &a.options, &r.model, &err)) {
        fprintf(stderr, "%s\n", err.message);
        goto out;
    }
    r.x = exchange_of(a.options.ranks);
    const size_t first = a.batch * r.x->rank / r.x->ranks;
    r.n = a.batch * (r.x->rank + 1) / r.x->ranks - first;
    if (!make_items(&r, first))
        fputs("no memory\n", stderr);
    else if (measure(&r, a.seconds, &err))
        fprintf(stderr, "%s\n", err.message);
    else
        exit_status = report(&r, &a) ? 0 : 1;
out:
    if (r.items)
        free((void *)r.items[0].pixels);
    free(r.ms);
    free(r.bytes);
    free(r.ns);
    free(r.embeddings);
    free(r.items);
    limoe_model_close(r.model);
    limoe_ranks_close(a.options.ranks);
    return exit_status;
}
