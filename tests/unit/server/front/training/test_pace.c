/* Protects a trainer's pace: all of the time without requests, a share of it beside them, stopped at once when they come and never
 * for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/front/training/pace.h"

static const int64_t begin = 1000 * CLOCK_SECOND;

/* Ticks for which the trainer worked, of n from `now` on. */
static int count_ticks(struct pace *pace, int64_t now, int n, bool requests) {
    int worked = 0;
    for (int i = 0; i < n; i++) {
        pace_step(pace, now + i * PACE_TICK, requests);
        worked += !pace->stopped;
    }
    return worked;
}

static void works_without_requests(void **state) {
    struct pace pace = {.stopped = false};
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_false(pace_step(&pace, begin + i * PACE_TICK, false));
    assert_false(pace.stopped);
}

static void is_stopped_by_the_first_request_and_gets_its_share(void **state) {
    struct pace pace = {.stopped = false};
    (void)state;
    assert_true(pace_step(&pace, begin, true));
    assert_true(pace.stopped);
    const int worked = count_ticks(&pace, begin + PACE_TICK, 300, true);
    assert_int_equal(worked, 300 * PACE_ON / (PACE_ON + PACE_OFF));
}

static void requests_now_and_then_count_as_going_on(void **state) {
    struct pace pace = {.stopped = false};
    int worked = 0;
    (void)state;
    for (int i = 0; i < 300; i++) {
        pace_step(&pace, begin + i * PACE_TICK, i % 10 == 0);
        worked += !pace.stopped;
    }
    assert_int_equal(worked, 300 * PACE_ON / (PACE_ON + PACE_OFF));
}

static void goes_on_when_they_are_over(void **state) {
    struct pace pace = {.stopped = false};
    (void)state;
    pace_step(&pace, begin, true);
    pace_step(&pace, begin + PACE_CALM, false);
    assert_false(pace.stopped);
    assert_int_equal(count_ticks(&pace, begin + PACE_CALM, 100, false), 100);
    assert_true(pace_step(&pace, begin + 2 * PACE_CALM + 100 * PACE_TICK, true)); /* at once */
    assert_true(pace.stopped);
}

/* As when the thread that calls it decodes a picture. */
static void late_steps_turn_it_once(void **state) {
    struct pace pace = {.stopped = false};
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(pace_step(&pace, begin + i * CLOCK_SECOND, true));
        assert_int_equal(pace.stopped, i % 2 == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(works_without_requests),
        cmocka_unit_test(is_stopped_by_the_first_request_and_gets_its_share),
        cmocka_unit_test(requests_now_and_then_count_as_going_on),
        cmocka_unit_test(goes_on_when_they_are_over),
        cmocka_unit_test(late_steps_turn_it_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
