/* http.c - the daemon's threads and callbacks.
 *
 * On an HTTP thread nothing waits: a callback checks headers, appends bytes, or queues an answer that is
 * ready. A call that needs work has its connection suspended, and belongs to others (call.h) until they
 * resume it. What the library's silence timeout does not see, slow clients and clients that leave meanwhile,
 * guard.h watches over.
 */
#include "http/http.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "http/call.h"
#include "http/cors.h"
#include "http/guard.h"
#include "http/head.h"
#include "http/intake.h"
#include "http/loop.h"
#include "http/stages.h"
#include "http/tls.h"
#include "http/trace.h"
#include "observe/clock.h"

#define LISTEN_BACKLOG 1024
/* Per connection: the request line, headers and query, and the window through which a body is read. What the
 * screen lets through leaves room for the answer's head, so that the library never answers for want of it. */
#define CONNECTION_MEMORY (64 * 1024)
static_assert(CONNECTION_MEMORY - HEAD_MOST_MEMORY >= 4096, "a head leaves room for its answer's");
#define READ_INCREMENT (16 * 1024)

/* One of the HTTP threads: a connection stays with the one that accepted it. */
struct http_thread {
    struct server *server;
    struct MHD_Daemon *daemon;
    struct intakes *intakes;
    struct loop *loop;
};

struct http {
    int listening; /* the caller's */
    bool accepting;
    unsigned n;
    struct http_thread threads[]; /* [n] */
};

/* What we keep of a connection, from its start to its end; the library's "socket context". */
struct connection {
    struct guarded *guarded;
    struct intake *intake;
    bool bounced; /* the request has been, see look_ahead */
    bool last;    /* the client has closed its side: the answer is the connection's last */
    struct tls_credentials *credentials; /* NULL: plain HTTP */
};

/* ---- sockets */

static void print_address(int fd, const char *host, bool encrypted, char *address) {
    struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof bound;
    char number[256], port[32];
    const char *scheme = encrypted ? "https" : "http";
    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, number, sizeof number, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(address, HTTP_ADDRESS_SIZE, "%s://%.250s", scheme, host);
        return;
    }
    bool v6 = bound.ss_family == AF_INET6;
    snprintf(address, HTTP_ADDRESS_SIZE, "%s://%s%s%s:%s", scheme, v6 ? "[" : "", number, v6 ? "]" : "",
             port);
}

static int listen_at(const struct addrinfo *at) {
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, at->ai_protocol);
    if (fd < 0)
        return -1;
    const int one =
        1; /* a port whose last connections linger in TIME_WAIT is free; one that is listened on is not */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

enum limoe_status http_listen(const char *host, const char *port, bool encrypted, int *fd, char *address,
                              struct limoe_error *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    int code = getaddrinfo(host, port, &hints, &found);
    if (code)
        return limoe_fail(err, LIMOE_INVALID, "cannot listen on %s port %s: %s", host, port,
                          gai_strerror(code));
    *fd = -1;
    for (const struct addrinfo *at = found; at && *fd < 0; at = at->ai_next)
        *fd = listen_at(at);
    code = errno;
    freeaddrinfo(found);
    if (*fd < 0)
        return limoe_fail(err, LIMOE_IO, "cannot listen on %s port %s: %s%s", host, port, strerror(code),
                          code == EADDRINUSE ? " (--port chooses another; 0 takes any that is free)" : "");
    print_address(*fd, host, encrypted, address);
    return LIMOE_OK;
}

static struct connection *context_of(struct MHD_Connection *connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

static struct screen *screen_of(const struct connection *context) {
    return intake_screen(context->intake);
}

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
static bool is_last(const struct call *call) {
    const struct connection *context = context_of(call->connection);
    return context->last || screen_refusal(screen_of(context)) ||
           atomic_load(&call->server->phase) >= SERVER_DRAINING;
}

static enum MHD_Result send_answer(struct call *call) {
    struct server *server = call->server;
    int64_t now = clock_now();
    if (!guard_answering(server->guard, call->guarded, call->answer.size, now))
        return MHD_NO;
    size_t size = 0;
    char *bytes = buffer_take(&call->answer, &size);
    if (!bytes) {
        static char sorry[] =
            "{\"error\":{\"message\":\"the server is out of memory\",\"type\":\"server_error\","
            "\"param\":null,\"code\":\"no_memory\"}}\n";
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
    add_header(response, "Content-Type", call->answer_type);
    add_header(response, "X-Request-Id", call->id);
    add_trace(response, &call->trace);
    cors_add(server->options.cors_origin, call->connection, response);
    add_header(response, "Allow", call->allow);
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
    if (is_last(call))
        add_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(call->connection, (unsigned)call->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- callbacks */

/* A client that waits to be told to send its body, or would send one that is too large, is refused before it
 * does. Any other is answered when its body has been read: one that is still sending might see a reset
 * instead of the answer. */
static bool refuse_before_body(const struct call *call) {
    return call->stage == CALL_ANSWERED && call->content_length > 0 &&
           (MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Expect") ||
            (call->content_length != UINT64_MAX &&
             call->content_length > call->server->options.max_body_bytes));
}

/* Before an answer to a call that was not suspended. A connection that is resumed is read from again, another
 * only when something new comes in. So a request behind which more has come in already, which the screen
 * keeps back or the library has not read, is suspended for one turn of the loop, once. True: it is, and is
 * not to be answered now. */
static bool look_ahead(const struct http_thread *thread, struct connection *context, struct call *call) {
    const enum intake_ahead ahead = intake_ahead(context->intake);
    context->last = ahead == INTAKE_ENDED;
    if (ahead != INTAKE_MORE || context->bounced)
        return false;
    context->bounced = true;
    MHD_suspend_connection(call->connection);
    loop_resume(thread->loop, call->connection);
    return true;
}

/* The request's own line in the log has neither its method nor its path: they may be what is not sound. */
static void note_refusal(const struct call *call, const struct api_error *refusal) {
    if (refusal)
        log_print(call->server->log, LOG_DEBUG, call->id, "http: %s", refusal->message);
}

static void on_gone(void *call) {
    stages_gone(call);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state) {
    (void)version;
    const struct http_thread *thread = cls;
    struct server *server = thread->server;
    struct call *call = *state;
    struct connection *context = context_of(connection);
    if (!context)
        return MHD_NO; /* nothing was read from it */
    const struct api_error *refusal = screen_refusal(screen_of(context));
    if (!call) {
        if (!guard_receiving(server->guard, context->guarded, clock_now()))
            return MHD_NO;
        if (cors_preflight(server->options.cors_origin, connection, method))
            return cors_answer(server->options.cors_origin, connection);
        *state = call = call_begin(server, connection, url, method, refusal);
        if (!call)
            return MHD_NO;
        call->guarded = context->guarded;
        call->loop = thread->loop;
        note_refusal(call, refusal);
        if (refuse_before_body(call))
            return send_answer(call);
        return screen_cut_off(screen_of(context)) ? MHD_NO : MHD_YES;
    }
    if (*upload_size > 0) {
        bool go_on = call_receive(call, upload, *upload_size);
        *upload_size = 0;
        return go_on && !screen_cut_off(screen_of(context)) ? MHD_YES : MHD_NO;
    }
    if (refusal && call->stage == CALL_RECEIVING) { /* its body is not sound */
        call_fail(call, refusal);
        note_refusal(call, refusal);
    }
    const bool at_once = call->route->get || (call->stage == CALL_ANSWERED && !call->body_complete);
    if (at_once && !refusal && look_ahead(thread, context, call))
        return MHD_YES;
    if (call->stage == CALL_RECEIVING && call->route->get)
        call->route->get(call);
    if (call->stage == CALL_RECEIVING) {
        if (!guard_working(server->guard, call->guarded))
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
        guard_watch(server->guard, call->guarded, on_gone, call);
        stages_begin(call);
        return MHD_YES;
    }
    return send_answer(call);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how) {
    struct server *server = cls;
    if (how == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED)
        metrics_count(server->metrics, METRICS_SLOW_CLIENTS, 1);
    if (*state)
        call_end(*state, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    *state = NULL;
    struct connection *context = context_of(connection);
    if (!context)
        return;
    context->bounced = context->last = false;
    screen_next(screen_of(context));
    guard_waiting(server->guard, context->guarded, clock_now());
}

static void connection_end(struct http_thread *thread, struct connection *connection) {
    struct server *server = thread->server;
    guard_close(server->guard, connection->guarded);
    intake_close(thread->intakes, connection->intake);
    if (server->tls)
        tls_give_back(server->tls, connection->credentials);
    free(connection);
}

/* NULL: no memory, or a session that takes no certificate. */
static struct connection *connection_begin(struct http_thread *thread, struct MHD_Connection *mhd, int fd) {
    struct server *server = thread->server;
    const union MHD_ConnectionInfo *info =
        server->tls ? MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    gnutls_session_t session = info ? info->tls_session : NULL;
    struct intake *intake = intake_open(thread->intakes, fd, session); /* first: it decides what is read */
    struct connection *connection = intake ? calloc(1, sizeof *connection) : NULL;
    if (!connection) {
        intake_close(thread->intakes, intake);
        return NULL;
    }
    connection->intake = intake;
    connection->credentials = session ? tls_equip(server->tls, session) : NULL;
    if (!server->tls || connection->credentials)
        connection->guarded = guard_open(server->guard, fd, clock_now());
    if (connection->guarded)
        return connection;
    connection_end(thread, connection);
    return NULL;
}

/* Part of a head that the client did not complete in time. The library knows nothing of it: to it the
 * connection was silent. */
static void count_slow_head(struct server *server, const struct connection *connection) {
    if (screen_in_head(screen_of(connection)) && atomic_load(&server->phase) < SERVER_DRAINING)
        metrics_count(server->metrics, METRICS_SLOW_CLIENTS, 1);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what) {
    struct http_thread *thread = cls;
    struct server *server = thread->server;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        atomic_fetch_add(&server->connections, 1);
        *state = connection_begin(thread, connection, fd);
        if (!*state)
            shutdown(fd, SHUT_RDWR); /* it cannot be refused here, but it can be useless */
    } else {
        if (*state) {
            count_slow_head(server, *state);
            connection_end(thread, *state);
        }
        *state = NULL;
        atomic_fetch_sub(&server->connections, 1);
    }
}

/* The library's own messages: broken requests, mostly, which are the client's affair. */
__attribute__((format(printf, 2, 0))) static void on_message(void *cls, const char *format, va_list args) {
    struct server *server = cls;
    char message[512];
    vsnprintf(message, sizeof message, format, args);
    message[strcspn(message, "\n")] = '\0';
    log_print(server->log, LOG_DEBUG, NULL, "http: %s", message);
}

/* The library wants to be told how it gets certificates; ours come with each session (tls_equip). */
static int no_certificate(gnutls_session_t session, const struct gnutls_cert_retr_st *info,
                          gnutls_pcert_st **certificates, unsigned *n, gnutls_ocsp_data_st **ocsp,
                          unsigned *n_ocsp, gnutls_privkey_t *key, unsigned *flags) {
    (void)session, (void)info, (void)certificates, (void)n, (void)ocsp, (void)n_ocsp, (void)key, (void)flags;
    return -1;
}

/* ---- life */

static struct MHD_Daemon *start_daemon(struct http_thread *thread, int fd) {
    struct server *server = thread->server;
    const struct serve_options *options = &server->options;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    unsigned share = options->http_threads; /* limits are the daemon's own; it has its share of them */
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)((options->connections + share - 1) / share), NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT,
         (intptr_t)((options->connections_per_address + share - 1) / share), NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)options->idle_seconds, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_INCREMENT, READ_INCREMENT, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(flags | (server->tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, thread,
                            MHD_OPTION_EXTERNAL_LOGGER, on_message, server, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, thread,
                            MHD_OPTION_ARRAY, items,
                            server->tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, TLS_PRIORITIES,
                            MHD_OPTION_HTTPS_CERT_CALLBACK2, no_certificate, MHD_OPTION_END);
}

static enum limoe_status start_thread(struct server *server, int fd, struct http_thread *thread,
                                      struct limoe_error *err) {
    thread->server = server;
    thread->intakes = intakes_new();
    if (!thread->intakes)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an HTTP thread");
    thread->daemon = start_daemon(thread, fd);
    if (!thread->daemon)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start HTTP: %s", strerror(errno));
    return loop_start(thread->daemon, thread->intakes, &thread->loop, err);
}

enum limoe_status http_start(struct server *server, int fd, struct http **out, struct limoe_error *err) {
    unsigned n = server->options.http_threads;
    if (server->tls && MHD_is_feature_supported(MHD_FEATURE_SSL) != MHD_YES)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "this system's libmicrohttpd was built without HTTPS; leave out "
                          "--tls-certificate and encrypt in a proxy");
    struct http *http = calloc(1, sizeof *http + n * sizeof *http->threads);
    if (!http)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the HTTP server");
    http->listening = fd;
    http->accepting = true;
    enum limoe_status status = LIMOE_OK;
    while (status == LIMOE_OK && http->n < n)
        status = start_thread(server, fd, &http->threads[http->n++], err);
    if (status == LIMOE_OK)
        *out = http;
    else
        http_stop(http);
    return status;
}

void http_stop_accepting(struct http *http) {
    if (!http->accepting)
        return;
    http->accepting = false;
    for (unsigned i = 0; i < http->n; i++)
        if (http->threads[i].loop)
            loop_quiesce(http->threads[i].loop);
    /* Refuses at once those that would else wait in the backlog for nobody. */
    shutdown(http->listening, SHUT_RDWR);
}

void http_stop(struct http *http) {
    if (!http)
        return;
    http_stop_accepting(http); /* also keeps MHD_stop_daemon from closing a socket that is not its own */
    for (unsigned i = 0; i < http->n; i++) {
        loop_stop(http->threads[i].loop);
        if (!http->threads[i].loop && http->threads[i].daemon)
            MHD_quiesce_daemon(http->threads[i].daemon); /* its thread did not start */
        if (http->threads[i].daemon)
            MHD_stop_daemon(http->threads[i].daemon);
        intakes_free(http->threads[i].intakes);
    }
    free(http);
}
