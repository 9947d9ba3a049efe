/* over.h - captions in the making, by numbers: what an engine keeps of one it keeps until it is told that it is over.
 *
 * Whoever has a caption made says when it is over, and how it ended does not matter; the engine's thread passes it on with the next
 * step. There is always room to say so: it is made when the caption begins. Any thread.
 */
#ifndef LIMOE_SERVER_FRONT_SCHEDULE_OVER_H
#define LIMOE_SERVER_FRONT_SCHEDULE_OVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct over {
    pthread_mutex_t lock;
    uint64_t *ids; /* [n] of room: over, and the engine has not been told */
    size_t n, room;
    size_t live; /* begun and not over: room is at least n + live */
    uint64_t given;
};

void over_init(struct over *over);
void over_free(struct over *over);

/* A number for one more, from 1 on and never given again. 0: no memory. */
uint64_t over_begin(struct over *over);
/* `sent`: an engine may have something of it. */
void over_end(struct over *over, uint64_t id, bool sent);

/* ---- the engine's thread */

/* Up to `most` of those that the engine is to forget, to ids; their number. */
size_t over_look(struct over *over, uint64_t *ids, size_t most);
/* The first n of those are on their way to it. */
void over_told(struct over *over, size_t n);
/* The engine is lost, and what it had. */
void over_forget(struct over *over);

#endif
