/* http.h - libmicrohttpd: sockets, threads, connections. The handler knows what a request is, and how it is
 * answered. */
#ifndef LIMOE_SERVER_FRONT_HTTP_HTTP_H
#define LIMOE_SERVER_FRONT_HTTP_HTTP_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

#define HTTP_ADDRESS_SIZE 320 /* "https://[…]:65535" */

struct timeouts;
struct timed;
struct intake;
struct log;
struct loop;
struct metrics;
struct screen;
struct tls;
struct tls_credentials;

/* Binds and listens; nothing is accepted yet. *fd becomes the caller's. address[HTTP_ADDRESS_SIZE] is the
 * URL, with the port that the system chose where `port` was "0"; https where the connections will be
 * `encrypted`. */
enum limoe_status http_listen(const char *host, const char *port, bool encrypted, int *fd, char *address,
                              struct limoe_error *err);

/* What is kept of a connection, from its start to its end. It belongs to the connection's HTTP thread. */
struct http_connection {
    struct timed *timed;
    struct intake *intake;
    struct loop *loop;                   /* of its HTTP thread */
    struct tls_credentials *credentials; /* NULL: plain HTTP */
    bool bounced;                        /* the request has been, see http_look_ahead */
    bool last;                           /* the client has closed its side: the answer is the last */
    bool preflight;                      /* the request is a browser's question: its head has been seen */
};

struct screen *http_screen(const struct http_connection *connection);

/* Called before an answer to a request whose connection was not suspended. The library reads again from a
 * connection that is resumed, from another only when something new comes in. So a request behind which
 * more has come in already, which the screen keeps back or the library has not read, is suspended for one
 * turn of the loop, once. True if it is, so that it is not to be answered now. */
bool http_look_ahead(struct http_connection *connection, struct MHD_Connection *request);

/* What becomes of requests. Called on HTTP threads, where nothing may wait. */
struct http_handler {
    /* As libmicrohttpd's access handler: called for the head, for each part of the body, and at its end.
     * *state is the handler's own, NULL at first. */
    enum MHD_Result (*request)(void *arg, struct http_connection *connection, struct MHD_Connection *request,
                               const char *url, const char *method, const char *upload, size_t *upload_size,
                               void **state);
    /* Called at the end of what `request` began (*state may be NULL). `answered` says that the client got
     * the whole answer. */
    void (*completed)(void *arg, void **state, bool answered);
    /* Whether the server closes its connections just now, so that none counts as slow. */
    bool (*stopping)(void *arg);
    void *arg;
};

/* All that these name outlives the server. */
struct http_options {
    unsigned threads; /* limits are each thread's own, which has its share of them */
    unsigned connections, connections_per_address; /* per address 0: no limit of its own */
    unsigned idle_seconds; /* after which the library closes a connection on which nothing comes */
    struct timeouts *timeouts;
    struct tls *tls; /* NULL: plain HTTP */
    struct log *log;
    struct metrics *metrics;
    _Atomic uint64_t *open; /* connections, counted here */
    struct http_handler handler;
};

struct http;

/* Starts the HTTP threads on the listening socket, which stays the caller's and is closed after http_stop. */
enum limoe_status http_start(const struct http_options *options, int fd, struct http **out,
                             struct limoe_error *err);
/* Accepts no more connections; those that are open go on. */
void http_stop_accepting(struct http *http);
/* Closes the connections and joins the threads. No request is with others. NULL is fine. */
void http_stop(struct http *http);

#endif
