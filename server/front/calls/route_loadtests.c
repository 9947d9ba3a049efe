/* route_loadtests.c - /v1/loadtests: start a load test, look at those there are, stop one. */
#include <string.h>

#include "server/api/request_loadtest.h"
#include "server/front/calls/call.h"
#include "server/front/calls/stages.h"
#include "server/front/loadtest/loadtests.h"

/* The object is in call->answer, or *error says why not. */
static void answer(struct call *call, bool good, int status, struct api_error *error) {
    buffer_string(&call->answer, "\n");
    if (good && call->answer.failed)
        good = api_fail_memory(error);
    if (good) {
        call_succeed(call, "application/json");
        call->status = status;
    } else
        call_fail(call, error);
}

static bool begin(struct call *call, struct api_error *error) {
    const struct serve_options *options = &call->server->options;
    const struct loadtest_limits limits = {.rate = options->loadtest_rate,
                                           .seconds = options->loadtest_seconds,
                                           .requests = options->loadtest_requests,
                                           .targets = options->loadtest_targets};
    const struct roster *roster = call->roster;
    const struct request_models *models = &roster->models;
    struct loadtest_request request;
    return call_settle_form(call, error) &&
           request_loadtest_json(models, &limits, call->body.data, call->body.size, call->arena, &request,
                                 error) &&
           loadtests_start(call->server->loadtests, &request, call_authorization(call), &call->answer, error);
}

void route_loadtest_start(struct call *call) {
    struct api_error error;
    answer(call, begin(call, &error), 202, &error);
    stages_finish(call);
}

void route_loadtest_stop(struct call *call) {
    struct api_error error;
    bool ending;
    const bool found =
        loadtests_stop(call->server->loadtests, call_below(call), &ending, &call->answer, &error);
    answer(call, found, ending ? 202 : 200, &error);
    stages_finish(call);
}

void route_loadtests(struct call *call) {
    struct api_error error;
    loadtests_list(call->server->loadtests, &call->answer);
    answer(call, true, 200, &error);
}

void route_loadtest(struct call *call) {
    struct api_error error;
    answer(call, loadtests_get(call->server->loadtests, call_below(call), &call->answer, &error), 200,
           &error);
}
