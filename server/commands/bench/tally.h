/* tally.h - what came of the requests of a run. One thread.
 *
 * Each request that was sent is exactly one of ok, refused, failed. Requests of the warm-up are counted
 * nowhere. Latencies are of whole answers, in microseconds, from the scheduled arrival on.
 */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_TALLY_H
#define LIMOE_SERVER_COMMANDS_BENCH_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/durations.h"
#include "server/commands/bench/client.h"
#include "server/commands/bench/hdr.h"
#include "server/commands/bench/plan.h"

enum { TALLY_STATUSES = 600, TALLY_SHOWN_WRONG = 3, TALLY_SHOWN_FAILED = 3, TALLY_SHOWN_BYTES = 240 };

struct tally {
    uint64_t arrived;         /* scheduled in the measured time: sent + dropped */
    uint64_t sent;            /* ok + refused + failed */
    uint64_t ok;              /* 2xx */
    uint64_t refused;         /* 429 and 503, with Retry-After */
    uint64_t failed;          /* all else */
    uint64_t dropped_full;    /* never sent: the backlog was full */
    uint64_t dropped_waiting; /* never sent: waited for a connection until the timeout, or the interrupt */
    uint64_t wrong;           /* of ok: not the answer that was given before the load */
    uint64_t kind_sent[LOAD_KINDS], kind_ok[LOAD_KINDS];
    uint64_t statuses[TALLY_STATUSES];      /* of answers that are not ok */
    uint64_t answers[TALLY_STATUSES];       /* of all answers */
    uint64_t errors[CLIENT_ERRORS];         /* of failed, without an answer */
    uint64_t latency_counts[DURATIONS + 1]; /* of ok, by durations.h; the last: above every bound */
    struct hdr latency, kinds[LOAD_KINDS];  /* of ok */
    struct hdr refusals;                    /* of refused */
    struct hdr waited; /* of sent: from the scheduled arrival to the sending, microseconds */
    struct hdr server[CLIENT_SERVER_TIMES]; /* of ok, what the server says, microseconds */
    struct hdr retry_after;                 /* of refused, milliseconds */
    int64_t start_ns, end_ns;               /* of the measured time, by the clock */
    uint64_t ok_within;                     /* ok answers that came in that time */
    int64_t last_ok_ns, longest_stall_ns;   /* between successive ok answers; the time's ends count as ones */
    char wrongs[TALLY_SHOWN_WRONG][TALLY_SHOWN_BYTES]; /* the first few, in words */
    char failures[TALLY_SHOWN_FAILED][TALLY_SHOWN_BYTES];
    /* Ok since the last progress line, and what the server says of these. */
    struct hdr second, second_server[CLIENT_SERVER_TIMES];
};

struct tally *tally_new(void); /* free() it. NULL: no memory */

void tally_start(struct tally *tally, int64_t now);
/* A progress line has been written: the next one counts from here. */
void tally_next_line(struct tally *tally);
void tally_end(struct tally *tally, int64_t now);

enum outcome { OUTCOME_OK, OUTCOME_REFUSED, OUTCOME_FAILED, OUTCOMES };

/* A request that is sent now. */
void tally_sent(struct tally *tally, const struct flight *flight, int64_t now);
/* A request that ended; one that is not counted only moves what the progress line shows. */
enum outcome tally_answer(struct tally *tally, const struct flight *flight,
                          const struct client_answer *answer);

#endif
