/* test_health.c - protects the probe of an engine's health: good after a right answer in time, and else
 * not, with the reason. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/front/supervisor/health.h"

static void await_answer(int event) {
    uint64_t count;
    assert_int_equal(read(event, &count, sizeof count), sizeof count);
}

static void test_health_follows_the_engines_answers(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct health *health;
    char why[700];
    int answered = eventfd(0, EFD_CLOEXEC);
    const int64_t limit = 3600 * CLOCK_SECOND;
    assert_int_equal(health_new(NULL, fixture.queue, limit, answered, &health, NULL), LIMOE_OK);
    health_watch(health, fixture.engine);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "first probe"));

    int64_t now = clock_now();
    health_probe(health, now);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));

    fake->broken = true;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "length"));
    fake->broken = false;

    fake->drifting = true;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "otherwise than at start"));
    fake->drifting = false;

    lose(&fixture, SIGKILL);
    health_probe(health, now += 2 * CLOCK_SECOND); /* answered by the next engine, with the same bits */
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));

    fake->dying = true;
    lose(&fixture, SIGKILL);
    while (health_good(health, why, sizeof why))
        nap();
    assert_non_null(strstr(why, "exited with status 7"));
    fake->dying = false;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));
    stop(&fixture);
    health_free(health);
    close(answered);
}

static void test_health_sees_an_engine_that_stands_still(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct health *health;
    char why[700];
    int answered = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(health_new(NULL, fixture.queue, CLOCK_MILLISECOND, answered, &health, NULL), LIMOE_OK);
    int64_t now = clock_now();
    health_probe(health, now);
    await_answer(answered);
    fake->held = true;
    health_probe(health, now + 2 * CLOCK_SECOND);
    do
        nap();
    while (health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "has not answered a probe for"));
    fake->held = false;
    stop(&fixture);
    health_free(health);
    close(answered);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health_follows_the_engines_answers),
        cmocka_unit_test(test_health_sees_an_engine_that_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
