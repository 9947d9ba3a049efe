/* upstream_stream.c - pieces of an answer, from the relaying's thread to the HTTP thread.
 *
 * What was passed on is told to the relaying, so that as much more comes: a client that reads slowly slows the language model's server
 * down, and what waits here is bounded. Once a stream has begun its status has been sent; what goes wrong then is told as an event with
 * an error, as OpenAI's server does, after which the stream ends without "[DONE]".
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/api/answer.h"
#include "server/front/calls/upstream_parts.h"
#include "server/front/calls/waiting.h"
#include "server/front/http/loop.h"
#include "server/front/http/timeouts.h"

#define BLOCK ((size_t)16 << 10) /* bytes that the library sends at once */

/* ---- the relaying's thread */

/* Gives the suspended connection back, which is there until then. */
static void wake(struct upstream *upstream) {
    struct server *server = upstream->server;
    pthread_mutex_lock(&upstream->lock);
    const bool paused = upstream->paused;
    pthread_mutex_unlock(&upstream->lock);
    if (!paused)
        return;
    timeouts_unwatch(server->timeouts, upstream->timed);
    pthread_mutex_lock(&upstream->lock);
    upstream->paused = false;
    loop_resume(upstream->loop, upstream->connection);
    pthread_mutex_unlock(&upstream->lock);
    atomic_fetch_sub(&server->handed, 1);
}

/* So many bytes of pending have been passed on. Returns how many of what came that makes, to be told to the relaying: where events are
 * made anew, all of them once nothing is pending. With the lock. */
static size_t settle(struct upstream *upstream, size_t passed) {
    const bool all = upstream->at == upstream->pending.size || passed > upstream->untold;
    const size_t told = all ? upstream->untold : passed;
    upstream->untold -= told;
    return told;
}

/* What was passed on makes room for what comes. */
static void append(struct upstream *upstream, const char *bytes, size_t size) {
    struct buffer *pending = &upstream->pending;
    if (!size)
        return;
    if (upstream->at) {
        memmove(pending->data, pending->data + upstream->at, pending->size - upstream->at);
        pending->size -= upstream->at;
        upstream->at = 0;
    }
    buffer_bytes(pending, bytes, size);
}

/* Takes in events that were made of so many bytes. */
static void take_in(struct upstream *upstream, struct text events, size_t came) {
    pthread_mutex_lock(&upstream->lock);
    append(upstream, events.data, events.size);
    upstream->untold += came;
    const size_t told = settle(upstream, 0);
    pthread_mutex_unlock(&upstream->lock);
    if (told)
        relaying_taken(upstream->server->relaying, &upstream->inquiry, told);
    if (upstream->begun && events.size)
        wake(upstream);
}

static void begin(struct upstream *upstream) {
    struct call *call = upstream->call;
    upstream->begun = true;
    buffer_free(&upstream->body); /* it is not asked again */
    call->task.run = upstream->streaming;
    waiting_push(call, call->server->workers);
}

/* What is no part of an answer before any has been passed on is an answer of its own: an error's. */
void upstream_more(struct inquiry *inquiry, char *bytes, size_t size) {
    struct upstream *upstream = inquiry->arg;
    struct buffer made = {0};
    struct text events = {.data = bytes, .size = size};
    if (upstream->broken) {
        free(bytes);
        return;
    }
    if (upstream->stream) {
        upstream->broken = !ask_stream_take(upstream->stream, events, &made, &upstream->fault);
        events = (struct text){.data = made.data, .size = made.size};
    }
    take_in(upstream, events, size);
    free(bytes);
    buffer_free(&made);
    if (!upstream->begun && !upstream->broken)
        begin(upstream);
}

static void write_error(struct buffer *out, const struct upstream *upstream) {
    struct api_error error;
    if (upstream->broken)
        error = upstream->fault;
    else if (upstream->inquiry.outcome != RELAY_GIVEN_UP)
        upstream_fail(&upstream->inquiry, &error);
    else if (atomic_load(&upstream->server->phase) == SERVER_STOPPED)
        api_fail(&error, 503, "draining", NULL, "the server stopped before the answer had ended");
    else
        api_fail(&error, 504, "deadline_exceeded", "X-Request-Timeout-Ms",
                 "the request's deadline passed before the answer had ended");
    buffer_string(out, "data: ");
    answer_error(out, &error);
    buffer_string(out, "\n\n");
}

void upstream_end(struct upstream *upstream) {
    struct buffer event = {0};
    if (upstream->broken || upstream->inquiry.outcome != RELAY_DONE)
        write_error(&event, upstream);
    else if (upstream->stream)
        ask_stream_end(upstream->stream, upstream->inquiry.ns, &event);
    pthread_mutex_lock(&upstream->lock);
    append(upstream, event.data, event.size);
    upstream->ended = true;
    pthread_mutex_unlock(&upstream->lock);
    buffer_free(&event);
    wake(upstream);
}

/* ---- the HTTP thread */

static void on_gone(void *upstream) {
    atomic_store(&((struct upstream *)upstream)->gone, true); /* the relaying asks for it soon */
}

/* With the lock. */
static bool has_something(const struct upstream *upstream) {
    return upstream->ended || upstream->pending.failed || upstream->at < upstream->pending.size;
}

enum pause { PAUSED, GOES_ON, SHUT };

/* Suspends the connection, unless there is something to send by now, or it was shut down. */
static enum pause pause_connection(struct upstream *upstream) {
    struct server *server = upstream->server;
    if (!timeouts_working(server->timeouts, upstream->timed))
        return SHUT;
    upstream->resumed = true;
    timeouts_watch(server->timeouts, upstream->timed, on_gone, upstream);
    pthread_mutex_lock(&upstream->lock);
    const bool pauses = !has_something(upstream);
    if (pauses) {
        atomic_fetch_add(&server->handed, 1);
        upstream->paused = true;
        MHD_suspend_connection(upstream->connection);
    }
    pthread_mutex_unlock(&upstream->lock);
    if (!pauses)
        timeouts_unwatch(server->timeouts, upstream->timed);
    return pauses ? PAUSED : GOES_ON;
}

/* Bytes, or how the stream ends; 0: neither is there yet. */
static ssize_t pass_on(struct upstream *upstream, char *out, size_t most) {
    pthread_mutex_lock(&upstream->lock);
    const struct buffer *pending = &upstream->pending;
    const size_t left = pending->size - upstream->at, n = left < most ? left : most;
    const bool ended = upstream->ended && !n, failed = pending->failed;
    if (n)
        memcpy(out, pending->data + upstream->at, n);
    upstream->at += n;
    const size_t told = upstream->ended ? 0 : settle(upstream, n);
    pthread_mutex_unlock(&upstream->lock);
    if (failed || atomic_load(&upstream->gone))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (told)
        relaying_taken(upstream->server->relaying, &upstream->inquiry, told);
    return (ssize_t)n;
}

static bool is_paused(struct upstream *upstream) {
    pthread_mutex_lock(&upstream->lock);
    const bool paused = upstream->paused;
    pthread_mutex_unlock(&upstream->lock);
    return paused;
}

static ssize_t send_or_pause(struct call *call, char *out, size_t most) {
    struct upstream *upstream = call->upstream;
    enum pause pause = GOES_ON;
    ssize_t n = 0;
    while (pause == GOES_ON && n == 0) {
        if (upstream->resumed &&
            !timeouts_answering(call->server->timeouts, upstream->timed, BLOCK, clock_now()))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        upstream->resumed = false;
        n = pass_on(upstream, out, most);
        if (n == 0)
            pause = pause_connection(upstream);
    }
    if (n > 0)
        call->sent += (uint64_t)n;
    return pause == SHUT ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

/* The library may ask once more before it lets a suspended connection rest. A thread that is here counts as handed over, so that
 * a stopping server sees the connection that it suspends. */
static ssize_t read_stream(void *arg, uint64_t at, char *out, size_t most) {
    (void)at;
    struct call *call = arg;
    struct server *server = call->server;
    if (is_paused(call->upstream))
        return 0;
    atomic_fetch_add(&server->handed, 1);
    const bool stopped = atomic_load(&server->phase) == SERVER_STOPPED;
    const ssize_t n = stopped ? MHD_CONTENT_READER_END_WITH_ERROR : send_or_pause(call, out, most);
    atomic_fetch_sub(&server->handed, 1);
    return n;
}

struct MHD_Response *upstream_response(struct call *call) {
    struct upstream *upstream = call->upstream;
    upstream->loop = call->from->loop;
    upstream->timed = call->from->timed;
    upstream->connection = call->connection;
    upstream->resumed = true;
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, call, NULL);
}
