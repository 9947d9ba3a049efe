/* test_queue_waiting.c - protects what the queue promises its taker: it sleeps as long as there is nothing
 * for it, and wakes for a step, a fuller one, an old one, an end. */
#include "tests/unit/server/front/schedule/queue_fixture.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

static void *close_soon(void *queue) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    queue_close(queue);
    return NULL;
}

static void test_closing_wakes_a_waiting_engine(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct queue_step step;
    pthread_t thread;
    assert_true(queue_step_init(&step, 4));
    assert_false(take(queue, 4, &step));
    assert_false(queue_exhausted(queue));
    assert_int_equal(pthread_create(&thread, NULL, close_soon, queue), 0);
    struct pollfd event = {.fd = queue_event(queue), .events = POLLIN};
    assert_int_equal(poll(&event, 1, -1), 1);
    assert_false(take(queue, 4, &step));
    assert_true(queue_exhausted(queue));
    pthread_join(thread, NULL);
    queue_step_free(&step);
    queue_free(queue);
}

static void test_a_push_wakes_only_a_taker_that_sleeps(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *jobs[3] = {make(1, 4), make(1, 4), make(1, 4)};
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, jobs[0]);
    assert_false(woken(queue));
    assert_true(take(queue, 64, &step));
    push(queue, jobs[1]);
    assert_false(woken(queue)); /* the taker has a step to see to */
    queue_give_back(queue, &step);
    assert_true(take(queue, 64, &step));
    queue_give_back(queue, &step);
    assert_false(take(queue, 64, &step));
    assert_false(woken(queue));
    push(queue, jobs[2]);
    assert_true(woken(queue));
    assert_true(take(queue, 64, &step));
    assert_false(woken(queue));
    queue_give_back(queue, &step);
    queue_step_free(&step);
    queue_free(queue);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jobs[i]->ended, 1);
        free(jobs[i]);
    }
}

/* To send a step ahead is worth it only if it is full: what waits for longer is batched better. */
static void test_a_taker_that_wants_a_full_step_waits_for_one(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *half = make(4, 8), *rest = make(4, 8), *probe = make(1, 4);
    const struct queue_demand full = {.budget = 64, .least = 64};
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, half);
    assert_false(queue_take(queue, &full, &step, &wake_at));
    assert_int_equal(wake_at, 0);
    assert_true(queue_push_first(queue, &probe->job)); /* it does not fill a step, but goes ahead */
    assert_true(woken(queue));
    assert_true(queue_take(queue, &full, &step, &wake_at));
    assert_ptr_equal(step.slices[0].job, &probe->job);
    queue_give_back(queue, &step);
    assert_false(queue_take(queue, &full, &step, &wake_at));
    assert_false(woken(queue));
    push(queue, rest);
    assert_true(woken(queue));
    assert_true(queue_take(queue, &full, &step, &wake_at));
    assert_int_equal(step.rows, 64);
    queue_give_back(queue, &step);
    assert_int_equal(half->ended + rest->ended + probe->ended, 3);
    queue_step_free(&step);
    queue_free(queue);
    free(half);
    free(rest);
    free(probe);
}

static void test_a_delay_holds_a_step_until_it_is_full_or_old(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *early = make(4, 8), *filler = make(4, 8), *last = make(1, 8);
    const struct queue_demand patient = {.budget = 64, .delay = 3600 * CLOCK_SECOND};
    const struct queue_demand hasty = {.budget = 64, .delay = 1};
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, early);
    assert_false(queue_take(queue, &patient, &step, &wake_at));
    assert_int_equal(wake_at, early->job.pushed + patient.delay);
    push(queue, filler);
    assert_true(woken(queue));
    assert_true(queue_take(queue, &patient, &step, &wake_at)); /* full */
    assert_int_equal(step.rows, 64);
    queue_give_back(queue, &step);
    push(queue, last);
    assert_false(queue_take(queue, &patient, &step, &wake_at));
    while (clock_now() <= last->job.pushed)
        ;
    assert_true(queue_take(queue, &hasty, &step, &wake_at)); /* old */
    queue_give_back(queue, &step);
    assert_int_equal(early->ended + filler->ended + last->ended, 3);
    queue_step_free(&step);
    queue_free(queue);
    free(early);
    free(filler);
    free(last);
}

static void test_closed_waits_for_no_fuller_step(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(1, 4);
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    const struct queue_demand patient = {.budget = 64, .least = 64, .delay = 3600 * CLOCK_SECOND};
    assert_false(queue_take(queue, &patient, &step, &wake_at));
    queue_close(queue);
    assert_true(queue_take(queue, &patient, &step, &wake_at));
    queue_give_back(queue, &step);
    assert_int_equal(job->ended, 1);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
}

/* A taker asleep must see what was cancelled, or its client would wait for nothing. */
static void test_cancelling_wakes_a_taker_that_sleeps(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(1, 8);
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    assert_false(queue_take(queue, &(struct queue_demand){.budget = 64, .least = 64}, &step, &wake_at));
    assert_false(woken(queue));
    assert_true(queue_cancel(queue, &job->job));
    assert_true(woken(queue));
    queue_expire(queue, clock_now());
    assert_int_equal(job->ended, 1);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closing_wakes_a_waiting_engine),
        cmocka_unit_test(test_a_push_wakes_only_a_taker_that_sleeps),
        cmocka_unit_test(test_a_taker_that_wants_a_full_step_waits_for_one),
        cmocka_unit_test(test_a_delay_holds_a_step_until_it_is_full_or_old),
        cmocka_unit_test(test_closed_waits_for_no_fuller_step),
        cmocka_unit_test(test_cancelling_wakes_a_taker_that_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
