/* route_metrics.c - GET /metrics: the page that Prometheus scrapes. */
#include <unistd.h>

#include "server/front/calls/call.h"
#include "server/front/http/tls.h"

#define MOST_DECODERS (256 + DECODERS_SPARE) /* of a lane: as --workers may be, and what stands by */
#define MOST_RANKS    256                    /* of one host; ranks beyond are not shown */

/* Appends a lane's processes to the list, numbered on from those of the lanes before it. */
static size_t list_decoders(struct decoders *decoders, unsigned lane, unsigned count,
                            struct metrics_process *out) {
    pid_t pids[MOST_DECODERS];
    size_t n = 0;
    decoders_processes(decoders, pids);
    for (unsigned i = 0; i < count; i++)
        if (pids[i] > 0)
            out[n++] = (struct metrics_process){.role = "decoder", .index = lane * count + i, .pid = pids[i]};
    return n;
}

/* A decoder or engine that is being replaced just now is left out, and so is a rank on another host. */
static size_t list_processes(const struct generation *generation, unsigned workers,
                             struct metrics_process *out) {
    size_t n = 0;
    out[n++] = (struct metrics_process){.role = "front", .pid = getpid()};
    if (!generation)
        return n;
    struct engine_rank ranks[MOST_RANKS];
    uint32_t n_ranks = engine_ranks(generation->engine, ranks, MOST_RANKS);
    for (uint32_t r = 0; r < n_ranks && r < MOST_RANKS; r++)
        if (ranks[r].pid > 0)
            out[n++] = (struct metrics_process){.role = "engine", .index = r, .pid = ranks[r].pid};
    for (unsigned lane = 0; lane < LANES; lane++)
        n += list_decoders(generation->decoders[lane], lane, workers + DECODERS_SPARE, out + n);
    return n;
}

static void describe_model(struct generation *generation, struct metrics_gauges *gauges) {
    const struct engine_info *engine = engine_info(generation->engine);
    char why[700];
    gauges->ready = health_good(generation->health, why, sizeof why);
    if (!engine)
        return;
    gauges->model.name = engine->model.name;
    gauges->model.fingerprint = engine->fingerprint;
    gauges->model.dtype = limoe_dtype_name(engine->dtype);
    gauges->model.backend = engine->backend;
    gauges->step_tokens = engine->step_tokens;
}

static void describe_load(struct generation *generation, struct metrics_gauges *gauges) {
    const struct queue_load depth = queue_depth(generation->queue);
    gauges->queue_items = depth.items;
    gauges->queue_tokens = depth.tokens;
    gauges->queue_bytes = depth.bytes;
    gauges->queue_pixels = depth.pixels;
    gauges->drain_seconds = queue_drain_seconds(generation->queue);
    if (generation->cache) {
        const struct text_cache_stats cache = text_cache_stats(generation->cache);
        gauges->cache_entries = cache.entries;
        gauges->cache_bytes = cache.bytes;
    }
}

void route_metrics(struct call *call) {
    struct server *server = call->server;
    const struct serve_options *options = &server->options;
    struct metrics_process processes[1 + MOST_RANKS + LANES * MOST_DECODERS];
    struct metrics_gauges gauges = {
        .limit_items = options->queue.items,
        .limit_tokens = options->queue.tokens,
        .limit_bytes = options->queue.bytes,
        .limit_pixels = options->queue.pixels,
        .cache_limit_bytes = options->cache_bytes,
        .certificate_expiry = server->tls ? (double)tls_expiry(server->tls) : 0,
        .connections = atomic_load(&server->connections),
        .requests = atomic_load(&server->calls),
        .processes = processes,
        .n_processes = list_processes(call->generation, options->workers, processes),
    };
    if (call->generation) {
        describe_model(call->generation, &gauges);
        describe_load(call->generation, &gauges);
    }
    struct classifiers_state store;
    classifiers_state(server->classifiers, &store);
    gauges.store_ready = store.reading && store.writing;
    gauges.store_bytes = store.bytes;
    gauges.store_limit_bytes = store.limit_bytes;
    gauges.ready = gauges.ready && atomic_load(&server->phase) == SERVER_READY;
    metrics_write(server->metrics, &gauges, &call->answer);
    call_succeed(call, "text/plain; version=0.0.4; charset=utf-8");
}
