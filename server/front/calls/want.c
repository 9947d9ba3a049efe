/* want.c - what makes a call unwanted, and what is answered then. */
#include "server/front/calls/want.h"

#include "base/clock.h"

enum want want_of(const struct call *call, int64_t now) {
    if (atomic_load(&call->gone))
        return WANT_GONE;
    if (atomic_load(&call->server->phase) == SERVER_STOPPED)
        return WANT_STOPPED;
    return call->deadline && now >= call->deadline ? WANT_LATE : WANTED;
}

bool want_ask(void *call) {
    return want_of(call, clock_now()) == WANTED;
}

bool want_check(struct call *call, struct api_error *error) {
    const enum want want = want_of(call, clock_now());
    return want == WANTED || want_fail(call, want, error);
}

bool want_fail(struct call *call, enum want why, struct api_error *error) {
    switch (why) {
    case WANT_GONE:
        metrics_count(call->server->metrics, METRICS_CANCELLED, 1);
        return api_fail(error, 499, "client_gone", NULL,
                        "the client hung up before its request was computed");
    case WANT_STOPPED:
        return api_fail(error, 503, "draining", NULL, "the server stopped before the request was computed");
    default:
        return api_fail(error, 504, "deadline_exceeded", "X-Request-Timeout-Ms",
                        "the request's deadline passed before it was computed");
    }
}
