/* route_reload.c - POST /v1/models/reload: load one model anew, or all, and answer when that is done.
 *
 * The call waits among the reload waiters of its models, without a thread. They are told on the main thread,
 * one after the other: the last one answers. */
#include "base/error.h"
#include "server/front/calls/call.h"
#include "server/front/calls/stages.h"

struct reload;

/* For one model. */
struct waiting {
    struct reload_waiter waiter;
    struct reload *reload;
    struct buffer answer;     /* its object */
    struct limoe_error error; /* status LIMOE_OK: it is in force */
};

struct reload {
    struct call *call;
    struct waiting *models; /* [n] */
    size_t n, left;
    bool all; /* nobody has named one */
};

static void describe(struct buffer *out, const struct generation *generation) {
    buffer_string(out, "{\"object\":\"model.reload\",\"model\":");
    buffer_json_string(out, generation->model->name);
    buffer_print(out, ",\"generation\":%llu,\"fingerprint\":", (unsigned long long)generation->number);
    buffer_json_string(out, engine_info(generation->engine)->fingerprint);
    buffer_string(out, "}");
}

/* The first that failed; NULL: none did. */
static const struct limoe_error *failure_of(const struct reload *reload) {
    for (size_t i = 0; i < reload->n; i++)
        if (reload->models[i].error.status != LIMOE_OK)
            return &reload->models[i].error;
    return NULL;
}

static void list(struct call *call, const struct reload *reload) {
    if (reload->n > 1)
        buffer_string(&call->answer, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < reload->n; i++) {
        const struct buffer *one = &reload->models[i].answer;
        buffer_string(&call->answer, i ? "," : "");
        buffer_bytes(&call->answer, one->data, one->size);
        call->answer.failed = call->answer.failed || one->failed;
    }
    buffer_string(&call->answer, reload->n > 1 ? "]}\n" : "\n");
}

static void finish(struct reload *reload) {
    struct call *call = reload->call;
    struct api_error error;
    const struct limoe_error *failure = failure_of(reload);
    if (!failure) {
        list(call, reload);
        call_succeed(call, "application/json");
    } else {
        api_fail(&error, 500, "reload_failed", NULL, "the model in force stays in force: %s",
                 failure->message);
        call_fail(call, &error);
    }
    for (size_t i = 0; i < reload->n; i++)
        buffer_free(&reload->models[i].answer);
    stages_finish(call);
}

static void reloaded(struct reload_waiter *waiter, struct generation *generation,
                     const struct limoe_error *err) {
    struct waiting *waiting = (struct waiting *)waiter;
    if (generation)
        describe(&waiting->answer, generation);
    else
        waiting->error = *err;
    if (--waiting->reload->left == 0)
        finish(waiting->reload);
}

static void refuse(struct call *call, const struct api_error *error) {
    call_fail(call, error);
    stages_finish(call);
}

void route_reload(struct call *call) {
    struct server *server = call->server;
    struct reload *reload = arena_array(call->arena, 1, sizeof *reload);
    struct api_error error;
    bool named;
    size_t model;
    if (!call_settle_form(call, &error) ||
        !request_reload_json(&call->roster->models, call->body.data, call->body.size, call->arena, &named,
                             &model, &error)) {
        refuse(call, &error);
        return;
    }
    const size_t n = named ? 1 : server->n_served;
    struct waiting *waiting = arena_array(call->arena, n, sizeof *waiting);
    struct reload_waiter **waiters = arena_array(call->arena, n, sizeof(void *));
    if (!reload || !waiting || !waiters) {
        api_fail_memory(&error);
        refuse(call, &error);
        return;
    }
    *reload = (struct reload){.call = call, .models = waiting, .n = n, .left = n};
    for (size_t i = 0; i < n; i++) {
        waiting[i] = (struct waiting){.waiter = {.done = reloaded}, .reload = reload};
        waiters[i] = &waiting[i].waiter;
    }
    /* The call keeps no model in memory while it waits for others. */
    roster_release(call->roster);
    call->roster = NULL;
    if (server_reload(server, named ? model : 0, n, waiters))
        return;
    api_fail(&error, 503, "draining", NULL, "the server is stopping");
    refuse(call, &error);
}
