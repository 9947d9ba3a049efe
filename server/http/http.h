/* http.h - libmicrohttpd: sockets and HTTP's syntax on one side, calls on the other. */
#ifndef LIMOE_HTTP_H
#define LIMOE_HTTP_H

#include "limoe.h"
#include "server.h"

#define HTTP_ADDRESS_SIZE 320 /* "https://[…]:65535" */

/* Binds and listens; nothing is accepted yet. *fd becomes the caller's. address[HTTP_ADDRESS_SIZE] is the
 * URL, with the port that the system chose where `port` was "0"; https where the connections will be
 * `encrypted`. */
enum limoe_status http_listen(const char *host, const char *port, bool encrypted, int *fd, char *address,
                              struct limoe_error *err);

struct http;

/* Starts the HTTP threads on the listening socket, which stays the caller's and is closed after http_stop.
 * With server->tls they speak HTTPS. */
enum limoe_status http_start(struct server *server, int fd, struct http **out, struct limoe_error *err);
/* Accepts no more connections; those that are open go on. */
void http_stop_accepting(struct http *http);
/* Closes the connections and joins the threads. No call is with the workers or the engine. NULL is fine. */
void http_stop(struct http *http);

#endif
