/* test_queue_again.c - protects jobs that come again and again, a token of captions each time: behind all that waits, counted each
 * time, with the times of the first; cancelled at any moment; and the list of captions that are over. */
#include "tests/unit/server/front/schedule/queue_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void test_a_job_that_comes_again_goes_behind_the_others(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *caption = make(2, 3), *other = make(1, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 4));
    assert_true(queue_push_more(queue, &caption->job));
    assert_int_equal(queue_depth(queue).tokens, 6); /* nobody has admitted them before */
    const int64_t pushed = caption->job.pushed;
    assert_true(take(queue, 64, &step));
    push(queue, other);
    queue_give_back(queue, &step);
    assert_int_equal(caption->ended, 1);
    assert_int_equal(caption->job.outcome, JOB_DONE);
    const int64_t started = caption->job.started;
    caption->items[0].length = caption->items[1].length = 1;
    assert_true(queue_push_more(queue, &caption->job));
    assert_int_equal(queue_depth(queue).tokens, 6);
    assert_true(take(queue, 4, &step));
    assert_ptr_equal(step.slices[0].job, &other->job);
    assert_int_equal(step.n_slices, 1);
    queue_give_back(queue, &step);
    assert_true(take(queue, 4, &step));
    queue_give_back(queue, &step);
    assert_int_equal(caption->ended, 2);
    assert_true(caption->job.pushed == pushed && caption->job.started == started);
    assert_int_equal(queue_depth(queue).items, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(caption);
    free(other);
}

/* Its delay began with its first push. */
static void test_it_waits_for_a_fuller_step_once(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *caption = make(1, 1);
    const struct queue_demand demand = {.budget = 64, .delay = CLOCK_SECOND};
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 4));
    assert_true(queue_push_more(queue, &caption->job));
    assert_false(queue_take(queue, &demand, &step, &wake_at));
    caption->job.pushed -= 2 * CLOCK_SECOND;
    for (int token = 0; token < 3; token++) {
        assert_true(queue_take(queue, &demand, &step, &wake_at));
        queue_give_back(queue, &step);
        assert_true(queue_push_more(queue, &caption->job));
    }
    assert_true(queue_cancel(queue, &caption->job));
    queue_expire(queue, clock_now());
    queue_step_free(&step);
    queue_free(queue);
    free(caption);
}

static void test_cancelled_between_two_tokens_it_ends_at_the_next(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *caption = make(1, 1);
    struct queue_step step;
    assert_true(queue_step_init(&step, 4));
    assert_true(queue_push_more(queue, &caption->job));
    assert_true(take(queue, 64, &step));
    queue_give_back(queue, &step);
    assert_false(queue_cancel(queue, &caption->job)); /* it is its maker's now */
    assert_false(take(queue, 64, &step));
    assert_true(queue_push_more(queue, &caption->job));
    assert_true(woken(queue)); /* who delivers it */
    assert_false(take(queue, 64, &step));
    assert_int_equal(caption->ended, 1);
    queue_expire(queue, clock_now());
    assert_int_equal(caption->ended, 2);
    assert_int_equal(caption->job.outcome, JOB_CANCELLED);
    assert_int_equal(queue_depth(queue).items + queue_depth(queue).tokens, 0);
    push(queue, caption); /* a new one of the same room is not cancelled */
    assert_true(take(queue, 64, &step));
    queue_give_back(queue, &step);
    assert_int_equal(caption->job.outcome, JOB_DONE);
    queue_close(queue);
    assert_false(queue_push_more(queue, &caption->job));
    queue_step_free(&step);
    queue_free(queue);
    free(caption);
}

static void test_captions_have_a_limit_of_their_own(void **state) {
    (void)state;
    struct queue_load limits = wide;
    limits.captions = 100;
    struct queue *queue = queue_new(&limits);
    const struct queue_load none = {0}, one = {.captions = 60}, text = {.items = 1, .tokens = 5};
    assert_true(queue_admit(queue, &one, &none));
    assert_true(queue_admit(queue, &one, &none)); /* the one that crosses it */
    assert_false(queue_admit(queue, &one, &none));
    assert_true(queue_admit(queue, &text, &none));
    queue_release(queue, &one);
    assert_true(queue_admit(queue, &one, &none));
    assert_int_equal(queue_depth(queue).captions, 120);
    queue_free(queue);
}

static void test_what_is_over_is_told_once_and_there_is_room_for_it(void **state) {
    (void)state;
    enum { ALL = 200 };
    struct over over;
    uint64_t ids[ALL], told[ALL];
    over_init(&over);
    for (int i = 0; i < ALL; i++) {
        ids[i] = over_begin(&over);
        assert_int_equal(ids[i], i + 1);
    }
    for (int i = 0; i < ALL; i++)
        over_end(&over, ids[i], i % 2);
    assert_int_equal(over_look(&over, told, 10), 10);
    assert_int_equal(told[0], 2);
    assert_int_equal(over_look(&over, told, 10), 10); /* still the same: they were not sent */
    over_told(&over, 10);
    assert_int_equal(over_look(&over, told, ALL), ALL / 2 - 10);
    assert_int_equal(told[0], 22);
    over_forget(&over);
    assert_int_equal(over_look(&over, told, ALL), 0);
    over_free(&over);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_that_comes_again_goes_behind_the_others),
        cmocka_unit_test(test_it_waits_for_a_fuller_step_once),
        cmocka_unit_test(test_cancelled_between_two_tokens_it_ends_at_the_next),
        cmocka_unit_test(test_captions_have_a_limit_of_their_own),
        cmocka_unit_test(test_what_is_over_is_told_once_and_there_is_room_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
