/* queue_fixture.c - see queue_fixture.h. */
#include "tests/unit/server/front/schedule/queue_fixture.h"

#include <poll.h>
#include <stdlib.h>

static void done(struct job *job) {
    ((struct probe_job *)job)->ended++;
}

struct probe_job *make(size_t n, uint32_t length) {
    struct probe_job *job = calloc(1, sizeof *job);
    assert_non_null(job);
    for (size_t i = 0; i < n; i++)
        job->items[i].length = length;
    job->job.items = job->items;
    job->job.n = n;
    job->job.done = done;
    return job;
}

void push(struct queue *queue, struct probe_job *job) {
    struct queue_load load = {.items = job->job.n};
    for (size_t i = 0; i < job->job.n; i++)
        load.tokens += job->items[i].length;
    queue_charge(queue, &load);
    assert_true(queue_push(queue, &job->job));
}

bool take(struct queue *queue, uint64_t budget, struct queue_step *step) {
    int64_t wake_at;
    return queue_take(queue, &(struct queue_demand){.budget = budget}, step, &wake_at);
}

bool woken(struct queue *queue) {
    struct pollfd event = {.fd = queue_event(queue), .events = POLLIN};
    return poll(&event, 1, 0) == 1;
}

const struct queue_load wide = {1000000, 1000000, 1000000, 1000000, 1000000};
