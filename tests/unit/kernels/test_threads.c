/* The pool of threads, and the choice of an instruction set. */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cpu/cpuid.h"
#include "kernels/cpu/threads.h"
#include "tests/unit/kernels/fixture.h"

enum { CHUNKS = 97 };

struct counts {
    _Atomic uint32_t runs[CHUNKS];
    uint32_t threads;
    _Atomic bool strange;
};

static void count(void *context, uint32_t chunk, uint32_t thread) {
    struct counts *c = context;
    if (chunk >= CHUNKS || thread >= c->threads)
        atomic_store(&c->strange, true);
    else
        atomic_fetch_add(&c->runs[chunk], 1);
}

/* Thousands of loops back to back and after sleeps: each chunk of each loop runs once, before run returns. */
static void every_chunk_runs_once(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= 5; n += 2) {
        struct threads *t;
        struct limoe_error err;
        assert_int_equal(threads_create(n, &t, &err), LIMOE_OK);
        assert_int_equal(threads_count(t), n);
        for (uint32_t loop = 0; loop < 3000; loop++) {
            struct counts c = {.threads = n};
            uint32_t chunks = loop % (CHUNKS + 1);
            threads_run(t, chunks, count, &c);
            for (uint32_t i = 0; i < CHUNKS; i++)
                assert_int_equal(atomic_load(&c.runs[i]), i < chunks);
            assert_false(atomic_load(&c.strange));
            if (loop % 500 == 499) /* long enough for the others to fall asleep */
                nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        }
        threads_destroy(t);
    }
    threads_destroy(NULL);
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* An idle server takes no processor time: the pool sleeps soon after its last loop, as soon as each thread
 * has had a processor to notice on. */
static void idle_threads_sleep(void **state) {
    (void)state;
    struct threads *t;
    struct limoe_error err;
    assert_int_equal(threads_create(3, &t, &err), LIMOE_OK);
    struct counts c = {.threads = 3};
    threads_run(t, CHUNKS, count, &c);
    double used = 1;
    for (int i = 0; i < 20 && used >= 0.02; i++) {
        const double before = processor_seconds();
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        used = processor_seconds() - before;
    }
    assert_true(used < 0.02);
    threads_destroy(t);
}

static void no_more_threads_than_allowed(void **state) {
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    uint32_t allowed = (uint32_t)CPU_COUNT(&all);
    struct kernels *k;
    struct limoe_error err;
    assert_int_equal(kernels_cpu_create(LIMOE_FLOAT32, 0, &k, &err), LIMOE_OK);
    assert_int_equal(k->threads, allowed);
    k->ops->destroy(k);
    assert_int_equal(kernels_cpu_create(LIMOE_FLOAT32, allowed + 5, &k, &err), LIMOE_OK);
    assert_int_equal(k->threads, allowed);
    k->ops->destroy(k);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all)) {
            CPU_SET(i, &one);
            break;
        }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(kernels_cpu_create(LIMOE_FLOAT32, 2, &k, &err), LIMOE_OK);
    assert_int_equal(k->threads, 1);
    k->ops->destroy(k);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* LIMOE_ISA: each present name is obeyed, others are refused with what there is; AUTO follows the set. */
static void environment_names_the_instruction_set(void **state) {
    (void)state;
    struct kernels *k = NULL;
    struct limoe_error err = {0};
    const struct isa *best = NULL;
    for (size_t i = 0; isa_at(i); i++) {
        setenv("LIMOE_ISA", isa_at(i)->name, 1);
        if (!isa_present(isa_at(i))) {
            assert_int_equal(kernels_cpu_create(LIMOE_DTYPE_AUTO, 1, &k, &err), LIMOE_UNSUPPORTED);
            assert_non_null(strstr(err.message, isa_at(i)->name));
            continue;
        }
        assert_int_equal(kernels_cpu_create(LIMOE_DTYPE_AUTO, 1, &k, &err), LIMOE_OK);
        assert_string_equal(k->name, isa_at(i)->backend);
        assert_int_equal(k->dtype, isa_at(i)->fast_bf16 ? LIMOE_BFLOAT16 : LIMOE_FLOAT32);
        k->ops->destroy(k);
        best = isa_at(i);
    }
    setenv("LIMOE_ISA", "mmx", 1);
    assert_int_equal(kernels_cpu_create(LIMOE_DTYPE_AUTO, 1, &k, &err), LIMOE_UNSUPPORTED);
    assert_null(k);
    assert_non_null(strstr(err.message, "LIMOE_ISA is \"mmx\"; this machine has generic"));
    unsetenv("LIMOE_ISA");
    assert_int_equal(kernels_cpu_create(LIMOE_BFLOAT16, 1, &k, &err), LIMOE_OK);
    assert_string_equal(k->name, best->backend);
    assert_int_equal(k->dtype, LIMOE_BFLOAT16);
    k->ops->destroy(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_chunk_runs_once),
        cmocka_unit_test(idle_threads_sleep),
        cmocka_unit_test(no_more_threads_than_allowed),
        cmocka_unit_test(environment_names_the_instruction_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
