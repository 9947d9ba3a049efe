/* test_engine_start.c - protects starts that fail: an engine that cannot be had has a reason, requests
 * wait for it within their deadlines, and stopping does not wait for it. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include <signal.h>
#include <string.h>

static void test_a_model_that_does_not_open(void **state) {
    (void)state;
    fake->missing = true;
    struct fixture fixture = start(64);
    fake->missing = false;
    struct limoe_error err;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_NOT_FOUND);
    assert_string_equal(err.message, "made-up is not there");
    assert_null(engine_info(fixture.engine));
    assert_int_equal(fake->processes, 1); /* it would not help to try again */
    stop(&fixture);
}

static void test_an_engine_that_never_gets_to_open_the_model(void **state) {
    (void)state;
    fake->dying = true;
    struct fixture fixture = start(64);
    fake->dying = false;
    struct limoe_error err;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_INTERNAL);
    assert_non_null(strstr(err.message, "exited with status 7"));
    assert_int_equal(fake->processes, 3);
    stop(&fixture);
}

static void test_what_is_no_engine_is_not_believed(void **state) {
    (void)state;
    fake->lie = NO_HELLO;
    struct fixture fixture = start(64); /* the second process is honest */
    assert_int_equal(engine_opened(fixture.engine, NULL), LIMOE_OK);
    assert_int_equal(fake->processes, 2);
    stop(&fixture);
}

/* The engine dies, and those after it are of no use, for the reason given, until that is taken away. */
static void check_outage(atomic_bool *cause, const char *reason) {
    struct fixture fixture = start(64);
    struct text_job *first = make(1, 1), *waiting = make(100, 1000);
    char why[700];
    push(&fixture, first);
    wait_for(first);
    *cause = true;
    lose(&fixture, SIGKILL);
    push(&fixture, waiting);
    while (engine_running(fixture.engine, why, sizeof why))
        nap();
    assert_non_null(strstr(why, reason));
    assert_int_equal(queue_depth(fixture.queue).items, waiting->job.n); /* it waits, within its deadline */
    *cause = false;
    wait_for(waiting);
    assert_embedded(waiting);
    assert_true(engine_running(fixture.engine, why, sizeof why));
    assert_string_equal(engine_info(fixture.engine)->fingerprint, "0123456789abcdef0123456789abcdef");
    text_job_free(first);
    text_job_free(waiting);
    stop(&fixture);
}

static void test_outages_have_reasons_and_ends(void **state) {
    (void)state;
    check_outage(&fake->dying, "exited with status 7");
    check_outage(&fake->missing, "made-up is not there");
    check_outage(&fake->other, "not the model any more");
}

static void test_too_much_memory_is_a_loss(void **state) {
    (void)state;
    struct fixture fixture = start_with((struct engine_options){.step_tokens = 64, .memory_bytes = 4096});
    char why[700];
    while (engine_running(fixture.engine, why, sizeof why))
        nap();
    assert_non_null(strstr(why, "resident memory, more than the 4096 it may have"));
    stop(&fixture);
}

static void test_stopping_without_an_engine_gives_up(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *in_hand = make(1, 1), *waiting = make(1, 2);
    fake->held = true;
    push(&fixture, in_hand);
    await_steps(1);
    push(&fixture, waiting);
    fake->dying = true;
    lose(&fixture, SIGKILL);
    char why[700];
    while (engine_running(fixture.engine, why, sizeof why))
        nap();
    stop(&fixture);
    wait_for(in_hand);
    wait_for(waiting);
    assert_int_equal(in_hand->job.outcome, JOB_FAILED);
    assert_int_equal(waiting->job.outcome, JOB_ABANDONED);
    fake->held = fake->dying = false;
    text_job_free(in_hand);
    text_job_free(waiting);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_model_that_does_not_open),
        cmocka_unit_test(test_an_engine_that_never_gets_to_open_the_model),
        cmocka_unit_test(test_what_is_no_engine_is_not_believed),
        cmocka_unit_test(test_outages_have_reasons_and_ends),
        cmocka_unit_test(test_too_much_memory_is_a_loss),
        cmocka_unit_test(test_stopping_without_an_engine_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
