/* Protects lists of headers: pairs as the W3C has them, and no byte that would end a header's line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/formats/header_list.h"

static void test_pairs(void **state) {
    (void)state;
    const char *list = " authorization = Bearer%20a%3db , x-empty=,last=%E7%8C%AB";
    struct header_pair pair;
    assert_int_equal(header_list_next(&list, &pair), HEADER_LIST_PAIR);
    assert_string_equal(pair.name, "authorization");
    assert_string_equal(pair.value, "Bearer a=b");
    assert_int_equal(header_list_next(&list, &pair), HEADER_LIST_PAIR);
    assert_string_equal(pair.name, "x-empty");
    assert_string_equal(pair.value, "");
    assert_int_equal(header_list_next(&list, &pair), HEADER_LIST_PAIR);
    assert_string_equal(pair.value, "猫");
    assert_int_equal(header_list_next(&list, &pair), HEADER_LIST_END);
    assert_true(header_list_check(""));
}

static void test_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"a",     "=b",        "a=b,c",  "a b=c", "a=%0a", "a=%0D%0Ab: c",
                                        "a=%zz", "a=%2",      "a=\x01", "a=%00", ",",     "a=b,,c=d",
                                        "a:b=c", "a=b,\r\n=c"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (header_list_check(wrong[i]))
            fail_msg("accepted: %s", wrong[i]);
}

static void test_lengths(void **state) {
    (void)state;
    char list[HEADER_LIST_VALUE_SIZE + 8];
    for (size_t i = 0; i < sizeof list; i++)
        list[i] = i == 1 ? '=' : 'a';
    list[HEADER_LIST_VALUE_SIZE + 1] = '\0';
    assert_true(header_list_check(list));
    list[HEADER_LIST_VALUE_SIZE + 1] = 'a';
    list[HEADER_LIST_VALUE_SIZE + 2] = '\0';
    assert_false(header_list_check(list));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_lengths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
