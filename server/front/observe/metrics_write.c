/* metrics_write.c - the page that Prometheus scrapes, family by family.
 *
 * It is written from the counters as they stand, without a lock. Every family is on the page from the first
 * scrape, with 0 where nothing has happened: a rate needs a sample before the first event as well as after
 * it. The codes of requests are the exception, since most never occur.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/front/observe/metrics_parts.h"
#include "server/front/observe/usage.h"

static const char *const stages[METRICS_STAGES] = {
    [METRICS_QUEUE] = "queue", [METRICS_PREPROCESS] = "preprocess", [METRICS_INFERENCE] = "inference"};

static const char *const refusals[METRICS_REFUSALS] = {
    [METRICS_QUEUE_FULL] = "queue_full",     [METRICS_NOT_READY] = "not_ready",
    [METRICS_DRAINING] = "draining",         [METRICS_DEADLINE] = "deadline",
    [METRICS_UNAUTHORIZED] = "unauthorized", [METRICS_TOO_LARGE] = "too_large",
};

/* Where an event is on the page. Events of one family stand together; the first of them brings its help. */
static const struct {
    enum metrics_event event;
    const char *name, *labels, *help;
} events[] = {
    {METRICS_CANCELLED, "limoe_requests_cancelled_total", "",
     "Requests dropped while they waited because their client was gone."},
    {METRICS_SLOW_CLIENTS, "limoe_slow_clients_total", "",
     "Connections closed because a request did not arrive in time."},
    {METRICS_STORE_BUSY, "limoe_classifier_store_busy_total", "",
     "Requests answered 503 because the classifiers' disk did not answer in time."},
    {METRICS_ENGINE_RESTARTS, "limoe_engine_restarts_total", "",
     "Engines that were lost and another started in their place."},
    {METRICS_REPLAYED_STEPS, "limoe_steps_replayed_total", "",
     "Steps sent again because their engine was lost."},
    {METRICS_POISON_ITEMS, "limoe_items_failed_total", "{reason=\"engine_lost\"}",
     "Items given up because they, alone, lost the process that worked on them each time."},
    {METRICS_POISON_PICTURES, "limoe_items_failed_total", "{reason=\"decoder_lost\"}", NULL},
    {METRICS_DECODER_RESTARTS, "limoe_decoder_restarts_total", "",
     "Picture decoders that were lost and another started in their place."},
    {METRICS_GIVEN_UP_PICTURES, "limoe_pictures_given_up_total", "",
     "Pictures whose decoding was stopped because nobody waited for them."},
    {METRICS_CACHE_HITS, "limoe_text_cache_hits_total", "", "Texts whose embedding was in the cache."},
    {METRICS_CACHE_MISSES, "limoe_text_cache_misses_total", "",
     "Texts whose embedding was not in the cache."},
    {METRICS_RELOADS, "limoe_model_reloads_total", "{result=\"ok\"}",
     "Models that were to be swapped in while requests were served."},
    {METRICS_FAILED_RELOADS, "limoe_model_reloads_total", "{result=\"failed\"}", NULL},
};
_Static_assert(sizeof events / sizeof *events == METRICS_EVENTS, "every event is on the page");

void metrics_head(struct buffer *out, const char *name, const char *type, const char *help) {
    buffer_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_label(struct buffer *out, const char *value) {
    for (; value && *value; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            buffer_bytes(out, "\\", 1);
        buffer_bytes(out, *value == '\n' ? "n" : value, 1);
    }
}

static void single(struct buffer *out, const char *name, const char *type, const char *help, double value) {
    metrics_head(out, name, type, help);
    buffer_print(out, "%s %.15g\n", name, value);
}

static void gauge(struct buffer *out, const char *name, const char *help, uint64_t value) {
    metrics_head(out, name, "gauge", help);
    buffer_print(out, "%s %llu\n", name, (unsigned long long)value);
}

static void write_histogram(struct histogram *histogram, const struct histogram_shape *shape,
                            const char *name, const char *help, struct buffer *out) {
    metrics_head(out, name, "histogram", help);
    histogram_write(histogram, shape, name, "", out);
}

/* ---- what runs */

static void write_identity(const struct metrics_gauges *gauges, struct buffer *out) {
    metrics_head(out, "limoe_build_info", "gauge", "The program; always 1.");
    buffer_print(out, "limoe_build_info{version=\"%s\"} 1\n", LIMOE_VERSION);
    if (gauges->model.name) {
        const struct {
            const char *label, *value;
        } labels[] = {{"model", gauges->model.name},
                      {"fingerprint", gauges->model.fingerprint},
                      {"dtype", gauges->model.dtype},
                      {"backend", gauges->model.backend}};
        metrics_head(out, "limoe_model_info", "gauge", "The model being served; always 1.");
        buffer_string(out, "limoe_model_info");
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
            buffer_print(out, "%c%s=\"", i ? ',' : '{', labels[i].label);
            metrics_label(out, labels[i].value);
            buffer_string(out, "\"");
        }
        buffer_string(out, "} 1\n");
    }
    gauge(out, "limoe_ready", "1 when the engine answers its probe.", gauges->ready);
    if (gauges->certificate_expiry > 0)
        single(out, "limoe_tls_certificate_expiry_timestamp_seconds", "gauge",
               "When the certificate that is served ends, in Unix seconds.", gauges->certificate_expiry);
}

/* ---- requests */

static void write_requests(struct metrics *metrics, struct buffer *out) {
    metrics_head(out, "limoe_requests_total", "counter", "Requests answered, by route and HTTP status.");
    for (size_t route = 0; route < metrics->n; route++)
        for (int code = 0; code < METRICS_CODES; code++) {
            unsigned long long n = counter_get(&metrics->routes[route].codes[code]);
            if (n)
                buffer_print(out, "limoe_requests_total{route=\"%s\",code=\"%d\"} %llu\n",
                             metrics->names[route], code + METRICS_FIRST_CODE, n);
        }

    metrics_head(out, "limoe_request_duration_seconds", "histogram",
                 "Time from a request's headers to its answer, by route.");
    for (size_t route = 0; route < metrics->n; route++) {
        char label[128];
        snprintf(label, sizeof label, "route=\"%s\"", metrics->names[route]);
        histogram_write(&metrics->routes[route].duration, &histogram_seconds,
                        "limoe_request_duration_seconds", label, out);
    }

    metrics_head(out, "limoe_requests_refused_total", "counter",
                 "Requests answered without being computed, by reason.");
    for (int reason = 0; reason < METRICS_REFUSALS; reason++)
        buffer_print(out, "limoe_requests_refused_total{reason=\"%s\"} %llu\n", refusals[reason],
                     counter_get(&metrics->refusals[reason]));

    single(out, "limoe_client_disconnects_total", "counter",
           "Clients that went away before their answer was sent.",
           (double)counter_get(&metrics->disconnects));

    metrics_head(out, "limoe_stage_duration_seconds", "histogram",
                 "Time a request spent waiting (queue), being decoded and tokenised (preprocess), in the "
                 "engine (inference).");
    for (int stage = 0; stage < METRICS_STAGES; stage++) {
        char label[64];
        snprintf(label, sizeof label, "stage=\"%s\"", stages[stage]);
        histogram_write(&metrics->stages[stage], &histogram_seconds, "limoe_stage_duration_seconds", label,
                        out);
    }
}

static void write_events(struct metrics *metrics, struct buffer *out) {
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (events[i].help)
            metrics_head(out, events[i].name, "counter", events[i].help);
        buffer_print(out, "%s%s %llu\n", events[i].name, events[i].labels,
                     counter_get(&metrics->events[events[i].event]));
    }
}

/* ---- what is let in */

static void write_load(const struct metrics_gauges *gauges, struct buffer *out) {
    gauge(out, "limoe_requests_in_flight", "Requests being served.", gauges->requests);
    gauge(out, "limoe_connections", "Open client connections.", gauges->connections);
    gauge(out, "limoe_queue_depth", "Items let in and not computed yet.", gauges->queue_items);
    gauge(out, "limoe_queue_depth_tokens", "Tokens let in and not computed yet.", gauges->queue_tokens);
    gauge(out, "limoe_queue_bytes", "Memory held by requests being served.", gauges->queue_bytes);
    gauge(out, "limoe_queue_pixels", "Pixels of pictures let in and not decoded yet.", gauges->queue_pixels);
    gauge(out, "limoe_queue_limit", "Items let in at which requests are refused.", gauges->limit_items);
    gauge(out, "limoe_queue_limit_tokens", "Tokens let in at which requests are refused.",
          gauges->limit_tokens);
    gauge(out, "limoe_queue_limit_bytes", "Bytes held at which requests are refused.", gauges->limit_bytes);
    gauge(out, "limoe_queue_limit_pixels", "Pixels let in at which requests are refused.",
          gauges->limit_pixels);
    gauge(out, "limoe_queue_drain_seconds", "Time until what waits is computed, at the pace measured.",
          gauges->drain_seconds);
    gauge(out, "limoe_text_cache_entries", "Texts in the cache of embeddings.", gauges->cache_entries);
    gauge(out, "limoe_text_cache_bytes", "Memory of the cache of text embeddings.", gauges->cache_bytes);
    gauge(out, "limoe_text_cache_limit_bytes", "Memory that the cache of text embeddings may take.",
          gauges->cache_limit_bytes);
    gauge(out, "limoe_classifier_store_ready", "1 while classifiers can be read from the disk and changed.",
          gauges->store_ready);
    gauge(out, "limoe_classifier_store_bytes", "Bytes of the classifiers' file in use.", gauges->store_bytes);
    gauge(out, "limoe_classifier_store_limit_bytes", "Bytes of it at which a PUT is refused.",
          gauges->store_limit_bytes);
}

/* ---- steps */

static void write_modalities(counter *counts, const char *name, const char *help, struct buffer *out) {
    metrics_head(out, name, "counter", help);
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        buffer_print(out, "%s{modality=\"%s\"} %llu\n", name, metrics_modalities[m], counter_get(&counts[m]));
}

static void write_steps(struct metrics *metrics, const struct metrics_gauges *gauges, struct buffer *out) {
    gauge(out, "limoe_step_budget_tokens", "Most tokens that are computed together.", gauges->step_tokens);
    write_histogram(&metrics->step_items, &histogram_sizes, "limoe_step_items",
                    "Items computed together in one engine step.", out);
    write_histogram(&metrics->step_tokens, &histogram_sizes, "limoe_step_tokens",
                    "Tokens computed together in one engine step.", out);
    write_histogram(&metrics->step_budget, &histogram_shares, "limoe_step_budget_use_ratio",
                    "Tokens of one engine step over its budget.", out);
    write_histogram(&metrics->step_duration, &histogram_seconds, "limoe_step_duration_seconds",
                    "Time of one engine step, from its sending to its result.", out);
    write_histogram(&metrics->compute, &histogram_seconds, "limoe_step_compute_seconds",
                    "Time of one engine step as the engine measured it.", out);
    write_modalities(metrics->items, "limoe_items_total", "Items embedded, by modality.", out);
    write_modalities(metrics->tokens, "limoe_tokens_total", "Tokens embedded, by modality.", out);
}

/* ---- processes */

static void write_processes(const struct metrics_gauges *gauges, struct buffer *out) {
    /* Families stand together, and a process may end between the two: it is read once. */
    struct buffer seconds = {0};
    metrics_head(out, "limoe_process_resident_memory_bytes", "gauge",
                 "Memory in RAM of each of the server's processes.");
    metrics_head(&seconds, "limoe_process_cpu_seconds_total", "counter",
                 "Processor time that each of the server's processes used.");
    for (size_t i = 0; i < gauges->n_processes; i++) {
        const struct metrics_process *process = &gauges->processes[i];
        struct process_usage usage;
        if (!usage_read(process->pid, &usage))
            continue;
        buffer_print(out, "limoe_process_resident_memory_bytes{process=\"%s\",index=\"%u\"} %llu\n",
                     process->role, process->index, (unsigned long long)usage.resident_bytes);
        buffer_print(&seconds, "limoe_process_cpu_seconds_total{process=\"%s\",index=\"%u\"} %.15g\n",
                     process->role, process->index, usage.cpu_seconds);
    }
    buffer_bytes(out, seconds.data, seconds.failed ? 0 : seconds.size);
    out->failed = out->failed || seconds.failed;
    buffer_free(&seconds);
}

/* The names that every program's page has. */
static void write_self(const struct metrics *metrics, struct buffer *out) {
    struct process_usage usage = {0};
    struct rlimit files = {0};
    usage_read(getpid(), &usage);
    getrlimit(RLIMIT_NOFILE, &files);
    gauge(out, "process_resident_memory_bytes", "Memory of the front that is in RAM.", usage.resident_bytes);
    single(out, "process_cpu_seconds_total", "counter", "Processor time the front used.", usage.cpu_seconds);
    gauge(out, "process_open_fds", "Open file descriptors of the front.", usage_open_files());
    gauge(out, "process_max_fds", "Limit on open file descriptors of the front.", files.rlim_cur);
    single(out, "process_start_time_seconds", "gauge", "When the front started, in Unix seconds.",
           metrics->started);
}

void metrics_write(struct metrics *metrics, const struct metrics_gauges *gauges, struct buffer *out) {
    write_identity(gauges, out);
    write_requests(metrics, out);
    write_events(metrics, out);
    write_load(gauges, out);
    write_steps(metrics, gauges, out);
    metrics_write_models(metrics, out);
    write_processes(gauges, out);
    write_self(metrics, out);
}
