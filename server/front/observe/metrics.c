/* metrics.c - the counters.
 *
 * Who owns what: the caller of metrics_new owns the struct; every counter in it is a relaxed atomic, since no
 * counter says anything about another. The experts' counters come with the models: metrics_model.c. The page
 * is written in metrics_write.c.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/front/observe/metrics_parts.h"

/* ---- life */

struct metrics *metrics_new(const char *const *routes, size_t n, size_t served) {
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->names = routes;
    metrics->n = n;
    metrics->n_served = served;
    metrics->routes = calloc(n, sizeof *metrics->routes);
    metrics->served = calloc(served, sizeof *metrics->served);
    bool good = pthread_mutex_init(&metrics->models_lock, NULL) == 0 &&
                pthread_mutex_init(&metrics->exemplars_lock, NULL) == 0 && metrics->routes && metrics->served;
    for (size_t i = 0; good && i < served; i++) {
        metrics->served[i].codes = calloc(n, sizeof *metrics->served[i].codes);
        good = metrics->served[i].codes != NULL;
    }
    if (!good) {
        metrics_free(metrics);
        return NULL;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    metrics->started = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    return metrics;
}

void metrics_free(struct metrics *metrics) {
    if (!metrics)
        return;
    metrics_models_free(metrics->models);
    pthread_mutex_destroy(&metrics->exemplars_lock);
    pthread_mutex_destroy(&metrics->models_lock);
    for (size_t i = 0; metrics->served && i < metrics->n_served; i++)
        free(metrics->served[i].codes);
    free(metrics->served);
    free(metrics->routes);
    free(metrics);
}

/* ---- counting */

void metrics_count_request(struct metrics *metrics, size_t route, int served, int code, int64_t ns) {
    struct metrics_route *counted = &metrics->routes[route];
    counter *codes = served < 0 ? counted->codes : metrics->served[served].codes[route];
    counter_add(&codes[code - METRICS_FIRST_CODE], 1);
    histogram_count(&counted->duration, &histogram_seconds, (uint64_t)ns);
}

void metrics_keep_exemplar(struct metrics *metrics, size_t route, int64_t ns, const char trace_id[33],
                           const char span_id[17]) {
    struct metrics_exemplar exemplar = {.seconds = (double)ns / 1e9};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    exemplar.at = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    memcpy(exemplar.trace_id, trace_id, sizeof exemplar.trace_id);
    memcpy(exemplar.span_id, span_id, sizeof exemplar.span_id);
    const size_t bucket = histogram_bucket(&histogram_seconds, (uint64_t)ns);
    pthread_mutex_lock(&metrics->exemplars_lock);
    metrics->routes[route].exemplar[bucket] = exemplar;
    pthread_mutex_unlock(&metrics->exemplars_lock);
}

void metrics_count_disconnect(struct metrics *metrics) {
    counter_add(&metrics->disconnects, 1);
}

void metrics_count_refusal(struct metrics *metrics, enum metrics_refusal reason) {
    counter_add(&metrics->refusals[reason], 1);
}

void metrics_count_stages(struct metrics *metrics, size_t served, int64_t queue_ns, int64_t preprocess_ns,
                          int64_t inference_ns) {
    struct histogram *stages = metrics->served[served].stages;
    histogram_count(&stages[METRICS_QUEUE], &histogram_seconds, (uint64_t)queue_ns);
    histogram_count(&stages[METRICS_PREPROCESS], &histogram_seconds, (uint64_t)preprocess_ns);
    histogram_count(&stages[METRICS_INFERENCE], &histogram_seconds, (uint64_t)inference_ns);
}

void metrics_count_inference(struct metrics *metrics, size_t served, bool ok, int64_t ns) {
    struct metrics_served *counted = &metrics->served[served];
    struct metrics_outcome *outcome = ok ? &counted->ok : &counted->failed;
    counter_add(&outcome->count, 1);
    counter_add(&outcome->ns, (uint64_t)ns);
}

void metrics_count(struct metrics *metrics, enum metrics_event event, uint64_t n) {
    counter_add(&metrics->events[event], n);
}

void metrics_count_upstream(struct metrics *metrics, int64_t ns) {
    histogram_count(&metrics->upstream, &histogram_seconds, (uint64_t)ns);
}

void metrics_count_model(struct metrics *metrics, size_t served, enum metrics_model_event event, uint64_t n) {
    counter_add(&metrics->served[served].events[event], n);
}

void metrics_count_step(struct metrics *metrics, size_t served, const struct metrics_step *step) {
    struct metrics_served *counted = &metrics->served[served];
    uint64_t items = step->captions, tokens = step->caption_tokens;
    for (int modality = 0; modality < LIMOE_MODALITIES; modality++) {
        counter_add(&counted->items[modality], step->items[modality]);
        counter_add(&counted->tokens[modality], step->tokens[modality]);
        items += step->items[modality];
        tokens += step->tokens[modality];
    }
    histogram_count(&counted->step_items, &histogram_sizes, items);
    histogram_count(&counted->step_tokens, &histogram_sizes, tokens);
    if (step->budget)
        histogram_count(&counted->step_budget, &histogram_shares, tokens * HISTOGRAM_WHOLE / step->budget);
    histogram_count(&counted->step_duration, &histogram_seconds, (uint64_t)step->duration_ns);
    if (step->compute_ns > 0)
        histogram_count(&counted->compute, &histogram_seconds, (uint64_t)step->compute_ns);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    atomic_store_explicit(&counted->last_step_ms,
                          (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                          memory_order_relaxed);
}

/* ---- what was counted */

static struct metrics_sum sum_of(struct metrics_outcome *outcome) {
    return (struct metrics_sum){counter_get(&outcome->count), counter_get(&outcome->ns)};
}

void metrics_statistics(struct metrics *metrics, size_t served, struct metrics_statistics *out) {
    struct metrics_served *counted = &metrics->served[served];
    *out = (struct metrics_statistics){.ok = sum_of(&counted->ok),
                                       .failed = sum_of(&counted->failed),
                                       .last_step_ms = counter_get(&counted->last_step_ms)};
    for (int stage = 0; stage < METRICS_STAGES; stage++)
        out->stages[stage] = (struct metrics_sum){histogram_total(&counted->stages[stage]),
                                                  counter_get(&counted->stages[stage].sum)};
    out->step_items =
        (struct metrics_sum){histogram_total(&counted->step_items), counter_get(&counted->step_items.sum)};
}
