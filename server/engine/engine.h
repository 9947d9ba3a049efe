/* engine.h - the one thread that owns the model and computes what the queue holds.
 *
 * It opens the model, then takes steps: whatever waits, up to a token budget, pictures and texts of several
 * requests together, as soon as the last step is done. It knows jobs and no HTTP: an engine in a process of
 * its own can stand behind this header, with the steps sent over a socket.
 */
#ifndef LIMOE_ENGINE_H
#define LIMOE_ENGINE_H

#include <stdint.h>

#include "limoe.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "schedule/queue.h"

struct engine;

struct engine_options {
    const char *model; /* directory */
    struct limoe_options compute;
    uint64_t step_tokens; /* budget of one step, at least 1 */
    struct queue *queue;  /* outlives the engine, as do metrics and log */
    struct metrics *metrics;
    struct log *log;
    int opened_event; /* an eventfd written once the model is open, or could not be opened */
};

/* What a running engine is. Set once, before opened_event is written. */
struct engine_info {
    struct limoe_info model; /* its strings live as long as the engine */
    enum limoe_dtype dtype;
    const char *backend;
    const char *fingerprint; /* limoe_model_fingerprint */
    uint32_t threads;
    int64_t created; /* Unix seconds when the model was loaded */
};

/* Starts the thread; returns before the model is open. */
enum limoe_status engine_start(const struct engine_options *options, struct engine **out,
                               struct limoe_error *err);
/* Closes the queue, lets the engine compute what is in it, joins the thread, closes the model. NULL is fine.
 */
void engine_stop(struct engine *engine);

/* NULL until the model is open, or when opening failed. Any thread. */
const struct engine_info *engine_info(const struct engine *engine);
/* Once opened_event was written: how opening the model ended, with the message in *err. */
enum limoe_status engine_opened(const struct engine *engine, struct limoe_error *err);

#endif
