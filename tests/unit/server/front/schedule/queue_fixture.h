/* queue_fixture.h - what the tests of the queue share: jobs that count their ends, and the queue's calls
 * with what most tests leave alone. */
#ifndef LIMOE_TESTS_UNIT_SERVER_FRONT_SCHEDULE_QUEUE_FIXTURE_H
#define LIMOE_TESTS_UNIT_SERVER_FRONT_SCHEDULE_QUEUE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/front/schedule/queue.h"

#define MOST 4096 /* items of a job */

struct probe_job {
    struct job job;
    struct limoe_item items[MOST];
    int ended; /* how often done() was called */
};

/* Limits that no test reaches. */
extern const struct queue_load wide;

/* n items of `length` tokens each. The caller frees the job with free(). */
struct probe_job *make(size_t n, uint32_t length);

/* Charges the queue with the job and pushes it. */
void push(struct queue *queue, struct probe_job *job);

/* queue_take without a wait for a fuller step. */
bool take(struct queue *queue, uint64_t budget, struct queue_step *step);

/* True if a taker that sleeps on the queue's event would wake. */
bool woken(struct queue *queue);

#endif
