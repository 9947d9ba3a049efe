/* loading.c - the life of generations, of each model for itself.
 *
 * What other threads share with this one is behind server->lock: which generations are in force, and who waits
 * for reloads. A generation's references are counted: the roster has one, and `current` another, which is
 * given back at the swap.
 */
#include "server/front/serve/loading.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"
#include "server/front/serve/memory.h"
#include "server/options/model_list.h"

/* ---- shared with other threads */

static struct reload_waiter *take_waiters(struct server *server, struct served *served) {
    pthread_mutex_lock(&server->lock);
    struct reload_waiter *waiters = served->reloads;
    served->reloads = NULL;
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

static size_t index_of(const struct loadings *all, const struct loading *loading) {
    return (size_t)(loading - all->of);
}

/* ---- loading */

static void stop_warming(struct loading *loading) {
    warming_stop(loading->warming);
    loading->warming = NULL;
    event_take(loading->warmed_event);
}

/* By which people know the model: its name, before it has one its directory. */
static const char *label(const struct loading *loading) {
    return loading->served->name ? loading->served->name
           : loading->current    ? loading->current->model->name
                                 : loading->served->dir;
}

/* Closes what is not in force, any more or at all, and lets go of what vocabularies had for it. NULL is fine. */
static void close_generation(struct loadings *all, struct generation *generation) {
    const struct engine_info *engine = generation ? engine_info(generation->engine) : NULL;
    if (engine)
        vocabularies_forget(all->server->vocabularies, engine->fingerprint);
    generation_close(generation);
}

/* The loading under way has ended without a generation. Of several models the message names the one. */
static enum loading_outcome fail(struct loadings *all, struct loading *loading, struct limoe_error *err) {
    struct reload_waiter *waiters = loading->waiters;
    const struct limoe_error why = *err;
    if (all->server->n_served > 1)
        limoe_fail(err, why.status, "model %s: %s", label(loading), why.message);
    stop_warming(loading);
    close_generation(all, loading->next);
    loading->next = NULL;
    loading->waiters = NULL;
    if (loading->current) {
        metrics_count_model(all->server->metrics, index_of(all, loading), METRICS_FAILED_RELOADS, 1);
        log_print(all->server->log, LOG_ERROR, NULL, "reload: failed, the model in force stays in force: %s",
                  err->message);
    }
    tell(waiters, NULL, err);
    return LOADING_FAILED;
}

/* The generations that there would be with the latest of each model; false: some model has none yet. */
static bool list_latest(const struct loadings *all, struct generation *latest[]) {
    for (size_t i = 0; i < all->server->n_served; i++) {
        const struct loading *loading = &all->of[i];
        latest[i] = loading->next ? loading->next : loading->current;
        if (!latest[i])
            return false;
    }
    return true;
}

/* Names are known once all processors are open, and may change with a reload. */
static enum limoe_status check_names(const struct loadings *all, struct limoe_error *err) {
    struct generation *latest[MODEL_LIST_MOST];
    const struct limoe_info *info[MODEL_LIST_MOST];
    if (!list_latest(all, latest))
        return LIMOE_OK;
    for (size_t i = 0; i < all->server->n_served; i++)
        info[i] = latest[i]->model;
    const struct request_models models = {
        .info = info, .n = all->server->n_served, .aliases = all->server->options.model_aliases};
    return model_names_check(&models, err);
}

static enum loading_outcome start(struct loadings *all, struct loading *loading, struct limoe_error *err) {
    struct server *server = all->server;
    loading->waiters = take_waiters(server, loading->served);
    loading->began = clock_now();
    const struct generation_options options = {
        .serve = &server->options,
        .name = loading->served->name,
        .dir = loading->served->dir,
        .index = index_of(all, loading),
        .several = server->n_served > 1,
        .adapters = adapters_folder(server->adapters),
        .metrics = server->metrics,
        .log = server->log,
        .number = ++loading->count,
        .unused_event = loading->served->unused_event,
    };
    if (loading->current)
        log_print(server->log, LOG_INFO, NULL, "reload: loading %s", loading->served->dir);
    /* The first ones were counted together. */
    if ((loading->current && memory_check(server, index_of(all, loading), 1, err) != LIMOE_OK) ||
        generation_open(&options, &loading->next, err) != LIMOE_OK || check_names(all, err) != LIMOE_OK)
        return fail(all, loading, err);
    return LOADING_NOTHING;
}

/* Puts the latest of this model in force, beside those of the others that are. Before each model has one there
 * is no roster, and nobody is served. */
static enum limoe_status put_in_force(struct loadings *all, struct loading *loading, bool *complete,
                                      struct limoe_error *err) {
    const size_t n = all->server->n_served;
    struct generation *generations[MODEL_LIST_MOST];
    *complete = true;
    for (size_t i = 0; i < n; i++) {
        generations[i] = &all->of[i] == loading ? loading->next : all->of[i].current;
        *complete = *complete && generations[i];
    }
    struct roster *roster = *complete ? roster_new(generations, n, all->server->options.model_aliases) : NULL;
    if (*complete && !roster)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the list of models");
    if (roster)
        server_put_roster(all->server, roster);
    return LIMOE_OK;
}

/* The new generation answers: it is in force from here on. */
static enum loading_outcome swap(struct loadings *all, struct loading *loading, struct limoe_error *err) {
    struct server *server = all->server;
    struct generation *generation = loading->next, *old = loading->current;
    bool complete;
    if (put_in_force(all, loading, &complete, err) != LIMOE_OK)
        return fail(all, loading, err);
    loading->current = generation;
    loading->next = NULL;

    const struct engine_info *engine = engine_info(generation->engine);
    if (old) {
        metrics_count_model(server->metrics, index_of(all, loading), METRICS_RELOADS, 1);
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
    return complete ? LOADING_SWAPPED : LOADING_NOTHING;
}

/* Checks that the front and the engine have read the same files, since they read them one after the other. */
static enum limoe_status check_same(const struct generation *generation, struct limoe_error *err) {
    const char *front = limoe_processor_fingerprint(generation->processor);
    if (strncmp(front, engine_info(generation->engine)->fingerprint, strlen(front)) == 0)
        return LIMOE_OK;
    return limoe_fail(err, LIMOE_CORRUPT,
                      "the model's config.json or tokenizer.model changed while it was loaded");
}

/* Classifiers are made ready for the default model, which requests get that name none; for another, those that
 * were used with the generation that is replaced. */
static enum limoe_status warm(struct loadings *all, struct loading *loading, struct limoe_error *err) {
    const bool is_default = loading == all->of;
    stop_warming(loading);
    const struct warming_options options = {
        .generation = loading->next,
        .instead_of = is_default || !loading->current ? NULL : loading->current,
        .store = all->server->classifiers,
        .vocabularies = loading->current ? all->server->vocabularies : NULL,
        .log = all->server->log,
        .done_event = loading->warmed_event,
    };
    if (!is_default && !loading->current)
        return LIMOE_OK;
    return warming_start(&options, &loading->warming, err);
}

static enum loading_outcome poll_next(struct loadings *all, struct loading *loading,
                                      struct limoe_error *err) {
    struct generation *next = loading->next;
    char why[700];
    if (event_take(next->opened_event)) {
        if (engine_opened(next->engine, err) != LIMOE_OK || check_same(next, err) != LIMOE_OK)
            return fail(all, loading, err);
        health_probe(next->health, clock_now());
    }
    if (event_take(next->answered_event)) {
        if (!health_good(next->health, why, sizeof why)) {
            limoe_fail(err, LIMOE_INTERNAL, "%s", why);
            return fail(all, loading, err);
        }
        if (warm(all, loading, err) != LIMOE_OK)
            return fail(all, loading, err);
        if (!loading->current) /* nobody is served yet: the classifiers can be made ready meanwhile */
            return swap(all, loading, err);
    }
    return event_take(loading->warmed_event) ? swap(all, loading, err) : LOADING_NOTHING;
}

/* ---- polling */

static void poll_current(struct loadings *all, const struct loading *loading) {
    struct generation *generation = loading->current;
    struct log *log = all->server->log;
    char why[700];
    if (event_take(generation->answered_event) && !health_good(generation->health, why, sizeof why))
        log_print(log, LOG_ERROR, NULL, "health: %s: %s", generation->model->name, why);
    int64_t now = clock_now();
    queue_expire(generation->queue, now);
    health_probe(generation->health, now);
    if (engine_superseded(generation->engine) && !loading->next && !generation->replaced) {
        log_print(
            log, LOG_ERROR, NULL,
            "the engine of %s was lost and finds another model: loading that one, what waits is given up",
            generation->model->name);
        generation->replaced = true;
        server_reload(all->server, index_of(all, loading), 1, NULL);
    }
}

static void poll_retired(struct loadings *all, struct loading *loading) {
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
        log_print(all->server->log, LOG_INFO, NULL, "reload: the old model's last request is answered (%s)",
                  generation->model->name);
        close_generation(all, generation);
    }
}

static enum loading_outcome poll_one(struct loadings *all, struct loading *loading, struct limoe_error *err) {
    enum loading_outcome outcome = LOADING_NOTHING;
    if (!loading->next && event_take(loading->served->reload_event))
        outcome = start(all, loading, err);
    if (loading->next)
        outcome = poll_next(all, loading, err);
    if (loading->current)
        poll_current(all, loading);
    if (!loading->next && event_take(loading->warmed_event))
        stop_warming(loading);
    event_take(loading->served->unused_event);
    poll_retired(all, loading);
    return outcome;
}

enum loading_outcome loadings_poll(struct loadings *all, struct limoe_error *err) {
    enum loading_outcome outcome = LOADING_NOTHING;
    for (size_t i = 0; i < all->server->n_served; i++) {
        struct limoe_error unwanted;
        const enum loading_outcome one =
            poll_one(all, &all->of[i], outcome == LOADING_FAILED ? &unwanted : err);
        outcome = one > outcome ? one : outcome;
    }
    return outcome;
}

size_t loadings_events(const struct loadings *all, struct pollfd *polled) {
    size_t n = 0;
    for (size_t i = 0; i < all->server->n_served; i++) {
        const struct loading *loading = &all->of[i];
        int fds[LOADING_EVENTS];
        size_t count = 0;
        fds[count++] = loading->served->unused_event;
        if (loading->current)
            fds[count++] = loading->current->answered_event;
        if (loading->next) {
            fds[count++] = loading->next->opened_event;
            fds[count++] = loading->next->answered_event;
        } else {
            fds[count++] = loading->served->reload_event;
        }
        fds[count++] = loading->warmed_event;
        for (size_t k = 0; k < count; k++)
            polled[n++] = (struct pollfd){.fd = fds[k], .events = POLLIN};
    }
    return n;
}

/* ---- the beginning and the end */

enum limoe_status loadings_open(struct loadings *all, struct server *server, struct limoe_error *err) {
    all->server = server;
    all->of = calloc(server->n_served, sizeof *all->of);
    if (!all->of)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu models", server->n_served);
    for (size_t i = 0; i < server->n_served; i++) {
        all->of[i].served = &server->served[i];
        all->of[i].warmed_event = -1;
    }
    for (size_t i = 0; i < server->n_served; i++) {
        all->of[i].warmed_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (all->of[i].warmed_event < 0)
            return limoe_fail(err, LIMOE_IO, "cannot make an event to load models: %s", strerror(errno));
    }
    return LIMOE_OK;
}

enum limoe_status loadings_begin(struct loadings *all, struct limoe_error *err) {
    const enum limoe_status status = memory_check(all->server, 0, all->server->n_served, err);
    if (status == LIMOE_OK)
        server_reload(all->server, 0, all->server->n_served, NULL);
    return status;
}

void loadings_stop(struct loadings *all) {
    struct server *server = all->server;
    struct limoe_error err;
    limoe_fail(&err, LIMOE_INTERNAL, "the server is stopping");
    pthread_mutex_lock(&server->lock);
    server->closed = true;
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; all->of && i < server->n_served; i++) {
        tell(take_waiters(server, &server->served[i]), NULL, &err);
        tell(all->of[i].waiters, NULL, &err);
        all->of[i].waiters = NULL;
    }
}

void loadings_abandon(struct loadings *all) {
    for (size_t i = 0; all->of && i < all->server->n_served; i++) {
        const struct loading *loading = &all->of[i];
        if (loading->current)
            queue_abandon(loading->current->queue);
        for (struct generation *generation = loading->retired; generation; generation = generation->next)
            queue_abandon(generation->queue);
    }
}

static void close_one(struct loading *loading) {
    stop_warming(loading);
    generation_close(loading->next);
    for (struct generation *generation = loading->retired, *next; generation; generation = next) {
        next = generation->next;
        generation_close(generation);
    }
    generation_close(loading->current);
    if (loading->warmed_event >= 0)
        close(loading->warmed_event);
}

void loadings_close(struct loadings *all) {
    if (!all->of)
        return;
    server_put_roster(all->server, NULL);
    for (size_t i = 0; i < all->server->n_served; i++)
        close_one(&all->of[i]);
    free(all->of);
    all->of = NULL;
}
