/* exchange.c - libmicrohttpd's requests on one side, calls on the other.
 *
 * On an HTTP thread nothing waits: a callback checks headers, appends bytes, or queues an answer that is
 * ready. A call that needs work has its connection suspended, and belongs to others (call.h) until they
 * resume it.
 */
#include "server/front/calls/exchange.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/front/calls/bulk.h"
#include "server/front/calls/call.h"
#include "server/front/calls/quotas.h"
#include "server/front/calls/stages.h"
#include "server/front/calls/upstream.h"
#include "server/front/http/cors.h"
#include "server/front/http/screen.h"
#include "server/front/http/timeouts.h"
#include "server/front/http/trace.h"

/* ---- answers */

static void add_header(struct MHD_Response *response, const char *name, const char *value) {
    if (value)
        MHD_add_response_header(response, name, value);
}

static void add_milliseconds(struct MHD_Response *response, const char *name, int64_t ns) {
    char value[32];
    snprintf(value, sizeof value, "%.3f", (double)ns / 1e6);
    add_header(response, name, value);
}

static void add_trace(struct MHD_Response *response, const struct trace *trace) {
    char value[TRACE_HEADER_SIZE];
    trace_print(trace, value);
    add_header(response, "traceresponse", value);
}

/* Whether no further request of the connection is read. */
static bool is_last(const struct server *server, const struct http_connection *connection) {
    return connection->last || screen_refusal(http_screen(connection)) ||
           atomic_load(&server->phase) >= SERVER_DRAINING;
}

/* Adds what every answer has. */
static void describe(const struct call *call, struct MHD_Response *response) {
    add_header(response, "Content-Type", call->answer_type);
    add_header(response, "X-Request-Id", call->id);
    add_trace(response, &call->trace);
    cors_add(call->server->options.cors_origin, call->connection, response);
}

/* Takes over the response. */
static enum MHD_Result queue_answer(struct call *call, struct MHD_Response *response) {
    quotas_describe(call, response);
    if (is_last(call->server, call->from))
        add_header(response, "Connection", "close");
    const enum MHD_Result queued = MHD_queue_response(call->connection, (unsigned)call->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* An answer that a language model's server streams. What lies between is not to keep it back. */
static enum MHD_Result send_stream(struct call *call) {
    struct MHD_Response *response = upstream_response(call);
    if (!response)
        return MHD_NO;
    describe(call, response);
    add_header(response, "Cache-Control", "no-cache");
    add_header(response, "X-Accel-Buffering", "no");
    return queue_answer(call, response);
}

static enum MHD_Result send_answer(struct call *call) {
    struct server *server = call->server;
    int64_t now = clock_now();
    if (call->streaming)
        return send_stream(call);
    if (!timeouts_answering(server->timeouts, call->from->timed, call->answer.size, now))
        return MHD_NO;
    size_t size = 0;
    char *bytes = buffer_take(&call->answer, &size);
    if (!bytes) {
        static char sorry[] = ANSWER_NO_MEMORY;
        struct MHD_Response *response =
            MHD_create_response_from_buffer(sizeof sorry - 1, sorry, MHD_RESPMEM_PERSISTENT);
        if (!response)
            return MHD_NO;
        call->status = 503;
        enum MHD_Result queued = MHD_queue_response(call->connection, 503, response);
        MHD_destroy_response(response);
        return queued;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(size, bytes, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(bytes);
        return MHD_NO;
    }
    call->sent = size;
    call->total_ns = now - call->began;
    describe(call, response);
    add_header(response, "Allow", call->allow);
    for (size_t i = 0; i < call->n_headers; i++)
        add_header(response, call->headers[i].name, call->headers[i].value);
    if (call->status == MHD_HTTP_UNAUTHORIZED)
        add_header(response, "WWW-Authenticate", "Bearer realm=\"limoe\"");
    if (!call->route->get) {
        add_milliseconds(response, "X-Queue-Ms", call->queue_ns);
        add_milliseconds(response, "X-Inference-Ms", call->inference_ns);
    }
    add_milliseconds(response, "X-Total-Ms", call->total_ns);
    if (call->retry_after) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%u", call->retry_after);
        add_header(response, "Retry-After", seconds);
    }
    return queue_answer(call, response);
}

/* The answer to a body of lines, whose times are not known yet. */
static enum MHD_Result send_lines(struct call *call) {
    struct MHD_Response *response = bulk_response(call);
    if (!response)
        return MHD_NO;
    describe(call, response);
    return queue_answer(call, response);
}

/* ---- requests */

/* A client that waits to be told to send its body, or would send one that is too large, is refused before it
 * does. Any other is answered when its body has been read: one that is still sending might see a reset
 * instead of the answer. */
static bool refuse_before_body(const struct call *call) {
    return call->stage == CALL_ANSWERED && call->content_length > 0 &&
           (MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Expect") ||
            (call->content_length != UINT64_MAX &&
             call->content_length > call->server->options.max_body_bytes));
}

/* Logs a refusal. The request's line in the log has neither method nor path, since these may be what is
 * not sound. */
static void note_refusal(const struct call *call, const struct api_error *refusal) {
    if (refusal)
        log_print(call->server->log, LOG_DEBUG, call->id, "http: %s", refusal->message);
}

/* The body of lines is complete: answers what has been computed of it, and the rest as it is. */
static enum MHD_Result end_lines(struct call *call, struct http_connection *from) {
    switch (bulk_complete(call)) {
    case BULK_READ:
        if (http_look_ahead(from, call->connection))
            return MHD_YES;
        call->status = 200;
        call->answer_type = "application/x-ndjson";
        call->stage = CALL_ANSWERED;
        return send_lines(call);
    case BULK_SUSPENDED:
        return MHD_YES;
    default:
        return MHD_NO;
    }
}

static bool has_body(struct MHD_Connection *connection) {
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

/* A preflight needs no call. It is answered at its end, as the library closes a connection whose request is answered
 * before that; one with a body, which no browser sends, is answered so. */
static enum MHD_Result on_preflight(struct server *server, struct http_connection *from,
                                    struct MHD_Connection *connection) {
    const bool seen = from->preflight;
    from->preflight = true;
    if (!seen && !timeouts_receiving(server->timeouts, from->timed, clock_now()))
        return MHD_NO;
    if (!seen && !has_body(connection))
        return MHD_YES;
    if (seen && http_look_ahead(from, connection))
        return MHD_YES;
    if (!timeouts_answering(server->timeouts, from->timed, 0, clock_now()))
        return MHD_NO;
    return cors_answer(server->options.cors_origin, connection, is_last(server, from));
}

static void on_gone(void *call) {
    stages_gone(call);
}

static enum MHD_Result on_request(void *arg, struct http_connection *from, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *upload,
                                  size_t *upload_size, void **state) {
    struct server *server = arg;
    struct call *call = *state;
    const struct screen *screen = http_screen(from);
    const struct api_error *refusal = screen_refusal(screen);
    if (from->preflight ||
        (!call && !refusal && cors_preflight(server->options.cors_origin, connection, method)))
        return on_preflight(server, from, connection);
    if (!call) {
        if (!timeouts_receiving(server->timeouts, from->timed, clock_now()))
            return MHD_NO;
        *state = call = call_begin(server, connection, url, method, refusal);
        if (!call)
            return MHD_NO;
        call->from = from;
        note_refusal(call, refusal);
        if (refuse_before_body(call))
            return send_answer(call);
        return screen_cut_off(screen) ? MHD_NO : MHD_YES;
    }
    if (*upload_size > 0 && call->bulk && call->stage == CALL_RECEIVING)
        return !screen_cut_off(screen) && bulk_receive(call, upload, upload_size) ? MHD_YES : MHD_NO;
    if (*upload_size > 0) {
        bool go_on = call_receive(call, upload, *upload_size);
        *upload_size = 0;
        return go_on && !screen_cut_off(screen) ? MHD_YES : MHD_NO;
    }
    if (refusal && call->stage == CALL_RECEIVING) { /* its body is not sound */
        call_fail(call, refusal);
        note_refusal(call, refusal);
    }
    if (call->bulk && call->stage == CALL_RECEIVING)
        return end_lines(call, from);
    const bool at_once = call->route->get || (call->stage == CALL_ANSWERED && !call->body_complete);
    if (at_once && !refusal && http_look_ahead(from, call->connection))
        return MHD_YES;
    if (call->stage == CALL_RECEIVING && call->route->get)
        call->route->get(call);
    if (call->stage == CALL_RECEIVING) {
        if (!timeouts_working(server->timeouts, call->from->timed))
            return MHD_NO;
        call->body_complete = clock_now();
        /* Counted before the phase is read, as serve.c sets the phase before it reads the count: one sees the
         * other, and no connection is suspended behind a stopping server's back. */
        atomic_fetch_add(&server->handed, 1);
        if (atomic_load(&server->phase) == SERVER_STOPPED) {
            atomic_fetch_sub(&server->handed, 1);
            return MHD_NO;
        }
        MHD_suspend_connection(connection);
        timeouts_watch(server->timeouts, call->from->timed, on_gone, call);
        stages_begin(call);
        return MHD_YES;
    }
    return send_answer(call);
}

static void on_completed(void *arg, void **state, bool answered) {
    (void)arg;
    if (*state)
        call_end(*state, answered);
}

static bool is_stopping(void *arg) {
    const struct server *server = arg;
    return atomic_load(&server->phase) >= SERVER_DRAINING;
}

struct http_handler exchange_handler(struct server *server) {
    return (struct http_handler){
        .request = on_request, .completed = on_completed, .stopping = is_stopping, .arg = server};
}
