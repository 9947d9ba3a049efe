/* queue.h - the bounded queue between the front and its engine: admission, fairness, steps.
 *
 * It is bounded by what was let in and is not computed yet, in items and tokens; by the pixels of pictures
 * that are not decoded yet; by the tokens that captions in the making may come to, which the engine keeps room
 * for; and by the bytes that requests hold until they are answered. A request is refused while any of the five
 * is at its limit. The one that crosses a limit is let in whole: so any request that is itself acceptable can
 * be served, and what waits is at most the limit and one request more.
 *
 * Of the bytes, large requests may take less than small ones: eight times what a request would hold must be
 * free, or half of all. So whatever a few large requests hold, and for however long, there is room for small
 * ones; and a request of any size is let in while the others hold less than half.
 *
 * The engine takes items from the waiting jobs in turns, a quantum of tokens a turn, so a job of 2,048 items
 * delays a job of one item by a step, not by its whole length.
 *
 * Any thread may call any function; one mutex guards it all, held for no longer than it takes to link a list.
 */
#ifndef LIMOE_SERVER_FRONT_SCHEDULE_QUEUE_H
#define LIMOE_SERVER_FRONT_SCHEDULE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/front/schedule/job.h"
#include "server/front/schedule/over.h"
#include "server/front/schedule/step.h"

#define QUEUE_RESERVE 8u /* times the bytes that a request would hold must be free, or half of all */

struct queue;

/* An amount of work, or a limit on it. */
struct queue_load {
    uint64_t items, tokens;
    uint64_t bytes;    /* memory that requests hold: bodies, pixels, embeddings, answers */
    uint64_t pixels;   /* of pictures, as their headers have it, until they are decoded */
    uint64_t captions; /* tokens, as many as they may have, of all texts, until they are done */
};

struct queue *queue_new(const struct queue_load *limits); /* NULL: no memory */
void queue_free(struct queue *queue);                     /* every job has been given back; NULL is fine */

/* ---- admission */

/* Counts `more` as let in, unless others have reached a limit already, when it returns false and counts
 * nothing. `held` is what the asking request has been counted with before, so that one that grows is not
 * refused for its own sake. */
bool queue_admit(struct queue *queue, const struct queue_load *more, const struct queue_load *held);
/* Counts `more` in whatever the limits say: for what a request that is in already turns out to need. */
void queue_charge(struct queue *queue, const struct queue_load *more);
/* Takes back what was admitted or charged and will not be computed or decoded (items, tokens, pixels) or is
 * held no longer (bytes). */
void queue_release(struct queue *queue, const struct queue_load *less);
/* Takes back pixels that have been decoded, which tells how long the others will take. */
void queue_decoded(struct queue *queue, uint64_t pixels);
/* What is let in now. */
struct queue_load queue_depth(struct queue *queue);
/* True if requests hold half of the bytes or more, so that large ones are being refused. */
bool queue_pressed(struct queue *queue);
/* Seconds until what waits now is decoded and computed, each at the pace measured while there was such work,
 * whichever takes longer: 1 … 3600. */
unsigned queue_drain_seconds(struct queue *queue);

/* ---- jobs */

/* Hands over a job whose items and tokens are admitted. False if the queue is closed; the job is the
 * caller's then. */
bool queue_push(struct queue *queue, struct job *job);
/* The same of a job that comes again and again, as captions do, a token each time: its items and tokens are counted
 * as let in here, it goes behind the others, and the times of its first push and start stay. Cancelled since then,
 * it ends as JOB_CANCELLED. */
bool queue_push_more(struct queue *queue, struct job *job);
/* The same for the probe of the engine's health: it goes first, in a step of its own, whole, and counts
 * towards no limit. */
bool queue_push_first(struct queue *queue, struct job *job);

/* Takes the job back before all of it is computed: it ends as JOB_CANCELLED, and its items that nobody has
 * taken leave the queue now. Items in a step under way are computed all the same, and done() waits for them.
 * False: too late, the job has ended (done() was called or is about to be), or too early, it was not
 * pushed; of a job of queue_push_more, the next push ends it.
 *
 * The caller must know that the job is still there: that done() has not finished with it. A caller on another
 * thread holds a lock that done() takes first, or a flag that done() waits for. That is safe because done()
 * is never called from in here, but later, by whoever calls one of the next three functions. */
bool queue_cancel(struct queue *queue, struct job *job);

/* ---- the taker: one thread, which sleeps in poll until there is something to take */

/* What makes a step worth taking. */
struct queue_demand {
    uint64_t budget; /* most tokens of a step */
    uint64_t least;  /* tokens that must wait: 0 or 1, any; budget, a full step */
    int64_t delay;   /* nanoseconds that the oldest job must have waited, unless the step is full */
};

/* Fills the step, if the demand can be met: with at most `budget` tokens, or with one item if that alone
 * has more. Never blocks. False if it cannot be met yet: queue_event becomes readable when it is worth
 * asking again, and *wake_at is when to ask again in any case (0: never). A closed queue makes no one wait
 * for a fuller step. */
bool queue_take(struct queue *queue, const struct queue_demand *demand, struct queue_step *step,
                int64_t *wake_at);
/* To be polled for reading only: queue_take empties it. */
int queue_event(const struct queue *queue);
/* Empties the event for a taker that wants nothing now. Until it takes again, the event tells of nothing
 * but the queue's end. */
void queue_rest(struct queue *queue);
bool queue_closed(struct queue *queue);
/* True if the queue is closed and nothing is left to take. */
bool queue_exhausted(struct queue *queue);
/* Gives a step's items back as computed (or failed). Jobs that have ended with it are delivered: done() is
 * called, outside the lock. */
void queue_give_back(struct queue *queue, struct queue_step *step);
/* Delivers the waiting jobs whose deadline has passed and of which no item is being computed, and the
 * cancelled ones. Any thread. */
void queue_expire(struct queue *queue, int64_t now);

/* ---- the end */

/* Closes the queue: from then on queue_push fails, and what waits may still be taken. */
void queue_close(struct queue *queue);
/* Closes the queue and gives up what waits, which is delivered as JOB_ABANDONED. Jobs with items in the
 * step under way end with the step. */
void queue_abandon(struct queue *queue);
bool queue_abandoned(struct queue *queue);

/* ---- captions */

/* Which of them the engine is to forget. */
struct over *queue_over(struct queue *queue);

#endif
