/* probe.c - single requests, one at a time, through the load's own client. */
#include "server/commands/bench/probe.h"

#include <math.h>
#include <time.h>

#include "base/clock.h"
#include "server/commands/bench/client.h"
#include "server/formats/json_reader.h"

enum { ATTEMPTS = 5 };

/* The answer to one request, its body in the arena. */
struct call {
    struct arena *arena;
    bool done;
    struct client_answer answer;
};

static void on_answer(void *context, const struct flight *flight, const struct client_answer *answer) {
    struct call *call = context;
    (void)flight;
    call->done = true;
    call->answer = *answer;
    call->answer.body.data =
        arena_copy(call->arena, answer->body.data ? answer->body.data : "", answer->body.size);
}

static void ask(struct client *client, const struct plan *plan, struct load_request *request,
                struct call *call) {
    const struct flight flight = {.request = request, .due_ns = clock_now()};
    const int64_t timeout_ns = llround(plan->timeout_s * 1e9);
    call->done = false;
    client_send(client, &flight, (struct text){0}, timeout_ns);
    while (!call->done)
        client_wait(client, clock_now() + CLOCK_SECOND, -1);
}

static const char *describe(struct arena *arena, const char *what, const struct client_answer *answer) {
    char said[200];
    if (answer->error != CLIENT_ANSWERED)
        return arena_print(arena, "%s: %s", what, answer->detail);
    return arena_print(arena, "%s answered %d: %s", what, answer->status,
                       text_quote(answer->body, said, sizeof said));
}

/* {"data":[{"id":…}]} → the id, or NULL. */
static const char *first_model(struct arena *arena, struct text body) {
    struct json_value *tree;
    struct json_error error;
    if (!json_read(body.data, body.size, arena, &tree, &error))
        return NULL;
    const struct json_value *data = json_member(tree, text_of("data"));
    const struct json_value *id =
        data && data->type == JSON_ARRAY ? json_member(data->child, text_of("id")) : NULL;
    return id && id->type == JSON_STRING ? arena_copy(arena, id->string.data, id->string.size) : NULL;
}

bool probe_server(const struct plan *plan, struct arena *arena, struct probe *out, const char **message) {
    struct call call = {.arena = arena};
    struct client *client = client_new(plan, 1, on_answer, &call);
    struct load_request models = {.url = arena_print(arena, "%s/v1/models", plan->url)};
    struct load_request health = {.url = arena_print(arena, "%s/health", plan->url)};
    bool ok = false;
    *message = "no memory";
    if (!client || !models.url || !health.url)
        goto out;
    ask(client, plan, &models, &call);
    if (call.answer.error != CLIENT_ANSWERED || call.answer.status != 200 || !call.answer.body.data) {
        *message = describe(arena, models.url, &call.answer);
        goto out;
    }
    out->model = plan->model ? plan->model : first_model(arena, call.answer.body);
    ask(client, plan, &health, &call);
    if (call.answer.error != CLIENT_ANSWERED || !call.answer.body.data) {
        *message = describe(arena, health.url, &call.answer);
        goto out;
    }
    out->health_status = call.answer.status;
    out->health = call.answer.status == 200 ? "ok" : describe(arena, "/health", &call.answer);
    ok = out->health;
out:
    client_free(client);
    return ok;
}

static bool refused(const struct client_answer *answer) {
    return answer->error == CLIENT_ANSWERED && (answer->status == 429 || answer->status == 503) &&
           answer->retry_after_s >= 0;
}

bool probe_answers(const struct plan *plan, struct pool *pool, const char **message) {
    struct call call = {.arena = pool->arena};
    struct client *client = client_new(plan, 1, on_answer, &call);
    bool ok = client;
    *message = "no memory";
    for (int kind = 0; kind < LOAD_KINDS; kind++)
        for (size_t i = 0; ok && i < pool->n[kind]; i++) {
            struct load_request *request = &pool->requests[kind][i];
            ask(client, plan, request, &call);
            for (int attempt = 1; attempt < ATTEMPTS && refused(&call.answer); attempt++) {
                const double wait = fmin(call.answer.retry_after_s, plan->timeout_s);
                const struct timespec time = {.tv_sec = (time_t)wait, .tv_nsec = CLOCK_SECOND / 100};
                nanosleep(&time, NULL);
                ask(client, plan, request, &call);
            }
            ok = call.answer.error == CLIENT_ANSWERED && call.answer.status == 200 && call.answer.body.data;
            if (ok)
                request->answer = call.answer.body;
            else
                *message = describe(pool->arena, load_kind_names[kind], &call.answer);
        }
    client_free(client);
    return ok;
}
