/* lane.h - a thread that works at the disk, and jobs that wait for it.
 *
 * Nobody else ever waits: a job comes back when it is done, or when STORE_TIMEOUT_MS are over, whatever the
 * thread hangs in. Jobs are done in the order in which they were asked. Any thread may call any function.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_LANE_H
#define LIMOE_SERVER_FRONT_STORE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/store/job.h"

/* The time after which a job is answered STORE_BUSY. */
#define STORE_TIMEOUT_MS 1000

struct lane;

/* Does a job: fills job->outcome and what is answered. Called on the lane's thread, for one job at a time. */
typedef void (*lane_work)(void *context, struct store_job *job);

/* `name` of the thread, at most 15 bytes. */
enum limoe_status lane_start(const char *name, lane_work work, void *context, struct lane **out,
                             struct limoe_error *err);
/* Answers what waits with STORE_BUSY and ends the thread. False: the thread hangs in the disk, and keeps all
 * that its context is made of. NULL is fine. */
bool lane_stop(struct lane *lane);

/* Takes the job. waiter NULL: nobody waits, and the job is freed. */
void lane_ask(struct lane *lane, struct store_job *job, struct store_waiter *waiter);
/* Tells those whose time is over at `now`. */
void lane_expire(struct lane *lane, int64_t now);
bool lane_idle(struct lane *lane);

/* Asked by the work: until when it may wait for a lock. */
int64_t lane_deadline(struct lane *lane);

/* False if what was asked last could not be done in time. */
bool lane_good(struct lane *lane);
/* The same, and the reason, or "". */
bool lane_explain(struct lane *lane, char *why, size_t size);

#endif
