/* upstream_parts.h - what a call asks the language model's server, for the files that work on it: upstream.c (asked, answered) and
 * upstream_stream.c (answered piece by piece).
 *
 * It belongs to the call and to the relaying, which may end in either order once an answer is streamed: a client leaves, or has not
 * read yet what has come. */
#ifndef LIMOE_SERVER_FRONT_CALLS_UPSTREAM_PARTS_H
#define LIMOE_SERVER_FRONT_CALLS_UPSTREAM_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "server/api/ask_stream.h"
#include "server/front/calls/upstream.h"
#include "server/front/relaying/relaying.h"

struct upstream {
    struct inquiry inquiry; /* its bytes are this one's to free */
    struct buffer body;     /* of the request */
    struct server *server;
    int64_t deadline;                     /* 0: none */
    bool full;                            /* there was no room for the answer */
    void (*relayed)(struct task *task);   /* with the call's task, once it is answered, or is not */
    void (*streaming)(struct task *task); /* … once a first piece has come */
    bool (*wanted)(void *call);
    atomic_bool gone;          /* the call has ended, or its client has left */
    struct ask_stream *stream; /* what makes our events of those that come; NULL: they pass as they are */
    size_t size;               /* about the bytes of what is streamed; 0: it is not */

    /* The relaying's. */
    struct call *call;      /* until a piece has come, or it is answered */
    bool begun;             /* a piece has come */
    bool broken;            /* one came that is no part of an answer: */
    struct api_error fault; /* … why; nothing more is taken in then */

    /* The HTTP thread's. */
    struct loop *loop;
    struct timed *timed;
    struct MHD_Connection *connection;
    bool resumed; /* the connection was suspended, or was to be: its timeouts are to be told what it does */

    pthread_mutex_t lock; /* guards what follows */
    unsigned references;  /* the call's, the relaying's */
    bool ended;           /* no more comes */
    bool paused;          /* the connection is suspended until more comes */
    struct buffer pending;
    size_t at; /* of pending: what is before it was passed on */
    size_t
        untold; /* bytes of pieces that came, and that the relaying has not been told to have been passed on */
};

void upstream_release(struct upstream *upstream);
/* What the outcome means for a client; it is not RELAY_DONE, nor that nobody has waited. Always false. */
bool upstream_fail(const struct inquiry *inquiry, struct api_error *error);

/* ---- the relaying's thread */

/* Takes in a piece. */
void upstream_more(struct inquiry *inquiry, char *bytes, size_t size);
/* What was streamed has ended, as the inquiry's outcome says. */
void upstream_end(struct upstream *upstream);

#endif
