/* route_reload.c - POST /v1/models/reload: load the model anew, and answer when that is done.
 *
 * The call waits among the server's reload waiters, without a thread. */
#include "base/error.h"
#include "server/front/calls/call.h"
#include "server/front/calls/stages.h"

struct waiting {
    struct reload_waiter waiter;
    struct call *call;
};

static void reloaded(struct reload_waiter *waiter, struct generation *generation,
                     const struct limoe_error *err) {
    struct call *call = ((struct waiting *)waiter)->call;
    struct api_error error;
    if (generation) {
        const struct engine_info *engine = engine_info(generation->engine);
        buffer_string(&call->answer, "{\"object\":\"model.reload\",\"model\":");
        buffer_json_string(&call->answer, generation->model->name);
        buffer_print(&call->answer,
                     ",\"generation\":%llu,\"fingerprint\":", (unsigned long long)generation->number);
        buffer_json_string(&call->answer, engine->fingerprint);
        buffer_string(&call->answer, "}\n");
        call_succeed(call, "application/json");
    } else {
        api_fail(&error, 500, "reload_failed", NULL, "the model in force stays in force: %s", err->message);
        call_fail(call, &error);
    }
    stages_finish(call);
}

void route_reload(struct call *call) {
    struct waiting *waiting = arena_array(call->arena, 1, sizeof *waiting);
    struct api_error error;
    if (!waiting) {
        api_fail_memory(&error);
        call_fail(call, &error);
        stages_finish(call);
        return;
    }
    *waiting = (struct waiting){.waiter = {.done = reloaded}, .call = call};
    if (server_reload(call->server, &waiting->waiter))
        return;
    api_fail(&error, 503, "draining", NULL, "the server is stopping");
    call_fail(call, &error);
    stages_finish(call);
}
