/* group.h - ranks that the front starts itself, a process each, and brings together by a unique id (frame.h).
 *
 * A rank that is lost ends a generation of the group: it alone is started again, and all are given the unique id of
 * the next one, by which they join. NCCL is the ranks' business: the front passes their unique ids on and knows no
 * more of them.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_GROUP_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/process.h"
#include "limoe.h"
#include "server/front/supervisor/membership.h"

struct group {
    uint32_t n;              /* 0: there is none */
    struct process *process; /* [n]; pid -1: lost, or not started yet */
    uint64_t generation;     /* the latest; 0: none yet */
    bool asked, identified;  /* rank 0 for its unique id; it has given it */
    bool *told;              /* [n]: the unique id */
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES];
};

bool group_init(struct group *group, uint32_t n); /* false: no memory */
void group_free(struct group *group);             /* its processes have been ended */

/* Starts those that are not there: `limoe engine engine[0] engine[1] …`, with --device, --rank and --ranks
 * behind. They join the membership, each at its place. */
enum limoe_status group_start(struct group *group, struct membership *membership, const char *const engine[],
                              struct limoe_error *err);
/* Ends one. How it ended goes to why, which may be NULL. */
void group_end(struct group *group, struct membership *membership, uint32_t rank, char why[PROCESS_WHY_SIZE]);

/* A generation is over: what is half sent to the ranks will be sent to its end, whatever becomes of the steps
 * that it is of. A rank that there is no memory to do it for is ended. */
void group_detach(struct group *group, struct membership *membership);
/* Begins the next: the ranks are to be told, and all are there. */
void group_begin(struct group *group);
/* Makes what is to be told the next that links send which have nothing to send. */
void group_stage(struct group *group, struct membership *membership);
/* Rank 0's link has received a UNIQUE_ID. LIMOE_CORRUPT: it is none. One of a generation that is over changes
 * nothing. */
enum limoe_status group_unique_id(struct group *group, const struct membership *membership,
                                  struct limoe_error *err);

#endif
