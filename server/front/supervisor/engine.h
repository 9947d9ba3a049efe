/* engine.h - the front's side of an engine: a process of its own that holds the weights and computes what the
 * queue holds, and the thread that watches over it. An engine of several ranks is a job of as many processes,
 * each with a part of the experts, that compute every step together.
 *
 * The thread starts `limoe engine`, takes steps from the queue (whatever waits, up to a token budget,
 * pictures and texts of several requests together) and sends them. An engine that is lost, by a crash, a hang
 * or its memory, is started again, and what it had not answered is sent again: requests wait a little longer,
 * no more. An item that the engine is lost with time after time fails alone (replay.h).
 *
 * Ranks on CPUs are a job of MPI's: one that is lost takes the job with it. Those on GPUs are a group: one
 * that is lost is started again, and the others keep what they hold. The thread knows requests' jobs
 * (server/front/schedule/job.h) and no HTTP.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_ENGINE_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/schedule/queue.h"
#include "server/front/supervisor/launch.h"

struct engine;

struct engine_options {
    const char *model; /* directory; outlives the engine, as do name, queue, metrics and log */
    const char *name;  /* by which the model is served; NULL: its own */
    size_t served;     /* which of the served models it is, for the metrics */
    const char *label; /* what the log calls the model; NULL: there is one alone, and it needs no name */
    struct limoe_options compute;
    uint64_t step_tokens; /* budget of one step; 0: as the engine's device is best served */
    struct queue *queue;
    struct metrics *metrics;
    struct log *log;
    int opened_event;        /* an eventfd written once the model is open, or could not be opened */
    unsigned step_seconds;   /* an engine that takes longer for a step is lost; 0: 30 */
    uint64_t memory_bytes;   /* likewise one with a process on this host that has more resident memory; 0: no
                                limit */
    const char *adapters;    /* directory of adapters' files; NULL: none are used */
    uint64_t adapter_bytes;  /* of their tails in the engine's memory */
    uint64_t trunk_bytes;    /* of rows of the trunk that are kept there; 0: none are */
    unsigned batch_delay_ms; /* how long a step that is not full waits for more; 0: not at all */
    struct launch_options launch; /* of more than one rank; the rest of it is of those on CPUs */
};

/* What a running engine is. Set once, before opened_event is written; an engine that is started again must be
 * the same, or it is not used. */
struct engine_info {
    struct limoe_info model; /* its strings live as long as the engine, as do those below */
    enum limoe_dtype dtype;
    const char *backend;
    const char *fingerprint; /* limoe_model_fingerprint */
    const char *base;        /* limoe_model_base */
    uint32_t threads;        /* of rank 0 */
    uint64_t step_tokens;    /* budget of one step */
    uint32_t ranks;
    int64_t created; /* Unix seconds when the model was first loaded */
};

/* Starts the thread; returns before the model is open. */
enum limoe_status engine_start(const struct engine_options *options, struct engine **out,
                               struct limoe_error *err);
/* Closes the queue, lets the engine compute what is in it, and ends the process and the thread. What an
 * engine that does not start any more cannot compute is given up. NULL is fine. */
void engine_stop(struct engine *engine);

/* NULL until the model is open, and when opening it has failed. Any thread. */
const struct engine_info *engine_info(const struct engine *engine);
/* Once opened_event was written: how opening the model ended, with the message in *err. */
enum limoe_status engine_opened(const struct engine *engine, struct limoe_error *err);

/* False if the engine was started several times in a row without ever answering; why[size] is what became of
 * the last start. More starts are tried all the same. True does not mean that the engine answers: see
 * health.h. Any thread. */
bool engine_running(struct engine *engine, char *why, size_t size);
/* True if an engine was started again and found another model in the directory. Answers would change within a
 * request, so it is not used: what waits can only be given up, and the model be loaded anew. Any thread. */
bool engine_superseded(const struct engine *engine);
/* The engine's process: of a job that is mpirun's, of a group rank 0's. 0 while there is none. Any thread. */
pid_t engine_pid(const struct engine *engine);

/* The adapters in the engine's memory, and their bytes, as it last said. Any thread. */
void engine_adapters(struct engine *engine, uint64_t *held, uint64_t *bytes);
/* Likewise pictures and texts whose rows of the trunk are kept. */
void engine_trunk_cache(struct engine *engine, uint64_t *known, uint64_t *bytes);

/* One rank, as it is now; zeros while there is none. */
struct engine_rank {
    pid_t pid;        /* 0: not on this host, or lost just now */
    uint32_t experts; /* over all layers; of weights, likewise */
    uint64_t dense_bytes, expert_bytes;
    uint64_t gpu_used,
        gpu_total; /* bytes of its GPU's memory, whoever uses them; 0: it has none, or has not said yet */
};
/* How many ranks the engine has, running or not; the first `most` of them to ranks[]. Any thread. */
uint32_t engine_ranks(struct engine *engine, struct engine_rank *ranks, uint32_t most);

#endif
