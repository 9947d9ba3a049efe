/* upstream.h - what a call asks the language model's server: once everything is embedded, before it is answered.
 *
 * The call belongs to the relaying meanwhile, and no worker waits for it. A client that leaves, a deadline, and a server that
 * gives up end the request within milliseconds.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_UPSTREAM_H
#define LIMOE_SERVER_FRONT_CALLS_UPSTREAM_H

#include "server/front/calls/call.h"
#include "server/protocol/relay_wire.h"

/* False, with a 501: no language model is named. */
bool upstream_possible(const struct call *call, struct api_error *error);

/* Has the model's server asked, after which the route's `relayed` goes on. A route's answer and stored call it last. Takes over
 * the body, JSON. False, with *error: it is too long, or there is no memory. */
bool upstream_ask(struct call *call, enum relay_endpoint endpoint, struct buffer *body,
                  struct api_error *error);

/* Hands the request over; then `relayed` is run by a worker, with the call's task. `wanted` is asked meanwhile, on another thread,
 * whether to go on. True: the call is not to be touched any more. False, with *error: as many wait as may. */
bool upstream_send(struct call *call, bool (*wanted)(void *call), void (*relayed)(struct task *task),
                   struct api_error *error);
/* The answer; false, with *error: there is none. */
bool upstream_take(struct call *call, struct text *answer, struct api_error *error);
/* How long it took, in nanoseconds. */
int64_t upstream_took(const struct call *call);
/* Frees request and answer; nothing is under way. */
void upstream_free(struct call *call);

#endif
