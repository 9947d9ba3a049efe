/* bulk.h - a request whose body is lines, each of them a request (application/x-ndjson).
 *
 * Each line becomes a call of its own (call_begin_line), which goes through the stages as any other, so that lines
 * share steps. Up to BULK_LINES of them are on their way at a time, and BULK_BYTES or one line; while there are as
 * many, the connection is suspended, so that the client can send no faster than its lines are computed.
 *
 * libmicrohttpd sends nothing of an answer before it has read the whole body, and most clients read nothing before
 * they have sent it. So what has been answered meanwhile waits in a spool (spool.h), in the order of the lines; it
 * is sent when the body is complete, while the last lines are computed. All spools of a server together take no
 * more than --bulk-bytes: a request that comes to that limit ends with an error line, and the rest of its body is
 * thrown away.
 *
 * The connection's HTTP thread reads lines and the spool's window; one task at a time on the bulk workers moves
 * answers into the spool and out of it. A bulk outlives its connection until its last line is done.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_BULK_H
#define LIMOE_SERVER_FRONT_CALLS_BULK_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/front/calls/call.h"

#define BULK_LINES 64u
#define BULK_BYTES ((size_t)8 << 20) /* of lines that are on their way */

/* ---- the connection's HTTP thread */

/* Makes call->bulk, whose lines call->n counts, or answers the call with an error. */
void bulk_begin(struct call *call);
/* Takes *size bytes of the body, or as many as there is room for now: *size is what is left then, and the
 * connection is suspended. False: it is to be closed. */
bool bulk_receive(struct call *call, const char *bytes, size_t *size);

enum bulk_input {
    BULK_READ,      /* all lines are taken: the answer can be sent */
    BULK_SUSPENDED, /* the last waits for room: to be asked again once the connection is resumed */
    BULK_LOST,      /* the connection is to be closed */
};
/* Tells that the body is complete. */
enum bulk_input bulk_complete(struct call *call);
/* The answer's body, as it comes; NULL: no memory. */
struct MHD_Response *bulk_response(struct call *call);
/* The call ends: what is still being computed is given up. */
void bulk_end(struct call *call);

/* ---- any thread */

/* A line's call is answered. It is the bulk's from here on. */
void bulk_line_done(struct call *call);

#endif
