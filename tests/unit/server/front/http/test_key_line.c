/* test_key_line.c - protects what a line of a key file may say, and that no message shows a key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/front/http/key_line.h"

#define KEY "secret-key-0123456789"

static void what_is_said_is_read(void **state) {
    (void)state;
    struct key_line line;
    struct limoe_error err;
    assert_int_equal(key_line_read("keys", 1, text_of(KEY), &line, &err), LIMOE_OK);
    assert_true(text_is(line.key, KEY) && !line.name.data);
    assert_int_equal(line.quota[ACCOUNT_REQUESTS], 0);
    const char *all = KEY "  tokens-per-minute=1000000000 name=A.b_c-9   requests-per-minute=1 ";
    assert_int_equal(key_line_read("keys", 1, text_of(all), &line, &err), LIMOE_OK);
    assert_true(text_is(line.key, KEY) && text_is(line.name, "A.b_c-9"));
    assert_int_equal(line.quota[ACCOUNT_REQUESTS], 1);
    assert_int_equal(line.quota[ACCOUNT_TOKENS], 1000000000);
    assert_int_equal(key_line_read("keys", 1, text_of(KEY "#=\"~ name=a"), &line, &err), LIMOE_OK);
    assert_true(text_is(line.key, KEY "#=\"~"));
}

static void all_else_is_refused(void **state) {
    (void)state;
    char long_name[128] = KEY " name=";
    memset(long_name + strlen(long_name), 'n', KEY_NAME_MOST + 1);
    const struct {
        const char *line, *message;
    } table[] = {
        {"", "the key has 0 bytes"},
        {" " KEY " " KEY,
         "word 1 behind the key is not accepted; accepted: name=NAME, requests-per-minute=N"},
        {KEY " name=a colour=red", "word 2 behind the key is not accepted"},
        {KEY " Name=a", "word 1 behind the key is not accepted"},
        {KEY " name", "word 1 behind the key is not accepted"},
        {KEY " name=", "the name has 0 bytes"},
        {KEY " name=a/b", "the name has 3 bytes, or others than letters"},
        {KEY " name=a\"b", "the name has 3 bytes, or others than letters"},
        {long_name, "the name has 65 bytes, or others than letters, digits and . _ -; accepted are 1 to 64"},
        {KEY " name=a name=b", "name is there twice"},
        {KEY " name=a tokens-per-minute=1 tokens-per-minute=1", "tokens-per-minute is there twice"},
        {KEY " name=a requests-per-minute=",
         "requests-per-minute is \"\"; accepted: a whole number from 1 to"},
        {KEY " name=a requests-per-minute=0", "requests-per-minute is \"0\""},
        {KEY " name=a requests-per-minute=-1", "requests-per-minute is \"-1\""},
        {KEY " name=a requests-per-minute=1.5", "requests-per-minute is \"1.5\""},
        {KEY " name=a tokens-per-minute=1000000001", "tokens-per-minute is \"1000000001\""},
        {KEY " name=a tokens-per-minute=18446744073709551617",
         "tokens-per-minute is \"18446744073709551617\""},
        {KEY " requests-per-minute=1", "the key has a quota and no name"},
        {KEY " name=a\t", "byte 29 of the line is not accepted"},
        {KEY " name=\xc3\xa9", "byte 28 of the line is not accepted"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct key_line line;
        struct limoe_error err = {0};
        assert_int_equal(key_line_read("keys", 7, text_of(table[i].line), &line, &err), LIMOE_INVALID);
        if (strncmp(err.message, "keys:7: ", 8) != 0 || !strstr(err.message, table[i].message))
            fail_msg("\"%s\" does not say \"%s\"", err.message, table[i].message);
        assert_null(strstr(err.message, "secret"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_said_is_read),
                                       cmocka_unit_test(all_else_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
