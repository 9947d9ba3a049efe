/* step.h - items of several jobs, taken together to be computed together. */
#ifndef LIMOE_SERVER_FRONT_SCHEDULE_STEP_H
#define LIMOE_SERVER_FRONT_SCHEDULE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/front/schedule/job.h"

/* queue_take fills it, and queue_give_back takes it back whole. The arrays belong to the taker. */
struct queue_step {
    struct queue_slice {
        struct job *job;
        size_t first, count;          /* items of the job */
        uint64_t first_row, rows;     /* their tokens, counted within the job */
        bool failed;                  /* set by the taker, which has then filled job->error */
    } * slices;                       /* [n_slices]; those of one job need not be adjacent */
    size_t n_slices, capacity, items; /* capacity, in slices */
    uint64_t rows;                    /* tokens of all items */
};

bool queue_step_init(struct queue_step *step, size_t capacity); /* False: no memory */
void queue_step_free(struct queue_step *step);

/* Leaves the first `items` items (at least 1, and fewer than all) in the step and moves the others to *rest,
 * which is initialised here. False: no memory, and the step is as it was. */
bool queue_step_split(struct queue_step *step, size_t items, struct queue_step *rest);

#endif
