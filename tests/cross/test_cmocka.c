/* Protects every test that is run with the stand-in: an assertion that could not fail would hide what it is for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void sound(void **state) {
    const char *given = *state;
    assert_true(1);
    assert_false(0);
    assert_null(NULL);
    assert_non_null(given);
    assert_int_equal(-1, -1);
    assert_in_range(3, 3, 4);
    assert_string_equal(given, "given");
    assert_memory_equal("ab", "ac", 1);
}

#define BROKEN(name, assertion)                                                                              \
    static void name(void **state) {                                                                         \
        (void)state;                                                                                         \
        assertion;                                                                                           \
    }
BROKEN(not_true, assert_true(0))
BROKEN(not_false, assert_false(1))
BROKEN(not_null, assert_null("a"))
BROKEN(is_null, assert_non_null(NULL))
BROKEN(other_number, assert_int_equal(1, 1ull << 32 | 1))
BROKEN(below, assert_in_range(2, 3, 4))
BROKEN(above, assert_in_range(5, 3, 4))
BROKEN(other_string, assert_string_equal("ab", "abc"))
BROKEN(other_memory, assert_memory_equal("ab", "ac", 2))
BROKEN(said, fail_msg("%d", 1))

static int teardown(void **state) {
    (void)state;
    return 0;
}

int main(void) {
    const struct CMUnitTest good[] = {cmocka_unit_test_prestate(sound, "given")};
    const struct CMUnitTest bad[] = {
        cmocka_unit_test(not_true),
        cmocka_unit_test(not_false),
        cmocka_unit_test(not_null),
        cmocka_unit_test(is_null),
        cmocka_unit_test(other_number),
        cmocka_unit_test(below),
        cmocka_unit_test(above),
        cmocka_unit_test(other_string),
        cmocka_unit_test(other_memory),
        cmocka_unit_test(said),
        cmocka_unit_test_teardown(sound, teardown),
    };
    const int all = sizeof bad / sizeof *bad;
    return cmocka_run_group_tests(good, NULL, NULL) == 0 && cmocka_run_group_tests(bad, NULL, NULL) == all
               ? 0
               : 1;
}
