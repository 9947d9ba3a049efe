/* Protects: bench/peak has products to measure for every instruction set and dtype that the kernels compute on this
 * machine, runs them, and prints rates of all. Arguments: the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/peak_loops.h"
#include "kernels/cpu/cpuid.h"

static const char *const dtypes[] = {"float32", "bfloat16", "int8"};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static const char *program;

static void test_every_set_has_loops(void **state) {
    (void)state;
    for (size_t i = 0; isa_at(i); i++)
        for (size_t d = 0; d < DTYPES; d++) {
            size_t found = 0;
            for (size_t l = 0; peak_loop_at(l); l++)
                found += peak_loop_is_of(peak_loop_at(l), isa_at(i)->name, dtypes[d]) &&
                         peak_loop_at(l)->operations > 0;
            assert_true(found > 0);
        }
}

static void test_names_are_whole_words(void **state) {
    const struct peak_loop *loop = peak_loop_at(0);
    (void)state;
    assert_true(peak_loop_is_of(loop, "generic", "float32"));
    assert_false(peak_loop_is_of(loop, "gener", "float32"));
    assert_false(peak_loop_is_of(loop, "generic", "float"));
    assert_false(peak_loop_is_of(loop, "no-such", "float32"));
}

/* An instruction that the processor lacks would end the program here. */
static void test_loops_run(void **state) {
    (void)state;
    for (size_t i = 0; isa_at(i); i++)
        for (size_t l = 0; isa_present(isa_at(i)) && peak_loop_at(l); l++) {
            const struct peak_loop *loop = peak_loop_at(l);
            for (size_t d = 0; d < DTYPES; d++)
                if (peak_loop_is_of(loop, isa_at(i)->name, dtypes[d]) && loop->present())
                    loop->run(1000, NULL, 0);
        }
}

static void test_rates(void **state) {
    char command[4096], out[4096] = "";
    (void)state;
    snprintf(command, sizeof command, "'%s' --threads 2 --seconds 0.01", program);
    FILE *f = popen(command, "r"); /* NOLINT(cert-env33-c): the command is this file's own */
    assert_non_null(f);
    const size_t size = fread(out, 1, sizeof out - 1, f);
    assert_int_equal(pclose(f), 0);
    assert_true(size > 0 && out[size - 1] == '\n');
    for (size_t d = 0; d < DTYPES; d++) {
        const char *at = strstr(out, dtypes[d]), *one = at ? strstr(at, "\"one_gflops\": ") : NULL;
        assert_non_null(one);
        assert_true(strtod(one + strlen("\"one_gflops\": "), NULL) > 0);
    }
    const char *read = strstr(out, "\"all_gb_s\": ");
    assert_non_null(read);
    assert_true(strtod(read + strlen("\"all_gb_s\": "), NULL) > 0);
}

static void test_command_lines_that_are_wrong(void **state) {
    static const char *const wrong[] = {"--threads 0", "--seconds x", "--no-such", "more"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char command[4096];
        snprintf(command, sizeof command, "'%s' %s 2>/dev/null", program, wrong[i]);
        assert_int_not_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_set_has_loops),
        cmocka_unit_test(test_names_are_whole_words),
        cmocka_unit_test(test_loops_run),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_command_lines_that_are_wrong),
    };
    if (argc != 2)
        return 1;
    program = argv[1];
    return cmocka_run_group_tests_name("peak", tests, NULL, NULL);
}
