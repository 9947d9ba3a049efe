/* http.c - the daemons, their threads, and their connections.
 *
 * What the library's silence timeout does not see, slow clients and clients that leave meanwhile, timeouts.h
 * watches over.
 */
#include "server/front/http/http.h"

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

#include "base/clock.h"
#include "base/error.h"
#include "server/front/http/head.h"
#include "server/front/http/intake.h"
#include "server/front/http/loop.h"
#include "server/front/http/timeouts.h"
#include "server/front/http/tls.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"

#define LISTEN_BACKLOG 1024
/* Per connection: the request line, headers and query, and the window through which a body is read. What the
 * screen lets through leaves room for the answer's head, so that the library never answers for want of it. */
#define CONNECTION_MEMORY (64 * 1024)
static_assert(CONNECTION_MEMORY - HEAD_MOST_MEMORY >= 4096, "a head leaves room for its answer's");
#define READ_INCREMENT (16 * 1024)

/* One of the HTTP threads: a connection stays with the one that accepted it. */
struct http_thread {
    struct http_options *options;
    struct MHD_Daemon *daemon;
    struct intakes *intakes;
    struct loop *loop;
};

struct http {
    struct http_options options;
    int listening; /* the caller's */
    bool accepting;
    unsigned n;
    struct http_thread threads[]; /* [n] */
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
    /* a port whose last connections linger in TIME_WAIT is free; one that is listened on is not */
    const int one = 1;
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

/* ---- requests */

static struct http_connection *connection_of(struct MHD_Connection *request) {
    return MHD_get_connection_info(request, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

struct screen *http_screen(const struct http_connection *connection) {
    return intake_screen(connection->intake);
}

bool http_look_ahead(struct http_connection *connection, struct MHD_Connection *request) {
    const enum intake_ahead ahead = intake_ahead(connection->intake);
    connection->last = ahead == INTAKE_ENDED;
    if (ahead != INTAKE_MORE || connection->bounced)
        return false;
    connection->bounced = true;
    MHD_suspend_connection(request);
    loop_resume(connection->loop, request);
    return true;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *request, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state) {
    (void)version;
    const struct http_handler *handler = &((const struct http_options *)cls)->handler;
    struct http_connection *connection = connection_of(request);
    return connection
               ? handler->request(handler->arg, connection, request, url, method, upload, upload_size, state)
               : MHD_NO; /* nothing was read from it */
}

static void on_completed(void *cls, struct MHD_Connection *request, void **state,
                         enum MHD_RequestTerminationCode how) {
    const struct http_options *options = cls;
    if (how == MHD_REQUEST_TERMINATED_TIMEOUT_REACHED)
        metrics_count(options->metrics, METRICS_SLOW_CLIENTS, 1);
    options->handler.completed(options->handler.arg, state, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    *state = NULL;
    struct http_connection *connection = connection_of(request);
    if (!connection)
        return;
    connection->bounced = connection->last = connection->preflight = false;
    screen_next(http_screen(connection));
    timeouts_waiting(options->timeouts, connection->timed, clock_now());
}

/* ---- connections */

static void connection_end(struct http_thread *thread, struct http_connection *connection) {
    timeouts_close(thread->options->timeouts, connection->timed);
    intake_close(thread->intakes, connection->intake);
    if (thread->options->tls)
        tls_give_back(thread->options->tls, connection->credentials);
    free(connection);
}

/* A session that has no connection, and lives on until the library sees that, reads nothing. */
static struct http_connection *refuse_session(gnutls_session_t session) {
    if (session)
        gnutls_session_set_ptr(session, NULL);
    return NULL;
}

/* NULL if there is no memory, or the session takes no certificate. */
static struct http_connection *connection_begin(struct http_thread *thread, struct MHD_Connection *mhd,
                                                int fd) {
    const struct http_options *options = thread->options;
    const union MHD_ConnectionInfo *info =
        options->tls ? MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION) : NULL;
    gnutls_session_t session = info ? info->tls_session : NULL;
    struct intake *intake = intake_open(thread->intakes, fd, session); /* first: it decides what is read */
    struct http_connection *connection = intake ? calloc(1, sizeof *connection) : NULL;
    if (!connection) {
        intake_close(thread->intakes, intake);
        return refuse_session(session);
    }
    connection->intake = intake;
    connection->loop = thread->loop;
    connection->credentials = session ? tls_equip(options->tls, session) : NULL;
    if (!options->tls || connection->credentials)
        connection->timed = timeouts_open(options->timeouts, fd, clock_now());
    if (connection->timed)
        return connection;
    connection_end(thread, connection);
    return refuse_session(session);
}

/* Counts a head that the client did not complete in time. The library knows nothing of it, and takes the
 * connection to have been silent. */
static void count_slow_head(const struct http_options *options, const struct http_connection *connection) {
    if (screen_in_head(http_screen(connection)) && !options->handler.stopping(options->handler.arg))
        metrics_count(options->metrics, METRICS_SLOW_CLIENTS, 1);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what) {
    struct http_thread *thread = cls;
    const struct http_options *options = thread->options;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        atomic_fetch_add(options->open, 1);
        *state = connection_begin(thread, connection, fd);
        if (!*state)
            shutdown(fd, SHUT_RDWR); /* it cannot be refused here, but it can be useless */
    } else {
        if (*state) {
            count_slow_head(options, *state);
            connection_end(thread, *state);
        }
        *state = NULL;
        atomic_fetch_sub(options->open, 1);
    }
}

/* The library's own messages, most of which are about broken requests. */
__attribute__((format(printf, 2, 0))) static void on_message(void *cls, const char *format, va_list args) {
    const struct http_options *options = cls;
    char message[512];
    vsnprintf(message, sizeof message, format, args);
    message[strcspn(message, "\n")] = '\0';
    log_print(options->log, LOG_DEBUG, NULL, "http: %s", message);
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
    struct http_options *options = thread->options;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    unsigned share = options->threads;
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
    return MHD_start_daemon(flags | (options->tls ? MHD_USE_TLS : 0), 0, NULL, NULL, on_request, options,
                            MHD_OPTION_EXTERNAL_LOGGER, on_message, options, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, options, MHD_OPTION_NOTIFY_CONNECTION, on_connection, thread,
                            MHD_OPTION_ARRAY, items,
                            options->tls ? MHD_OPTION_HTTPS_PRIORITIES : MHD_OPTION_END, TLS_PRIORITIES,
                            MHD_OPTION_HTTPS_CERT_CALLBACK2, no_certificate, MHD_OPTION_END);
}

static enum limoe_status start_thread(struct http_options *options, int fd, struct http_thread *thread,
                                      struct limoe_error *err) {
    thread->options = options;
    thread->intakes = intakes_new();
    if (!thread->intakes)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an HTTP thread");
    thread->daemon = start_daemon(thread, fd);
    if (!thread->daemon)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start HTTP: %s", strerror(errno));
    return loop_start(thread->daemon, thread->intakes, &thread->loop, err);
}

enum limoe_status http_start(const struct http_options *options, int fd, struct http **out,
                             struct limoe_error *err) {
    unsigned n = options->threads;
    if (options->tls && MHD_is_feature_supported(MHD_FEATURE_SSL) != MHD_YES)
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "this system's libmicrohttpd was built without HTTPS; leave out "
                          "--tls-certificate and encrypt in a proxy");
    struct http *http = calloc(1, sizeof *http + n * sizeof *http->threads);
    if (!http)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the HTTP server");
    http->options = *options;
    http->listening = fd;
    http->accepting = true;
    enum limoe_status status = LIMOE_OK;
    while (status == LIMOE_OK && http->n < n)
        status = start_thread(&http->options, fd, &http->threads[http->n++], err);
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
