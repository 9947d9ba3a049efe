/* process.h - child processes that are this program again, each at the other end of a socket.
 *
 * A child lives as long as its parent wants it to: it ends when its socket does, at the parent's death, or by
 * process_kill. Signals that stop a whole group or unit (SIGTERM, SIGINT, SIGHUP) are blocked in it from its
 * first instruction on, so that a parent which is told to stop can finish with its children's help.
 */
#ifndef LIMOE_BASE_PROCESS_H
#define LIMOE_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"

enum { PROCESS_FD = 3 /* the child's end of its socket */, PROCESS_WHY_SIZE = 128 };

/* A child that was started and not yet killed. Owned by whoever started it. */
struct process {
    pid_t pid;
    int pidfd; /* readable once the child has ended */
    int fd;    /* the parent's end of the socket: a blocking Unix stream; -1: it was taken over */
};

/* ---- the parent's side */

/* For process_spawn's `keep`: what an engine is told by its environment. The devices' and MPI's libraries,
 * the loader, the allocator and sanitizers have their settings there; keys and passwords stay out. */
extern const char *const process_engine_variables[];

/* Starts `limoe argv[0] argv[1] … NULL`; argv[0] is the subcommand. The child has standard input from
 * /dev/null, both outputs on standard error, PROCESS_FD, and no other descriptor. Of the environment it gets
 * the variables that `keep` names, up to NULL; a name that ends with "*" stands for all that begin so; NULL
 * in its place: all there are. Any thread may call it, but the child dies with the thread that did: call it
 * from one that outlives the child. */
enum limoe_status process_spawn(const char *const argv[], const char *const *keep, struct process *out,
                                struct limoe_error *err);

/* Kills the child if it is still alive, waits for its end, closes what *process holds. why (may be NULL) is
 * how it ended: "killed by SIGKILL", "exited with status 1". A pid that is not above 0 stands for no child,
 * and nothing is done. Returns the signal that ended it, or 0. */
int process_kill(struct process *process, char why[PROCESS_WHY_SIZE]);

/* Stops the child (SIGSTOP), or lets it go on. It can be killed while it is stopped, and dies with the parent as always, once it has
 * done process_child_setup: stop none before it has said something. */
void process_pause(const struct process *process, bool stop);

/* True if the child has ended; does not wait for it. One that is stopped has not. */
bool process_ended(const struct process *process);

/* ---- the child's side */

/* The first thing that a child does: from then on it dies with the parent, and before it when the system
 * runs out of memory. False, with a message in *err, if PROCESS_FD is no socket, as when it was started by
 * hand, or if the parent is gone already. */
bool process_child_setup(struct limoe_error *err);

#endif
