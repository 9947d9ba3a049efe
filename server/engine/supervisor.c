/* supervisor.c - the thread that watches over an engine's process.
 *
 * It sleeps in poll: for the queue, the socket, the process's end, and its timers. It never blocks on the
 * engine, so that a hung one is seen. It starts the process itself, because a child dies with the thread that
 * started it.
 */
#include <poll.h>
#include <stdio.h>

#include "engine/engine_parts.h"
#include "observe/clock.h"
#include "observe/usage.h"

#define LONGEST_SLEEP CLOCK_SECOND /* so that no deadline passes unseen for longer */

enum { ON_QUEUE, ON_SOCKET, ON_END, EVENTS };

/* ---- timers */

static void check_memory(struct engine *engine, int64_t now) {
    struct process_usage usage;
    engine->measure_at = now + CLOCK_SECOND;
    if (!usage_read(engine->process.pid, &usage) || usage.resident_bytes <= engine->options.memory_bytes)
        return;
    char cause[PROCESS_WHY_SIZE];
    snprintf(cause, sizeof cause, "it has %llu bytes of resident memory, more than the %llu it may have",
             (unsigned long long)usage.resident_bytes, (unsigned long long)engine->options.memory_bytes);
    lifecycle_lost(engine, cause);
}

static bool due(int64_t when, int64_t now) {
    return when && when <= now;
}

static void check_timers(struct engine *engine) {
    int64_t now = clock_now();
    char cause[PROCESS_WHY_SIZE];
    if (due(engine->patience, now)) {
        if (engine->phase == ENGINE_OPENING)
            snprintf(cause, sizeof cause, "it did not open the model in time");
        else
            snprintf(cause, sizeof cause, "it did not answer a step for %u s", engine->options.step_seconds);
        lifecycle_lost(engine, cause);
    }
    if (due(engine->measure_at, now))
        check_memory(engine, now);
    if (engine->phase == ENGINE_DOWN && due(engine->start_at, now))
        lifecycle_start(engine);
}

/* Milliseconds until the next timer, rounded up. */
static int sleep_ms(const struct engine *engine) {
    const int64_t timers[] = {engine->start_at, engine->patience, engine->measure_at, engine->ask_at};
    int64_t now = clock_now(), until = now + LONGEST_SLEEP;
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
        if (timers[i] && timers[i] < until)
            until = timers[i];
    return until > now ? (int)((until - now + CLOCK_MILLISECOND - 1) / CLOCK_MILLISECOND) : 0;
}

/* ---- the loop */

static void sleep_and_see(struct engine *engine) {
    if (!steps_room(engine))
        queue_rest(engine->options.queue);
    bool there = engine->phase != ENGINE_DOWN;
    struct pollfd events[EVENTS] = {
        [ON_QUEUE] = {.fd = queue_event(engine->options.queue), .events = POLLIN},
        [ON_SOCKET] = {.fd = there ? engine->process.fd : -1,
                       .events = (short)(POLLIN | (link_sending(&engine->link) ? POLLOUT : 0))},
        [ON_END] = {.fd = there ? engine->process.pidfd : -1, .events = POLLIN},
    };
    if (poll(events, EVENTS, sleep_ms(engine)) <= 0)
        return;
    if (events[ON_SOCKET].revents)
        steps_receive(engine); /* first: it may have answered before it ended */
    if (events[ON_END].revents && engine->phase != ENGINE_DOWN && process_ended(&engine->process))
        lifecycle_lost(engine, NULL);
}

/* Stopping with an engine that cannot help any more. */
static bool hopeless(struct engine *engine) {
    struct queue *queue = engine->options.queue;
    char why[sizeof engine->fault];
    bool helpless =
        !engine_running(engine, why, sizeof why) || (engine->phase != ENGINE_UP && queue_abandoned(queue));
    return queue_closed(queue) && helpless;
}

static bool finished(struct engine *engine) {
    if (atomic_load(&engine->settled) && engine->opened != LIMOE_OK)
        return true;
    if (hopeless(engine)) {
        queue_abandon(engine->options.queue);
        steps_fail_all(engine, LIMOE_INTERNAL, "the server stopped while its engine was lost");
    }
    return !engine->replay.first && queue_exhausted(engine->options.queue);
}

void *supervisor_main(void *argument) {
    struct engine *engine = argument;
    pthread_setname_np(pthread_self(), "limoe-engine");
    engine->start_at = clock_now();
    while (!finished(engine)) {
        check_timers(engine);
        queue_expire(engine->options.queue, clock_now());
        steps_send(engine);
        sleep_and_see(engine);
    }
    atomic_store(&engine->pid, 0);
    process_kill(&engine->process, NULL);
    return NULL;
}
