/* loading.c - the life of generations.
 *
 * What other threads share with this one is behind server->lock: which generation is in force, and who waits
 * for a reload. A generation's references are counted; the one of "in force" is given back at the swap.
 */
#include "server/front/serve/loading.h"

#include <malloc.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"

/* ---- shared with other threads */

static struct reload_waiter *take_waiters(struct server *server) {
    pthread_mutex_lock(&server->lock);
    struct reload_waiter *waiters = server->reloads;
    server->reloads = NULL;
    pthread_mutex_unlock(&server->lock);
    return waiters;
}

static void tell(struct reload_waiter *waiters, struct generation *generation,
                 const struct limoe_error *err) {
    for (struct reload_waiter *waiter = waiters, *next; waiter; waiter = next) {
        next = waiter->next; /* done() may free the waiter */
        waiter->done(waiter, generation, err);
    }
}

/* ---- loading */

static void stop_warming(struct loading *loading) {
    warming_stop(loading->warming);
    loading->warming = NULL;
    event_take(loading->warmed_event);
}

/* Ends the loading under way, which has made no generation. */
static enum loading_outcome fail(struct loading *loading, const struct limoe_error *err) {
    struct reload_waiter *waiters = loading->waiters;
    stop_warming(loading);
    generation_close(loading->next);
    loading->next = NULL;
    loading->waiters = NULL;
    if (loading->server->generation) {
        metrics_count(loading->server->metrics, METRICS_FAILED_RELOADS, 1);
        log_print(loading->server->log, LOG_ERROR, NULL,
                  "reload: failed, the model in force stays in force: %s", err->message);
    }
    tell(waiters, NULL, err);
    return LOADING_FAILED;
}

void loading_begin(struct loading *loading) {
    server_reload(loading->server, NULL);
}

static enum loading_outcome start(struct loading *loading, struct limoe_error *err) {
    struct server *server = loading->server;
    loading->waiters = take_waiters(server);
    loading->began = clock_now();
    const struct generation_options options = {
        .serve = &server->options,
        .metrics = server->metrics,
        .log = server->log,
        .number = ++loading->count,
        .unused_event = server->unused_event,
    };
    if (server->generation)
        log_print(server->log, LOG_INFO, NULL, "reload: loading %s", server->options.model);
    if (generation_open(&options, &loading->next, err) != LIMOE_OK)
        return fail(loading, err);
    return LOADING_NOTHING;
}

/* Puts the new generation, which answers, in force. */
static enum loading_outcome swap(struct loading *loading) {
    struct server *server = loading->server;
    struct generation *generation = loading->next, *old;
    pthread_mutex_lock(&server->lock);
    old = server->generation;
    server->generation = generation;
    pthread_mutex_unlock(&server->lock);
    loading->next = NULL;

    const struct engine_info *engine = engine_info(generation->engine);
    if (old) {
        metrics_count(server->metrics, METRICS_RELOADS, 1);
        log_print(server->log, LOG_INFO, NULL, "reload: %s %s is in force, %.0f ms after it was asked for",
                  generation->model->name, engine->fingerprint,
                  (double)(clock_now() - loading->began) / (double)CLOCK_MILLISECOND);
        old->next = loading->retired;
        loading->retired = old;
        generation_release(old);
    }
    malloc_trim(0); /* what loading needed besides the model */
    tell(loading->waiters, generation, NULL);
    loading->waiters = NULL;
    return LOADING_SWAPPED;
}

/* Checks that the front and the engine have read the same files, since they read them one after the other. */
static enum limoe_status check_same(const struct generation *generation, struct limoe_error *err) {
    const char *front = limoe_processor_fingerprint(generation->processor);
    if (strncmp(front, engine_info(generation->engine)->fingerprint, strlen(front)) == 0)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_CORRUPT,
                      "the model's config.json or tokenizer.model changed while it was loaded");
}

static enum limoe_status warm(struct loading *loading, struct limoe_error *err) {
    struct server *server = loading->server;
    stop_warming(loading);
    return warming_start(loading->next, server->classifiers, server->log, loading->warmed_event,
                         &loading->warming, err);
}

static enum loading_outcome poll_next(struct loading *loading, struct limoe_error *err) {
    const struct server *server = loading->server;
    struct generation *next = loading->next;
    char why[700];
    if (event_take(next->opened_event)) {
        if (engine_opened(next->engine, err) != LIMOE_OK || check_same(next, err) != LIMOE_OK)
            return fail(loading, err);
        health_probe(next->health, clock_now());
    }
    if (event_take(next->answered_event)) {
        if (!health_good(next->health, why, sizeof why)) {
            limoe_fail(err, LIMOE_INTERNAL, "%s", why);
            return fail(loading, err);
        }
        if (warm(loading, err) != LIMOE_OK)
            return fail(loading, err);
        if (!server->generation) /* nobody is served yet: the classifiers can be made ready meanwhile */
            return swap(loading);
    }
    return event_take(loading->warmed_event) ? swap(loading) : LOADING_NOTHING;
}

/* ---- polling */

static void poll_current(const struct loading *loading) {
    struct generation *generation = loading->server->generation;
    char why[700];
    if (event_take(generation->answered_event) && !health_good(generation->health, why, sizeof why))
        log_print(loading->server->log, LOG_ERROR, NULL, "health: %s", why);
    int64_t now = clock_now();
    queue_expire(generation->queue, now);
    health_probe(generation->health, now);
    if (engine_superseded(generation->engine) && !loading->next && !generation->replaced) {
        log_print(loading->server->log, LOG_ERROR, NULL,
                  "the engine was lost and finds another model: loading that one, what waits is given up");
        generation->replaced = true;
        server_reload(loading->server, NULL);
    }
}

static void poll_retired(struct loading *loading) {
    for (struct generation **at = &loading->retired; *at;) {
        struct generation *generation = *at;
        queue_expire(generation->queue, clock_now());
        if (engine_superseded(generation->engine))
            queue_abandon(generation->queue);
        if (atomic_load(&generation->references) > 0) {
            at = &generation->next;
            continue;
        }
        *at = generation->next;
        log_print(loading->server->log, LOG_INFO, NULL, "reload: the old model's last request is answered");
        generation_close(generation);
    }
}

enum loading_outcome loading_poll(struct loading *loading, struct limoe_error *err) {
    struct server *server = loading->server;
    enum loading_outcome outcome = LOADING_NOTHING;
    if (!loading->next && event_take(server->reload_event))
        outcome = start(loading, err);
    if (loading->next)
        outcome = poll_next(loading, err);
    if (server->generation)
        poll_current(loading);
    if (!loading->next && event_take(loading->warmed_event))
        stop_warming(loading);
    event_take(server->unused_event);
    poll_retired(loading);
    return outcome;
}

size_t loading_events(const struct loading *loading, struct pollfd *polled) {
    const struct server *server = loading->server;
    int fds[LOADING_EVENTS];
    size_t n = 0;
    fds[n++] = server->unused_event;
    if (server->generation)
        fds[n++] = server->generation->answered_event;
    if (loading->next) {
        fds[n++] = loading->next->opened_event;
        fds[n++] = loading->next->answered_event;
    } else {
        fds[n++] = server->reload_event;
    }
    fds[n++] = loading->warmed_event;
    for (size_t i = 0; i < n; i++)
        polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    return n;
}

/* ---- the end */

void loading_stop(struct loading *loading) {
    struct server *server = loading->server;
    struct limoe_error err;
    limoe_fail(&err, LIMOE_INTERNAL, "the server is stopping");
    pthread_mutex_lock(&server->lock);
    server->closed = true;
    pthread_mutex_unlock(&server->lock);
    tell(take_waiters(server), NULL, &err);
    tell(loading->waiters, NULL, &err);
    loading->waiters = NULL;
}

void loading_abandon(struct loading *loading) {
    if (loading->server->generation)
        queue_abandon(loading->server->generation->queue);
    for (struct generation *generation = loading->retired; generation; generation = generation->next)
        queue_abandon(generation->queue);
}

void loading_close(struct loading *loading) {
    stop_warming(loading);
    generation_close(loading->next);
    for (struct generation *generation = loading->retired, *next; generation; generation = next) {
        next = generation->next;
        generation_close(generation);
    }
    generation_close(loading->server->generation);
    loading->next = loading->retired = loading->server->generation = NULL;
}
