/* metrics_parts.h - what the files of metrics share: counting (metrics.c), the experts' counters
 * (metrics_model.c) and the page (metrics_write.c). Nobody else includes it. */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_METRICS_PARTS_H
#define LIMOE_SERVER_FRONT_OBSERVE_METRICS_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/front/observe/histogram.h"
#include "server/front/observe/metrics.h"
#include "server/front/observe/metrics_loadtest.h"

#define METRICS_FIRST_CODE 100
#define METRICS_CODES      500

/* Relaxed order is enough, for no counter says anything about another. */
typedef _Atomic uint64_t counter;

static inline void counter_add(counter *count, uint64_t more) {
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static inline unsigned long long counter_get(counter *count) {
    return atomic_load_explicit(count, memory_order_relaxed);
}

/* What ranks exchange. */
enum { METRICS_EXCHANGE_ROWS, METRICS_EXCHANGE_BYTES, METRICS_EXCHANGE_NS, METRICS_EXCHANGES };

/* Nothing of it changes but the counters and what models_lock is said to guard. */
struct metrics_model {
    struct metrics_model *older; /* NULL: the oldest; guarded */
    unsigned opened;             /* as often as it is still to be closed; guarded */
    char *name;
    uint32_t layers, experts;
    uint32_t *blocks;                     /* [layers] */
    counter *tokens;                      /* [layers, LIMOE_MODALITIES, experts] */
    struct histogram *imbalance;          /* [layers], in thousandths */
    struct histogram rank_imbalance;      /* likewise */
    counter *exchange[METRICS_EXCHANGES]; /* [layers] each */
    struct metrics_entropy {
        _Atomic double sum;
        counter count;
    } * entropy; /* [layers, LIMOE_MODALITIES] */
};

/* The answers of one route, by status - METRICS_FIRST_CODE. */
typedef counter metrics_codes[METRICS_CODES];

/* A request that was counted in a bucket. */
struct metrics_exemplar {
    char trace_id[33], span_id[17]; /* trace_id "": none yet */
    double seconds, at;             /* that it took; Unix seconds of its end */
};

struct metrics_route {
    struct metrics_exemplar exemplar[HISTOGRAM_MOST_BUCKETS + 1]; /* guarded by exemplars_lock */
    metrics_codes codes;                                          /* of requests for no model */
    struct histogram duration;
};

/* Of one model. */
struct metrics_served {
    metrics_codes *codes; /* [n routes] */
    counter events[METRICS_MODEL_EVENTS];
    struct histogram stages[METRICS_STAGES];
    struct metrics_outcome {
        counter count, ns;
    } ok, failed;
    counter last_step_ms;
    counter items[LIMOE_MODALITIES], tokens[LIMOE_MODALITIES];
    struct histogram step_items, step_tokens, step_budget, step_duration, compute;
};

/* Of the load tests that the server runs. */
struct metrics_loadtest {
    _Atomic unsigned target;
    _Atomic double rate;
    counter ends[METRICS_LOADTEST_ENDS];
    counter sent, dropped, answers[METRICS_LOADTEST_STATUSES];
    struct histogram latency;
};

struct metrics {
    const char *const *names; /* [n] */
    size_t n;
    struct metrics_route *routes;  /* [n] */
    struct metrics_served *served; /* [n_served] */
    size_t n_served;
    counter disconnects;
    counter refusals[METRICS_REFUSALS];
    counter events[METRICS_EVENTS];
    struct histogram upstream;
    pthread_mutex_t exemplars_lock, models_lock;
    struct metrics_model *models; /* the newest first; guarded by models_lock */
    struct metrics_loadtest loadtest;
    double started; /* Unix seconds */
};

void metrics_models_free(struct metrics_model *newest);

/* The families of the models' experts, with their heads. */
void metrics_write_models(struct metrics *metrics, struct buffer *out);

void metrics_write_keys(const struct metrics_gauges *gauges, struct buffer *out);

void metrics_write_loadtest(struct metrics *metrics, struct buffer *out);

/* "# HELP" and "# TYPE". */
void metrics_head(struct buffer *out, const char *name, const char *type, const char *help);
/* The value of a label, escaped as the text format asks: backslash, quote and line feed. */
void metrics_label(struct buffer *out, const char *value);

extern const char *const metrics_modalities[LIMOE_MODALITIES];

#endif
