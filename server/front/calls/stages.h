/* stages.h - the way of a call through the workers and the engine. */
#ifndef LIMOE_SERVER_FRONT_CALLS_STAGES_H
#define LIMOE_SERVER_FRONT_CALLS_STAGES_H

#include "server/front/calls/call.h"

/* Takes over a call whose body is complete and whose connection is suspended; answers it and resumes the
 * connection. The caller must not touch the call again. */
void stages_begin(struct call *call);

/* Asks the store (server/front/store/job.h), after which the route's `stored` goes on. A route's parse,
 * answer and stored call it last. False, with *error, if job is NULL, since there was no memory for it. */
bool stages_ask(struct call *call, struct store_job *job, struct api_error *error);

/* Gives an answered call back to its HTTP thread, for routes that handle calls by themselves. The caller
 * must not touch the call again. Any thread. */
void stages_finish(struct call *call);

/* Tells that the call's client has hung up, so that what waits for it is dropped when it is next looked
 * at. The caller knows that the call has not been given back. Any thread; may be told again. */
void stages_gone(struct call *call);

/* Asked by those who write long answers: true, with *error, if the call's client has hung up meanwhile. */
bool stages_reader_left(struct call *call, struct api_error *error);

#endif
