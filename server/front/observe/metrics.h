/* metrics.h - what the server counts, and its page in Prometheus' text format (version 0.0.4).
 *
 * Counters are atomic and only grow; any thread may call any function. Gauges that others own (the queue's
 * depth, readiness) are passed in when the page is written. docs/metrics.md lists every metric.
 */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_METRICS_H
#define LIMOE_SERVER_FRONT_OBSERVE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "limoe.h"

struct metrics;

/* routes [n]: the values of the label "route"; static strings. `served`: how many models are served, whose
 * counters are told apart by their index; names come with the page. NULL: no memory. */
struct metrics *metrics_new(const char *const *routes, size_t n, size_t served);
void metrics_free(struct metrics *metrics); /* NULL is fine */

/* ---- requests */

enum { METRICS_NO_MODEL = -1 };

/* A request answered with the HTTP status `code` (100 … 599) after `ns` nanoseconds. `served`: which model it
 * was for, or METRICS_NO_MODEL. */
void metrics_count_request(struct metrics *metrics, size_t route, int served, int code, int64_t ns);
/* The trace that such a request belonged to: an exemplar of its route and time, in place of an earlier one. */
void metrics_keep_exemplar(struct metrics *metrics, size_t route, int64_t ns, const char trace_id[33],
                           const char span_id[17]);
/* A client that went away before its answer was sent. */
void metrics_count_disconnect(struct metrics *metrics);

/* Why a request was answered without being computed. */
enum metrics_refusal {
    METRICS_QUEUE_FULL,   /* 429 */
    METRICS_QUOTA,        /* 429: the key's quota is used up */
    METRICS_NOT_READY,    /* 503: starting, or no engine answers */
    METRICS_DRAINING,     /* 503: stopping */
    METRICS_DEADLINE,     /* 504: its time was up before its turn */
    METRICS_UNAUTHORIZED, /* 401, 403 */
    METRICS_TOO_LARGE,    /* 413 */
    METRICS_REFUSALS,
};
void metrics_count_refusal(struct metrics *metrics, enum metrics_refusal reason);

enum metrics_stage { METRICS_QUEUE, METRICS_PREPROCESS, METRICS_INFERENCE, METRICS_STAGES };
/* What one request for a model spent in each stage, where its engine computed anything for it. */
void metrics_count_stages(struct metrics *metrics, size_t served, int64_t queue_ns, int64_t preprocess_ns,
                          int64_t inference_ns);
/* A request for a model that had something embedded or classified, answered after `ns` nanoseconds. */
void metrics_count_inference(struct metrics *metrics, size_t served, bool ok, int64_t ns);

/* Things that happen, counted each on its own. */
enum metrics_event {
    METRICS_DECODER_RESTARTS,  /* a picture decoder was lost and another started in its place */
    METRICS_GIVEN_UP_PICTURES, /* pictures whose decoding was stopped because nobody waited for them */
    METRICS_CANCELLED,         /* requests dropped while they waited, because their client was gone */
    METRICS_SLOW_CLIENTS,      /* connections closed because a request did not arrive in time */
    METRICS_STORE_BUSY,     /* requests answered 503 because the classifiers' disk did not answer in time */
    METRICS_SPANS_EXPORTED, /* OpenTelemetry spans that the collector took */
    METRICS_SPANS_FAILED,   /* that it did not */
    METRICS_SPANS_DROPPED,  /* that found the way to it full, or its exporter lost */
    METRICS_FETCH_DONE,     /* pictures named by URLs: fetched */
    METRICS_FETCH_REFUSED,  /* … not to be fetched from there */
    METRICS_FETCH_TOO_LARGE,
    METRICS_FETCH_LATE,
    METRICS_FETCH_FAILED,   /* the host did not answer, or not with a picture */
    METRICS_FETCH_LOST,     /* with the fetcher, twice */
    METRICS_FETCH_GIVEN_UP, /* nobody waited for them any more */
    METRICS_FETCH_BYTES,    /* of those fetched */
    METRICS_FETCH_SOCKETS,  /* that the fetcher opened */
    METRICS_FETCH_RESTARTS, /* a fetcher was lost and another started in its place */
    METRICS_UPSTREAM_DONE,  /* requests to the language model's server: answered */
    METRICS_UPSTREAM_ERROR, /* … with another status than 200 */
    METRICS_UPSTREAM_INVALID,
    METRICS_UPSTREAM_LATE,
    METRICS_UPSTREAM_UNREACHABLE,
    METRICS_UPSTREAM_LOST,     /* with the relay, twice */
    METRICS_UPSTREAM_GIVEN_UP, /* nobody waited for them any more */
    METRICS_UPSTREAM_RESTARTS, /* a relay was lost and another started in its place */
    METRICS_JOBS_READY,        /* jobs that learnt an adapter */
    METRICS_JOBS_FAILED,
    METRICS_JOBS_CANCELLED,
    METRICS_TRAINER_RESTARTS, /* a trainer was lost */
    METRICS_EVENTS,
};
void metrics_count(struct metrics *metrics, enum metrics_event event, uint64_t n);
/* A request to the language model's server that ended, however, `ns` nanoseconds after its asking. */
void metrics_count_upstream(struct metrics *metrics, int64_t ns);

/* The same of one model. */
enum metrics_model_event {
    METRICS_ENGINE_RESTARTS, /* an engine was lost and another started in its place */
    METRICS_REPLAYED_STEPS,  /* steps sent again because their engine was lost */
    METRICS_POISON_ITEMS,    /* items that broke their engine twice, alone: answered 500 */
    METRICS_POISON_PICTURES, /* pictures that lost their decoder each time they were tried */
    METRICS_CACHE_HITS,      /* texts whose embedding the cache had */
    METRICS_CACHE_MISSES,
    METRICS_RELOADS, /* models swapped in under load */
    METRICS_FAILED_RELOADS,
    METRICS_ADAPTER_READS,      /* adapters read into the engine's memory */
    METRICS_ADAPTER_DROPS,      /* … and dropped from it for others */
    METRICS_ADAPTER_TRUNK_ROWS, /* rows times blocks of steps with adapters: passed once for all of an item's */
    METRICS_ADAPTER_TAIL_ROWS, /* … by one adapter each */
    METRICS_TRUNK_CACHE_HITS,  /* items with adapters whose rows of the trunk were known */
    METRICS_TRUNK_CACHE_MISSES,
    METRICS_CAPTIONS,         /* texts that the decoder has written */
    METRICS_CAPTION_TOKENS,   /* … and their tokens, the ends included */
    METRICS_CAPTION_STEPS,    /* steps with captions in the making */
    METRICS_CAPTION_RESTARTS, /* pictures' captions begun anew, since the engine had them no longer */
    METRICS_MODEL_EVENTS,
};
void metrics_count_model(struct metrics *metrics, size_t served, enum metrics_model_event event, uint64_t n);

/* ---- steps */

struct metrics_step {
    uint64_t items[LIMOE_MODALITIES], tokens[LIMOE_MODALITIES]; /* embedded */
    uint64_t captions, caption_tokens; /* pictures with captions in the making; what they took of the step */
    uint64_t budget;                   /* the most tokens that the step could have had; 0: not counted */
    int64_t duration_ns;               /* as the front sees it, from the step's sending to its result */
    int64_t compute_ns;                /* as the engine measured it; 0: not known, not counted */
};
void metrics_count_step(struct metrics *metrics, size_t served, const struct metrics_step *step);

/* What was counted of one model since the start. */
struct metrics_sum {
    uint64_t count, total; /* nanoseconds, of a time */
};
struct metrics_statistics {
    struct metrics_sum ok, failed;             /* metrics_count_inference */
    struct metrics_sum stages[METRICS_STAGES]; /* metrics_count_stages */
    struct metrics_sum step_items;             /* steps, and the items of all of them */
    uint64_t last_step_ms; /* when the last step was counted, in Unix milliseconds; 0: none was */
};
void metrics_statistics(struct metrics *metrics, size_t served, struct metrics_statistics *out);

/* The counters of one model's experts. */
struct metrics_model;

/* The counters for a model that is going to be served; what they need of *info is copied. They go by the
 * model's name: a model of the same name and shape goes on with the counters that are open (an engine
 * restarted, a reload of new weights); one of the same name and another shape starts from 0, and its
 * counters replace the others on the page. Two models may count at once. NULL: no memory. Close it when
 * nothing more is to be counted. */
struct metrics_model *metrics_open_model(struct metrics *metrics, const struct limoe_info *info);
/* Once all who opened the counters have closed them they are freed and leave the page; older ones that
 * they had replaced there are shown again. NULL is fine. */
void metrics_close_model(struct metrics *metrics, struct metrics_model *model);

/* What one step made of its tokens, model by model. */
struct metrics_routing {
    const uint64_t *load;  /* [moe_layers, LIMOE_MODALITIES, experts]: assignments */
    const double *entropy; /* [moe_layers, LIMOE_MODALITIES]: sums over the tokens, in nats; may be NULL */
    uint64_t tokens[LIMOE_MODALITIES]; /* that the entropy sums over; 0 without them */
    /* [moe_layers], of all ranks together: what they exchanged, and how long they took for it.
     * May be NULL. */
    const uint64_t *rows_sent, *bytes_sent, *exchange_ns;
    const uint64_t *rank_tokens; /* [ranks]: each one's part; may be NULL */
    uint32_t ranks;
};
/* Counts the routing of the model that was given to metrics_open_model. If model is NULL nothing is
 * counted. */
void metrics_count_routing(struct metrics_model *model, const struct metrics_routing *routing);

/* What the experts of a model have been given since its counters were opened, as a file of measured load, by
 * which they can be placed on ranks: {"format": "limoe-load-1", "load": [[assignments of each expert] of each
 * layer]}. No layers for a model that is not open. Appended to *out. */
void metrics_write_load(struct metrics *metrics, const char *model, struct buffer *out);

/* ---- the page */

/* One of the server's processes. A process that has ended since is left out of the page. */
struct metrics_process {
    const char *role;  /* "front", "engine", "decoder" */
    const char *model; /* an engine's; NULL: of all */
    unsigned index;    /* among those of its role and model, from 0: the same for one that was restarted */
    pid_t pid;
};

/* The GPU of a rank. */
struct metrics_gpu {
    const char *model;
    uint32_t rank;
    uint64_t used, total; /* bytes of its memory */
};

/* Of one model, as it is now. */
struct metrics_served_gauges {
    bool ready;
    const char *name, *fingerprint, *dtype, *backend; /* but for the name "" where NULL */
    uint64_t queue_items, queue_tokens, queue_bytes, queue_pixels, queue_captions; /* let in now */
    unsigned drain_seconds;                 /* until what waits is computed */
    uint64_t step_tokens;                   /* a step's budget */
    uint64_t cache_entries, cache_bytes;    /* of text embeddings */
    uint64_t adapters_held, adapter_memory; /* in the engine's memory */
    uint64_t trunk_entries, trunk_bytes;    /* of the engine's cache of the trunk */
};

/* Of a key that has a name. */
struct metrics_key {
    const char *name;
    uint64_t requests, tokens, pictures;
    uint64_t refused_requests, refused_tokens; /* requests, by the quota that was used up */
};

struct metrics_gauges {
    /* [n_models], as many as metrics_new was told of, in that order; 0: none is ready yet, and what is counted
     * by model is not on the page. */
    const struct metrics_served_gauges *models;
    size_t n_models;
    uint64_t limit_items, limit_tokens, limit_bytes, limit_pixels, limit_captions; /* of each model's queue */
    uint64_t cache_limit_bytes;                                                    /* of each model's cache */
    uint64_t intake_bytes;          /* held by requests that have not said yet which model they are for */
    uint64_t connections, requests; /* open now; being served now */
    bool store_ready;               /* classifiers can be read and changed */
    uint64_t store_bytes, store_limit_bytes;                        /* of their file in use */
    uint64_t adapters, adapter_bytes, adapter_limit_bytes;          /* that are stored, and their files */
    uint64_t adapter_memory_limit, trunk_limit_bytes;               /* of each engine's adapters; cache */
    uint64_t jobs_queued, jobs_running, job_bytes, job_limit_bytes; /* that learn adapters; their examples */
    double training_seconds;                                        /* of trainers */
    double certificate_expiry;               /* Unix seconds; 0: none, and no such metric */
    const struct metrics_process *processes; /* [n_processes]; the front is one of them */
    size_t n_processes;
    const struct metrics_gpu *gpus; /* [n_gpus]; 0: nothing is on one, and there are no such metrics */
    size_t n_gpus;
    const struct metrics_key *keys; /* [n_keys]; 0: none has a name, and there are no such metrics */
    size_t n_keys;
};
/* Reads a few short files of /proc, two for each process. A model that is opened or closed meanwhile waits
 * for it. */
void metrics_write(struct metrics *metrics, const struct metrics_gauges *gauges, struct buffer *out);

/* A page of metrics_write as OpenMetrics 1.0 has it, with exemplars: families of counters without "_total", units, whole
 * bounds with a point, an end. Appended to *out. */
void metrics_write_openmetrics(struct metrics *metrics, const struct buffer *page, struct buffer *out);

#endif
