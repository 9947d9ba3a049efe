/* Which ranks there are: one without a module, and a message that helps where a module is not there, is no
 * module, or is one of another version. What ranks do together is tested in tests/ranks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "experts/exchange.h"
#include "tests/unit/files.h"

static void one_rank(void **state) {
    (void)state;
    struct limoe_ranks *ranks;
    struct limoe_error err;
    uint64_t value[2] = {3, 7}, all[2] = {0};
    assert_int_equal(limoe_ranks_open("local", &ranks, &err), LIMOE_OK);
    assert_int_equal(limoe_ranks_count(ranks), 1);
    assert_int_equal(limoe_ranks_rank(ranks), 0);
    const struct exchange *x = exchange_of(ranks);
    x->ops->gather(x, value, sizeof value, all, NULL);
    assert_memory_equal(all, value, sizeof value);
    x->ops->largest(x, all, 2, NULL);
    assert_memory_equal(all, value, sizeof value);
    limoe_ranks_close(ranks);
    limoe_ranks_close(NULL);
    assert_int_equal(exchange_of(NULL)->ranks, 1);
}

static void expect_unsupported(const char *kind, const char *message) {
    struct limoe_ranks *ranks = (struct limoe_ranks *)8;
    struct limoe_error err = {0};
    assert_int_equal(limoe_ranks_open(kind, &ranks, &err), LIMOE_UNSUPPORTED);
    assert_null(ranks);
    if (!strstr(err.message, message))
        fail_msg("\"%s\" has no \"%s\"", err.message, message);
}

static void no_such_ranks(void **state) {
    (void)state;
    char dir[FOLDER_SIZE], path[FOLDER_SIZE + 32];
    folder_make(dir);
    assert_int_equal(setenv("LIMOE_MODULES", dir, 1), 0);
    expect_unsupported("", "accepted: local, mpi, nccl");
    expect_unsupported("MPI", "accepted: local, mpi, nccl");
    expect_unsupported("../mpi", "accepted: local, mpi, nccl");
    expect_unsupported("mpi", "limoe-mpi.so (LIMOE_MODULES may name another directory)");

    snprintf(path, sizeof path, "%s/limoe-mpi.so", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs("no module", f);
    assert_int_equal(fclose(f), 0);
    expect_unsupported("mpi", "cannot load a module");
    assert_int_equal(folder_remove(dir), 0);
}

/* Ranks that are told who they are, on GPUs. */
static void expect_unplaced(const char *device, uint32_t rank, enum limoe_status status,
                            const char *message) {
    const struct limoe_rank_identity identity = {.rank = rank, .count = 2, .device = device};
    struct limoe_ranks *ranks = (struct limoe_ranks *)8;
    struct limoe_error err = {0};
    assert_int_equal(limoe_ranks_open_at("nccl", &identity, &ranks, &err), status);
    assert_null(ranks);
    if (!strstr(err.message, message))
        fail_msg("\"%s\" has no \"%s\"", err.message, message);
}

static void placed_ranks(void **state) {
    (void)state;
    assert_int_equal(setenv("LIMOE_MODULES", "/nowhere", 1), 0);
    expect_unplaced("cpu", 0, LIMOE_UNSUPPORTED,
                    "compute on GPUs; device is \"cpu\"; accepted: cuda, cuda:N");
    expect_unplaced(NULL, 0, LIMOE_UNSUPPORTED, "compute on GPUs; device is \"auto\"");
    expect_unplaced("cuda:1", 2, LIMOE_INVALID, "rank 2 of 2");
    expect_unplaced("cuda:1", 1, LIMOE_UNSUPPORTED, "there is no /nowhere/limoe-nccl.so");
}

/* The argument is a module of a version that never was. */
static void other_version(void **state) {
    char dir[FOLDER_SIZE], path[FOLDER_SIZE + 32];
    folder_make(dir);
    snprintf(path, sizeof path, "%s/limoe-other.so", dir);
    char *module = realpath(*state, NULL);
    assert_non_null(module);
    assert_int_equal(symlink(module, path), 0);
    free(module);
    assert_int_equal(setenv("LIMOE_MODULES", dir, 1), 0);
    expect_unsupported("other", "is not of this version of limoe");
    assert_int_equal(folder_remove(dir), 0);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank),
        cmocka_unit_test(no_such_ranks),
        cmocka_unit_test(placed_ranks),
        cmocka_unit_test_prestate(other_version, argc > 1 ? argv[1] : ""),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
