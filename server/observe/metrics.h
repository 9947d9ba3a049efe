/* metrics.h - what the server counts, and its page in Prometheus' text format (version 0.0.4).
 *
 * Counters are atomic and only grow; any thread may call any function. Gauges that others own (the queue's
 * depth, readiness) are passed in when the page is written.
 */
#ifndef LIMOE_METRICS_H
#define LIMOE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/buffer.h"
#include "limoe.h"

struct metrics;

/* routes [n]: the values of the label "route"; static strings. NULL: no memory. */
struct metrics *metrics_new(const char *const *routes, size_t n);
void metrics_free(struct metrics *metrics); /* NULL is fine */

/* A request answered with the HTTP status `code` (100 … 599) after `ns` nanoseconds. */
void metrics_count_request(struct metrics *metrics, size_t route, int code, int64_t ns);
/* A client that went away before its answer was sent. */
void metrics_count_disconnect(struct metrics *metrics);

/* Things that happen, counted each on its own. */
enum metrics_event {
    METRICS_ENGINE_RESTARTS,  /* an engine was lost and another started in its place */
    METRICS_REPLAYED_STEPS,   /* steps sent again because their engine was lost */
    METRICS_GUILTY_ITEMS,     /* items that broke their engine twice, alone: answered 500 */
    METRICS_DECODER_RESTARTS, /* a picture decoder was lost and another started in its place */
    METRICS_CACHE_HITS,       /* texts whose embedding the cache had */
    METRICS_CACHE_MISSES,
    METRICS_CANCELLED, /* requests dropped while they waited, because their client was gone */
    METRICS_RELOADS,   /* models swapped in under load */
    METRICS_FAILED_RELOADS,
    METRICS_SLOW_CLIENTS, /* connections closed because a request did not arrive in time */
    METRICS_EVENTS,
};
void metrics_count(struct metrics *metrics, enum metrics_event event, uint64_t n);

enum metrics_stage { METRICS_QUEUE, METRICS_PREPROCESS, METRICS_INFERENCE, METRICS_STAGES };
/* What one request spent in a stage. */
void metrics_count_stage(struct metrics *metrics, enum metrics_stage stage, int64_t ns);

struct metrics_step {
    uint64_t items[LIMOE_MODALITIES], tokens[LIMOE_MODALITIES];
    int64_t duration_ns;
};
void metrics_count_step(struct metrics *metrics, const struct metrics_step *step);

/* Once, when the model is open. The strings outlive the metrics, or the last call of metrics_write. */
void metrics_set_model(struct metrics *metrics, const struct limoe_info *model, const char *dtype,
                       const char *backend);
/* load [moe_layers, LIMOE_MODALITIES, experts]: assignments of one step. By the thread of metrics_set_model
 * only. */
void metrics_experts(struct metrics *metrics, const uint64_t *load);

struct metrics_gauges {
    bool ready;
    uint64_t queue_items, queue_tokens, queue_bytes;
    uint64_t connections, requests; /* open now; being served now */
};
void metrics_write(struct metrics *metrics, const struct metrics_gauges *gauges, struct buffer *out);

#endif
