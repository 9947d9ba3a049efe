/* route_health.c - GET /health: 200 only while the engine answers its probe.
 *
 * If classifiers cannot be read or changed it says "degraded", which is no failure: all else is served,
 * and a new process would find the same disk. */
#include <stdio.h>

#include "server/front/calls/call.h"

void route_health(struct call *call) {
    struct server *server = call->server;
    enum server_phase phase = atomic_load(&server->phase);
    char why[700] = "";
    bool good =
        phase == SERVER_READY && call->generation && health_good(call->generation->health, why, sizeof why);
    if (phase == SERVER_STARTING)
        snprintf(why, sizeof why, "the model is not ready yet");
    else if (phase >= SERVER_DRAINING)
        snprintf(why, sizeof why, "the server is stopping");

    struct classifiers_state store;
    classifiers_state(server->classifiers, &store);
    const bool whole = store.reading && store.writing;
    if (good && !whole)
        snprintf(why, sizeof why, "%s", store.why);

    const char *state = phase == SERVER_STARTING   ? "starting"
                        : phase >= SERVER_DRAINING ? "draining"
                                                   : "failing";
    buffer_print(&call->answer, "{\"status\":\"%s\"", good ? whole ? "ok" : "degraded" : state);
    if (*why) {
        buffer_string(&call->answer, ",\"reason\":");
        buffer_json_string(&call->answer, why);
    }
    buffer_string(&call->answer, "}\n");
    call_succeed(call, "application/json");
    if (!good) {
        call->status = 503;
        call->retry_after = 1;
    }
}
