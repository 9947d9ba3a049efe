/* exchange.h - what the HTTP server is to do with requests: make calls of them, and answers of these. */
#ifndef LIMOE_SERVER_FRONT_CALLS_EXCHANGE_H
#define LIMOE_SERVER_FRONT_CALLS_EXCHANGE_H

#include "server/front/http/http.h"
#include "server/front/server.h"

/* For http_start. The server outlives it. */
struct http_handler exchange_handler(struct server *server);

#endif
