/* route_metrics.c - GET /metrics: the page that Prometheus scrapes. */
#include <string.h>
#include <unistd.h>

#include "server/front/calls/call.h"
#include "server/front/fetching/fetching.h"
#include "server/front/http/auth.h"
#include "server/front/http/tls.h"
#include "server/front/loadtest/loadtests.h"
#include "server/front/relaying/relaying.h"
#include "server/front/tracing/tracing.h"
#include "server/front/training/training.h"

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

/* A model's ranks: the processes of those on this host, and the GPUs of all, wherever they are. One that is being replaced
 * just now is left out. */
static void list_ranks(const struct generation *generation, struct metrics_process *processes,
                       struct metrics_gpu *gpus, struct metrics_gauges *gauges) {
    const char *model = generation->model->name;
    struct engine_rank ranks[MOST_RANKS];
    const uint32_t count = engine_ranks(generation->engine, ranks, MOST_RANKS);
    for (uint32_t r = 0; r < count && r < MOST_RANKS; r++) {
        const struct engine_rank *rank = &ranks[r];
        if (rank->pid > 0)
            processes[gauges->n_processes++] =
                (struct metrics_process){.role = "engine", .model = model, .index = r, .pid = rank->pid};
        if (rank->gpu_total > 0)
            gpus[gauges->n_gpus++] = (struct metrics_gpu){
                .model = model, .rank = r, .used = rank->gpu_used, .total = rank->gpu_total};
    }
}

/* The children that are no ranks; one that is being replaced just now is left out. */
static size_t list_processes(const struct server *server, struct metrics_process *out) {
    size_t n = 0;
    for (unsigned lane = 0; lane < LANES; lane++)
        n += list_decoders(server->decoders[lane], lane, server->options.workers + DECODERS_SPARE, out + n);
    const pid_t loadtest = loadtests_pid(server->loadtests);
    if (loadtest > 0)
        out[n++] = (struct metrics_process){.role = "loadtest", .pid = loadtest};
    const pid_t exporter = tracing_pid(server->tracing);
    if (exporter > 0)
        out[n++] = (struct metrics_process){.role = "exporter", .pid = exporter};
    const pid_t fetcher = fetching_pid(server->fetching);
    if (fetcher > 0)
        out[n++] = (struct metrics_process){.role = "fetcher", .pid = fetcher};
    const pid_t relay = relaying_pid(server->relaying);
    if (relay > 0)
        out[n++] = (struct metrics_process){.role = "relay", .pid = relay};
    const pid_t trainer = training_count(server->training).pid;
    if (trainer > 0)
        out[n++] = (struct metrics_process){.role = "trainer", .pid = trainer};
    return n;
}

static void describe(const struct generation *generation, bool ready, struct metrics_served_gauges *out) {
    const struct engine_info *engine = engine_info(generation->engine);
    const struct queue_load depth = queue_depth(generation->queue);
    char why[700];
    *out = (struct metrics_served_gauges){
        .ready = ready && health_good(generation->health, why, sizeof why),
        .name = engine->model.name,
        .fingerprint = engine->fingerprint,
        .dtype = limoe_dtype_name(engine->dtype),
        .backend = engine->backend,
        .step_tokens = engine->step_tokens,
        .queue_items = depth.items,
        .queue_tokens = depth.tokens,
        .queue_bytes = depth.bytes,
        .queue_pixels = depth.pixels,
        .queue_captions = depth.captions,
        .drain_seconds = queue_drain_seconds(generation->queue),
    };
    engine_adapters(generation->engine, &out->adapters_held, &out->adapter_memory);
    engine_trunk_cache(generation->engine, &out->trunk_entries, &out->trunk_bytes);
    if (generation->cache) {
        const struct text_cache_stats cache = text_cache_stats(generation->cache);
        out->cache_entries = cache.entries;
        out->cache_bytes = cache.bytes;
    }
}

/* The models' part; all of it is in the arena. False: no memory. */
static bool describe_all(struct call *call, struct metrics_gauges *gauges) {
    const size_t n = call->roster ? call->roster->models.n : 0;
    const bool ready = atomic_load(&call->server->phase) == SERVER_READY;
    struct metrics_process *processes =
        arena_array(call->arena, 6 + n * MOST_RANKS + LANES * MOST_DECODERS, sizeof *processes);
    struct metrics_served_gauges *models = arena_array(call->arena, n + 1, sizeof *models);
    struct metrics_gpu *gpus = arena_array(call->arena, n * MOST_RANKS + 1, sizeof *gpus);
    if (!processes || !models || !gpus)
        return false;
    processes[gauges->n_processes++] = (struct metrics_process){.role = "front", .pid = getpid()};
    for (size_t i = 0; i < n; i++) {
        describe(call->roster->generation[i], ready, &models[i]);
        list_ranks(call->roster->generation[i], processes, gpus, gauges);
    }
    gauges->n_processes += list_processes(call->server, processes + gauges->n_processes);
    gauges->processes = processes;
    gauges->gpus = gpus;
    gauges->models = models;
    gauges->n_models = n;
    return true;
}

/* Copies what keys with names are counted by; all of it is in the arena. False: no memory. */
static bool list_keys(struct call *call, struct metrics_gauges *gauges) {
    struct account *accounts[AUTH_MOST_NAMES];
    const size_t n = auth_accounts(call->server->auth, accounts);
    struct metrics_key *keys = arena_array(call->arena, n + 1, sizeof *keys);
    bool good = keys != NULL;
    for (size_t i = 0; i < n; i++) {
        const char *name = account_name(accounts[i]);
        struct account_counts counts;
        account_counts(accounts[i], &counts);
        if (good)
            keys[i] = (struct metrics_key){.name = arena_copy(call->arena, name, strlen(name)),
                                           .requests = counts.requests,
                                           .tokens = counts.tokens,
                                           .pictures = counts.pictures,
                                           .refused_requests = counts.refused[ACCOUNT_REQUESTS],
                                           .refused_tokens = counts.refused[ACCOUNT_TOKENS]};
        good = good && keys[i].name;
        account_release(accounts[i]);
    }
    gauges->keys = keys;
    gauges->n_keys = n;
    return good;
}

/* Who names the format gets it, whatever else it would take: Prometheus, which prefers it, and says so by weights, names both. */
static bool wants_openmetrics(const struct call *call) {
    const char *accept = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Accept");
    return accept && strcasestr(accept, "application/openmetrics-text");
}

void route_metrics(struct call *call) {
    struct server *server = call->server;
    const struct serve_options *options = &server->options;
    struct classifiers_state store;
    struct api_error error;
    struct metrics_gauges gauges = {
        .limit_items = options->queue.items,
        .limit_tokens = options->queue.tokens,
        .limit_bytes = options->queue.bytes,
        .limit_pixels = options->queue.pixels,
        .limit_captions = options->queue.captions,
        .cache_limit_bytes = options->cache_bytes,
        .certificate_expiry = server->tls ? (double)tls_expiry(server->tls) : 0,
        .connections = atomic_load(&server->connections),
        .requests = atomic_load(&server->calls),
        .intake_bytes = server->intake ? queue_depth(server->intake).bytes : 0,
    };
    if (!describe_all(call, &gauges) || !list_keys(call, &gauges)) {
        api_fail_memory(&error);
        call_fail(call, &error);
        return;
    }
    classifiers_state(server->classifiers, &store);
    gauges.store_ready = store.reading && store.writing;
    gauges.store_bytes = store.bytes;
    gauges.store_limit_bytes = store.limit_bytes;
    const struct adapters_state adapters = adapters_state(server->adapters);
    gauges.adapters = adapters.n;
    gauges.adapter_bytes = adapters.bytes;
    gauges.adapter_limit_bytes = adapters.limit_bytes;
    gauges.adapter_memory_limit = server->options.adapter_memory;
    gauges.trunk_limit_bytes = server->options.trunk_cache;
    const struct training_counts jobs = training_count(server->training);
    gauges.jobs_queued = jobs.queued;
    gauges.jobs_running = jobs.running;
    gauges.job_bytes = jobs.bytes;
    gauges.job_limit_bytes = options->adapter_job_bytes;
    gauges.training_seconds = jobs.seconds;
    if (!wants_openmetrics(call)) {
        metrics_write(server->metrics, &gauges, &call->answer);
        call_succeed(call, "text/plain; version=0.0.4; charset=utf-8");
        return;
    }
    struct buffer page = {0};
    metrics_write(server->metrics, &gauges, &page);
    metrics_write_openmetrics(server->metrics, &page, &call->answer);
    buffer_free(&page);
    call_succeed(call, "application/openmetrics-text; version=1.0.0; charset=utf-8");
}
