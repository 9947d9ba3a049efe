/* upstream.c - one inquiry a call; when it comes back, a worker gets the call. */
#include "server/front/calls/upstream.h"

#include <stdlib.h>

#include "base/clock.h"
#include "server/front/calls/upstream_parts.h"
#include "server/front/calls/waiting.h"

#define BUSY_SECONDS 1u /* after which who finds no room may ask again */
/* About what waits of a streamed answer for its reader: the window, and a piece. */
#define STREAM_BYTES ((size_t)2 * RELAY_WINDOW)

/* ---- life */

void upstream_release(struct upstream *upstream) {
    pthread_mutex_lock(&upstream->lock);
    const bool last = --upstream->references == 0;
    pthread_mutex_unlock(&upstream->lock);
    if (!last)
        return;
    free(upstream->inquiry.bytes);
    buffer_free(&upstream->body);
    buffer_free(&upstream->pending);
    ask_stream_free(upstream->stream);
    pthread_mutex_destroy(&upstream->lock);
    free(upstream);
}

void upstream_free(struct call *call) {
    struct upstream *upstream = call->upstream;
    if (!upstream)
        return;
    if (call->streaming)
        call->total_ns = clock_now() - call->began;
    atomic_store(&upstream->gone, true);
    call->upstream = NULL;
    upstream_release(upstream);
}

static struct upstream *make(struct call *call) {
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (!upstream || pthread_mutex_init(&upstream->lock, NULL) != 0) {
        free(upstream);
        return NULL;
    }
    upstream->references = 1;
    upstream->server = call->server;
    upstream->deadline = call->deadline;
    upstream->call = call;
    return upstream;
}

/* ---- out */

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

/* A stream that has begun is no call's any more that could be asked. */
static bool is_wanted(void *arg) {
    struct upstream *upstream = arg;
    if (upstream->broken)
        return false;
    if (!upstream->begun)
        return upstream->wanted(upstream->call);
    return !atomic_load(&upstream->gone) && atomic_load(&upstream->server->phase) != SERVER_STOPPED &&
           (!upstream->deadline || clock_now() < upstream->deadline);
}

/* On the relaying's thread, which the call belongs to until then, unless a stream has begun. */
static void answered(struct inquiry *inquiry) {
    struct upstream *upstream = inquiry->arg;
    if (upstream->begun) {
        upstream_end(upstream);
    } else {
        struct call *call = upstream->call;
        upstream->full = inquiry->bytes && !call_hold(call, inquiry->size);
        call->task.run = upstream->relayed;
        waiting_push(call, call->server->workers);
    }
    upstream_release(upstream);
}

bool upstream_ask(struct call *call, const struct upstream_request *request, struct api_error *error) {
    struct upstream *upstream = make(call);
    if (!upstream) {
        struct buffer body = request->body;
        buffer_free(&body);
        ask_stream_free(request->stream);
        return api_fail_memory(error);
    }
    call->upstream = upstream;
    upstream->body = request->body;
    upstream->stream = request->stream;
    if (request->streamed)
        upstream->size = STREAM_BYTES + (request->stream ? ask_stream_size(request->stream) : 0);
    if (upstream->body.failed)
        return api_fail_memory(error);
    if (upstream->body.size > RELAY_BODY_MOST)
        return api_fail(error, 400, "too_long", NULL,
                        "what the language model is to be sent has %zu bytes; up to %u are accepted",
                        upstream->body.size, RELAY_BODY_MOST);
    upstream->inquiry.endpoint = request->endpoint;
    upstream->inquiry.streamed = request->streamed;
    upstream->inquiry.body = (struct text){.data = upstream->body.data, .size = upstream->body.size};
    upstream->inquiry.wanted = is_wanted;
    upstream->inquiry.done = answered;
    upstream->inquiry.more = upstream_more;
    upstream->inquiry.arg = upstream;
    call->relaying = true;
    return true;
}

size_t upstream_size(const struct call *call) {
    return call->upstream ? call->upstream->size : 0;
}

bool upstream_send(struct call *call, const struct upstream_steps *steps, struct api_error *error) {
    struct upstream *upstream = call->upstream;
    call->relaying = false;
    upstream->wanted = steps->wanted;
    upstream->relayed = steps->relayed;
    upstream->streaming = steps->streaming;
    upstream->references = 2; /* nobody else has it yet */
    if (call_hold(call, upstream->body.capacity + upstream_size(call)) &&
        relaying_ask(call->server->relaying, &upstream->inquiry))
        return true;
    upstream->references = 1;
    return refuse_full(call, error);
}

/* ---- in */

/* What the server says of this request, as against itself, is the client's to mend, or to send again later. */
static bool fail_status(const struct inquiry *inquiry, struct api_error *error) {
    switch (inquiry->status) {
    case 400:
    case 413:
    case 422:
        return api_fail(error, 400, "upstream_refused", NULL, "%s", inquiry->message);
    case 429:
        return api_fail(error, 429, "upstream_busy", NULL, "%s", inquiry->message);
    default:
        return api_fail(error, 502, "upstream_error", NULL, "%s", inquiry->message);
    }
}

bool upstream_fail(const struct inquiry *inquiry, struct api_error *error) {
    switch (inquiry->outcome) {
    case RELAY_ERROR:
        return fail_status(inquiry, error);
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
    if (upstream->broken) {
        *error = upstream->fault;
        return false;
    }
    if (upstream->inquiry.outcome == RELAY_DONE)
        return true;
    upstream_fail(&upstream->inquiry, error);
    call->retry_after = error->status == 429 ? BUSY_SECONDS : 0;
    return false;
}

int64_t upstream_took(const struct call *call) {
    return call->upstream->inquiry.ns;
}
