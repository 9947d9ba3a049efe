/* test_engine_group.c - protects an engine of several ranks on GPUs, which the front starts itself: one
 * that is lost is replaced alone, and the others keep their processes and their models. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include <signal.h>
#include <string.h>

static struct fixture start_group_with(uint64_t step_tokens, unsigned step_seconds) {
    return start_with((struct engine_options){
        .step_tokens = step_tokens,
        .step_seconds = step_seconds,
        .compute = {.device = "cuda"},
        .launch = {.ranks = RANKS},
    });
}

static struct fixture start_group(uint64_t step_tokens) {
    return start_group_with(step_tokens, 0);
}

static void get_pids(struct fixture *fixture, pid_t pids[RANKS]) {
    struct engine_rank ranks[RANKS];
    assert_int_equal(engine_ranks(fixture->engine, ranks, RANKS), RANKS);
    for (uint32_t r = 0; r < RANKS; r++)
        pids[r] = ranks[r].pid;
}

/* Work enough for several steps, and somebody is lost while it is computed. */
static void embed_while(struct fixture *fixture, void (*lose_some)(uint32_t), uint32_t victim) {
    struct text_job *jobs[4];
    unsigned before = fake->steps;
    fake->held = true;
    for (int i = 0; i < 4; i++) {
        jobs[i] = make(100, 1000 * (i + 1));
        push(fixture, jobs[i]);
    }
    await_steps(before + 1);
    lose_some(victim);
    fake->held = false;
    for (int i = 0; i < 4; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        text_job_free(jobs[i]);
    }
}

static void lose_one(uint32_t victim) {
    lose_rank(victim, SIGKILL);
}

static void lose_two(uint32_t victim) {
    lose_rank(victim, SIGKILL);
    lose_rank((victim + 1) % RANKS, SIGKILL);
}

static void test_a_group_shares_steps(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    struct text_job *text = make(200, 1000);
    pid_t pids[RANKS];
    text->job.expert = text->expert;
    text->job.gate = text->gate;
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_routed(text);
    get_pids(&fixture, pids);
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pids[r], fake->ranks[r]);
    assert_int_equal(engine_pid(fixture.engine), pids[0]);
    assert_int_equal(engine_info(fixture.engine)->ranks, RANKS);
    assert_int_equal(fake->processes, RANKS);
    assert_int_equal(fake->steps % RANKS, 0);
    text_job_free(text);
    stop(&fixture);
}

/* The others keep their processes and their models, and nothing fails. */
static void test_a_lost_rank_of_a_group_alone_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    for (uint32_t victim = 0; victim < RANKS; victim++) {
        pid_t before[RANKS], after[RANKS];
        get_pids(&fixture, before);
        embed_while(&fixture, lose_one, victim);
        get_pids(&fixture, after);
        for (uint32_t r = 0; r < RANKS; r++)
            assert_true((before[r] == after[r]) == (r != victim));
        assert_int_equal(fake->processes, RANKS + victim + 1);
        assert_int_equal(fake->opened, RANKS + victim + 1);
    }
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == RANKS);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= RANKS);
    stop(&fixture);
}

static void test_two_ranks_of_a_group_are_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    pid_t before[RANKS], after[RANKS];
    get_pids(&fixture, before);
    embed_while(&fixture, lose_two, 2); /* and 0 */
    get_pids(&fixture, after);
    assert_int_not_equal(before[0], after[0]);
    assert_int_equal(before[1], after[1]);
    assert_int_not_equal(before[2], after[2]);
    assert_int_equal(fake->processes, RANKS + 2);
    stop(&fixture);
}

static void test_an_idle_rank_of_a_group_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    struct text_job *text = make(100, 1000);
    lose_one(1);
    while (fake->processes < RANKS + 1)
        nap();
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, RANKS + 1);
    text_job_free(text);
    stop(&fixture);
}

/* Whose fault it is, nobody knows. */
static void test_a_group_that_stands_still_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group_with(64, IMPATIENT);
    struct text_job *text = make(100, 1000);
    lose_rank(1, SIGSTOP);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, 2 * RANKS);
    text_job_free(text);
    stop(&fixture);
}

/* No process has ended, and none is replaced. */
static void test_ranks_that_lose_each_other_join_again(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    struct text_job *text = make(200, 1000);
    fake->lonely = true;
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_false(fake->lonely);
    assert_int_equal(fake->processes, RANKS);
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == 0);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= 1);
    text_job_free(text);
    stop(&fixture);
}

static void test_items_that_break_a_rank_of_a_group_fail_alone(void **state) {
    (void)state;
    struct fixture fixture = start_group(1024);
    push12(&fixture, DEADLY);
    assert_only_the_seventh_failed(
        "lost twice while it computed item 4, the last time alone: exited with status 9");
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == fake->processes - RANKS);
    stop(&fixture);
}

static void test_a_group_that_cannot_start_says_why(void **state) {
    (void)state;
    struct limoe_error err;
    fake->missing = true;
    struct fixture fixture = start_group(64);
    fake->missing = false;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_UNSUPPORTED);
    assert_string_equal(err.message, "no GPU is made up");
    stop(&fixture);
    fake->pretence = ANOTHERS_RANK;
    fixture = start_group(64);
    fake->pretence = NOTHING;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "rank 1 says that it is rank 0");
    stop(&fixture);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group_shares_steps),
        cmocka_unit_test(test_a_lost_rank_of_a_group_alone_is_replaced),
        cmocka_unit_test(test_two_ranks_of_a_group_are_replaced),
        cmocka_unit_test(test_an_idle_rank_of_a_group_is_replaced),
        cmocka_unit_test(test_a_group_that_stands_still_is_replaced),
        cmocka_unit_test(test_ranks_that_lose_each_other_join_again),
        cmocka_unit_test(test_items_that_break_a_rank_of_a_group_fail_alone),
        cmocka_unit_test(test_a_group_that_cannot_start_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
