/* test_workers.c - protects the order of tasks, and that stopping loses none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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
        cmocka_unit_test(test_a_task_may_push_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
