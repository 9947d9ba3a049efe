/* metrics_write.c - the page that Prometheus scrapes, family by family.
 *
 * It is written from the counters as they stand, without a lock. Every family is on the page from the first
 * scrape, with 0 where nothing has happened: a rate needs a sample before the first event as well as after
 * it. The codes of requests are the exception, since most never occur.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/front/observe/metrics_parts.h"
#include "server/front/observe/usage.h"

static const char *const stages[METRICS_STAGES] = {
    [METRICS_QUEUE] = "queue", [METRICS_PREPROCESS] = "preprocess", [METRICS_INFERENCE] = "inference"};

static const char *const refusals[METRICS_REFUSALS] = {
    [METRICS_QUEUE_FULL] = "queue_full", [METRICS_QUOTA] = "quota_exceeded",
    [METRICS_NOT_READY] = "not_ready",   [METRICS_DRAINING] = "draining",
    [METRICS_DEADLINE] = "deadline",     [METRICS_UNAUTHORIZED] = "unauthorized",
    [METRICS_TOO_LARGE] = "too_large",
};

/* Where an event is on the page. Events of one family stand together; the first of them brings its help. */
struct event_row {
    unsigned event;
    const char *name, *label,
        *help; /* label: as it stands on the page, behind the model's where there is one; "": none */
};

static const struct event_row events[] = {
    {METRICS_CANCELLED, "limoe_requests_cancelled_total", "",
     "Requests dropped while they waited because their client was gone."},
    {METRICS_SLOW_CLIENTS, "limoe_slow_clients_total", "",
     "Connections closed because a request did not arrive in time."},
    {METRICS_STORE_BUSY, "limoe_classifier_store_busy_total", "",
     "Requests answered 503 because the classifiers' disk did not answer in time."},
    {METRICS_DECODER_RESTARTS, "limoe_decoder_restarts_total", "",
     "Picture decoders that were lost and another started in their place."},
    {METRICS_GIVEN_UP_PICTURES, "limoe_pictures_given_up_total", "",
     "Pictures whose decoding was stopped because nobody waited for them."},
    {METRICS_SPANS_EXPORTED, "limoe_otlp_spans_total", "outcome=\"exported\"",
     "OpenTelemetry spans, by what became of them."},
    {METRICS_SPANS_FAILED, "limoe_otlp_spans_total", "outcome=\"failed\"", NULL},
    {METRICS_SPANS_DROPPED, "limoe_otlp_spans_total", "outcome=\"dropped\"", NULL},
    {METRICS_FETCH_DONE, "limoe_fetch_pictures_total", "outcome=\"done\"",
     "Pictures that requests named by URLs, by what became of them."},
    {METRICS_FETCH_REFUSED, "limoe_fetch_pictures_total", "outcome=\"refused\"", NULL},
    {METRICS_FETCH_TOO_LARGE, "limoe_fetch_pictures_total", "outcome=\"too_large\"", NULL},
    {METRICS_FETCH_LATE, "limoe_fetch_pictures_total", "outcome=\"late\"", NULL},
    {METRICS_FETCH_FAILED, "limoe_fetch_pictures_total", "outcome=\"failed\"", NULL},
    {METRICS_FETCH_LOST, "limoe_fetch_pictures_total", "outcome=\"lost\"", NULL},
    {METRICS_FETCH_GIVEN_UP, "limoe_fetch_pictures_total", "outcome=\"given_up\"", NULL},
    {METRICS_FETCH_BYTES, "limoe_fetch_bytes_total", "", "Bytes of pictures fetched."},
    {METRICS_FETCH_SOCKETS, "limoe_fetch_sockets_total", "", "Sockets opened to fetch pictures."},
    {METRICS_FETCH_RESTARTS, "limoe_fetch_restarts_total", "",
     "Fetchers that were lost and another started in their place."},
    {METRICS_UPSTREAM_DONE, "limoe_upstream_requests_total", "outcome=\"done\"",
     "Requests to the language model's server, by what became of them."},
    {METRICS_UPSTREAM_ERROR, "limoe_upstream_requests_total", "outcome=\"error\"", NULL},
    {METRICS_UPSTREAM_INVALID, "limoe_upstream_requests_total", "outcome=\"invalid\"", NULL},
    {METRICS_UPSTREAM_LATE, "limoe_upstream_requests_total", "outcome=\"late\"", NULL},
    {METRICS_UPSTREAM_UNREACHABLE, "limoe_upstream_requests_total", "outcome=\"unreachable\"", NULL},
    {METRICS_UPSTREAM_LOST, "limoe_upstream_requests_total", "outcome=\"lost\"", NULL},
    {METRICS_UPSTREAM_GIVEN_UP, "limoe_upstream_requests_total", "outcome=\"given_up\"", NULL},
    {METRICS_UPSTREAM_RESTARTS, "limoe_upstream_restarts_total", "",
     "Relays that were lost and another started in their place."},
    {METRICS_JOBS_READY, "limoe_adapter_jobs_ended_total", "state=\"ready\"",
     "Jobs that were to learn an adapter and have ended, by how."},
    {METRICS_JOBS_FAILED, "limoe_adapter_jobs_ended_total", "state=\"failed\"", NULL},
    {METRICS_JOBS_CANCELLED, "limoe_adapter_jobs_ended_total", "state=\"cancelled\"", NULL},
    {METRICS_TRAINER_RESTARTS, "limoe_trainer_restarts_total", "", "Trainers that were lost."},
};
_Static_assert(sizeof events / sizeof *events == METRICS_EVENTS, "every event is on the page");

static const struct event_row model_events[] = {
    {METRICS_ENGINE_RESTARTS, "limoe_engine_restarts_total", "",
     "Engines that were lost and another started in their place."},
    {METRICS_REPLAYED_STEPS, "limoe_steps_replayed_total", "",
     "Steps sent again because their engine was lost."},
    {METRICS_POISON_ITEMS, "limoe_items_failed_total", ",reason=\"engine_lost\"",
     "Items given up because they, alone, lost the process that worked on them each time."},
    {METRICS_POISON_PICTURES, "limoe_items_failed_total", ",reason=\"decoder_lost\"", NULL},
    {METRICS_CACHE_HITS, "limoe_text_cache_hits_total", "", "Texts whose embedding was in the cache."},
    {METRICS_CACHE_MISSES, "limoe_text_cache_misses_total", "",
     "Texts whose embedding was not in the cache."},
    {METRICS_RELOADS, "limoe_model_reloads_total", ",result=\"ok\"",
     "Models that were to be swapped in while requests were served."},
    {METRICS_FAILED_RELOADS, "limoe_model_reloads_total", ",result=\"failed\"", NULL},
    {METRICS_ADAPTER_READS, "limoe_adapter_reads_total", "", "Adapters read into the engine's memory."},
    {METRICS_ADAPTER_DROPS, "limoe_adapter_drops_total", "", "Adapters dropped from it for others."},
    {METRICS_ADAPTER_TRUNK_ROWS, "limoe_adapter_rows_total", ",part=\"trunk\"",
     "Tokens times blocks of steps with adapters: passed once for all of an item's, or for one of them."},
    {METRICS_ADAPTER_TAIL_ROWS, "limoe_adapter_rows_total", ",part=\"tail\"", NULL},
    {METRICS_TRUNK_CACHE_HITS, "limoe_trunk_cache_hits_total", "",
     "Pictures and texts with adapters whose rows of the trunk were in the cache."},
    {METRICS_TRUNK_CACHE_MISSES, "limoe_trunk_cache_misses_total", "",
     "Pictures and texts with adapters whose rows of the trunk were not."},
    {METRICS_CAPTIONS, "limoe_captions_total", "", "Captions that the decoder has written."},
    {METRICS_CAPTION_TOKENS, "limoe_caption_tokens_total", "", "Tokens of those, their ends included."},
    {METRICS_CAPTION_STEPS, "limoe_caption_steps_total", "", "Steps with captions in the making."},
    {METRICS_CAPTION_RESTARTS, "limoe_caption_restarts_total", "",
     "Pictures whose captions were begun anew because their engine was lost."},
};
_Static_assert(sizeof model_events / sizeof *model_events == METRICS_MODEL_EVENTS,
               "every event is on the page");

/* What the page is written from. */
struct page {
    struct metrics *metrics;
    const struct metrics_gauges *gauges;
    char **labels; /* [gauges->n_models]: model="…", escaped */
    struct buffer *out;
};

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

/* ---- by model */

/* A sample of each model: the number at `offset` of its gauges. */
static void gauge_of_each(const struct page *page, const char *name, const char *help, size_t offset) {
    metrics_head(page->out, name, "gauge", help);
    for (size_t i = 0; i < page->gauges->n_models; i++) {
        uint64_t value;
        memcpy(&value, (const char *)&page->gauges->models[i] + offset, sizeof value);
        buffer_print(page->out, "%s{%s} %llu\n", name, page->labels[i], (unsigned long long)value);
    }
}

/* The same number for each model. */
static void limit_of_each(const struct page *page, const char *name, const char *help, uint64_t value) {
    metrics_head(page->out, name, "gauge", help);
    for (size_t i = 0; i < page->gauges->n_models; i++)
        buffer_print(page->out, "%s{%s} %llu\n", name, page->labels[i], (unsigned long long)value);
}

/* The histogram at `offset` of each model's counters. */
static void histogram_of_each(const struct page *page, const struct histogram_shape *shape, const char *name,
                              const char *help, size_t offset) {
    metrics_head(page->out, name, "histogram", help);
    for (size_t i = 0; i < page->gauges->n_models; i++)
        histogram_write((struct histogram *)((char *)&page->metrics->served[i] + offset), shape, name,
                        page->labels[i], page->out);
}

static void modalities_of_each(const struct page *page, const char *name, const char *help, size_t offset) {
    metrics_head(page->out, name, "counter", help);
    for (size_t i = 0; i < page->gauges->n_models; i++) {
        counter *counts = (counter *)((char *)&page->metrics->served[i] + offset);
        for (int m = 0; m < LIMOE_MODALITIES; m++)
            buffer_print(page->out, "%s{%s,modality=\"%s\"} %llu\n", name, page->labels[i],
                         metrics_modalities[m], counter_get(&counts[m]));
    }
}

#define GAUGE(name, field, help)                                                                             \
    gauge_of_each(page, (name), (help), offsetof(struct metrics_served_gauges, field))
#define HISTOGRAM(name, shape, field, help)                                                                  \
    histogram_of_each(page, &(shape), (name), (help), offsetof(struct metrics_served, field))

/* ---- what runs */

static void write_identity(const struct page *page) {
    const struct metrics_gauges *gauges = page->gauges;
    struct buffer *out = page->out;
    metrics_head(out, "limoe_build_info", "gauge", "The program; always 1.");
    buffer_print(out, "limoe_build_info{version=\"%s\"} 1\n", LIMOE_VERSION);
    if (gauges->n_models)
        metrics_head(out, "limoe_model_info", "gauge", "A model that is served; always 1.");
    for (size_t i = 0; i < gauges->n_models; i++) {
        const struct metrics_served_gauges *model = &gauges->models[i];
        buffer_print(out, "limoe_model_info{%s,fingerprint=\"", page->labels[i]);
        metrics_label(out, model->fingerprint);
        buffer_string(out, "\",dtype=\"");
        metrics_label(out, model->dtype);
        buffer_string(out, "\",backend=\"");
        metrics_label(out, model->backend);
        buffer_string(out, "\"} 1\n");
    }
    metrics_head(out, "limoe_ready", "gauge", "1 when the model's engine answers its probe.");
    for (size_t i = 0; i < gauges->n_models; i++)
        buffer_print(out, "limoe_ready{%s} %d\n", page->labels[i], gauges->models[i].ready);
    if (!gauges->n_models) /* of no model, so that one that never comes up is missed */
        buffer_string(out, "limoe_ready 0\n");
    if (gauges->certificate_expiry > 0)
        single(out, "limoe_tls_certificate_expiry_timestamp_seconds", "gauge",
               "When the certificate that is served ends, in Unix seconds.", gauges->certificate_expiry);
}

/* ---- requests */

/* `label`: the model's, with a comma behind it, or "". */
static void write_codes(const struct page *page, const char *label, size_t route, metrics_codes codes) {
    for (int code = 0; code < METRICS_CODES; code++) {
        unsigned long long n = counter_get(&codes[code]);
        if (n)
            buffer_print(page->out, "limoe_requests_total{%s%sroute=\"%s\",code=\"%d\"} %llu\n", label,
                         *label ? "," : "", page->metrics->names[route], code + METRICS_FIRST_CODE, n);
    }
}

static void write_stages(const struct page *page) {
    metrics_head(page->out, "limoe_stage_duration_seconds", "histogram",
                 "Time a request spent waiting (queue), being decoded and tokenised (preprocess), in the "
                 "engine (inference).");
    for (size_t i = 0; i < page->gauges->n_models; i++)
        for (int stage = 0; stage < METRICS_STAGES; stage++) {
            struct buffer labels = {0};
            buffer_print(&labels, "%s,stage=\"%s\"", page->labels[i], stages[stage]);
            buffer_bytes(&labels, "", 1);
            if (labels.failed)
                page->out->failed = true;
            else
                histogram_write(&page->metrics->served[i].stages[stage], &histogram_seconds,
                                "limoe_stage_duration_seconds", labels.data, page->out);
            buffer_free(&labels);
        }
}

static void write_requests(const struct page *page) {
    struct metrics *metrics = page->metrics;
    struct buffer *out = page->out;
    metrics_head(out, "limoe_requests_total", "counter",
                 "Requests answered, by route and HTTP status; by model, where one was asked for.");
    for (size_t route = 0; route < metrics->n; route++) {
        write_codes(page, "", route, metrics->routes[route].codes);
        for (size_t i = 0; i < page->gauges->n_models; i++)
            write_codes(page, page->labels[i], route, metrics->served[i].codes[route]);
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
    write_stages(page);

    metrics_head(out, "limoe_upstream_duration_seconds", "histogram",
                 "Time from a request to the language model's server to its end.");
    histogram_write(&metrics->upstream, &histogram_seconds, "limoe_upstream_duration_seconds", "", out);
}

static void write_events(const struct page *page) {
    for (size_t i = 0; i < METRICS_EVENTS; i++) {
        const struct event_row *row = &events[i];
        const char *open = *row->label ? "{" : "", *close = *row->label ? "}" : "";
        if (row->help)
            metrics_head(page->out, row->name, "counter", row->help);
        buffer_print(page->out, "%s%s%s%s %llu\n", row->name, open, row->label, close,
                     counter_get(&page->metrics->events[row->event]));
    }
    for (size_t i = 0; i < METRICS_MODEL_EVENTS; i++) {
        const struct event_row *row = &model_events[i];
        if (row->help)
            metrics_head(page->out, row->name, "counter", row->help);
        for (size_t m = 0; m < page->gauges->n_models; m++)
            buffer_print(page->out, "%s{%s%s} %llu\n", row->name, page->labels[m], row->label,
                         counter_get(&page->metrics->served[m].events[row->event]));
    }
}

/* ---- what is let in */

static void write_drain(const struct page *page) {
    static const char name[] = "limoe_queue_drain_seconds";
    metrics_head(page->out, name, "gauge", "Time until what waits is computed, at the pace measured.");
    for (size_t i = 0; i < page->gauges->n_models; i++)
        buffer_print(page->out, "%s{%s} %u\n", name, page->labels[i], page->gauges->models[i].drain_seconds);
}

static void write_load(const struct page *page) {
    const struct metrics_gauges *gauges = page->gauges;
    struct buffer *out = page->out;
    gauge(out, "limoe_requests_in_flight", "Requests being served.", gauges->requests);
    gauge(out, "limoe_connections", "Open client connections.", gauges->connections);
    gauge(out, "limoe_intake_bytes", "Memory held by requests that have not said which model they are for.",
          gauges->intake_bytes);
    GAUGE("limoe_queue_depth", queue_items, "Items let in and not computed yet.");
    GAUGE("limoe_queue_depth_tokens", queue_tokens, "Tokens let in and not computed yet.");
    GAUGE("limoe_queue_bytes", queue_bytes, "Memory held by requests being served.");
    GAUGE("limoe_queue_pixels", queue_pixels, "Pixels of pictures let in and not decoded yet.");
    GAUGE("limoe_queue_caption_tokens", queue_captions, "Tokens that captions in the making may come to.");
    limit_of_each(page, "limoe_queue_limit", "Items let in at which requests are refused.",
                  gauges->limit_items);
    limit_of_each(page, "limoe_queue_limit_tokens", "Tokens let in at which requests are refused.",
                  gauges->limit_tokens);
    limit_of_each(page, "limoe_queue_limit_bytes", "Bytes held at which requests are refused.",
                  gauges->limit_bytes);
    limit_of_each(page, "limoe_queue_limit_pixels", "Pixels let in at which requests are refused.",
                  gauges->limit_pixels);
    limit_of_each(page, "limoe_queue_limit_caption_tokens",
                  "Tokens of captions let in at which requests are refused.", gauges->limit_captions);
    write_drain(page);
    GAUGE("limoe_text_cache_entries", cache_entries, "Texts in the cache of embeddings.");
    GAUGE("limoe_text_cache_bytes", cache_bytes, "Memory of the cache of text embeddings.");
    limit_of_each(page, "limoe_text_cache_limit_bytes", "Memory that the cache of text embeddings may take.",
                  gauges->cache_limit_bytes);
    gauge(out, "limoe_classifier_store_ready", "1 while classifiers can be read from the disk and changed.",
          gauges->store_ready);
    gauge(out, "limoe_classifier_store_bytes", "Bytes of the classifiers' file in use.", gauges->store_bytes);
    gauge(out, "limoe_classifier_store_limit_bytes", "Bytes of it at which a PUT is refused.",
          gauges->store_limit_bytes);
    gauge(out, "limoe_adapters_stored", "Adapters on the disk.", gauges->adapters);
    gauge(out, "limoe_adapter_store_bytes", "Bytes of their files.", gauges->adapter_bytes);
    gauge(out, "limoe_adapter_store_limit_bytes", "Bytes of them at which a PUT is refused.",
          gauges->adapter_limit_bytes);
    GAUGE("limoe_adapters_loaded", adapters_held, "Adapters in the engine's memory, each at each strength.");
    GAUGE("limoe_adapter_memory_bytes", adapter_memory, "Memory of those.");
    limit_of_each(page, "limoe_adapter_memory_limit_bytes", "Memory that they may take.",
                  gauges->adapter_memory_limit);
    GAUGE("limoe_trunk_cache_entries", trunk_entries, "Pictures and texts whose rows of the trunk are kept.");
    GAUGE("limoe_trunk_cache_bytes", trunk_bytes, "Memory of those.");
    limit_of_each(page, "limoe_trunk_cache_limit_bytes", "Memory that they may take.",
                  gauges->trunk_limit_bytes);
    metrics_head(out, "limoe_adapter_jobs", "gauge", "Jobs that learn an adapter and have not ended.");
    buffer_print(out,
                 "limoe_adapter_jobs{state=\"queued\"} %llu\nlimoe_adapter_jobs{state=\"training\"} %llu\n",
                 (unsigned long long)gauges->jobs_queued, (unsigned long long)gauges->jobs_running);
    gauge(out, "limoe_adapter_job_bytes", "Bytes of their examples on the disk.", gauges->job_bytes);
    gauge(out, "limoe_adapter_job_limit_bytes", "Bytes of them at which another is refused.",
          gauges->job_limit_bytes);
    single(out, "limoe_adapter_training_seconds_total", "counter", "Seconds for which adapters were learnt.",
           gauges->training_seconds);
}

/* ---- steps */

static void write_steps(const struct page *page) {
    GAUGE("limoe_step_budget_tokens", step_tokens, "Most tokens that are computed together.");
    HISTOGRAM("limoe_step_items", histogram_sizes, step_items, "Items computed together in one engine step.");
    HISTOGRAM("limoe_step_tokens", histogram_sizes, step_tokens,
              "Tokens computed together in one engine step.");
    HISTOGRAM("limoe_step_budget_use_ratio", histogram_shares, step_budget,
              "Tokens of one engine step over its budget.");
    HISTOGRAM("limoe_step_duration_seconds", histogram_seconds, step_duration,
              "Time of one engine step, from its sending to its result.");
    HISTOGRAM("limoe_step_compute_seconds", histogram_seconds, compute,
              "Time of one engine step as the engine measured it.");
    modalities_of_each(page, "limoe_items_total", "Items embedded, by modality.",
                       offsetof(struct metrics_served, items));
    modalities_of_each(page, "limoe_tokens_total", "Tokens embedded, by modality.",
                       offsetof(struct metrics_served, tokens));
}

/* ---- GPUs */

static void write_gpu_family(const struct metrics_gauges *gauges, const char *name, const char *help,
                             size_t offset, struct buffer *out) {
    metrics_head(out, name, "gauge", help);
    for (size_t i = 0; i < gauges->n_gpus; i++) {
        const struct metrics_gpu *gpu = &gauges->gpus[i];
        uint64_t value;
        memcpy(&value, (const char *)gpu + offset, sizeof value);
        buffer_print(out, "%s{model=\"", name);
        metrics_label(out, gpu->model);
        buffer_print(out, "\",rank=\"%u\"} %llu\n", gpu->rank, (unsigned long long)value);
    }
}

static void write_gpus(const struct metrics_gauges *gauges, struct buffer *out) {
    if (!gauges->n_gpus)
        return;
    write_gpu_family(gauges, "limoe_gpu_memory_used_bytes",
                     "Memory in use of the GPU of each rank, by all that is on it.",
                     offsetof(struct metrics_gpu, used), out);
    write_gpu_family(gauges, "limoe_gpu_memory_bytes", "Memory of the GPU of each rank.",
                     offsetof(struct metrics_gpu, total), out);
}

/* ---- processes */

/* process="engine",index="0",model="…" */
static void write_process_labels(const struct metrics_process *process, struct buffer *out) {
    buffer_print(out, "{process=\"%s\",index=\"%u\"", process->role, process->index);
    if (process->model) {
        buffer_string(out, ",model=\"");
        metrics_label(out, process->model);
        buffer_string(out, "\"");
    }
    buffer_string(out, "}");
}

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
        buffer_string(out, "limoe_process_resident_memory_bytes");
        write_process_labels(process, out);
        buffer_print(out, " %llu\n", (unsigned long long)usage.resident_bytes);
        buffer_string(&seconds, "limoe_process_cpu_seconds_total");
        write_process_labels(process, &seconds);
        buffer_print(&seconds, " %.15g\n", usage.cpu_seconds);
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

/* False: no memory. */
static bool label_models(struct page *page) {
    const size_t n = page->gauges->n_models;
    page->labels = calloc(n + 1, sizeof *page->labels);
    for (size_t i = 0; page->labels && i < n; i++) {
        struct buffer label = {0};
        size_t size;
        buffer_string(&label, "model=\"");
        metrics_label(&label, page->gauges->models[i].name);
        buffer_bytes(&label, "\"", 2);
        page->labels[i] = buffer_take(&label, &size);
        if (!page->labels[i])
            return false;
    }
    return page->labels != NULL;
}

static void free_labels(struct page *page) {
    for (size_t i = 0; page->labels && page->labels[i]; i++)
        free(page->labels[i]);
    free(page->labels);
}

void metrics_write(struct metrics *metrics, const struct metrics_gauges *gauges, struct buffer *out) {
    struct page page = {.metrics = metrics, .gauges = gauges, .out = out};
    if (label_models(&page)) {
        write_identity(&page);
        write_requests(&page);
        write_events(&page);
        write_load(&page);
        write_steps(&page);
        metrics_write_models(metrics, out);
        metrics_write_keys(gauges, out);
        metrics_write_loadtest(metrics, out);
        write_gpus(gauges, out);
        write_processes(gauges, out);
        write_self(metrics, out);
    } else
        out->failed = true;
    free_labels(&page);
}
