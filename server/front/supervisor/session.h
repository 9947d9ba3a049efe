/* session.h - a rank on another host, started there through an agent, which is ssh or what is called as it is: AGENT HOST
 * COMMAND.
 *
 * The front starts `limoe launch` as its child, which asks to die with the front and becomes the agent. Its standard input
 * is the front's socket: the token goes that way, so that no command line shows it. The rank comes to the front by itself
 * (rendezvous.h) and ends when the front lets go of that connection; the session is not needed any more once it has come.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_SESSION_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_SESSION_H

#include <stdint.h>

#include "base/process.h"
#include "limoe.h"
#include "server/front/supervisor/hosts.h"
#include "server/front/supervisor/launch.h"
#include "server/front/supervisor/rendezvous.h"

#define SESSION_FLAG "--session" /* of `limoe launch` */

/* Starts a session in which rank `rank` of `ranks` runs `limoe engine engine[0] engine[1] … NULL`, and comes to the
 * rendezvous, which is open. */
enum limoe_status session_start(const struct launch_options *options, const struct rendezvous *rendezvous,
                                const struct place *place, uint32_t rank, const char *const engine[],
                                struct process *out, struct limoe_error *err);

/* `limoe launch --session argv[0] …`: becomes the agent. It returns, with the exit status, only if it cannot. */
int session_become(char **argv);

#endif
