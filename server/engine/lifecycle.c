/* lifecycle.c - an engine's process: started, greeted, lost, started again.
 *
 * A process that has answered a step works; if it is lost, another is started at once, and the step that it
 * was computing is blamed. So is one that was lost with a step in hand before it answered any: that is what a
 * step that breaks engines looks like. One that is lost with nothing in hand before it answered anything does
 * not work: the next start waits, longer each time, and after MOST_FAILURES the engine is said not to run.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/engine_parts.h"
#include "error.h"
#include "observe/clock.h"

#define MOST_FAILURES  3
#define SHORTEST_PAUSE (100 * CLOCK_MILLISECOND)
#define LONGEST_PAUSE  (10 * CLOCK_SECOND)
#define OPEN_PATIENCE  (600 * CLOCK_SECOND) /* weights may come over a network */
#define MEASURE_EVERY  CLOCK_SECOND
#define END_PATIENCE   1000 /* ms from a socket's end to its process's */

/* ---- failed starts */

static int64_t pause_after(unsigned failures) {
    int64_t pause = SHORTEST_PAUSE;
    for (unsigned i = 1; i < failures && pause < LONGEST_PAUSE; i++)
        pause *= 2;
    return pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE;
}

/* The process was of no use. At the very first start the model that cannot be opened is the operator's to
 * see to, at once; what else may go wrong is tried again. */
static void failed(struct engine *engine, const struct limoe_error *err, bool final) {
    engine->failures++;
    bool over = final || engine->failures >= MOST_FAILURES;
    if (!atomic_load(&engine->settled) && over) {
        engine_settle(engine, err->status, err);
        return;
    }
    log_print(engine->options.log, over ? LOG_ERROR : LOG_WARNING, NULL,
              "engine: start %u in a row has failed: %s", engine->failures, err->message);
    if (over)
        engine_set_fault(engine, err->message);
    engine->start_at = clock_now() + pause_after(engine->failures);
}

/* ---- start */

void lifecycle_start(struct engine *engine) {
    const struct engine_options *options = &engine->options;
    char threads[16], step_tokens[24];
    snprintf(threads, sizeof threads, "%u", options->compute.threads);
    snprintf(step_tokens, sizeof step_tokens, "%llu", (unsigned long long)options->step_tokens);
    const char *dtype =
        options->compute.dtype == LIMOE_DTYPE_AUTO ? "auto" : limoe_dtype_name(options->compute.dtype);
    const char *arguments[] = {"engine",        "--model",   options->model, "--dtype", dtype,
                               "--step-tokens", step_tokens, NULL,           NULL,      NULL};
    if (options->compute.threads) {
        arguments[7] = "--threads";
        arguments[8] = threads;
    }
    struct limoe_error err;
    engine->start_at = 0;
    if (atomic_load(&engine->settled))
        metrics_count(options->metrics, METRICS_ENGINE_RESTARTS, 1);
    if (process_spawn(arguments, &engine->process, &err) != LIMOE_OK) {
        failed(engine, &err, false);
        return;
    }
    fcntl(engine->process.fd, F_SETFL, O_NONBLOCK); /* an engine that hangs must not make the front hang */
    link_reset(&engine->link, engine->process.fd);
    atomic_store(&engine->pid, engine->process.pid);
    engine->phase = ENGINE_OPENING;
    engine->answered = false;
    engine->began = clock_now();
    engine->patience = engine->began + OPEN_PATIENCE;
}

/* ---- loss */

/* Kills and reaps; how it ended. */
static void end_process(struct engine *engine, char ended[PROCESS_WHY_SIZE]) {
    atomic_store(&engine->pid, 0);
    process_kill(&engine->process, ended);
    link_reset(&engine->link, -1);
    engine->phase = ENGINE_DOWN;
    engine->patience = engine->measure_at = engine->ask_at = 0;
}

/* The first of the steps that the engine had is blamed; all are sent again, but for a guilty item. */
static void blame(struct engine *engine, const char *cause) {
    struct replay *replay = &engine->replay;
    const struct queue_slice *slice = &replay->first->step.slices[0];
    char message[sizeof(struct limoe_error)];
    switch (replay_blame(replay)) {
    case REPLAY_AGAIN:
        return;
    case REPLAY_GUILTY:
        snprintf(message, sizeof message,
                 "the engine was lost twice while it computed item %zu, the last time alone: %s",
                 slice->first, cause);
        metrics_count(engine->options.metrics, METRICS_GUILTY_ITEMS, 1);
        steps_fail(engine, LIMOE_INTERNAL, message);
        return;
    case REPLAY_NO_MEMORY:
        steps_fail(engine, LIMOE_NO_MEMORY, "no memory to find the item that breaks the engine");
        return;
    }
}

void lifecycle_lost(struct engine *engine, const char *cause) {
    char ended[PROCESS_WHY_SIZE];
    struct limoe_error err;
    pid_t pid = engine->process.pid;
    bool up = engine->phase == ENGINE_UP;
    end_process(engine, ended);
    cause = cause ? cause : ended;
    size_t in_hand = replay_lost(&engine->replay);
    if (!up || (!engine->answered && in_hand == 0)) {
        limoe_fail(&err, LIMOE_INTERNAL, "the engine (process %ld) was lost before it answered: %s",
                   (long)pid, cause);
        failed(engine, &err, false);
        return;
    }
    log_print(engine->options.log, LOG_WARNING, NULL,
              "engine: process %ld was lost: %s; started again, with %zu steps", (long)pid, cause, in_hand);
    metrics_count(engine->options.metrics, METRICS_REPLAYED_STEPS, in_hand);
    if (in_hand > 0)
        blame(engine, cause);
    engine->start_at = clock_now();
}

void lifecycle_disconnected(struct engine *engine, const char *cause) {
    struct pollfd end = {.fd = engine->process.pidfd, .events = POLLIN};
    bool ended = poll(&end, 1, END_PATIENCE) == 1;
    lifecycle_lost(engine, ended ? NULL : cause);
}

/* ---- greeting */

/* The first HELLO: what is served from now on. */
static enum limoe_status adopt(struct engine *engine, struct limoe_error *err) {
    const struct frame_hello *hello = &engine->hello;
    engine->info = (struct engine_info){
        .model = hello->model,
        .dtype = hello->dtype,
        .backend = hello->backend,
        .fingerprint = hello->fingerprint,
        .threads = hello->threads,
        .created = (int64_t)time(NULL),
    };
    const struct frame_shape shape = frame_shape(&hello->model, engine->options.step_tokens);
    if (!transfer_init(&engine->transfer, &shape))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for steps of %llu tokens",
                          (unsigned long long)engine->options.step_tokens);
    engine->counters = metrics_set_model(engine->options.metrics, &hello->model);
    return LIMOE_OK;
}

/* Is this an engine to send steps to? */
static enum limoe_status greet(struct engine *engine, struct limoe_error *err) {
    struct frame_hello again;
    bool first = !atomic_load(&engine->settled);
    struct frame_hello *hello = first ? &engine->hello : &again;
    const struct link *link = &engine->link;
    enum limoe_status status = frame_get_hello(link->payload, link->frame.length, hello, err);
    if (status != LIMOE_OK)
        return status;
    if (hello->status != LIMOE_OK)
        return limoe_fail(err, hello->status, "%s", hello->message);
    if (!first && !frame_hello_equal(hello, &engine->hello)) {
        atomic_store(&engine->superseded, true);
        return limoe_fail(err, LIMOE_CORRUPT,
                          "%s is not the model any more that it was at first: answers would change",
                          engine->options.model);
    }
    return first ? adopt(engine, err) : LIMOE_OK;
}

void lifecycle_hello(struct engine *engine) {
    struct limoe_error err;
    bool first = !atomic_load(&engine->settled);
    if (greet(engine, &err) != LIMOE_OK) {
        end_process(engine, NULL);
        failed(engine, &err, first);
        return;
    }
    int64_t now = clock_now();
    engine->phase = ENGINE_UP;
    engine->patience = 0;
    engine->measure_at = engine->options.memory_bytes ? now : 0;
    log_print(engine->options.log, LOG_INFO, NULL, "engine: process %ld has %s open after %.0f ms",
              (long)engine->process.pid, engine->info.model.name,
              (double)(now - engine->began) / (double)CLOCK_MILLISECOND);
    if (first)
        engine_settle(engine, LIMOE_OK, NULL);
}

void lifecycle_answered(struct engine *engine) {
    if (engine->answered)
        return;
    engine->answered = true;
    engine->failures = 0;
    engine_set_fault(engine, "");
}
