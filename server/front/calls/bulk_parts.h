/* bulk_parts.h - what a bulk is made of, for the files that work on it: bulk.c (lines in), bulk_calls.c (their
 * calls), bulk_answers.c (answers out). */
#ifndef LIMOE_SERVER_FRONT_CALLS_BULK_PARTS_H
#define LIMOE_SERVER_FRONT_CALLS_BULK_PARTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/front/calls/bulk.h"
#include "server/front/calls/lines.h"
#include "server/front/calls/spool.h"

#define BULK_WINDOW ((size_t)64 << 10) /* bytes of the answer that lie ready for the HTTP thread */

enum line_state {
    LINE_WORKING, /* it has a call, or is about to */
    LINE_WAITING, /* for room in the queue; `body` is it */
    LINE_DONE,    /* its answer is the call's, or `answer` where it has none */
};

struct bulk_line {
    enum line_state state;
    struct call *call;
    struct buffer body, answer;
    size_t weight; /* bytes that it counts as, of BULK_BYTES */
    bool charged;  /* to the key's quota of requests */
    uint64_t seen; /* bulk->freed when it was begun */
};

enum bulk_connection {
    CONNECTION_RUNS,
    CONNECTION_PAUSED,   /* suspended */
    CONNECTION_RESUMING, /* suspended, and the task is giving it back */
};

struct bulk {
    struct line_head head;
    struct loop *loop;
    struct timed *timed;
    struct MHD_Connection *connection;

    /* The HTTP thread's. */
    struct lines lines;
    bool resumed; /* the connection was suspended, or was to be: its timeouts are to be told what it does */

    /* The task's: whoever has set `writing`. */
    struct task task;
    struct spool spool;
    bool broken; /* an answer is missing: those behind it are dropped */

    pthread_mutex_t lock; /* guards what follows */
    size_t references;    /* the call's, one of each line's call under way, one of the task under way */
    struct bulk_line ring[BULK_LINES];
    uint64_t first, next; /* ring[first..next), modulo its size, are on their way */
    size_t working, waiting, bytes;
    uint64_t freed; /* how often a line's call has given back what it held */
    enum bulk_connection state;
    bool gone, writing;
    bool answering;    /* no line comes any more */
    bool faulty, told; /* it ends early, for `fault`; and that has been spooled */
    struct api_error fault;
    uint64_t spooled; /* bytes in the spool, which server->spooled counts, too */
    size_t at, size;  /* window[at..size) is to be sent */
    char window[BULK_WINDOW];
};

/* ---- with the lock */

static inline struct bulk_line *bulk_line_at(struct bulk *bulk, uint64_t i) {
    return &bulk->ring[i % BULK_LINES];
}
static inline bool bulk_is_empty(const struct bulk *bulk) {
    return bulk->first == bulk->next;
}
/* Whether the suspended connection has something to do: a line to take, or bytes to send. */
bool bulk_may_go_on(const struct bulk *bulk);
/* The bulk ends early: what is on its way is answered, then an error line. The first reason is told. */
void bulk_fail(struct bulk *bulk, const struct api_error *error);
/* The oldest line that waits for room, which the caller is to begin; NULL: none. */
struct bulk_line *bulk_wake(struct bulk *bulk);

/* ---- without */

/* Begins a line that is LINE_WORKING, and others that wait if it is done at once; NULL is fine. The caller counts
 * as handed over (server->handed). */
void bulk_begin_line(struct bulk *bulk, struct bulk_line *line);
/* Gives up what is being computed. */
void bulk_cancel(struct bulk *bulk);
/* Sees to it that the task looks at the bulk once more. The caller counts as handed over. */
void bulk_set_to_work(struct bulk *bulk);
void bulk_release(struct bulk *bulk);

enum bulk_pause { BULK_PAUSED, BULK_GOES_ON, BULK_SHUT };
/* Suspends the connection, unless it may go on by now, or was shut down. On the HTTP thread, which counts as
 * handed over. */
enum bulk_pause bulk_pause(struct call *call);
/* Whether the connection is suspended: the library may ask once more before it lets one rest. */
bool bulk_is_paused(struct bulk *bulk);

/* An HTTP thread counts as handed over while it is with a bulk, so that a stopping server waits for what it
 * pushes. False: that has stopped already. */
bool bulk_enter(struct call *call);
void bulk_leave(struct call *call);

#endif
