/* test_replay.c - protects who is suspected when an engine is lost: the item that breaks it,
 * and no neighbour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "server/front/schedule/queue.h"
#include "server/front/supervisor/replay.h"

#define MOST   64
#define LENGTH 3

struct counted_job {
    struct job job;
    struct limoe_item items[MOST];
    int ended;
};

static void done(struct job *job) {
    ((struct counted_job *)job)->ended++;
}

static struct counted_job *push(struct queue *queue, size_t n) {
    struct counted_job *job = calloc(1, sizeof *job);
    assert_non_null(job);
    for (size_t i = 0; i < n; i++)
        job->items[i].length = LENGTH;
    job->job = (struct job){.items = job->items, .n = n, .done = done};
    queue_charge(queue, &(struct queue_load){.items = n, .tokens = n * LENGTH});
    assert_true(queue_push(queue, &job->job));
    return job;
}

static struct queue *new_queue(void) {
    struct queue *queue = queue_new(&(struct queue_load){100000, 100000, 100000, 100000, 100000});
    assert_non_null(queue);
    return queue;
}

/* Takes a step of `items` items from the queue. */
static struct flight *take(struct queue *queue, struct replay *replay, size_t items) {
    struct flight *flight = replay_new(replay);
    int64_t wake_at;
    assert_non_null(flight);
    assert_true(queue_take(queue, &(struct queue_demand){.budget = items * LENGTH}, &flight->step, &wake_at));
    replay_add(replay, flight);
    return flight;
}

static void give_back(struct queue *queue, struct replay *replay) {
    struct flight *flight = replay_remove(replay);
    queue_give_back(queue, &flight->step);
    replay_recycle(replay, flight);
}

static void test_steps_are_answered_in_the_order_they_were_taken(void **state) {
    (void)state;
    struct queue *queue = new_queue();
    struct replay replay;
    replay_init(&replay, MOST);
    struct counted_job *job = push(queue, 30);
    struct flight *flights[3];
    assert_null(replay_next(&replay));
    assert_null(replay_oldest(&replay));
    for (int i = 0; i < 3; i++)
        flights[i] = take(queue, &replay, 10);
    assert_true(flights[0]->id != flights[1]->id && flights[1]->id != flights[2]->id);
    assert_null(replay_oldest(&replay));
    assert_ptr_equal(replay_next(&replay), flights[0]);
    replay_sent(&replay);
    assert_ptr_equal(replay_oldest(&replay), flights[0]);
    assert_ptr_equal(replay_next(&replay), flights[1]);
    replay_sent(&replay);
    give_back(queue, &replay);
    assert_ptr_equal(replay_oldest(&replay), flights[1]);
    assert_ptr_equal(replay_next(&replay), flights[2]);
    assert_int_equal(replay_lost(&replay), 1);
    assert_null(replay_oldest(&replay));
    assert_ptr_equal(replay_next(&replay), flights[1]);
    give_back(queue, &replay);
    give_back(queue, &replay);
    assert_null(replay_next(&replay));
    assert_int_equal(job->ended, 1);
    replay_free(&replay);
    queue_free(queue);
    free(job);
}

/* Does the flight hold item `index` of the job? */
static bool holds(const struct flight *flight, const struct job *job, size_t index) {
    for (size_t i = 0; i < flight->step.n_slices; i++) {
        const struct queue_slice *slice = &flight->step.slices[i];
        if (slice->job == job && slice->first <= index && index < slice->first + slice->count)
            return true;
    }
    return false;
}

/* An engine that dies of item `poison` of the job: sends two steps ahead of each other and answers those
 * without it. Returns how often it was lost. */
static unsigned run(struct queue *queue, struct replay *replay, const struct job *job, size_t poison) {
    for (unsigned losses = 0;;) {
        for (int ahead = 0; ahead < 2 && replay_next(replay); ahead++)
            replay_sent(replay);
        const struct flight *oldest = replay_oldest(replay);
        if (!oldest)
            return losses;
        if (!holds(oldest, job, poison)) {
            give_back(queue, replay);
            replay_lost(replay); /* as if they were to be sent again: changes nothing */
            continue;
        }
        losses++;
        assert_true(losses < 20);
        replay_lost(replay);
        if (replay_suspect(replay) == REPLAY_AGAIN)
            continue;
        struct flight *alone = replay_remove(replay);
        assert_int_equal(alone->step.items, 1);
        assert_true(holds(alone, job, poison));
        alone->step.slices[0].failed = true;
        queue_give_back(queue, &alone->step);
        replay_recycle(replay, alone);
    }
}

static void test_each_item_can_be_found_to_be_poison(void **state) {
    (void)state;
    for (size_t poison = 0; poison < 21; poison++) {
        struct queue *queue = new_queue();
        struct replay replay;
        replay_init(&replay, MOST);
        struct counted_job *jobs[] = {push(queue, 5), push(queue, 21), push(queue, 11)};
        take(queue, &replay, 37);
        assert_int_equal(replay.first->step.items, 37);
        struct counted_job *later = push(queue, 4);
        take(queue, &replay, 4);
        unsigned losses = run(queue, &replay, &jobs[1]->job, poison);
        assert_in_range(losses, 2 + 4, 2 + 6); /* twice as a whole, then once a halving of 37 */
        assert_int_equal(jobs[1]->job.outcome, JOB_FAILED);
        assert_int_equal(jobs[0]->job.outcome, JOB_DONE);
        assert_int_equal(jobs[2]->job.outcome, JOB_DONE);
        assert_int_equal(later->job.outcome, JOB_DONE);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(jobs[i]->ended, 1);
            free(jobs[i]);
        }
        assert_int_equal(later->ended, 1);
        assert_int_equal(queue_depth(queue).items, 0);
        free(later);
        replay_free(&replay);
        queue_free(queue);
    }
}

static void test_one_loss_divides_nothing(void **state) {
    (void)state;
    struct queue *queue = new_queue();
    struct replay replay;
    replay_init(&replay, MOST);
    struct counted_job *job = push(queue, 20);
    struct flight *first = take(queue, &replay, 10), *second = take(queue, &replay, 10);
    replay_sent(&replay);
    replay_sent(&replay);
    assert_int_equal(replay_lost(&replay), 2);
    assert_int_equal(replay_suspect(&replay), REPLAY_AGAIN);
    assert_int_equal(first->suspicions, 1);
    assert_int_equal(second->suspicions, 0); /* only the one that was being computed */
    assert_int_equal(first->step.items, 10);
    assert_ptr_equal(replay_next(&replay), first);
    give_back(queue, &replay);
    give_back(queue, &replay);
    assert_int_equal(job->job.outcome, JOB_DONE);
    replay_free(&replay);
    queue_free(queue);
    free(job);
}

/* Who was lost had answered the first of two, so it is the second's doing. */
static void test_a_step_that_was_answered_is_not_suspected(void **state) {
    (void)state;
    struct queue *queue = new_queue();
    struct replay replay;
    replay_init(&replay, MOST);
    struct counted_job *job = push(queue, 30);
    struct flight *first = take(queue, &replay, 10), *second = take(queue, &replay, 10),
                  *third = take(queue, &replay, 10);
    replay_sent(&replay);
    replay_sent(&replay);
    assert_int_equal(replay_lost(&replay), 2);
    replay_defer(&replay);
    assert_int_equal(replay_suspect(&replay), REPLAY_AGAIN);
    assert_int_equal(first->suspicions, 0);
    assert_int_equal(second->suspicions, 1);
    struct flight *const order[] = {second, first, third};
    for (int i = 0; i < 3; i++) {
        assert_ptr_equal(replay_next(&replay), order[i]);
        give_back(queue, &replay);
    }
    assert_int_equal(job->job.outcome, JOB_DONE);
    struct counted_job *later = push(queue, 2); /* the list's end is where it is thought to be */
    first = take(queue, &replay, 1);
    second = take(queue, &replay, 1);
    replay_defer(&replay);
    replay_add(&replay, replay_new(&replay));
    assert_ptr_equal(replay.first, second);
    assert_ptr_equal(replay.first->next, first);
    assert_non_null(first->next);
    for (int i = 0; i < 3; i++)
        give_back(queue, &replay);
    assert_int_equal(later->job.outcome, JOB_DONE);
    replay_free(&replay);
    queue_free(queue);
    free(later);
    free(job);
}

static void test_a_refused_step_is_computed_slice_by_slice(void **state) {
    (void)state;
    struct queue *queue = new_queue();
    struct replay replay;
    replay_init(&replay, MOST);
    struct counted_job *jobs[3], *later;
    for (size_t i = 0; i < 3; i++)
        jobs[i] = push(queue, i + 1);
    take(queue, &replay, 24);
    later = push(queue, 4);
    struct flight *second = take(queue, &replay, 4);
    replay_sent(&replay);
    replay_sent(&replay);
    assert_true(replay_divide(&replay));
    assert_ptr_equal(replay_oldest(&replay), second); /* the engine has it already */
    for (size_t i = 0; i < 3; i++) {
        give_back(queue, &replay); /* the second, then the parts in their order */
        const struct flight *part = replay_next(&replay);
        assert_int_equal(part->step.n_slices, 1);
        assert_ptr_equal(part->step.slices[0].job, &jobs[i]->job);
        assert_int_equal(part->step.items, i + 1);
        assert_int_equal(part->step.rows, (i + 1) * LENGTH);
        replay_sent(&replay);
    }
    assert_false(replay_divide(&replay)); /* it is one slice */
    give_back(queue, &replay);
    assert_null(replay_next(&replay));
    assert_int_equal(later->ended, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jobs[i]->ended, 1);
        free(jobs[i]);
    }
    free(later);
    replay_free(&replay);
    queue_free(queue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_are_answered_in_the_order_they_were_taken),
        cmocka_unit_test(test_each_item_can_be_found_to_be_poison),
        cmocka_unit_test(test_one_loss_divides_nothing),
        cmocka_unit_test(test_a_step_that_was_answered_is_not_suspected),
        cmocka_unit_test(test_a_refused_step_is_computed_slice_by_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
