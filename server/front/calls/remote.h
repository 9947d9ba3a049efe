/* remote.h - the pictures of a call that it names by URLs: fetched once the call is parsed, before it is admitted.
 *
 * The call belongs to the fetching meanwhile, and no worker waits for it. A client that leaves, a deadline, and a server that
 * gives up end the fetches within milliseconds.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_REMOTE_H
#define LIMOE_SERVER_FRONT_CALLS_REMOTE_H

#include "server/front/calls/call.h"

#define REMOTE_MOST 16 /* URLs of one request */

/* How many of the call's inputs are URLs. */
size_t remote_count(const struct call *call);

/* Has the pictures fetched; then `fetched` is run by a worker, with the call's task. What has come
 * counts as held; call->over says then that there was no room for it. `wanted` is asked meanwhile, on another thread, whether
 * to go on. True: the call is not to be touched any more. False, with *error; or with call->over: as many wait as may. */
bool remote_fetch(struct call *call, bool (*wanted)(void *call), void (*fetched)(struct task *task),
                  struct api_error *error);
/* Puts the pictures where their URLs were. False, with *error: one did not come. */
bool remote_take(struct call *call, struct api_error *error);
/* Frees the pictures; nothing is under way. */
void remote_free(struct call *call);

#endif
