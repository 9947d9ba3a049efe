/* call_answer.c - a call is answered: with what its route has written, or with an error. */
#include <string.h>

#include "server/api/answer.h"
#include "server/front/calls/call.h"

void call_succeed(struct call *call, const char *content_type) {
    call->status = 200;
    call->answer_type = content_type;
    call->stage = CALL_ANSWERED;
}

/* Counts errors that stand for work refused, not for a fault in the request. */
static void count_refusal(const struct call *call, const struct api_error *error) {
    static const struct {
        int status;
        enum metrics_refusal reason;
    } reasons[] = {
        {401, METRICS_UNAUTHORIZED}, {403, METRICS_UNAUTHORIZED}, {413, METRICS_TOO_LARGE},
        {429, METRICS_QUEUE_FULL},   {504, METRICS_DEADLINE},
    };
    struct metrics *metrics = call->server->metrics;
    if (call->line && call->full)
        return; /* it may be begun again (bulk_calls.c) */
    enum server_phase phase = atomic_load(&call->server->phase);
    if (error->status == 503 && phase != SERVER_READY)
        metrics_count_refusal(metrics, phase == SERVER_STARTING ? METRICS_NOT_READY : METRICS_DRAINING);
    if (error->code && strcmp(error->code, "upstream_timeout") == 0)
        return; /* it was computed here, and refused nowhere */
    if (error->code && strcmp(error->code, "quota_exceeded") == 0) {
        metrics_count_refusal(metrics, METRICS_QUOTA);
        return;
    }
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == error->status)
            metrics_count_refusal(metrics, reasons[i].reason);
}

void call_fail(struct call *call, const struct api_error *error) {
    count_refusal(call, error);
    buffer_free(&call->answer);
    const struct dialect *dialect = call->dialect;
    (dialect ? dialect->write_error : answer_error)(&call->answer, error);
    buffer_string(&call->answer, "\n");
    call->status = dialect && dialect->status ? dialect->status(error) : error->status;
    call->answer_type = "application/json";
    call->stage = CALL_ANSWERED;
}

void call_refuse_full(struct call *call) {
    struct api_error error;
    call->full = true;
    const struct generation *generation = call->generation;
    call->retry_after = queue_drain_seconds(generation ? generation->queue : call->counter);
    if (generation && call->server->n_served > 1)
        api_fail(&error, 429, "queue_full", NULL,
                 "the model %s has as much to do as it will queue; try again in %u s",
                 generation->model->name, call->retry_after);
    else
        api_fail(&error, 429, "queue_full", NULL,
                 "the server has as much to do as it will queue; try again in %u s", call->retry_after);
    call_fail(call, &error);
}
