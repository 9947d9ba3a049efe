/* engine.c - engine.h as others see it: start, stop, and what may be read from any thread. */
#include "server/front/supervisor/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/event.h"
#include "server/front/supervisor/engine_parts.h"
#include "server/protocol/join.h"

#define STEP_SECONDS_DEFAULT 30

/* ---- what others may read */

void engine_settle(struct engine *engine, enum limoe_status opened, const struct limoe_error *err) {
    engine->opened = opened;
    if (err)
        engine->error = *err;
    if (opened == LIMOE_OK)
        atomic_store(&engine->ready, true);
    atomic_store(&engine->settled, true);
    if (!event_signal(engine->options.opened_event))
        log_print(engine->options.log, LOG_ERROR, NULL, "engine: cannot say that the model is open");
}

void engine_set_fault(struct engine *engine, const char *fault) {
    pthread_mutex_lock(&engine->lock);
    snprintf(engine->fault, sizeof engine->fault, "%s", fault);
    pthread_mutex_unlock(&engine->lock);
}

const struct engine_info *engine_info(const struct engine *engine) {
    return engine && atomic_load(&engine->ready) ? &engine->info : NULL;
}

enum limoe_status engine_opened(const struct engine *engine, struct limoe_error *err) {
    if (!atomic_load(&engine->settled))
        return limoe_fail(err, LIMOE_INTERNAL, "the model is still being opened");
    if (err)
        *err = engine->error;
    return engine->opened;
}

bool engine_running(struct engine *engine, char *why, size_t size) {
    pthread_mutex_lock(&engine->lock);
    bool running = !engine->fault[0];
    if (!running)
        snprintf(why, size, "%s", engine->fault);
    pthread_mutex_unlock(&engine->lock);
    return running;
}

bool engine_superseded(const struct engine *engine) {
    return atomic_load(&engine->superseded);
}

pid_t engine_pid(const struct engine *engine) {
    return engine ? atomic_load(&engine->pid) : 0;
}

void engine_adapters(struct engine *engine, uint64_t *held, uint64_t *bytes) {
    *held = atomic_load(&engine->tails);
    *bytes = atomic_load(&engine->tail_bytes);
}

void engine_trunk_cache(struct engine *engine, uint64_t *known, uint64_t *bytes) {
    *known = atomic_load(&engine->known);
    *bytes = atomic_load(&engine->known_bytes);
}

uint32_t engine_ranks(struct engine *engine, struct engine_rank *ranks, uint32_t most) {
    uint32_t n = engine->membership.n;
    pthread_mutex_lock(&engine->lock);
    memcpy(ranks, engine->ranks, (n < most ? n : most) * sizeof *ranks);
    pthread_mutex_unlock(&engine->lock);
    return n;
}

/* ---- life */

static void engine_free(struct engine *engine) {
    metrics_close_model(engine->options.metrics, engine->counters);
    replay_free(&engine->replay);
    transfer_free(&engine->transfer);
    launcher_free(engine->launcher);
    membership_free(&engine->membership);
    free(engine->polled);
    free(engine->ranks);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

/* A host that has been cut off is to be found out before the step that waits for it is given up, with which all
 * ranks would be. */
static unsigned silence(unsigned step_seconds) {
    const unsigned half = step_seconds / 2;
    return half < 2 ? 2 : half < JOIN_SILENT ? half : JOIN_SILENT;
}

enum limoe_status engine_start(const struct engine_options *options, struct engine **out,
                               struct limoe_error *err) {
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the engine");
    engine->options = *options;
    snprintf(engine->label, sizeof engine->label, "engine%s%s", options->label ? " " : "",
             options->label ? options->label : "");
    if (!engine->options.step_seconds)
        engine->options.step_seconds = STEP_SECONDS_DEFAULT;
    engine->options.launch.silent = silence(engine->options.step_seconds);
    pthread_mutex_init(&engine->lock, NULL);
    const uint32_t ranks = options->launch.ranks ? options->launch.ranks : 1;
    engine->polled = calloc(SUPERVISOR_EVENTS + 2 * (size_t)ranks, sizeof *engine->polled);
    engine->ranks = calloc(ranks, sizeof *engine->ranks);
    if (membership_init(&engine->membership, ranks))
        engine->launcher =
            launcher_new(&engine->options.launch, options->compute.device, &engine->membership, options->log);
    if (!engine->launcher || !engine->polled || !engine->ranks) {
        engine_free(engine);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an engine of %u ranks", ranks);
    }
    replay_init(&engine->replay, 0);
    int code = pthread_create(&engine->thread, NULL, supervisor_main, engine);
    if (code) {
        engine_free(engine);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start the engine's thread: %s", strerror(code));
    }
    *out = engine;
    return LIMOE_OK;
}

void engine_stop(struct engine *engine) {
    if (!engine)
        return;
    queue_close(engine->options.queue);
    pthread_join(engine->thread, NULL);
    engine_free(engine);
}
