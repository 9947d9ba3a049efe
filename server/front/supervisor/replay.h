/* replay.h - the steps that an engine has not answered yet, and what becomes of them when it is lost.
 *
 * They are kept in the order in which they were taken; the first `sent` of them are with the engine, which
 * answers in that order. When the engine is lost, all are to be sent again, and the first, which it was
 * computing, is suspected. A step suspected twice is halved, and so are its halves from then on each time
 * they are suspected, until the poison item stands alone. An item that is no more than a neighbour of a
 * poison one is computed again with its half, and answered.
 *
 * It knows no process and no socket. One thread.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_REPLAY_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/front/schedule/step.h"

/* One step on its way. */
struct flight {
    struct queue_step step;
    uint64_t id;
    unsigned suspicions; /* a part of a divided step comes with one */
    uint32_t *rank;      /* [rank_room]: who was last sent each item; NULL: rank 0 all of them */
    size_t rank_room;
    struct flight *next;
};

struct replay {
    struct flight *first, **last;
    struct flight *spare; /* without a step; full capacity */
    size_t capacity;      /* of a new flight's step, in slices */
    size_t sent;          /* of the flights, from the first on */
    uint64_t ids;         /* given so far */
};

void replay_init(struct replay *replay, size_t capacity);
void replay_free(struct replay *replay); /* the steps have been given back */

/* A flight with an empty step, which the caller fills and adds, or recycles. NULL: no memory. */
struct flight *replay_new(struct replay *replay);
void replay_recycle(struct replay *replay, struct flight *flight);
/* Adds it behind all others. */
void replay_add(struct replay *replay, struct flight *flight);

/* The first that is not with the engine, or NULL; replay_sent notes that it is there now. */
struct flight *replay_next(const struct replay *replay);
void replay_sent(struct replay *replay);

/* The one that the engine must answer next, or NULL. */
struct flight *replay_oldest(const struct replay *replay);
/* Takes the first out; the caller gives its step back and recycles it. NULL if there is none. */
struct flight *replay_remove(struct replay *replay);

/* Notes that the engine is lost, so that none is with it any more. Returns how many were. */
size_t replay_lost(struct replay *replay);

enum replay_verdict {
    REPLAY_AGAIN,     /* it is to be sent again, whole or in halves */
    REPLAY_POISON,    /* it has one item, which was suspected before: the caller removes it */
    REPLAY_NO_MEMORY, /* it cannot be halved: likewise */
};
/* Puts the second before the first, for it was the second that the engine was computing when it was lost.
 * There are two. */
void replay_defer(struct replay *replay);
/* Suspects the first, and says what is to be done with it. None is with an engine. */
enum replay_verdict replay_suspect(struct replay *replay);

/* Divides the oldest, which the engine refused, into a flight for each of its slices. They come next, after
 * those that are with the engine. False: it has only one, or there is no memory; it stays as it is. */
bool replay_divide(struct replay *replay);

#endif
