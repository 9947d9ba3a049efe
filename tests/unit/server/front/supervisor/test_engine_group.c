/* test_engine_group.c - protects an engine of several ranks on GPUs, on this host and on others: one that is lost is
 * replaced alone, and the others keep their processes and their models. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include "server/front/supervisor/hosts.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- other hosts */

static char hostfile[] = "/tmp/limoe-test-hosts-XXXXXX";

static void write_hosts(const char *text) {
    FILE *file = fopen(hostfile, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Ranks 0 and 1 are on another host, which has no address of this one's, and rank 2 is here. */
static struct fixture start_hosts(void) {
    write_hosts("# two GPUs\n192.0.2.1 slots=2 # each\n\nlocalhost\n");
    return start_with((struct engine_options){
        .step_tokens = 64,
        .compute = {.device = "cuda"},
        .launch = {.ranks = RANKS,
                   .hostfile = hostfile,
                   .address = "127.0.0.1",
                   .agent = "/proc/self/exe  --agent",
                   .digest = "0123456789abcdef"},
    });
}

static void assert_computes(struct fixture *fixture) {
    struct text_job *text = make(100, 1000);
    push(fixture, text);
    wait_for(text);
    assert_embedded(text);
    text_job_free(text);
}

static void test_ranks_of_another_host_are_replaced_alone(void **state) {
    (void)state;
    struct fixture fixture = start_hosts();
    assert_int_equal(engine_opened(fixture.engine, NULL), LIMOE_OK);
    assert_computes(&fixture);
    for (uint32_t victim = 0; victim < RANKS; victim++) {
        int before[RANKS];
        for (uint32_t r = 0; r < RANKS; r++)
            before[r] = fake->ranks[r];
        embed_while(&fixture, lose_one, victim);
        for (uint32_t r = 0; r < RANKS; r++)
            assert_true((before[r] == fake->ranks[r]) == (r != victim));
        assert_int_equal(fake->processes, RANKS + victim + 1);
    }
    pid_t pids[RANKS];
    get_pids(&fixture, pids);
    assert_int_equal(pids[0], 0); /* not this host's */
    assert_int_equal(pids[2], fake->ranks[2]);
    assert_int_equal(fake->opened, 2 * RANKS);
    stop(&fixture);
}

/* Those that are there are told not to wait for those that are not. */
static void test_a_host_that_is_away_is_waited_for(void **state) {
    (void)state;
    struct fixture fixture = start_hosts();
    struct text_job *text = make(100, 1000);
    char why[600];
    const int kept = fake->ranks[2], apart = (int)fake->parted;
    fake->away = true;
    fake->held = true;
    push(&fixture, text);
    await_steps(1);
    lose_rank(0, SIGKILL);
    fake->held = false;
    while (engine_running(fixture.engine, why, sizeof why) || (int)fake->parted < apart + 2)
        nap();
    assert_string_equal(why, "the engine (rank 0 on 192.0.2.1, cuda:0) was lost before it answered: "
                             "the session that starts it exited with status 255");
    fake->away = false;
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->ranks[2], kept);
    assert_int_equal(fake->opened, RANKS + 1);
    text_job_free(text);
    stop(&fixture);
}

static void test_another_hosts_rank_with_another_model_is_refused_alone(void **state) {
    (void)state;
    struct limoe_error err;
    struct fixture fixture = start_hosts();
    char why[600];
    assert_computes(&fixture);
    const enum pretence pretences[] = {ANOTHER_CONFIG, NO_MODEL};
    const char *const reasons[] = {"reads another model than the front: its config and tokenizer are "
                                   "fedcba9876543210, not 0123456789abcdef",
                                   "rank 1 cannot open made-up"};
    for (size_t i = 0; i < 2; i++) {
        const int kept = fake->ranks[2];
        fake->pretence = pretences[i];
        lose_rank(1, SIGKILL);
        while (engine_running(fixture.engine, why, sizeof why))
            nap();
        assert_non_null(strstr(why, "(rank 1 on 192.0.2.1, cuda:1)"));
        assert_non_null(strstr(why, reasons[i]));
        fake->pretence = NOTHING;
        assert_computes(&fixture);
        assert_int_equal(fake->ranks[2], kept);
    }
    stop(&fixture);
    fake->pretence = ANOTHER_CONFIG; /* from the start */
    fixture = start_hosts();
    fake->pretence = NOTHING;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_INTERNAL);
    assert_non_null(strstr(err.message, "on 192.0.2.1, cuda:"));
    assert_non_null(strstr(err.message, reasons[0]));
    stop(&fixture);
}

static void test_hosts_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a slots=2\n", "has 2 slots, and ranks is 3; accepted: as many, or more"},
        {"a\nb max_slots=2\n",
         "line 2: \"b max_slots=2\"; accepted: HOST, or HOST slots=N with N from 1 to 1024"},
        {"a slots=0\n", "line 1: \"a slots=0\""},
        {"a slots=2x\n", "line 1: \"a slots=2x\""},
        {"a slots=2 more\n", "line 1: \"a more\""},
        {"-oProxyCommand=x\n", "line 1: \"-oProxyCommand=x\""},
    };
    struct limoe_error err;
    struct place places[RANKS];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_hosts(cases[i].text);
        assert_int_equal(hosts_place(hostfile, RANKS, places, &err), LIMOE_INVALID);
        if (!strstr(err.message, cases[i].message))
            fail_msg("\"%s\" is not in \"%s\"", cases[i].message, err.message);
    }
    assert_int_equal(hosts_place("/nowhere/hosts", RANKS, places, &err), LIMOE_NOT_FOUND);
    assert_string_equal(err.message, "cannot open /nowhere/hosts: No such file or directory");
}

static int run(void) {
    const int fd = mkstemp(hostfile);
    if (fd < 0)
        return 2;
    close(fd);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group_shares_steps),
        cmocka_unit_test(test_a_lost_rank_of_a_group_alone_is_replaced),
        cmocka_unit_test(test_two_ranks_of_a_group_are_replaced),
        cmocka_unit_test(test_an_idle_rank_of_a_group_is_replaced),
        cmocka_unit_test(test_a_group_that_stands_still_is_replaced),
        cmocka_unit_test(test_ranks_that_lose_each_other_join_again),
        cmocka_unit_test(test_items_that_break_a_rank_of_a_group_fail_alone),
        cmocka_unit_test(test_a_group_that_cannot_start_says_why),
        cmocka_unit_test(test_ranks_of_another_host_are_replaced_alone),
        cmocka_unit_test(test_a_host_that_is_away_is_waited_for),
        cmocka_unit_test(test_another_hosts_rank_with_another_model_is_refused_alone),
        cmocka_unit_test(test_hosts_that_cannot_be),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(hostfile);
    return failed;
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
