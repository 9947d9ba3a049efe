/* launcher.h - how an engine's ranks come to be, and to an end.
 *
 * There are three kinds, behind one table:
 *   one        one rank, a child of the front's (launch_one.c);
 *   mpi job    ranks that mpirun starts, on this host or on others, and that come to the front (mpi_job.c);
 *   gpu group  a process for each GPU, on this host a child of the front's, which brings them together
 *              (gpu_group.c).
 * Whoever watches over an engine knows of none of them but through this. Only the engine's thread uses it.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_LAUNCHER_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_LAUNCHER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/process.h"
#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/supervisor/launch.h"
#include "server/front/supervisor/membership.h"
#include "server/front/supervisor/rendezvous.h"

enum { LAUNCHER_EVENTS = RENDEZVOUS_EVENTS };

struct launcher;

/* A function that a kind has no need of is NULL. */
struct launcher_ops {
    /* A rank can be lost alone, and the others stay. Where it is false, the loss of one is the loss of
     * all. */
    bool separable;
    /* The ranks were started by another process than the front. A socket that ends then does not show which
     * process has ended, and why is told by the process that started them. */
    bool remote;
    /* What a connected rank may send until all have said HELLO: FRAME_IN. */
    unsigned opening;

    /* The ranks' `--device`. NULL if they get none, or each one of its own. */
    const char *(*device)(const struct limoe_options *compute);
    /* Starts the ranks that are not there; those that have a socket from the start are members at once.
     * `engine` holds the arguments of `limoe engine`, with NULL behind the last. */
    enum limoe_status (*start)(struct launcher *launcher, const char *const engine[],
                               struct limoe_error *err);
    /* Kills and reaps the processes and closes their sockets: all, or `alone` if the kind is separable.
     * How the last one ended goes to `ended`, which may be NULL. */
    void (*end)(struct launcher *launcher, const struct member *alone, char ended[PROCESS_WHY_SIZE]);
    void (*free)(struct launcher *launcher); /* once all has been ended */
    /* The process that stands for the engine; 0 or below if there is none. */
    pid_t (*pid)(const struct launcher *launcher);
    /* A descriptor that is readable once that process has ended, or the one behind `rank` if that is not
     * NULL; -1 if none is watched, as on another host. */
    int (*pidfd)(const struct launcher *launcher, const struct member *rank);

    /* Told when nobody wants the ranks any more, whatever they have to say. */
    void (*let_go)(struct launcher *launcher);
    /* Whether all processes are there, as they may be when ranks have only lost each other. NULL: never. */
    bool (*whole)(const struct launcher *launcher);
    /* Drops what was begun with the ranks, which are to be brought together anew. */
    void (*detach)(struct launcher *launcher);
    /* While ranks open the model: gives what they are to be told to those links that have nothing to send. */
    void (*stage)(struct launcher *launcher);
    /* Takes the UNIQUE_ID that rank 0's link has received. LIMOE_CORRUPT if it is none. */
    enum limoe_status (*unique_id)(struct launcher *launcher, struct limoe_error *err);

    /* Of a kind whose ranks come to a rendezvous. `events` sets what to poll for and returns how many
     * there are, at most LAUNCHER_EVENTS and one for each rank. `accept` takes in those who have come; it is true
     * once, when all have. `absent` names one that has failed to come, and why; the cause NULL: its process has
     * ended. */
    size_t (*events)(const struct launcher *launcher, struct pollfd *polled);
    bool (*accept)(struct launcher *launcher, int64_t now);
    struct member *(*absent)(const struct launcher *launcher, const char **cause);
};

struct launcher {
    const struct launcher_ops *ops;
    struct membership *membership; /* the engine's */
    const struct launch_options *options;
    struct log *log;
    uint64_t generation; /* the latest that ranks are brought together in; 0: it does not matter */
};

/* Chooses the kind by the device and the number of ranks. Options, membership and log outlive it. NULL: no
 * memory. */
struct launcher *launcher_new(const struct launch_options *options, const char *device,
                              struct membership *membership, struct log *log);
void launcher_free(struct launcher *launcher); /* NULL is fine */

/* For kinds whose ranks come to a rendezvous: a warning, if any peer was turned away there since the last warning. */
void launcher_log_refused(const struct launcher *launcher, struct rendezvous *rendezvous);

/* The kinds. NULL: no memory. */
struct launcher *launch_one_new(void);
struct launcher *mpi_job_new(void);
struct launcher *gpu_group_new(uint32_t ranks);

#endif
