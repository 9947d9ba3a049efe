/* Protects: which backend a device's name gets, what is said where there is no GPU or no module for it, and
 * what packed weights are said to take.
 *
 * The argument is a module whose GPUs are made up (gpus_module.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "tests/unit/files.h"

static void expect_failure(const char *device, enum limoe_status expected, const char *message) {
    struct kernels *k = (struct kernels *)8;
    struct limoe_error err = {0};
    assert_int_equal(kernels_create(device, LIMOE_DTYPE_AUTO, 1, &k, &err), expected);
    assert_null(k);
    if (!strstr(err.message, message))
        fail_msg("\"%s\" has no \"%s\"", err.message, message);
}

static void expect_name(const char *device, enum kernels_kind kind, enum limoe_dtype dtype,
                        const char *name) {
    struct kernels *k;
    struct limoe_error err = {0};
    enum kernels_kind said;
    if (kernels_create(device, dtype, 1, &k, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    if (strncmp(k->name, name, strlen(name)) != 0)
        fail_msg("%s for \"%s\"", k->name, device ? device : "");
    assert_int_equal(k->kind, kind);
    assert_int_equal(kernels_kind_of(device, &said, &err), LIMOE_OK);
    assert_int_equal(said, kind);
    if (dtype != LIMOE_DTYPE_AUTO)
        assert_int_equal(k->dtype, dtype);
    assert_int_equal(kernels_dtype(kind, dtype, &dtype, &err), LIMOE_OK);
    assert_int_equal(k->dtype, dtype);
    k->ops->destroy(k);
}

static void names(void **state) {
    static const char *const wrong[] = {"",       "CPU",     "gpu",     "cuda:",     "cuda:-1",
                                        "cuda:x", "cuda:1 ", "cuda:01", "cuda:1024", "cuda:99999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_failure(wrong[i], LIMOE_INVALID, "accepted: auto, cpu, cuda, cuda:N");
    expect_name("cpu", KERNELS_CPU, LIMOE_FLOAT32, "cpu-");
}

static void without_a_module(void **state) {
    char why[256];
    (void)state;
    assert_int_equal(setenv("LIMOE_MODULES", "/nowhere", 1), 0);
    expect_failure("cuda", LIMOE_UNSUPPORTED, "no module for GPUs: there is no /nowhere/limoe-cuda.so");
    expect_failure("cuda:1", LIMOE_UNSUPPORTED, "no module for GPUs");
    expect_name("auto", KERNELS_CPU, LIMOE_DTYPE_AUTO, "cpu-");
    expect_name(NULL, KERNELS_CPU, LIMOE_DTYPE_AUTO, "cpu-");
    assert_int_equal(limoe_gpus(why, sizeof why), 0);
    assert_non_null(strstr(why, "/nowhere/limoe-cuda.so"));
    assert_int_equal(limoe_gpus(NULL, 0), 0);
}

static void with_a_module(void **state) {
    char dir[FOLDER_SIZE], path[FOLDER_SIZE + 32], why[256];
    char *module = realpath(*state, NULL);
    assert_non_null(module);
    folder_make(dir);
    snprintf(path, sizeof path, "%s/limoe-cuda.so", dir);
    assert_int_equal(symlink(module, path), 0);
    free(module);
    assert_int_equal(setenv("LIMOE_MODULES", dir, 1), 0);

    expect_failure("cuda", LIMOE_UNSUPPORTED, "no GPU was found: the driver counts 0");
    expect_name("auto", KERNELS_CPU, LIMOE_DTYPE_AUTO, "cpu-");
    assert_int_equal(limoe_gpus(why, sizeof why), 0);
    assert_string_equal(why, "the driver counts 0");

    assert_int_equal(setenv("LIMOE_TEST_GPUS", "2", 1), 0);
    assert_int_equal(limoe_gpus(why, sizeof why), 2);
    assert_string_equal(why, "");
    expect_name("auto", KERNELS_CUDA, LIMOE_DTYPE_AUTO, "made-up-0");
    expect_name(NULL, KERNELS_CUDA, LIMOE_FLOAT32, "made-up-0");
    expect_name("cuda", KERNELS_CUDA, LIMOE_BFLOAT16, "made-up-0");
    expect_name("cuda:1", KERNELS_CUDA, LIMOE_DTYPE_AUTO, "made-up-1");
    expect_name("cpu", KERNELS_CPU, LIMOE_DTYPE_AUTO, "cpu-");
    expect_failure("cuda:2", LIMOE_UNSUPPORTED, "this machine has 2 GPUs, cuda:0 to cuda:1");
    assert_int_equal(folder_remove(dir), 0);
}

/* Rows to 16, columns to 8. */
static void sizes(void **state) {
    enum limoe_dtype dtype;
    (void)state;
    assert_int_equal(kernels_dtype(KERNELS_CUDA, LIMOE_DTYPE_AUTO, &dtype, NULL), LIMOE_OK);
    assert_int_equal(dtype, LIMOE_BFLOAT16);
    struct limoe_error err;
    assert_int_equal(kernels_dtype(KERNELS_CUDA, LIMOE_INT8, &dtype, &err), LIMOE_UNSUPPORTED);
    assert_non_null(strstr(err.message, "accepted on a GPU: auto, float32, bfloat16"));
    assert_int_equal(kernels_dtype(KERNELS_CPU, LIMOE_INT8, &dtype, &err), LIMOE_OK);
    assert_int_equal(dtype, LIMOE_INT8);
    /* 16 channels of 4 + 4 bytes, and of 64 weights each */
    assert_int_equal(kernels_packed_bytes(KERNELS_CPU, LIMOE_INT8, 17, 9), 2 * 16 * (8 + 64));
    assert_int_equal(kernels_packed_bytes(KERNELS_CUDA, LIMOE_BFLOAT16, 16, 8), 16 * 8 * 2);
    assert_int_equal(kernels_packed_bytes(KERNELS_CUDA, LIMOE_FLOAT32, 17, 9), 32 * 16 * 4);
    assert_int_equal(kernels_packed_bytes(KERNELS_CPU, LIMOE_FLOAT32, 17, 9),
                     kernels_cpu_packed_bytes(LIMOE_FLOAT32, 17, 9));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(without_a_module),
        cmocka_unit_test_prestate(with_a_module, argc > 1 ? argv[1] : ""),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
