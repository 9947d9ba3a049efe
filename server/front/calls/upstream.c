/* upstream.c - one inquiry a call; when it comes back, a worker gets the call. */
#include "server/front/calls/upstream.h"

#include <stdlib.h>

#include "server/front/calls/waiting.h"
#include "server/front/relaying/relaying.h"

#define BUSY_SECONDS 1u /* after which who finds no room may ask again */

/* Lives in the call's arena. */
struct upstream {
    struct inquiry inquiry; /* its bytes are the call's to free */
    struct buffer body;
    bool full; /* there was no room for the answer */
};

bool upstream_possible(const struct call *call, struct api_error *error) {
    return call->server->relaying ||
           api_fail(error, 501, "no_language_model", NULL,
                    "the server has no language model to ask; limoe serve --llm-url names the server of one");
}

static bool refuse_full(struct call *call, struct api_error *error) {
    call->retry_after = BUSY_SECONDS;
    return api_fail(error, 429, "upstream_busy", NULL,
                    "as much waits for the language model as may; try again in %u s", BUSY_SECONDS);
}

/* On the relaying's thread, which the call belongs to until then. */
static void answered(struct inquiry *inquiry) {
    struct call *call = inquiry->arg;
    struct upstream *upstream = call->upstream;
    upstream->full = inquiry->bytes && !call_hold(call, inquiry->size);
    waiting_push(call, call->server->workers);
}

bool upstream_ask(struct call *call, enum relay_endpoint endpoint, struct buffer *body,
                  struct api_error *error) {
    struct upstream *upstream = arena_array(call->arena, 1, sizeof *upstream);
    if (!upstream || body->failed) {
        buffer_free(body);
        return api_fail_memory(error);
    }
    upstream->body = *body;
    call->upstream = upstream;
    *body = (struct buffer){0};
    if (upstream->body.size > RELAY_BODY_MOST)
        return api_fail(error, 400, "too_long", NULL,
                        "what the language model is to be sent has %zu bytes; up to %u are accepted",
                        upstream->body.size, RELAY_BODY_MOST);
    upstream->inquiry = (struct inquiry){.endpoint = endpoint,
                                         .body = {.data = upstream->body.data, .size = upstream->body.size},
                                         .done = answered,
                                         .arg = call};
    call->relaying = true;
    return true;
}

bool upstream_send(struct call *call, bool (*wanted)(void *call), void (*relayed)(struct task *task),
                   struct api_error *error) {
    struct upstream *upstream = call->upstream;
    call->relaying = false;
    call->task.run = relayed;
    upstream->inquiry.wanted = wanted;
    return (call_hold(call, upstream->body.capacity) &&
            relaying_ask(call->server->relaying, &upstream->inquiry)) ||
           refuse_full(call, error);
}

/* What the server says of this request, as against itself, is the client's to mend, or to send again later. */
static bool fail_status(struct call *call, const struct inquiry *inquiry, struct api_error *error) {
    switch (inquiry->status) {
    case 400:
    case 413:
    case 422:
        return api_fail(error, 400, "upstream_refused", NULL, "%s", inquiry->message);
    case 429:
        call->retry_after = BUSY_SECONDS;
        return api_fail(error, 429, "upstream_busy", NULL, "%s", inquiry->message);
    default:
        return api_fail(error, 502, "upstream_error", NULL, "%s", inquiry->message);
    }
}

static bool fail(struct call *call, const struct inquiry *inquiry, struct api_error *error) {
    switch (inquiry->outcome) {
    case RELAY_ERROR:
        return fail_status(call, inquiry, error);
    case RELAY_INVALID:
        return api_fail(error, 502, "upstream_invalid", NULL, "%s", inquiry->message);
    case RELAY_UNREACHABLE:
        return api_fail(error, 502, "upstream_unreachable", NULL, "%s", inquiry->message);
    case RELAY_LOST:
        return api_fail(error, 502, "upstream_lost", NULL, "%s", inquiry->message);
    case RELAY_LATE:
        return api_fail(error, 504, "upstream_timeout", NULL, "%s", inquiry->message);
    default: /* who is not waited for any more is told so before this is asked */
        return api_fail(error, 500, "internal", NULL, "%s", inquiry->message);
    }
}

bool upstream_take(struct call *call, struct text *answer, struct api_error *error) {
    const struct upstream *upstream = call->upstream;
    *answer = (struct text){.data = (const char *)upstream->inquiry.bytes, .size = upstream->inquiry.size};
    if (upstream->full)
        return api_fail_memory(error);
    return upstream->inquiry.outcome == RELAY_DONE || fail(call, &upstream->inquiry, error);
}

int64_t upstream_took(const struct call *call) {
    return call->upstream->inquiry.ns;
}

void upstream_free(struct call *call) {
    if (!call->upstream)
        return;
    free(call->upstream->inquiry.bytes);
    buffer_free(&call->upstream->body);
    call->upstream = NULL;
}
