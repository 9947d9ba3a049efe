/* pool.h - what decoders.c and supervise.c share. Internal to this folder.
 *
 * A slot belongs to the supervisor's thread while it is empty or starting, to whoever holds the lock while it
 * is idle, and to the thread that decodes while it is busy. Its state changes under the lock, and so does its
 * process, so that the supervisor can look at those that are busy.
 */
#ifndef LIMOE_SERVER_FRONT_DECODERS_POOL_H
#define LIMOE_SERVER_FRONT_DECODERS_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/process.h"
#include "server/front/decoders/decoders.h"

enum slot_state {
    SLOT_EMPTY,
    SLOT_STARTING, /* has its settings; has not said hello */
    SLOT_IDLE,
    SLOT_BUSY,
};

struct slot {
    enum slot_state state;
    struct process process;   /* unless empty */
    int64_t deadline;         /* starting: for its hello */
    uint64_t pictures, bytes; /* that it was given */
    struct slot *next;        /* idle: under it on the stack */
};

struct decoders {
    struct limoe_image_settings settings;
    int64_t spend;           /* the most processor time of one picture, ns */
    int64_t limit;           /* the most time of one picture by the clock, ns */
    int64_t absence_timeout; /* without any decoder, ns */
    uint64_t pictures;       /* after which a decoder is replaced; 0: never */
    int nice;                /* of the processes */
    bool unconfined;         /* one without a sandbox is taken */
    const char **keep;       /* of the environment, for process_spawn */
    struct metrics *metrics;
    struct log *log;
    int wake; /* eventfd: a slot is empty, or the supervisor shall stop */
    pthread_t supervisor;

    pthread_mutex_t lock;
    pthread_cond_t change; /* of what follows */
    struct slot *idle;     /* the last one used on top: its memory is in the caches */
    unsigned alive;        /* idle or busy */
    int64_t none_since;    /* alive is 0 since then */
    bool stopping;
    struct limoe_error failure; /* why the last start failed; status LIMOE_OK: none did since one succeeded */

    /* For the supervisor alone. */
    unsigned failures;  /* starts that failed in a row */
    int64_t next_start; /* not before */
    bool warned;        /* that there is no sandbox */

    struct pollfd *polled; /* [n + 1] */
    unsigned n;
    struct slot slots[]; /* [n] */
};

/* The supervisor's thread: starts what is missing, until `stopping`; then ends them all. Children die with
 * the thread that started them, so all are started there. */
void *decoders_supervise(void *decoders);

/* decoders_put puts a slot on the stack of idle ones. decoders_lose empties a slot, taking it off the
 * stack if it is there, and returns its process, which the caller kills. With the lock held. */
void decoders_put(struct decoders *decoders, struct slot *slot);
struct process decoders_lose(struct decoders *decoders, struct slot *slot);

/* Whether a decoder has had its share of pictures and can go. Not while another is missing: they are
 * replaced one at a time, so that none is waited for. With the lock held. */
bool decoders_is_spent(const struct decoders *decoders, const struct slot *slot);

/* Ends a decoder that has done nothing wrong, and has another started. Without the lock. */
void decoders_dismiss(struct decoders *decoders, struct process *process);

/* Kills what is left of a lost decoder, logs and counts it. `fault`: what it did wrong, or NULL when that is
 * how it ended. `when`: "idle", "over a picture of 5 bytes". why: for messages. Returns as process_kill. */
int decoders_reap(struct decoders *decoders, struct process *lost, const char *fault, const char *when,
                  char why[PROCESS_WHY_SIZE]);

#endif
