/* test_nearest.c - protects the distance between names: exact up to its limit, however long the names are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/front/store/nearest.h"

static void distance(const char *a, const char *b, unsigned expected) {
    assert_int_equal(nearest_distance(text_of(a), text_of(b)), expected);
    assert_int_equal(nearest_distance(text_of(b), text_of(a)), expected);
}

static void distances_are_right_up_to_their_limit(void **state) {
    (void)state;
    char a[140], b[140];
    distance("", "", 0);
    distance("abc", "abc", 0);
    distance("", "abc", 3);
    distance("", "abcd", NEAREST_FAR);
    distance("kitten", "sitting", 3);
    distance("abc", "xyz", 3);
    distance("abcd", "wxyz", NEAREST_FAR);
    distance("12345678", "2345678", 1);
    distance("123456789", "456789", 3);
    distance("0123456789", "3456789012", NEAREST_FAR);
    memset(a, 'a', sizeof a);
    memset(b, 'a', sizeof b);
    a[128] = b[128] = '\0';
    b[100] = 'b';
    distance(a, b, 1);
    b[125] = '\0';
    distance(a, b, NEAREST_FAR);
    b[125] = 'a';
    a[128] = b[128] = 'a';
    a[129] = b[129] = '\0'; /* longer than any name */
    distance(a, b, NEAREST_FAR);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_are_right_up_to_their_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
