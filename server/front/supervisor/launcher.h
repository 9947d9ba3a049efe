/* launcher.h - how an engine's ranks come to be, and to an end.
 *
 * There are three kinds, behind one table:
 *   one        one rank, a child of the front's (launch_one.c);
 *   mpi job    ranks that mpirun starts, on this host or on others, and that come to the front (mpi_job.c);
 *   gpu group  a child of the front's for each GPU, which the front brings together (gpu_group.c).
 * Whoever watches over an engine knows of none of them but through this. The engine's thread alone.
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

/* What is NULL a kind has no need of. */
struct launcher_ops {
    /* Ranks are lost one by one, and the others stay; else what is lost is all of it. */
    bool separable;
    /* The front has not started the ranks: a socket that ends does not show which process did, and what ended
     * them is told by the process that has. */
    bool remote;
    /* What a connected rank may send until all have said HELLO: FRAME_IN. */
    unsigned opening;

    /* What `--device` of the ranks is to be. NULL: not given, or each rank's own to be given. */
    const char *(*device)(const struct limoe_options *compute);
    /* Starts what is not there; those that have a socket from the start are members at once. `engine`: the
     * arguments of `limoe engine`, NULL behind the last. */
    enum limoe_status (*start)(struct launcher *launcher, const char *const engine[],
                               struct limoe_error *err);
    /* Kills and reaps, closes sockets: all, or of a separable kind `alone`. How the last one ended goes to
     * ended, which may be NULL. */
    void (*end)(struct launcher *launcher, const struct member *alone, char ended[PROCESS_WHY_SIZE]);
    void (*free)(struct launcher *launcher); /* all has been ended */
    /* The process that stands for the engine, 0 or below: there is none. */
    pid_t (*pid)(const struct launcher *launcher);
    /* Readable once that process has ended, or the one behind `rank`, if it is not NULL; -1: none is watched. */
    int (*pidfd)(const struct launcher *launcher, const struct member *rank);

    /* Nobody wants the ranks any more, whatever they have to say. */
    void (*let_go)(struct launcher *launcher);
    /* Are all processes there, as may be where ranks have only lost each other? NULL: no. */
    bool (*whole)(const struct launcher *launcher);
    /* What was begun with the ranks is over: they are to be brought together anew. */
    void (*detach)(struct launcher *launcher);
    /* While ranks open: what is to be told them goes to links that have nothing to send. */
    void (*stage)(struct launcher *launcher);
    /* Rank 0's link has received a UNIQUE_ID. LIMOE_CORRUPT: it is none. */
    enum limoe_status (*unique_id)(struct launcher *launcher, struct limoe_error *err);

    /* Ranks come to a rendezvous: what to poll for (at most LAUNCHER_EVENTS; returns how many), and who has
     * come. `accept` is true once, when all have. */
    size_t (*events)(const struct launcher *launcher, struct pollfd *polled);
    bool (*accept)(struct launcher *launcher, int64_t now);
};

struct launcher {
    const struct launcher_ops *ops;
    struct membership *membership; /* the engine's */
    const struct launch_options *options;
    struct log *log;
    uint64_t generation; /* the latest that ranks are brought together in; 0: it does not matter */
};

/* By the device and the number of ranks. Options, membership and log outlive it. NULL: no memory. */
struct launcher *launcher_new(const struct launch_options *options, const char *device,
                              struct membership *membership, struct log *log);
void launcher_free(struct launcher *launcher); /* NULL is fine */

/* The kinds. NULL: no memory. */
struct launcher *launch_one_new(void);
struct launcher *mpi_job_new(void);
struct launcher *gpu_group_new(uint32_t ranks);

#endif
