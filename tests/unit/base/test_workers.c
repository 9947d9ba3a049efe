/* test_workers.c - protects the order of tasks, and that none is lost: by a stop, or withdrawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <semaphore.h>

#include "base/workers.h"

struct fixture {
    struct workers *workers;
    sem_t gate; /* the first task waits for it, so that the others queue up */
    char order[16];
    atomic_size_t n;
};

struct named {
    struct task task;
    struct fixture *fixture;
    char name;
};

static void run(struct task *task) {
    struct named *named = (struct named *)task;
    if (named->name == 'g')
        sem_wait(&named->fixture->gate);
    named->fixture->order[atomic_fetch_add(&named->fixture->n, 1)] = named->name;
}

static void test_early_tasks_overtake(void **state) {
    (void)state;
    struct fixture fixture = {.n = 0};
    sem_init(&fixture.gate, 0, 0);
    assert_int_equal(workers_start(1, "test", &fixture.workers, NULL), LIMOE_OK);
    struct named tasks[] = {{{run, NULL}, &fixture, 'g'},
                            {{run, NULL}, &fixture, 'a'},
                            {{run, NULL}, &fixture, 'b'},
                            {{run, NULL}, &fixture, 'E'},
                            {{run, NULL}, &fixture, 'F'}};
    workers_push_early(fixture.workers, &tasks[0].task);
    workers_push(fixture.workers, &tasks[1].task);
    workers_push(fixture.workers, &tasks[2].task);
    workers_push_early(fixture.workers, &tasks[3].task);
    workers_push_early(fixture.workers, &tasks[4].task);
    assert_true(workers_wanted(fixture.workers));
    sem_post(&fixture.gate);
    workers_stop(fixture.workers);
    assert_int_equal(fixture.n, 5);
    assert_memory_equal(fixture.order, "gEFab", 5);
    sem_destroy(&fixture.gate);
}

static bool is_small(struct task *task, void *arg) {
    const struct named *named = (const struct named *)task;
    ++*(size_t *)arg;
    return named->name >= 'a' && named->name <= 'z';
}

static void test_unwanted_tasks_are_withdrawn(void **state) {
    (void)state;
    struct fixture fixture = {.n = 0};
    sem_init(&fixture.gate, 0, 0);
    assert_int_equal(workers_start(1, "test", &fixture.workers, NULL), LIMOE_OK);
    size_t asked = 0;
    assert_null(workers_withdraw(fixture.workers, is_small, &asked));
    assert_int_equal(asked, 0);

    struct named gate = {{run, NULL}, &fixture, 'g'}, early = {{run, NULL}, &fixture, 'e'};
    workers_push_early(fixture.workers, &gate.task); /* taken at once, or no ordinary task: not asked about */
    workers_push_early(fixture.workers, &early.task);
    struct named tasks[6];
    for (size_t i = 0; i < 6; i++) {
        tasks[i] = (struct named){{run, NULL}, &fixture, "aBcDef"[i]};
        workers_push(fixture.workers, &tasks[i].task);
    }
    struct task *withdrawn = workers_withdraw(fixture.workers, is_small, &asked);
    assert_int_equal(asked, 6);
    const size_t expected[] = {0, 2, 4, 5};
    for (size_t i = 0; i < 4; i++, withdrawn = withdrawn->next)
        assert_ptr_equal(withdrawn, &tasks[expected[i]].task);
    assert_null(withdrawn);

    struct named last = {
        {run, NULL}, &fixture, 'Z'}; /* the list's end is right, though its last task has gone */
    workers_push(fixture.workers, &last.task);
    sem_post(&fixture.gate);
    workers_stop(fixture.workers);
    assert_int_equal(fixture.n, 5);
    assert_memory_equal(fixture.order, "geBDZ", 5);
    sem_destroy(&fixture.gate);
}

static bool every(struct task *task, void *arg) {
    (void)task;
    (void)arg;
    return true;
}

static void test_all_tasks_may_be_withdrawn(void **state) {
    (void)state;
    struct fixture fixture = {.n = 0};
    sem_init(&fixture.gate, 0, 0);
    assert_int_equal(workers_start(1, "test", &fixture.workers, NULL), LIMOE_OK);
    struct named gate = {{run, NULL}, &fixture, 'g'}, one = {{run, NULL}, &fixture, 'a'},
                 other = {{run, NULL}, &fixture, 'b'};
    workers_push_early(fixture.workers, &gate.task);
    workers_push(fixture.workers, &one.task);
    assert_ptr_equal(workers_withdraw(fixture.workers, every, NULL), &one.task);
    assert_null(one.task.next);
    workers_push(fixture.workers, &other.task);
    sem_post(&fixture.gate);
    workers_stop(fixture.workers);
    assert_memory_equal(fixture.order, "gb", 2);
    assert_int_equal(fixture.n, 2);
    sem_destroy(&fixture.gate);
}

struct counted {
    struct task task;
    atomic_size_t *runs;
};

static void count(struct task *task) {
    atomic_fetch_add(((struct counted *)task)->runs, 1);
}

/* Each task is run by a thread or withdrawn, and none both, while threads take what another withdraws. */
static void test_a_task_is_taken_once(void **state) {
    (void)state;
    enum { TASKS = 64, ROUNDS = 200 };
    struct workers *workers;
    struct counted tasks[TASKS];
    atomic_size_t runs = 0;
    size_t withdrawn = 0;
    assert_int_equal(workers_start(2, "test", &workers, NULL), LIMOE_OK);
    for (size_t round = 1; round <= ROUNDS; round++) {
        for (size_t i = 0; i < TASKS; i++) {
            tasks[i] = (struct counted){{count, NULL}, &runs};
            workers_push(workers, &tasks[i].task);
        }
        for (struct task *task = workers_withdraw(workers, every, NULL); task; task = task->next)
            withdrawn++;
        while (atomic_load(&runs) + withdrawn < round * TASKS)
            sched_yield();
        assert_int_equal(atomic_load(&runs) + withdrawn, round * TASKS);
    }
    workers_stop(workers);
    assert_int_equal(atomic_load(&runs) + withdrawn, ROUNDS * TASKS);
}

struct again {
    struct task task;
    struct workers *workers;
    int left;
};

static void run_again(struct task *task) {
    struct again *again = (struct again *)task;
    if (again->left-- > 1)
        workers_push(again->workers, task);
}

/* As preparing in slices does; also the last pushes, while the pool is stopping. */
static void test_a_task_may_push_itself(void **state) {
    (void)state;
    struct workers *workers;
    assert_int_equal(workers_start(3, "test", &workers, NULL), LIMOE_OK);
    struct again tasks[8];
    for (size_t i = 0; i < 8; i++) {
        tasks[i] = (struct again){{run_again, NULL}, workers, 1000};
        workers_push(workers, &tasks[i].task);
    }
    workers_stop(workers);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(tasks[i].left, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_early_tasks_overtake),
        cmocka_unit_test(test_unwanted_tasks_are_withdrawn),
        cmocka_unit_test(test_all_tasks_may_be_withdrawn),
        cmocka_unit_test(test_a_task_is_taken_once),
        cmocka_unit_test(test_a_task_may_push_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
