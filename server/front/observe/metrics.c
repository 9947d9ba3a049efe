/* metrics.c - the counters.
 *
 * Who owns what: the caller of metrics_new owns the struct; every counter in it is a relaxed atomic, since no
 * counter says anything about another. The experts' counters come with the models: metrics_model.c. The page
 * is written in metrics_write.c.
 */
#include <stdlib.h>
#include <time.h>

#include "server/front/observe/metrics_parts.h"

/* ---- life */

struct metrics *metrics_new(const char *const *routes, size_t n) {
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (!metrics)
        return NULL;
    metrics->routes = calloc(n, sizeof *metrics->routes);
    if (!metrics->routes || pthread_mutex_init(&metrics->models_lock, NULL) != 0) {
        free(metrics->routes);
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

void metrics_free(struct metrics *metrics) {
    if (!metrics)
        return;
    metrics_models_free(metrics->models);
    pthread_mutex_destroy(&metrics->models_lock);
    free(metrics->routes);
    free(metrics);
}

/* ---- counting */

void metrics_count_request(struct metrics *metrics, size_t route, int code, int64_t ns) {
    struct metrics_route *counted = &metrics->routes[route];
    counter_add(&counted->codes[code - METRICS_FIRST_CODE], 1);
    histogram_count(&counted->duration, &histogram_seconds, (uint64_t)ns);
}

void metrics_count_disconnect(struct metrics *metrics) {
    counter_add(&metrics->disconnects, 1);
}

void metrics_count_refusal(struct metrics *metrics, enum metrics_refusal reason) {
    counter_add(&metrics->refusals[reason], 1);
}

void metrics_count_stage(struct metrics *metrics, enum metrics_stage stage, int64_t ns) {
    histogram_count(&metrics->stages[stage], &histogram_seconds, (uint64_t)ns);
}

void metrics_count(struct metrics *metrics, enum metrics_event event, uint64_t n) {
    counter_add(&metrics->events[event], n);
}

void metrics_count_step(struct metrics *metrics, const struct metrics_step *step) {
    uint64_t items = 0, tokens = 0;
    for (int modality = 0; modality < LIMOE_MODALITIES; modality++) {
        counter_add(&metrics->items[modality], step->items[modality]);
        counter_add(&metrics->tokens[modality], step->tokens[modality]);
        items += step->items[modality];
        tokens += step->tokens[modality];
    }
    histogram_count(&metrics->step_items, &histogram_sizes, items);
    histogram_count(&metrics->step_tokens, &histogram_sizes, tokens);
    if (step->budget)
        histogram_count(&metrics->step_budget, &histogram_shares, tokens * HISTOGRAM_WHOLE / step->budget);
    histogram_count(&metrics->step_duration, &histogram_seconds, (uint64_t)step->duration_ns);
    if (step->compute_ns > 0)
        histogram_count(&metrics->compute, &histogram_seconds, (uint64_t)step->compute_ns);
}
