/* test_arrivals.c - protects the schedule: its rate, and that a seed always makes the same one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "server/commands/bench/arrivals.h"

enum { ARRIVALS = 100000 };

static void constant_is_exact(void **state) {
    (void)state;
    struct arrivals arrivals = arrivals_start(ARRIVALS_CONSTANT, 3, 1);
    for (int64_t i = 0; i < ARRIVALS; i++) {
        const int64_t at = arrivals_next(&arrivals);
        /* the nearest nanosecond, and never further off after a hundred thousand */
        assert_int_equal(at, (i * INT64_C(1000000000) * 2 + 3) / 6);
    }
}

/* Mean and standard deviation of exponential gaps are both 1 / rate. */
static void poisson_has_its_moments(void **state) {
    (void)state;
    const double rate = 250, expected = 1e9 / rate;
    struct arrivals arrivals = arrivals_start(ARRIVALS_POISSON, rate, 42);
    int64_t last = 0;
    double sum = 0, squares = 0;
    for (int i = 0; i < ARRIVALS; i++) {
        const int64_t at = arrivals_next(&arrivals);
        assert_true(at >= last);
        const double gap = (double)(at - last);
        sum += gap;
        squares += gap * gap;
        last = at;
    }
    const double mean = sum / ARRIVALS, deviation = sqrt(squares / ARRIVALS - mean * mean);
    assert_true(fabs(mean - expected) < 0.01 * expected); /* three standard errors */
    assert_true(fabs(deviation - expected) < 0.02 * expected);
}

static void a_seed_repeats_itself(void **state) {
    (void)state;
    struct arrivals one = arrivals_start(ARRIVALS_POISSON, 10, 7);
    struct arrivals same = arrivals_start(ARRIVALS_POISSON, 10, 7);
    struct arrivals other = arrivals_start(ARRIVALS_POISSON, 10, 8);
    size_t differ = 0;
    for (int i = 0; i < 100; i++) {
        const int64_t at = arrivals_next(&one);
        assert_int_equal(at, arrivals_next(&same));
        differ += at != arrivals_next(&other);
    }
    assert_true(differ > 90);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_is_exact),
        cmocka_unit_test(poisson_has_its_moments),
        cmocka_unit_test(a_seed_repeats_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
