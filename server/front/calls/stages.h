/* stages.h - the way of a call through the workers and the engine. */
#ifndef LIMOE_SERVER_FRONT_CALLS_STAGES_H
#define LIMOE_SERVER_FRONT_CALLS_STAGES_H

#include "server/front/calls/call.h"

/* Takes over a call whose body is complete and whose connection is suspended; answers it and resumes the
 * connection. The caller must not touch the call again. */
void stages_begin(struct call *call);

/* For a route's parse, answer and stored, as their last act: asks the store (server/front/store/job.h), and has the
 * route's `stored` go on from there. False, with *error: job is NULL, there was no memory for it. */
bool stages_ask(struct call *call, struct store_job *job, struct api_error *error);

/* For routes that see to a call by themselves: gives the answered call back to its HTTP thread. The caller
 * must not touch the call again. Any thread. */
void stages_finish(struct call *call);

/* The call's client has hung up: what waits for it is dropped as soon as it is seen. The caller knows that
 * the call has not been given back. Any thread; may be said again. */
void stages_gone(struct call *call);

/* For a long answer's writer: true, with *error, when the call's client has hung up meanwhile. */
bool stages_reader_left(struct call *call, struct api_error *error);

#endif
