/* route_health.c - GET /health: 200 only while the engine of each model answers its probe; with ?model=NAME,
 * that of one model. GET /readyz is the same in a word, for who sends requests; GET /livez is 200 as long as
 * the front answers at all, for who would end it: it replaces its engines itself, and to end it would lose the
 * requests that it holds.
 *
 * If classifiers cannot be read or changed it says "degraded", which is no failure: all else is served,
 * and a new process would find the same disk. */
#include <stdio.h>

#include "server/front/calls/call.h"

enum { WHY_SIZE = 900 };

/* What is said of the server, or of the model that was asked for. */
struct condition {
    enum server_phase phase;
    bool good, whole; /* its engines answer; so does the store */
    char why[WHY_SIZE];
};

static const char *word(const struct condition *now) {
    return now->phase == SERVER_STARTING   ? "starting"
           : now->phase >= SERVER_DRAINING ? "draining"
           : !now->good                    ? "failing"
           : now->whole                    ? "ok"
                                           : "degraded";
}

/* False: the call is answered with the 404. */
static bool pick(struct call *call, size_t *first, size_t *n) {
    struct api_error error;
    const struct text name = call_argument(call, "model");
    *first = 0;
    *n = call->roster ? call->roster->models.n : 0;
    if (!call->roster || !name.data)
        return true;
    *n = 1;
    if (request_find_model(&call->roster->models, name, first, &error))
        return true;
    call_fail(call, &error);
    return false;
}

/* The first model that does not answer is the reason; of several it is named. */
static void look(struct call *call, size_t first, size_t n, struct condition *now) {
    char why[WHY_SIZE - 200];
    for (size_t i = first; i < first + n; i++) {
        struct generation *generation = call->roster->generation[i];
        if (health_good(generation->health, why, sizeof why) || !now->good)
            continue;
        now->good = false;
        if (call->server->n_served > 1)
            snprintf(now->why, sizeof now->why, "model %s: %s", generation->model->name, why);
        else
            snprintf(now->why, sizeof now->why, "%s", why);
    }
}

static void look_around(struct call *call, struct condition *now) {
    struct classifiers_state store;
    if (now->phase == SERVER_STARTING)
        snprintf(now->why, sizeof now->why, "%s",
                 call->server->n_served > 1 ? "the models are not ready yet" : "the model is not ready yet");
    else if (now->phase >= SERVER_DRAINING)
        snprintf(now->why, sizeof now->why, "the server is stopping");
    classifiers_state(call->server->classifiers, &store);
    now->whole = store.reading && store.writing;
    if (now->good && !now->whole)
        snprintf(now->why, sizeof now->why, "%s", store.why);
}

/* ,"models":[{"id":…,"status":…}]: of several, each. */
static void list_models(struct call *call, size_t first, size_t n) {
    char why[WHY_SIZE];
    buffer_string(&call->answer, ",\"models\":[");
    for (size_t i = first; i < first + n; i++) {
        struct generation *generation = call->roster->generation[i];
        const bool good = health_good(generation->health, why, sizeof why);
        buffer_string(&call->answer, i > first ? ",{\"id\":" : "{\"id\":");
        buffer_json_string(&call->answer, generation->model->name);
        buffer_print(&call->answer, ",\"status\":\"%s\"", good ? "ok" : "failing");
        if (!good) {
            buffer_string(&call->answer, ",\"reason\":");
            buffer_json_string(&call->answer, why);
        }
        buffer_string(&call->answer, "}");
    }
    buffer_string(&call->answer, "]");
}

bool health_of_all(struct call *call, char *why, size_t size) {
    struct condition now = {.phase = atomic_load(&call->server->phase)};
    now.good = now.phase == SERVER_READY && call->roster;
    if (now.good)
        look(call, 0, call->roster->models.n, &now);
    look_around(call, &now);
    snprintf(why, size, "%s", now.why);
    return now.good;
}

/* What is so of the models that are asked for, *n from *first. False: the call is answered already. */
static bool examine(struct call *call, struct condition *now, size_t *first, size_t *n) {
    *now = (struct condition){.phase = atomic_load(&call->server->phase)};
    if (!pick(call, first, n))
        return false;
    now->good = now->phase == SERVER_READY && *n > 0;
    if (now->phase == SERVER_READY)
        look(call, *first, *n, now);
    look_around(call, now);
    return true;
}

static void finish(struct call *call, bool good) {
    buffer_string(&call->answer, "}\n");
    call_succeed(call, "application/json");
    if (!good) {
        call->status = 503;
        call->retry_after = 1;
    }
}

/* {"status":…,"reason":…, without its end. */
static void write_condition(struct call *call, const struct condition *now) {
    buffer_print(&call->answer, "{\"status\":\"%s\"", word(now));
    if (*now->why) {
        buffer_string(&call->answer, ",\"reason\":");
        buffer_json_string(&call->answer, now->why);
    }
}

void route_health(struct call *call) {
    size_t first, n;
    struct condition now;
    if (!examine(call, &now, &first, &n))
        return;
    write_condition(call, &now);
    if (call->server->n_served > 1 && n > 0)
        list_models(call, first, n);
    finish(call, now.good);
}

void route_ready(struct call *call) {
    size_t first, n;
    struct condition now;
    if (!examine(call, &now, &first, &n))
        return;
    write_condition(call, &now);
    finish(call, now.good);
}

void route_live(struct call *call) {
    buffer_string(&call->answer, "{\"status\":\"ok\"");
    finish(call, true);
}
