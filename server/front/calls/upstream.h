/* upstream.h - what a call asks the language model's server: once everything is embedded, before it is answered.
 *
 * The call belongs to the relaying meanwhile, and no worker waits for it. A client that leaves, a deadline, and a server that
 * gives up end the request within milliseconds.
 *
 * An answer may come as a stream. With its first piece the call is answered, and goes back to its HTTP thread, which sends what comes as
 * it comes, and suspends the connection while nothing does.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_UPSTREAM_H
#define LIMOE_SERVER_FRONT_CALLS_UPSTREAM_H

#include "server/front/calls/call.h"
#include "server/protocol/relay_wire.h"

struct ask_stream;

/* False, with a 501: no language model is named. */
bool upstream_possible(const struct call *call, struct api_error *error);

struct upstream_request {
    enum relay_endpoint endpoint;
    struct buffer body; /* JSON */
    bool streamed;      /* which the body asks for */
    struct ask_stream
        *stream; /* with `streamed`: what makes our events of those that come; NULL: they pass as they are */
};
/* Has the model's server asked, after which the route's `relayed` goes on, unless the answer is streamed, and comes so. A route's answer
 * and stored call it last. Takes over body and stream. False, with *error: the body is too long, or there is no memory. */
bool upstream_ask(struct call *call, const struct upstream_request *request, struct api_error *error);

struct upstream_steps {
    bool (*wanted)(void *call); /* asked meanwhile, on another thread, whether to go on */
    void (*relayed)(
        struct task *task); /* run by a worker, with the call's task, once there is an answer, or none */
    void (*streaming)(struct task *task); /* … in place of it, once a stream has begun */
};
/* Hands the request over. True: the call is not to be touched any more. False, with *error: as many wait as may. */
bool upstream_send(struct call *call, const struct upstream_steps *steps, struct api_error *error);
/* The answer; false, with *error: there is none. */
bool upstream_take(struct call *call, struct text *answer, struct api_error *error);
/* How long it took, in nanoseconds. */
int64_t upstream_took(const struct call *call);
/* About how many bytes an answer takes that is streamed; 0: it is none. */
size_t upstream_size(const struct call *call);
/* The call ends, or has what it wants: what is under way is given up. */
void upstream_free(struct call *call);

/* ---- the connection's HTTP thread */

/* The answer's body, as it comes; NULL: no memory. */
struct MHD_Response *upstream_response(struct call *call);

#endif
