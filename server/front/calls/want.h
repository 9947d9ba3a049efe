/* want.h - whether a call is worth going on with: its client is there, its deadline has not passed, the server has
 * not given up what it has. A call that is not is never wanted again.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_WANT_H
#define LIMOE_SERVER_FRONT_CALLS_WANT_H

#include "server/front/calls/call.h"

enum want {
    WANTED,
    WANT_GONE,    /* nobody is there to read the answer */
    WANT_LATE,    /* it would come after its deadline */
    WANT_STOPPED, /* the server has given up what it did not finish */
};

/* Any thread that knows that the call is there. */
enum want want_of(const struct call *call, int64_t now);
/* The same as a question with yes or no, of a `struct call *`. */
bool want_ask(void *call);

/* ---- whoever has the call */

/* False, with *error, if the call is not wanted now. */
bool want_check(struct call *call, struct api_error *error);
/* Says why it is not, and counts a client that has gone. Always false. */
bool want_fail(struct call *call, enum want why, struct api_error *error);

#endif
