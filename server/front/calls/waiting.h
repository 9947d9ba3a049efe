/* waiting.h - calls that wait for a worker, given up there when nobody wants them any more.
 *
 * Who waits behind pictures may wait for long: a worker that has one sleeps until a decoder is done with it. So one
 * thread looks at all calls that no worker has taken yet: when a deadline has passed, and once a second for clients
 * that have gone. Those that are not wanted go to the head of server->workers, which wait for nobody, and whose first
 * question (want_check) ends them.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_WAITING_H
#define LIMOE_SERVER_FRONT_CALLS_WAITING_H

#include "server/front/calls/call.h"

/* Pushes the call's task behind what waits for these workers of its server: the way for all calls but those that are
 * to overtake others (workers_push_early). The caller must not touch the call again. Any thread. */
void waiting_push(struct call *call, struct workers *workers);

/* Looks, if it is time to. To be called several times a second, by one thread. */
void waiting_sweep(struct server *server, int64_t now);

#endif
