/* metrics.c - the counters and their page.
 *
 * Who owns what: the caller of metrics_new owns the struct; every counter in it is a relaxed atomic, since no
 * counter says anything about another. The experts' counters come with the model: they are published by an
 * atomic pointer.
 */
#include "observe/metrics.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "observe/histogram.h"

#define FIRST_CODE 100
#define CODES      500

typedef _Atomic uint64_t counter;

/* The model's counters and labels. */
struct experts {
    char *name, *dtype, *backend; /* escaped for a label */
    uint32_t layers, experts;
    uint32_t *blocks; /* [layers] */
    counter *tokens;  /* [layers, LIMOE_MODALITIES, experts] */
};

struct route_metrics {
    counter codes[CODES]; /* by status - FIRST_CODE */
    struct histogram duration;
};

struct metrics {
    const char *const *names; /* [n] */
    size_t n;
    struct route_metrics *routes; /* [n] */
    counter disconnects;
    counter events[METRICS_EVENTS];
    struct histogram stages[METRICS_STAGES];
    counter items[LIMOE_MODALITIES], tokens[LIMOE_MODALITIES];
    struct histogram step_items, step_tokens, step_duration;
    _Atomic(struct experts *) model;
    double started; /* Unix seconds */
};

static const char *const modality_names[LIMOE_MODALITIES] = {[LIMOE_IMAGE] = "image", [LIMOE_TEXT] = "text"};
static const char *const stage_names[METRICS_STAGES] = {"queue", "preprocess", "inference"};

static void add(counter *count, uint64_t more) {
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static unsigned long long get(counter *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* ---- life */

struct metrics *metrics_new(const char *const *routes, size_t n) {
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->routes = calloc(n, sizeof *metrics->routes);
    if (!metrics->routes) {
        free(metrics);
        return NULL;
    }
    metrics->names = routes;
    metrics->n = n;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    metrics->started = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    return metrics;
}

static void experts_free(struct experts *model) {
    if (!model)
        return;
    free(model->name);
    free(model->dtype);
    free(model->backend);
    free(model->blocks);
    free(model->tokens);
    free(model);
}

void metrics_free(struct metrics *metrics) {
    if (!metrics)
        return;
    experts_free(atomic_load(&metrics->model));
    free(metrics->routes);
    free(metrics);
}

void metrics_count(struct metrics *metrics, enum metrics_event event, uint64_t n) {
    add(&metrics->events[event], n);
}

/* A label's value: backslash, quote and line feed are escaped, as the text format asks. NULL: no memory. */
static char *escape(const char *value) {
    char *escaped = malloc(2 * strlen(value) + 1), *to = escaped;
    if (!escaped)
        return NULL;
    for (; *value; value++) {
        if (*value == '\\' || *value == '"' || *value == '\n')
            *to++ = '\\';
        *to++ = (char)(*value == '\n' ? 'n' : *value);
    }
    *to = '\0';
    return escaped;
}

void metrics_set_model(struct metrics *metrics, const struct limoe_info *model, const char *dtype,
                       const char *backend) {
    struct experts *experts = calloc(1, sizeof *experts);
    if (!experts)
        return;
    experts->layers = model->moe_layers;
    experts->experts = model->experts;
    experts->name = escape(model->name);
    experts->dtype = escape(dtype);
    experts->backend = escape(backend);
    experts->blocks = calloc(model->moe_layers + 1, sizeof *experts->blocks);
    experts->tokens =
        calloc((size_t)model->moe_layers * LIMOE_MODALITIES * model->experts + 1, sizeof(counter));
    if (!experts->name || !experts->dtype || !experts->backend || !experts->blocks || !experts->tokens) {
        experts_free(experts);
        return;
    }
    memcpy(experts->blocks, model->moe_blocks, model->moe_layers * sizeof *experts->blocks);
    atomic_store(&metrics->model, experts);
}

/* ---- counting */

void metrics_count_request(struct metrics *metrics, size_t route, int code, int64_t ns) {
    struct route_metrics *counted = &metrics->routes[route];
    add(&counted->codes[code - FIRST_CODE], 1);
    histogram_count(&counted->duration, &histogram_seconds, (uint64_t)ns);
}

void metrics_count_disconnect(struct metrics *metrics) {
    add(&metrics->disconnects, 1);
}

void metrics_count_stage(struct metrics *metrics, enum metrics_stage stage, int64_t ns) {
    histogram_count(&metrics->stages[stage], &histogram_seconds, (uint64_t)ns);
}

void metrics_count_step(struct metrics *metrics, const struct metrics_step *step) {
    uint64_t items = 0, tokens = 0;
    for (int modality = 0; modality < LIMOE_MODALITIES; modality++) {
        add(&metrics->items[modality], step->items[modality]);
        add(&metrics->tokens[modality], step->tokens[modality]);
        items += step->items[modality];
        tokens += step->tokens[modality];
    }
    histogram_count(&metrics->step_items, &histogram_sizes, items);
    histogram_count(&metrics->step_tokens, &histogram_sizes, tokens);
    histogram_count(&metrics->step_duration, &histogram_seconds, (uint64_t)step->duration_ns);
}

void metrics_experts(struct metrics *metrics, const uint64_t *load) {
    struct experts *model = atomic_load_explicit(&metrics->model, memory_order_acquire);
    if (!model)
        return;
    size_t n = (size_t)model->layers * LIMOE_MODALITIES * model->experts;
    for (size_t i = 0; i < n; i++)
        if (load[i])
            add(&model->tokens[i], load[i]);
}

/* ---- the page */

static void head(struct buffer *out, const char *name, const char *type, const char *help) {
    buffer_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(struct buffer *out, const char *name, const char *type, const char *help, double value) {
    head(out, name, type, help);
    buffer_print(out, "%s %.15g\n", name, value);
}

static void write_requests(struct metrics *metrics, struct buffer *out) {
    head(out, "limoe_requests_total", "counter", "Requests answered, by route and HTTP status.");
    for (size_t route = 0; route < metrics->n; route++)
        for (int code = 0; code < CODES; code++)
            if (get(&metrics->routes[route].codes[code]))
                buffer_print(out, "limoe_requests_total{route=\"%s\",code=\"%d\"} %llu\n",
                             metrics->names[route], code + FIRST_CODE,
                             get(&metrics->routes[route].codes[code]));

    head(out, "limoe_request_duration_seconds", "histogram",
         "Time from a request's headers to its answer, by route.");
    for (size_t route = 0; route < metrics->n; route++) {
        char label[128];
        snprintf(label, sizeof label, "route=\"%s\"", metrics->names[route]);
        histogram_write(&metrics->routes[route].duration, &histogram_seconds,
                        "limoe_request_duration_seconds", label, out);
    }
    single(out, "limoe_client_disconnects_total", "counter",
           "Clients that went away before their answer was sent.", (double)get(&metrics->disconnects));

    head(out, "limoe_stage_duration_seconds", "histogram",
         "Time a request spent waiting (queue), being decoded and tokenised (preprocess), in the engine "
         "(inference).");
    for (int stage = 0; stage < METRICS_STAGES; stage++) {
        char label[64];
        snprintf(label, sizeof label, "stage=\"%s\"", stage_names[stage]);
        histogram_write(&metrics->stages[stage], &histogram_seconds, "limoe_stage_duration_seconds", label,
                        out);
    }
}

static void write_steps(struct metrics *metrics, struct buffer *out) {
    head(out, "limoe_step_items", "histogram", "Items computed together in one engine step.");
    histogram_write(&metrics->step_items, &histogram_sizes, "limoe_step_items", "", out);
    head(out, "limoe_step_tokens", "histogram", "Tokens computed together in one engine step.");
    histogram_write(&metrics->step_tokens, &histogram_sizes, "limoe_step_tokens", "", out);
    head(out, "limoe_step_duration_seconds", "histogram", "Time of one engine step.");
    histogram_write(&metrics->step_duration, &histogram_seconds, "limoe_step_duration_seconds", "", out);

    head(out, "limoe_items_total", "counter", "Items embedded, by modality.");
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        buffer_print(out, "limoe_items_total{modality=\"%s\"} %llu\n", modality_names[m],
                     get(&metrics->items[m]));
    head(out, "limoe_tokens_total", "counter", "Tokens embedded, by modality.");
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        buffer_print(out, "limoe_tokens_total{modality=\"%s\"} %llu\n", modality_names[m],
                     get(&metrics->tokens[m]));
}

static void write_model(struct experts *model, struct buffer *out) {
    head(out, "limoe_build_info", "gauge", "What is running; always 1.");
    buffer_print(out, "limoe_build_info{version=\"%s\",model=\"%s\",dtype=\"%s\",backend=\"%s\"} 1\n",
                 LIMOE_VERSION, model ? model->name : "", model ? model->dtype : "",
                 model ? model->backend : "");
    if (!model)
        return;
    head(out, "limoe_expert_tokens_total", "counter",
         "Tokens that the router assigned to an expert; layer is the transformer block.");
    counter *tokens = model->tokens;
    for (uint32_t layer = 0; layer < model->layers; layer++)
        for (int m = 0; m < LIMOE_MODALITIES; m++)
            for (uint32_t expert = 0; expert < model->experts; expert++)
                buffer_print(out,
                             "limoe_expert_tokens_total{layer=\"%u\",expert=\"%u\",modality=\"%s\"} %llu\n",
                             model->blocks[layer], expert, modality_names[m], get(tokens++));
}

/* Bytes of memory that are in RAM now; 0 where /proc is missing. */
static double resident_bytes(void) {
    unsigned long long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%llu %llu", &total, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void) {
    double n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n - 1; /* the directory itself */
}

static void write_process(const struct metrics *metrics, struct buffer *out) {
    struct timespec cpu;
    struct rlimit files = {0};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    getrlimit(RLIMIT_NOFILE, &files);
    single(out, "process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM.",
           resident_bytes());
    single(out, "process_cpu_seconds_total", "counter", "Processor time the process used.",
           (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    single(out, "process_open_fds", "gauge", "Open file descriptors.", open_files());
    single(out, "process_max_fds", "gauge", "Limit on open file descriptors.", (double)files.rlim_cur);
    single(out, "process_start_time_seconds", "gauge", "When the process started, in Unix seconds.",
           metrics->started);
}

void metrics_write(struct metrics *metrics, const struct metrics_gauges *gauges, struct buffer *out) {
    write_model(atomic_load(&metrics->model), out);
    single(out, "limoe_ready", "gauge", "1 when the engine answers its probe.", gauges->ready);
    write_requests(metrics, out);
    single(out, "limoe_requests_in_flight", "gauge", "Requests being served.", (double)gauges->requests);
    single(out, "limoe_connections", "gauge", "Open client connections.", (double)gauges->connections);
    single(out, "limoe_queue_depth", "gauge", "Items let in and not computed yet.",
           (double)gauges->queue_items);
    single(out, "limoe_queue_depth_tokens", "gauge", "Tokens let in and not computed yet.",
           (double)gauges->queue_tokens);
    single(out, "limoe_queue_bytes", "gauge", "Memory held by requests being served.",
           (double)gauges->queue_bytes);
    write_steps(metrics, out);
    write_process(metrics, out);
}
