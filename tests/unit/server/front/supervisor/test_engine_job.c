/* test_engine_job.c - protects an engine of several ranks that mpirun starts: they share steps, are lost
 * and replaced together, and are refused unless they agree. */
#include "tests/unit/server/front/supervisor/engine_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static struct fixture start_ranks_with(uint64_t step_tokens, const char *arguments, unsigned step_seconds) {
    return start_with((struct engine_options){
        .step_tokens = step_tokens,
        .step_seconds = step_seconds,
        .launch = {.ranks = RANKS, .mpirun = "/proc/self/exe", .arguments = arguments},
    });
}

static struct fixture start_ranks(uint64_t step_tokens, const char *arguments) {
    return start_ranks_with(step_tokens, arguments, 0);
}

static double metric_of(struct fixture *fixture, const char *name, uint32_t block) {
    char full[128];
    snprintf(full, sizeof full, "%s{model=\"made-up\",layer=\"%u\"}", name, block);
    return metric(fixture, full);
}

static void test_ranks_share_steps(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, NULL);
    struct text_job *jobs[8], *alone = make(1, 7);
    double tokens = alone->items[0].length;
    push(&fixture, alone); /* two ranks have nothing to do */
    wait_for(alone);
    assert_embedded(alone);
    for (int i = 0; i < 8; i++) {
        jobs[i] = make(20 + (size_t)i, 1000 * (i + 1));
        if (i % 2) {
            jobs[i]->job.expert = jobs[i]->expert;
            jobs[i]->job.gate = jobs[i]->gate;
        }
        for (size_t k = 0; k < jobs[i]->job.n; k++)
            tokens += jobs[i]->items[k].length;
        push(&fixture, jobs[i]);
    }
    for (int i = 0; i < 8; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        if (jobs[i]->job.expert)
            assert_routed(jobs[i]);
    }
    assert_int_equal(fake->processes, RANKS);
    assert_int_equal(fake->steps % RANKS, 0);
    assert_true(metric_of(&fixture, "limoe_exchange_rows_total", 1) == tokens);
    assert_true(metric_of(&fixture, "limoe_exchange_rows_total", 3) == 2 * tokens);
    assert_true(metric_of(&fixture, "limoe_exchange_bytes_total", 3) == fake->steps);
    struct engine_rank ranks[RANKS];
    assert_int_equal(engine_ranks(fixture.engine, ranks, RANKS), RANKS);
    assert_int_equal(engine_info(fixture.engine)->ranks, RANKS);
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_int_equal(ranks[r].pid, fake->ranks[r]);
        assert_int_equal(ranks[r].experts, 10 + r);
        assert_int_equal(ranks[r].dense_bytes, 1000);
        assert_int_equal(ranks[r].expert_bytes, 100 + r);
        assert_int_equal(ranks[r].gpu_used, 10 + r);
        assert_int_equal(ranks[r].gpu_total, 50);
    }
    for (int i = 0; i < 8; i++)
        text_job_free(jobs[i]);
    text_job_free(alone);
    stop(&fixture);
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(fake->ranks[r], 0); /* they took leave */
}

static void test_a_lost_rank_is_a_lost_job(void **state) {
    (void)state;
    struct fixture fixture = start_ranks_with(64, NULL, IMPATIENT);
    const int signals[RANKS] = {SIGKILL, SIGSTOP, SIGABRT}; /* a stopped one is found by its step's time */
    for (uint32_t victim = 0; victim < RANKS; victim++) {
        struct text_job *jobs[4];
        unsigned before = fake->steps;
        fake->held = true;
        for (int i = 0; i < 4; i++) {
            jobs[i] = make(100, 1000 * (i + 1));
            push(&fixture, jobs[i]);
        }
        await_steps(before + 1);
        lose_rank(victim, signals[victim]);
        if (signals[victim] != SIGSTOP)
            while (fake->processes < RANKS * (victim + 2))
                nap();
        fake->held = false;
        for (int i = 0; i < 4; i++) {
            wait_for(jobs[i]);
            assert_embedded(jobs[i]);
            text_job_free(jobs[i]);
        }
    }
    assert_int_equal(fake->processes, RANKS * (RANKS + 1));
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == RANKS);
    stop(&fixture);
}

static void test_a_lost_idle_rank_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, NULL);
    char files[64];
    lose_rank(2, SIGKILL);
    while (fake->processes < 2 * RANKS)
        nap();
    snprintf(files, sizeof files, "/tmp/limoe-job-%d", engine_pid(fixture.engine));
    assert_int_equal(access(files, F_OK), 0);
    const pid_t session = fake->session;
    lose(&fixture, SIGKILL); /* mpirun */
    while (fake->processes < 3 * RANKS)
        nap();
    kill(session, SIGKILL); /* which the front cannot find, since it has not killed mpirun itself */
    assert_int_not_equal(access(files, F_OK), 0);
    struct text_job *text = make(100, 1000);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    text_job_free(text);
    stop(&fixture);
}

/* False also of one that has ended and that nobody has reaped. */
static bool runs(pid_t pid) {
    char link[32], program[8];
    snprintf(link, sizeof link, "/proc/%d/exe", pid);
    return readlink(link, program, sizeof program) > 0;
}

/* Hosts out of reach make a job stand still: mpirun waits for one, or ranks wait for each other. It is not
 * waited for as long as a model may take to be opened. */
static void test_a_job_that_does_not_come_together_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, NULL);
    for (enum hang where = BEFORE_RANKS_COME; where < HANGS; where++) {
        struct text_job *first = make(1, 7), *text = make(100, 1000);
        push(&fixture, first);
        wait_for(first);
        fake->hang = where;
        const int64_t lost = clock_now();
        lose_rank(1, SIGKILL);
        while (fake->hang == where)
            nap();
        const pid_t session = fake->session;
        push(&fixture, text);
        wait_for(text);
        assert_embedded(text);
        assert_int_equal(fake->hang, NOWHERE);
        assert_int_not_equal(fake->session, session);
        assert_false(runs(session));
        assert_true(clock_now() - lost < 30 * CLOCK_SECOND);
        text_job_free(first);
        text_job_free(text);
    }
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == 4);
    stop(&fixture);
}

static void test_items_that_break_a_rank_fail_alone(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(1024, NULL);
    push12(&fixture, POISON);
    assert_only_the_seventh_failed("is poison");
    push12(&fixture, DEADLY);
    assert_only_the_seventh_failed("lost twice while it computed item 4, the last time alone");
    stop(&fixture);
}

static void test_only_who_has_the_token_joins(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, "--visited  --twice");
    assert_int_equal(engine_opened(fixture.engine, NULL), LIMOE_OK);
    struct text_job *text = make(100, 1000);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, RANKS);
    text_job_free(text);
    stop(&fixture);
}

static void test_ranks_that_do_not_agree_are_refused(void **state) {
    (void)state;
    static const char *const reasons[PRETENCES] = {
        [ANOTHERS_RANK] = "two ranks say that they are rank 0",
        [NO_SUCH_RANK] = "rank 7 of 8, in a job of 3",
        [ANOTHER_MODEL] =
            "rank 1 does not compute as rank 0 does: it has made-up 0123456789abcdef7777777777777777",
        [NO_MODEL] = "rank 1 cannot open made-up",
    };
    for (enum pretence pretence = ANOTHERS_RANK; pretence < PRETENCES; pretence++) {
        struct limoe_error err;
        fake->pretence = pretence;
        struct fixture fixture = start_ranks(64, NULL);
        assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_CORRUPT);
        assert_non_null(strstr(err.message, reasons[pretence]));
        fake->pretence = NOTHING;
        stop(&fixture);
    }
}

static void test_a_job_that_cannot_start_says_why(void **state) {
    (void)state;
    const struct {
        struct launch_options launch;
        const char *reason;
    } cases[] = {
        {{.ranks = 2, .mpirun = "/nowhere/mpirun"},
         "cannot start \"/nowhere/mpirun\": No such file or directory"},
        {{.ranks = 2, .mpirun = "/bin/false"}, "mpirun exited with status 1"},
        {{.ranks = 2, .mpirun = "/bin/true", .address = "no.such.host.invalid"}, "is no address for ranks"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct limoe_error err;
        struct fixture fixture =
            start_with((struct engine_options){.step_tokens = 64, .launch = cases[i].launch});
        assert_int_not_equal(engine_opened(fixture.engine, &err), LIMOE_OK);
        assert_non_null(strstr(err.message, cases[i].reason));
        stop(&fixture);
    }
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranks_share_steps),
        cmocka_unit_test(test_a_lost_rank_is_a_lost_job),
        cmocka_unit_test(test_a_lost_idle_rank_is_replaced),
        cmocka_unit_test(test_a_job_that_does_not_come_together_is_replaced),
        cmocka_unit_test(test_items_that_break_a_rank_fail_alone),
        cmocka_unit_test(test_only_who_has_the_token_joins),
        cmocka_unit_test(test_ranks_that_do_not_agree_are_refused),
        cmocka_unit_test(test_a_job_that_cannot_start_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    return fixture_main(argc, argv, run);
}
