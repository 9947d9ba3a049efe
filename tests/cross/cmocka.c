/* cmocka.c - what the kernels' tests call of cmocka, over its own header.
 *
 * Debian has the library for another processor only as that architecture's package, which a machine must be
 * told to mix with its own. A case that fails leaves by longjmp and the next one begins; a crash ends the
 * program, and `meson test` says so. Reports are TAP. test_cmocka.c shows that each assertion can fail.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Where the case that runs goes on when it has failed. Assertions are made on the main thread alone. */
static jmp_buf failed;

void print_error(const char *const format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
}

void _fail(const char *const file, const int line) {
    print_error("%s:%d: the case failed here\n", file, line);
    longjmp(failed, 1);
}

void _assert_true(const LargestIntegralType result, const char *const expression, const char *const file,
                  const int line) {
    if (result)
        return;
    print_error("not so: %s\n", expression);
    _fail(file, line);
}

void _assert_int_equal(const LargestIntegralType a, const LargestIntegralType b, const char *const file,
                       const int line) {
    if (a == b)
        return;
    print_error("%#jx is not %#jx\n", (uintmax_t)a, (uintmax_t)b);
    _fail(file, line);
}

void _assert_in_range(const LargestIntegralType value, const LargestIntegralType minimum,
                      const LargestIntegralType maximum, const char *const file, const int line) {
    if (minimum <= value && value <= maximum)
        return;
    print_error("%ju is not within %ju and %ju\n", (uintmax_t)value, (uintmax_t)minimum, (uintmax_t)maximum);
    _fail(file, line);
}

void _assert_string_equal(const char *const a, const char *const b, const char *const file, const int line) {
    if (!strcmp(a, b))
        return;
    print_error("\"%s\" is not \"%s\"\n", a, b);
    _fail(file, line);
}

void _assert_memory_equal(const void *const a, const void *const b, const size_t size, const char *const file,
                          const int line) {
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i]) {
            print_error("byte %zu is %#x, not %#x\n", i, x[i], y[i]);
            _fail(file, line);
        }
}

static int passes(const struct CMUnitTest *test) {
    void *state = test->initial_state;
    if (setjmp(failed))
        return 0;
    test->test_func(&state);
    return 1;
}

/* How many failed. Fixtures of cmocka's own no test here has; one that had would be told. */
int _cmocka_run_group_tests(const char *group_name, const struct CMUnitTest *const tests,
                            const size_t num_tests, CMFixtureFunction group_setup,
                            CMFixtureFunction group_teardown) {
    int failures = 0;
    printf("1..%zu\n", num_tests);
    for (size_t i = 0; i < num_tests; i++) {
        const int foreign = group_setup || group_teardown || tests[i].setup_func || tests[i].teardown_func;
        const int ok = !foreign && passes(&tests[i]);
        if (foreign)
            print_error("%s: tests/cross/cmocka.c has no setup and teardown\n", group_name);
        printf("%s %zu - %s\n", ok ? "ok" : "not ok", i + 1, tests[i].name);
        fflush(stdout);
        failures += !ok;
    }
    return failures;
}
