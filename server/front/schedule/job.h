/* job.h - what the front asks of an engine: "embed these items", or "a token more of these captions". It knows nothing of
 * HTTP.
 *
 * A job has one owner at a time, and who has it may touch it without a lock:
 *     its maker → the queue (queue_push) → the engine's thread (queue_take) → done() → its maker again.
 * The engine may take a job's items over several steps, beside other jobs' items; it stays the queue's until
 * the last of them is computed or the job is given up.
 */
#ifndef LIMOE_SERVER_FRONT_SCHEDULE_JOB_H
#define LIMOE_SERVER_FRONT_SCHEDULE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe_caption.h"
#include "server/protocol/tail_key.h"

enum job_outcome {
    JOB_PENDING = 0,
    JOB_DONE,      /* embeddings (and routing) are filled */
    JOB_FAILED,    /* the engine could not compute it: see error */
    JOB_EXPIRED,   /* its deadline passed first */
    JOB_ABANDONED, /* the queue closed before it was computed */
    JOB_CANCELLED, /* its maker wanted it no longer: see queue_cancel */
};

/* What a job wants of a picture in place of its embedding. One job is one token of all its captions' texts: it is pushed again
 * for the next (queue_push_more). What comes of a caption depends on picture, options and step alone. */
struct job_caption {
    uint64_t id;                          /* over_begin's */
    uint32_t step;                        /* from 1 on: tokens that its texts have read after this */
    struct limoe_caption_options options; /* checked, defaults filled in */
    struct limoe_caption *texts;          /* out [options.n], once done */
    bool done;                            /* out */
    /* The engine's thread's, until done() is called. begun: an engine has it as far as this step, so that the picture need not be
     * sent again. Neither begun nor done: it had been, and the engine has it no longer: the same step is to be asked for again.
     * sent: an engine may keep something of it. */
    bool begun, sent;
};

struct job {
    /* Set by the maker, who keeps what the pointers name alive until done(). */
    const struct limoe_item *items;      /* [n] */
    size_t n;                            /* at least 1 */
    const struct tail_key *const *tails; /* [n]: NULL: by the model as it is; tails NULL: so are all */
    struct job_caption *captions;        /* [n]: of pictures, which are not embedded then; else NULL */
    int64_t deadline;                    /* clock_now() past which it is not to be computed; 0: none */
    float *embeddings;                   /* out [n, embed] */
    int32_t *expert;                     /* out [moe_layers, rows, top_k] as struct limoe_routing, or NULL */
    float *gate;                         /* out, as expert, or NULL */
    void (*done)(struct job *job);       /* called once, on whichever thread finished it; must not block */

    /* Filled by the time done() is called. */
    enum job_outcome outcome;
    struct limoe_error error; /* JOB_FAILED only */
    int64_t pushed;           /* clock_now() of queue_push */
    int64_t started;          /* of the first step that took one of its items; 0 */
    int64_t ended;            /* of the last step's end */

    /* For the queue alone. */
    struct job *next, *previous;
    size_t taken, finished;    /* items handed to the engine; items it has given back */
    uint64_t rows, taken_rows; /* tokens of all items; of those taken */
    bool queued;               /* pushed, and not ended yet */
    bool waiting;              /* linked in the list of jobs with items to take */
    bool probe;                /* of the engine's health: in no count, and alone in its step */
    bool unwanted;             /* cancelled, perhaps while it was its maker's: it is not to be pushed again */
};

#endif
