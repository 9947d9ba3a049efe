/* test_queue.c - protects what the queue promises of jobs: fairness between them, their items in order and
 * once, and that every job ends once. */
#include "tests/unit/server/front/schedule/queue_fixture.h"

#include <stdlib.h>

#include "base/clock.h"

static void test_a_long_job_does_not_starve_a_short_one(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *first = make(2048, 16), *second = make(1, 16);
    struct queue_step step;
    assert_true(queue_step_init(&step, 256));
    push(queue, first);
    push(queue, second);
    assert_true(take(queue, 256, &step));
    assert_int_equal(step.rows, 256);
    assert_int_equal(second->job.taken, 1);
    queue_give_back(queue, &step);
    assert_int_equal(second->ended, 1);
    assert_int_equal(second->job.outcome, JOB_DONE);
    assert_int_equal(first->ended, 0);
    size_t steps = 1;
    for (; !first->ended; steps++) {
        assert_true(take(queue, 256, &step));
        assert_true(step.rows <= 256);
        queue_give_back(queue, &step);
    }
    assert_int_equal(steps, 129); /* 2,049 items, 16 a step */
    struct queue_load depth = queue_depth(queue);
    assert_int_equal(depth.items + depth.tokens, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(first);
    free(second);
}

static void test_two_long_jobs_share_steps_equally(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *a = make(1000, 4), *b = make(1000, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 512));
    push(queue, a);
    push(queue, b);
    for (int i = 0; i < 5; i++) {
        assert_true(take(queue, 512, &step));
        assert_int_equal(step.items, 128);
        queue_give_back(queue, &step);
        assert_int_equal(a->job.taken, b->job.taken);
    }
    queue_abandon(queue);
    assert_int_equal(a->ended + b->ended, 2);
    assert_int_equal(a->job.outcome, JOB_ABANDONED);
    queue_step_free(&step);
    queue_free(queue);
    free(a);
    free(b);
}

static void test_items_come_in_order_and_once(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *jobs[5];
    size_t seen[5] = {0};
    for (size_t i = 0; i < 5; i++) {
        jobs[i] = make(1 + 37 * i, (uint32_t)(1 + 7 * i));
        push(queue, jobs[i]);
    }
    struct queue_step step;
    assert_true(queue_step_init(&step, 100));
    size_t ended = 0;
    while (ended < 5) {
        assert_true(take(queue, 100, &step));
        uint64_t rows = 0;
        for (size_t i = 0; i < step.n_slices; i++) {
            const struct queue_slice *slice = &step.slices[i];
            size_t which = 0;
            while (&jobs[which]->job != slice->job)
                which++;
            assert_int_equal(slice->first, seen[which]);
            assert_int_equal(slice->first_row, seen[which] * jobs[which]->items[0].length);
            assert_int_equal(slice->rows, slice->count * jobs[which]->items[0].length);
            seen[which] += slice->count;
            rows += slice->rows;
        }
        assert_int_equal(rows, step.rows);
        queue_give_back(queue, &step);
        ended = 0;
        for (size_t i = 0; i < 5; i++)
            ended += (size_t)jobs[i]->ended;
    }
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(seen[i], jobs[i]->job.n);
        assert_int_equal(jobs[i]->ended, 1);
        free(jobs[i]);
    }
    queue_step_free(&step);
    queue_free(queue);
}

static void test_an_item_longer_than_a_step_goes_alone(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *big = make(2, 100);
    struct queue_step step;
    assert_true(queue_step_init(&step, 10));
    push(queue, big);
    for (int i = 0; i < 2; i++) {
        assert_true(take(queue, 10, &step));
        assert_int_equal(step.items, 1);
        queue_give_back(queue, &step);
    }
    assert_int_equal(big->ended, 1);
    queue_step_free(&step);
    queue_free(queue);
    free(big);
}

static void test_the_probe_goes_first_and_alone(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(3, 16), *probe = make(2, 64);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    assert_true(queue_push_first(queue, &probe->job));
    assert_true(take(queue, 64, &step));
    assert_int_equal(step.n_slices, 1);
    assert_ptr_equal(step.slices[0].job, &probe->job);
    assert_int_equal(step.items, 2);
    queue_give_back(queue, &step);
    assert_int_equal(probe->ended, 1);
    assert_int_equal(queue_depth(queue).items, 3); /* it was in no count, so it left none */
    queue_abandon(queue);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
    free(probe);
}

static void test_a_deadline_ends_what_waits_but_not_what_is_computed(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *late = make(2, 16), *started = make(200, 16), *patient = make(1, 16);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    started->job.deadline = late->job.deadline = 5;
    push(queue, started);
    assert_true(take(queue, 64, &step));
    push(queue, late);
    push(queue, patient);
    queue_expire(queue, 4);
    assert_int_equal(late->ended, 0);
    queue_expire(queue, 5);
    assert_int_equal(late->ended, 1);
    assert_int_equal(late->job.outcome, JOB_EXPIRED);
    assert_int_equal(started->ended, 0); /* a step holds some of it */
    assert_int_equal(patient->ended, 0);
    queue_give_back(queue, &step);
    queue_expire(queue, 6);
    assert_int_equal(started->ended, 1);
    assert_int_equal(started->job.outcome, JOB_EXPIRED);
    assert_int_equal(queue_depth(queue).items, 1);
    assert_int_equal(queue_depth(queue).tokens, 16);
    queue_abandon(queue);
    queue_step_free(&step);
    queue_free(queue);
    free(late);
    free(started);
    free(patient);
}

static void test_a_failed_slice_ends_its_job_only(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *bad = make(100, 4), *good = make(2, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, bad);
    push(queue, good);
    assert_true(take(queue, 64, &step));
    for (size_t i = 0; i < step.n_slices; i++)
        step.slices[i].failed = step.slices[i].job == &bad->job;
    assert_true(step.n_slices > 2); /* several slices of the bad one */
    queue_give_back(queue, &step);
    assert_int_equal(bad->ended, 1);
    assert_int_equal(bad->job.outcome, JOB_FAILED);
    assert_int_equal(good->ended, 1);
    assert_int_equal(good->job.outcome, JOB_DONE);
    assert_int_equal(queue_depth(queue).items, 0);
    assert_int_equal(queue_depth(queue).tokens, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(bad);
    free(good);
}

static void test_abandoned_with_a_step_under_way_ends_with_the_step(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(100, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    assert_true(take(queue, 64, &step));
    queue_abandon(queue);
    assert_int_equal(job->ended, 0);
    queue_give_back(queue, &step);
    assert_int_equal(job->ended, 1);
    assert_int_equal(job->job.outcome, JOB_ABANDONED);
    assert_false(take(queue, 64, &step));
    assert_int_equal(queue_depth(queue).items, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
}

static void test_closed_computes_what_waits_and_takes_no_more(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(1, 4), *late = make(1, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    queue_close(queue);
    assert_false(queue_push(queue, &late->job));
    assert_true(take(queue, 64, &step));
    queue_give_back(queue, &step);
    assert_int_equal(job->job.outcome, JOB_DONE);
    assert_false(take(queue, 64, &step));
    queue_step_free(&step);
    queue_free(queue);
    free(job);
    free(late);
}

static void test_cancelled_jobs_end_once_and_not_in_the_callers_hands(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *waiting = make(3, 8), *started = make(100, 8), *other = make(1, 8);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    assert_false(queue_cancel(queue, &waiting->job)); /* not pushed yet */
    push(queue, started);
    assert_true(take(queue, 64, &step));
    push(queue, waiting);
    push(queue, other);

    assert_true(queue_cancel(queue, &waiting->job));
    assert_false(queue_cancel(queue, &waiting->job));
    assert_int_equal(waiting->ended, 0); /* not from within the call */
    assert_true(queue_cancel(queue, &started->job));
    assert_int_equal(queue_depth(queue).items, 8 + 1); /* what the step holds, and the other */
    queue_expire(queue, clock_now());
    assert_int_equal(waiting->ended, 1);
    assert_int_equal(waiting->job.outcome, JOB_CANCELLED);
    assert_int_equal(started->ended, 0);
    queue_give_back(queue, &step);
    assert_int_equal(started->ended, 1);
    assert_int_equal(started->job.outcome, JOB_CANCELLED);

    assert_true(take(queue, 64, &step));
    assert_int_equal(step.items, 1);
    queue_give_back(queue, &step);
    assert_int_equal(other->job.outcome, JOB_DONE);
    assert_false(queue_cancel(queue, &other->job));
    assert_int_equal(queue_depth(queue).items + queue_depth(queue).tokens, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(waiting);
    free(started);
    free(other);
}

/* Every division of a step of three jobs with items of 1 to 3 tokens. */
static void test_a_step_divides_between_any_two_items(void **state) {
    (void)state;
    for (size_t items = 1; items < 30; items++) {
        struct queue *queue = queue_new(&wide);
        struct probe_job *jobs[3];
        struct queue_step halves[2];
        assert_true(queue_step_init(&halves[0], 256));
        for (size_t i = 0; i < 3; i++) {
            jobs[i] = make(10, 1);
            for (uint32_t item = 0; item < 10; item++)
                jobs[i]->items[item].length = 1 + (item + (uint32_t)i) % 3;
            push(queue, jobs[i]);
        }
        assert_true(take(queue, 8 * 10, &halves[0])); /* in several turns */
        assert_int_equal(halves[0].items, 30);
        assert_true(halves[0].n_slices > 3);
        const uint64_t rows = halves[0].rows;
        assert_true(queue_step_split(&halves[0], items, &halves[1]));
        assert_int_equal(halves[0].items, items);
        assert_int_equal(halves[1].items, 30 - items);
        assert_int_equal(halves[0].rows + halves[1].rows, rows);
        size_t seen[3] = {0}, seen_rows[3] = {0};
        for (int half = 0; half < 2; half++) {
            size_t counted = 0, counted_rows = 0;
            for (size_t i = 0; i < halves[half].n_slices; i++) {
                const struct queue_slice *slice = &halves[half].slices[i];
                size_t which = 0;
                while (&jobs[which]->job != slice->job)
                    which++;
                assert_true(slice->count > 0);
                assert_int_equal(slice->first, seen[which]);
                assert_int_equal(slice->first_row, seen_rows[which]);
                size_t length = 0;
                for (size_t item = 0; item < slice->count; item++)
                    length += jobs[which]->items[slice->first + item].length;
                assert_int_equal(slice->rows, length);
                seen[which] += slice->count;
                seen_rows[which] += length;
                counted += slice->count;
                counted_rows += length;
            }
            assert_int_equal(counted, halves[half].items);
            assert_int_equal(counted_rows, halves[half].rows);
        }
        queue_give_back(queue, &halves[1]);
        queue_give_back(queue, &halves[0]);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(jobs[i]->ended, 1);
            assert_int_equal(jobs[i]->job.outcome, JOB_DONE);
            free(jobs[i]);
        }
        queue_step_free(&halves[0]);
        queue_step_free(&halves[1]);
        queue_free(queue);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_long_job_does_not_starve_a_short_one),
        cmocka_unit_test(test_two_long_jobs_share_steps_equally),
        cmocka_unit_test(test_items_come_in_order_and_once),
        cmocka_unit_test(test_an_item_longer_than_a_step_goes_alone),
        cmocka_unit_test(test_the_probe_goes_first_and_alone),
        cmocka_unit_test(test_a_deadline_ends_what_waits_but_not_what_is_computed),
        cmocka_unit_test(test_a_failed_slice_ends_its_job_only),
        cmocka_unit_test(test_abandoned_with_a_step_under_way_ends_with_the_step),
        cmocka_unit_test(test_closed_computes_what_waits_and_takes_no_more),
        cmocka_unit_test(test_cancelled_jobs_end_once_and_not_in_the_callers_hands),
        cmocka_unit_test(test_a_step_divides_between_any_two_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
