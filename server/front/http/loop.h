/* loop.h - a thread that runs one of libmicrohttpd's daemons.
 *
 * The library can run threads of its own, but must not here: in 0.9.75 its epoll loop collects events 128 at
 * a time and, when it has got exactly 128, waits for more as long as it would have for the first. If all
 * clients wait for their answers just then, the server stands still. A daemon that is run from outside never
 * sleeps: it is told when there is something to do.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_LOOP_H
#define LIMOE_SERVER_FRONT_HTTP_LOOP_H

#include <microhttpd.h>

#include "limoe.h"
#include "server/front/http/intake.h"

struct loop;

/* Runs the daemon, which was started without threads and with MHD_USE_EPOLL, and whose connections read
 * through `intakes`. */
enum limoe_status loop_start(struct MHD_Daemon *daemon, struct intakes *intakes, struct loop **out,
                             struct limoe_error *err);
/* Gives a suspended connection of the daemon back to it. Any thread. */
void loop_resume(struct loop *loop, struct MHD_Connection *connection);
/* Takes the listening socket out of the daemon: it accepts no more. Returns when that is done. */
void loop_quiesce(struct loop *loop);
/* Ends the thread; the daemon is the caller's to stop. NULL is fine. */
void loop_stop(struct loop *loop);

#endif
