/* test_engine.c - protects what the front's side of an engine promises, against real processes: every job
 * gets its own results, an item that breaks the engine fails alone, and a lost or lying engine is replaced
 * and its work done again. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include <signal.h>
#include <string.h>

#include "base/clock.h"

/* ---- steps */

static void test_many_jobs_each_get_their_own(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *jobs[20];
    fake->held = true; /* so that they pile up and share steps */
    for (int i = 0; i < 20; i++) {
        jobs[i] = make(1 + (size_t)i * 10, 1000 * (i + 1));
        if (i % 3 == 0) {
            jobs[i]->job.expert = jobs[i]->expert;
            jobs[i]->job.gate = jobs[i]->gate;
        }
        push(&fixture, jobs[i]);
    }
    fake->held = false;
    for (int i = 0; i < 20; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        if (i % 3 == 0)
            assert_routed(jobs[i]);
        text_job_free(jobs[i]);
    }
    assert_true(fake->largest > 8);
    assert_int_equal(fake->processes, 1);
    stop(&fixture);
}

static void test_a_refused_item_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start(1024);
    push12(&fixture, POISON);
    assert_only_the_seventh_failed("poison");
    assert_int_equal(fake->processes, 1);
    stop(&fixture);
}

static void test_an_item_that_kills_the_engine_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start(1024);
    push12(&fixture, DEADLY);
    assert_only_the_seventh_failed(
        "lost twice while it computed item 4, the last time alone: exited with status 9");
    assert_true(fake->processes >= 3);
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == fake->processes - 1);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= 3);
    char why[700];
    assert_true(
        engine_running(fixture.engine, why, sizeof why)); /* it is the item's fault, not the engine's */
    stop(&fixture);
}

static void test_an_item_that_hangs_the_engine_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start_with((struct engine_options){.step_tokens = 64, .step_seconds = 1});
    struct text_job *hanging = make(1, FATAL), *neighbour = make(1, 5);
    push(&fixture, hanging);
    push(&fixture, neighbour);
    wait_for(hanging);
    wait_for(neighbour);
    assert_embedded(neighbour);
    assert_int_equal(hanging->job.outcome, JOB_FAILED);
    assert_non_null(strstr(hanging->job.error.message, "did not answer a step for 1 s"));
    text_job_free(hanging);
    text_job_free(neighbour);
    stop(&fixture);
}

static void test_a_passed_deadline_is_not_computed(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *first = make(1, 1), *late = make(1, 2);
    fake->held = true;
    push(&fixture, first);
    await_steps(1);
    late->job.deadline = clock_now() + CLOCK_MILLISECOND;
    push(&fixture, late);
    while (clock_now() < late->job.deadline)
        nap();
    fake->held = false;
    wait_for(first);
    wait_for(late);
    assert_int_equal(late->job.outcome, JOB_EXPIRED);
    assert_int_equal(late->job.started, 0);
    assert_int_equal(fake->steps, 1);
    text_job_free(first);
    text_job_free(late);
    stop(&fixture);
}

static void test_stopping_computes_what_waits(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *text = make(200, 1000);
    push(&fixture, text);
    stop(&fixture);
    assert_embedded(text);
    text_job_free(text);
}

/* ---- losses */

static void test_a_killed_engines_work_is_done_again(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    for (int round = 0; round < 5; round++) {
        struct text_job *jobs[8];
        unsigned before = fake->steps;
        fake->held = true;
        for (int i = 0; i < 8; i++) {
            jobs[i] = make(100, 1000 * (i + 1));
            push(&fixture, jobs[i]);
        }
        await_steps(before + 1);
        lose(&fixture, SIGKILL);
        fake->held = false;
        for (int i = 0; i < 8; i++) {
            wait_for(jobs[i]);
            assert_embedded(jobs[i]);
            text_job_free(jobs[i]);
        }
    }
    assert_int_equal(fake->processes, 6);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= 5);
    stop(&fixture);
}

static void test_an_engine_that_stands_still_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_with((struct engine_options){.step_tokens = 64, .step_seconds = 1});
    struct text_job *text = make(100, 1000);
    lose(&fixture, SIGSTOP);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, 2);
    text_job_free(text);
    stop(&fixture);
}

static void test_an_idle_engine_that_dies_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    lose(&fixture, SIGKILL);
    while (fake->processes < 2)
        nap();
    struct text_job *text = make(1, 1000);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    text_job_free(text);
    stop(&fixture);
}

/* Whatever an engine says that cannot be, the front replaces it, and nothing that it said counts. */
static void test_a_liar_is_replaced(void **state) {
    (void)state;
    for (enum lie lie = BAD_MAGIC; lie < LIES; lie++) {
        fake->lie = lie;
        struct fixture fixture = start(1024);
        struct text_job *text = make(100, 1000);
        push(&fixture, text);
        wait_for(text);
        assert_embedded(text);
        assert_int_equal(fake->processes, 2);
        text_job_free(text);
        stop(&fixture);
    }
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_jobs_each_get_their_own),
        cmocka_unit_test(test_a_refused_item_fails_alone),
        cmocka_unit_test(test_an_item_that_kills_the_engine_fails_alone),
        cmocka_unit_test(test_an_item_that_hangs_the_engine_fails_alone),
        cmocka_unit_test(test_a_passed_deadline_is_not_computed),
        cmocka_unit_test(test_stopping_computes_what_waits),
        cmocka_unit_test(test_a_killed_engines_work_is_done_again),
        cmocka_unit_test(test_an_engine_that_stands_still_is_replaced),
        cmocka_unit_test(test_an_idle_engine_that_dies_is_replaced),
        cmocka_unit_test(test_a_liar_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
