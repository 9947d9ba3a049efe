/* options.h - the options of `limoe serve`; docs/configuration.md lists them. */
#ifndef LIMOE_SERVER_FRONT_OPTIONS_H
#define LIMOE_SERVER_FRONT_OPTIONS_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/api/ask.h"
#include "server/front/fetching/settings.h"
#include "server/front/observe/log.h"
#include "server/front/relaying/settings.h"
#include "server/front/schedule/queue.h"
#include "server/front/supervisor/launch.h"
#include "server/front/tracing/settings.h"

#define SERVE_STRINGS_SIZE 16384
#define SERVE_HALF         UINT_MAX /* of the connections that the server turns out to have room for, */
#define SERVE_LEAST_HALF   64u      /* or so many, if that is more: one address may be a proxy's */

/* Is there memory for an engine's weights, before it is started? */
enum memory_check { MEMORY_CHECK_ON, MEMORY_CHECK_OFF };

/* Its strings lie within it, so it must not be moved while they are used. */
struct serve_options {
    const char *host, *port;
    const char *models;                         /* as model_list.h has them; NULL: the default one */
    const char *model_aliases;                  /* as model_names.h has them, or NULL */
    const char *dialects;                       /* as dialects_parse reads them */
    const char *vertex_predict, *vertex_health; /* paths that Vertex AI asks for, or NULL */
    struct limoe_options compute;
    struct launch_options launch; /* of an engine of several ranks */
    struct limoe_image_limits image;
    size_t max_body_bytes;
    uint64_t bulk_bytes;         /* of disk that the answers to bodies of lines may take meanwhile */
    struct queue_load queue;     /* limits */
    uint64_t max_request_pixels; /* of all pictures of one request */
    uint64_t step_tokens;
    unsigned batch_delay_ms; /* how long a step that is not full waits for more; 0: not at all */
    unsigned http_threads, workers;
    unsigned connections;
    unsigned connections_per_address; /* 0: no limit of its own; or SERVE_HALF */
    unsigned idle_seconds;     /* after which a connection that has sent no complete request head is closed */
    unsigned receive_seconds;  /* for a request's body */
    unsigned stall_seconds;    /* for which a client may send or read too slowly */
    unsigned drain_seconds;    /* after which a stopping server gives up what is in flight */
    unsigned step_seconds;     /* after which an engine that has not answered a step is replaced */
    unsigned decode_seconds;   /* of processor time that one picture may take */
    uint64_t decoder_pictures; /* after which a decoder is replaced; 0: never */
    bool unconfined_decoders;  /* where the system has no sandbox for them */
    enum memory_check memory_check;
    uint64_t engine_bytes;                 /* resident memory past which an engine is replaced; 0: no limit */
    uint64_t cache_bytes;                  /* of text embeddings; 0: no cache */
    const char *state_dir;                 /* where classifiers are kept, and spools */
    uint64_t classifier_bytes;             /* of disk that they may take */
    uint64_t vocabulary_bytes;             /* of memory that vocabularies may take, for each model */
    uint64_t adapter_bytes;                /* of disk that adapters may take */
    uint64_t adapter_memory;               /* of each engine that its adapters may take */
    uint64_t trunk_cache;                  /* … and what they leave as it is, of pictures and texts */
    unsigned adapter_jobs;                 /* that learn adapters, queued and in training; 0: none */
    uint64_t adapter_job_bytes;            /* of disk that their examples may take */
    unsigned trainer_threads;              /* 0: one fewer than compute.threads */
    const char *api_keys, *admin_keys;     /* files, a key a line; NULL: no keys */
    const char *tls_certificate, *tls_key; /* PEM files; NULL: plain HTTP */
    const char *loadtest_targets;          /* URLs, with commas, beside this server; NULL: none */
    const char *loadtest_key;              /* file with the key for these; NULL: none */
    uint64_t loadtest_rate, loadtest_seconds, loadtest_requests; /* the most of a load test */
    const char *allowed_hosts; /* names, with commas; "*": any; NULL: what hosts.h says */
    const char *cors_origin;   /* NULL: no cross-origin answers */
    struct fetching_options fetching;
    struct relaying_options relaying;
    enum ask_hold llm_choices; /* how a language model is held to a question's choices */
    struct tracing_options tracing;
    enum log_format log_format;
    enum log_level log_level;
    char strings[SERVE_STRINGS_SIZE]; /* what the strings above point to */
};

enum serve_parsed { SERVE_RUN, SERVE_EXIT_OK, SERVE_EXIT_USAGE };

/* Fills *options with the defaults and, over them, what the configuration file, the environment and argv
 * say. Unless it returns SERVE_RUN it has printed help or the configuration (to stdout) or what was wrong
 * (to stderr). */
enum serve_parsed serve_parse(int argc, char **argv, struct serve_options *options);

#endif
