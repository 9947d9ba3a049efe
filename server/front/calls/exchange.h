/* exchange.h - what the HTTP server does with requests: it makes calls of them, and sends the calls'
 * answers. */
#ifndef LIMOE_SERVER_FRONT_CALLS_EXCHANGE_H
#define LIMOE_SERVER_FRONT_CALLS_EXCHANGE_H

#include "server/front/http/http.h"
#include "server/front/server.h"

/* For http_start. The server outlives it. */
struct http_handler exchange_handler(struct server *server);

#endif
