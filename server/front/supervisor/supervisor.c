/* supervisor.c - the thread that watches over an engine's process.
 *
 * It sleeps in poll: for the queue, the ranks' sockets, the process's end, and its timers. It never blocks on
 * the engine, so that a hung one is seen. It starts the process itself, because a child dies with the thread
 * that started it.
 */
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "server/front/observe/usage.h"
#include "server/front/supervisor/engine_parts.h"

#define LONGEST_SLEEP CLOCK_SECOND /* so that no deadline passes unseen for longer */

enum { ON_QUEUE, ON_END, OTHERS };
_Static_assert(OTHERS + LAUNCHER_EVENTS == SUPERVISOR_EVENTS, "engine->polled has room");

/* ---- timers */

static void check_memory(struct engine *engine, int64_t now) {
    struct member *largest = engine->membership.rank;
    uint64_t bytes = 0;
    engine->measure_at = now + CLOCK_SECOND;
    for (uint32_t r = 0; r < engine->membership.n; r++) {
        struct process_usage usage;
        pid_t pid = engine->membership.rank[r].pid;
        if (pid <= 0 || !usage_read(pid, &usage) || usage.resident_bytes <= bytes)
            continue;
        bytes = usage.resident_bytes;
        largest = &engine->membership.rank[r];
    }
    if (bytes <= engine->options.memory_bytes)
        return;
    char cause[PROCESS_WHY_SIZE];
    snprintf(cause, sizeof cause, "it has %llu bytes of resident memory, more than the %llu it may have",
             (unsigned long long)bytes, (unsigned long long)engine->options.memory_bytes);
    lifecycle_rank_lost(engine, largest, cause);
}

static bool due(int64_t when, int64_t now) {
    return when && when <= now;
}

static void check_timers(struct engine *engine) {
    int64_t now = clock_now();
    char cause[PROCESS_WHY_SIZE];
    if (due(engine->deadline, now) && engine->peers_lost[0])
        lifecycle_rejoin(engine);
    if (due(engine->deadline, now)) {
        if (engine->membership.joined < engine->membership.n) {
            lifecycle_late(engine);
            return;
        }
        if (engine->membership.connected < engine->membership.n)
            snprintf(cause, sizeof cause, "only %u of %u ranks found the others in time",
                     engine->membership.connected, engine->membership.n);
        else if (engine->phase == ENGINE_OPENING)
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
    const int64_t timers[] = {engine->start_at, engine->deadline, engine->measure_at, engine->ask_at};
    int64_t now = clock_now(), until = now + LONGEST_SLEEP;
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
        if (timers[i] && timers[i] < until)
            until = timers[i];
    return until > now ? (int)((until - now + CLOCK_MILLISECOND - 1) / CLOCK_MILLISECOND) : 0;
}

/* ---- the loop */

/* What to poll a rank's socket for. Its end is heard of also while it has nothing to say. */
static short rank_events(const struct engine *engine, const struct member *rank) {
    int in = steps_listening(engine, rank) ? POLLIN : POLLRDHUP;
    return (short)(in | (link_sending(&rank->link) ? POLLOUT : 0));
}

static void see_rank(struct engine *engine, struct member *rank, short events) {
    const short end = POLLRDHUP | POLLHUP | POLLERR;
    if (rank->link.fd < 0)
        return; /* the job was lost while another was seen */
    if (steps_listening(engine, rank))
        steps_receive(engine, rank);
    else if (events & end)
        lifecycle_disconnected(engine, rank, "it closed its connection");
}

static bool has_ended(const struct launcher *launcher) {
    struct pollfd end = {.fd = launcher->ops->pidfd(launcher, NULL), .events = POLLIN};
    return end.fd >= 0 && poll(&end, 1, 0) == 1;
}

static void sleep_and_see(struct engine *engine) {
    struct membership *membership = &engine->membership;
    struct pollfd *polled = engine->polled;
    const struct launcher *launcher = engine->launcher;
    if (!steps_room(engine))
        queue_rest(engine->options.queue);
    polled[ON_QUEUE] = (struct pollfd){.fd = queue_event(engine->options.queue), .events = POLLIN};
    polled[ON_END] = (struct pollfd){
        .fd = engine->phase != ENGINE_DOWN ? launcher->ops->pidfd(launcher, NULL) : -1, .events = POLLIN};
    const size_t ranks = OTHERS, pending = ranks + membership->n;
    for (uint32_t r = 0; r < membership->n; r++)
        polled[ranks + r] = (struct pollfd){.fd = membership->rank[r].link.fd,
                                            .events = rank_events(engine, &membership->rank[r])};
    size_t n = pending + (launcher->ops->events ? launcher->ops->events(launcher, polled + pending) : 0);
    if (poll(polled, n, sleep_ms(engine)) < 0)
        return;
    for (uint32_t r = 0; r < membership->n; r++) /* first: it may have answered before it ended */
        if (polled[ranks + r].revents)
            see_rank(engine, &membership->rank[r], polled[ranks + r].revents);
    /* The engine that was polled for may have been lost meanwhile, and its descriptor be another's by now. */
    if (polled[ON_END].revents && engine->phase != ENGINE_DOWN && has_ended(launcher))
        lifecycle_lost(engine, NULL);
    lifecycle_rendezvous(engine);
}

/* Whether the front stops while its engine does not run any more, so that what waits is given up. */
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
    lifecycle_stop(engine);
    return NULL;
}
