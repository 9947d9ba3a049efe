/* test_target.c - protects how a picture's URL is read, above all what is not taken for one, and which hosts an
 * operator's list allows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/fetcher/target.h"

static void a_plain_url_is_read(void **state) {
    (void)state;
    static const struct {
        const char *url, *host, *path;
        uint16_t port;
        bool http;
    } urls[] = {
        {"https://a.example", "a.example", "", 443, false},
        {"HTTPS://A.Example./x.png?y=@z:1#part", "a.example", "/x.png?y=@z:1", 443, false},
        {"http://a-b_c.example:8080?q", "a-b_c.example", "?q", 8080, true},
        {"http://127.0.0.1:65535/", "127.0.0.1", "/", 65535, true},
        {"https://[::1]:1/http://b", "::1", "/http://b", 1, false},
        {"https://[0:0:0:0:0:FFFF:7F00:1]", "::ffff:127.0.0.1", "", 443, false},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct target target;
        struct limoe_error err;
        assert_int_equal(target_read(text_of(urls[i].url), &target, &err), LIMOE_OK);
        assert_string_equal(target.host, urls[i].host);
        assert_int_equal(target.port, urls[i].port);
        assert_int_equal(target.http, urls[i].http);
        assert_true(text_is(target.path, urls[i].path));
    }
}

static void what_is_odd_is_refused_with_its_reason(void **state) {
    (void)state;
    static const struct {
        const char *url, *why;
    } urls[] = {
        {"file:///etc/passwd", "begins with"},
        {"gopher://a.example/", "begins with"},
        {"ftp://a.example/", "begins with"},
        {"//a.example/", "begins with"},
        {"https:/a.example", "begins with"},
        {"", "begins with"},
        {"https://good.example@127.0.0.1/", "user name"},
        {"https://a:b@good.example/", "user name"},
        {"https://good.example\\@127.0.0.1/", "no character"},
        {"https://good.example\t/", "no character"},
        {"https://g\xc3\xb6od.example/", "no character"},
        {"https://a.example/a b", "no character"},
        {"https://a.example/\r\nHost: b", "no character"},
        {"https://2130706433/", "host is"},
        {"https://0177.0.0.1/", "host is"},
        {"https://0x7f000001/", "host is"},
        {"https://0x7f.0.0.1/", "host is"},
        {"https://127.0.0x1/", "host is"},
        {"https://127.1/", "host is"},
        {"https://127.0.0.01/", "host is"},
        {"https://256.0.0.1/", "host is"},
        {"https://127.0.0.1../", "host is"},
        {"https://%31%32%37.0.0.1/", "host is"},
        {"https://[::1/", "host is"},
        {"https://[::1]x/", "host is"},
        {"https://[fe80::1%25eth0]/", "host is"},
        {"https://[]/", "host is"},
        {"https:///x", "host is"},
        {"https://.a.example/", "host is"},
        {"https://a..example/", "host is"},
        {"https://a.example:/", "host is"},
        {"https://a.example:0/", "host is"},
        {"https://a.example:080/", "host is"},
        {"https://a.example:65536/", "host is"},
        {"https://a.example:-1/", "host is"},
        {"https://a.example:80:80/", "host is"},
        {"https://::1/", "host is"},
        {"https://*.example/", "host is"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct target target;
        struct limoe_error err;
        if (target_read(text_of(urls[i].url), &target, &err) != LIMOE_INVALID)
            fail_msg("%s is taken for %s", urls[i].url, target.host);
        if (!strstr(err.message, urls[i].why))
            fail_msg("%s: %s", urls[i].url, err.message);
    }
}

static void a_nul_and_what_is_too_long_are_refused(void **state) {
    (void)state;
    static const char nul[] = "https://good.example\0.evil.example/";
    char url[FETCH_URL_MOST + 1];
    struct target target;
    struct limoe_error err;
    assert_int_equal(target_read((struct text){nul, sizeof nul - 1}, &target, &err), LIMOE_INVALID);
    memset(url, 'a', sizeof url);
    memcpy(url, "https://a/", 10);
    assert_int_equal(target_read((struct text){url, sizeof url - 1}, &target, &err), LIMOE_OK);
    assert_int_equal(target_read((struct text){url, sizeof url}, &target, &err), LIMOE_INVALID);
    url[9] = 'a'; /* all of it is a host now */
    assert_int_equal(target_read((struct text){url, sizeof url - 1}, &target, &err), LIMOE_INVALID);
    assert_int_equal(target_read((struct text){url, 8 + 63}, &target, &err), LIMOE_OK);
    assert_int_equal(target_read((struct text){url, 8 + 64}, &target, &err), LIMOE_INVALID);
}

static bool allowed(const char *url, const struct target_rules *rules) {
    struct target target;
    struct limoe_error err;
    assert_int_equal(target_read(text_of(url), &target, &err), LIMOE_OK);
    return target_is_allowed(&target, rules);
}

static void a_list_allows_what_it_says(void **state) {
    (void)state;
    struct target_rules rules;
    struct limoe_error err;
    assert_int_equal(
        target_read_rules("A.example, *.b.example:8443,http://c.example,http://[::1]:81,127.0.0.1",
                          "image-hosts", &rules, &err),
        LIMOE_OK);
    static const char *const open[] = {"https://a.example/x",      "https://a.EXAMPLE.:443",
                                       "https://x.b.example:8443", "https://y.x.b.example:8443",
                                       "http://c.example",         "http://[0::1]:81/",
                                       "https://127.0.0.1"};
    static const char *const shut[] = {"http://a.example",
                                       "https://a.example:80",
                                       "https://xa.example",
                                       "https://x.a.example",
                                       "https://b.example:8443",
                                       "https://xxb.example:8443",
                                       "https://x.b.example",
                                       "https://c.example",
                                       "https://c.example:80",
                                       "http://[::1]",
                                       "https://a.example.evil.example"};
    for (size_t i = 0; i < sizeof open / sizeof *open; i++)
        if (!allowed(open[i], &rules))
            fail_msg("%s is refused", open[i]);
    for (size_t i = 0; i < sizeof shut / sizeof *shut; i++)
        if (allowed(shut[i], &rules))
            fail_msg("%s is allowed", shut[i]);
}

static void a_list_that_is_none_is_refused(void **state) {
    (void)state;
    static const char *const lists[] = {
        "",      "*",     "*.",          "a,",      "a/b",   "a?b",      "ftp://a", "user@a",         "a:0",
        "*.*.a", "a.*.b", "*.127.0.0.1", "*.[::1]", "127.1", "https://", "a b",     "http://http://a"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct target_rules rules;
        struct limoe_error err;
        if (target_read_rules(lists[i], "image-hosts", &rules, &err) != LIMOE_INVALID)
            fail_msg("\"%s\" is taken", lists[i]);
        assert_non_null(strstr(err.message, "image-hosts has \""));
    }
}

static void a_list_is_bounded(void **state) {
    (void)state;
    char list[2 * TARGET_MOST_RULES + 2] = "a";
    struct target_rules rules;
    struct limoe_error err;
    for (int i = 1; i < TARGET_MOST_RULES; i++)
        strcat(list, ",a");
    assert_int_equal(target_read_rules(list, "image-hosts", &rules, &err), LIMOE_OK);
    assert_int_equal(rules.n, TARGET_MOST_RULES);
    strcat(list, ",a");
    assert_int_equal(target_read_rules(list, "image-hosts", &rules, &err), LIMOE_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_url_is_read),
        cmocka_unit_test(what_is_odd_is_refused_with_its_reason),
        cmocka_unit_test(a_nul_and_what_is_too_long_are_refused),
        cmocka_unit_test(a_list_allows_what_it_says),
        cmocka_unit_test(a_list_that_is_none_is_refused),
        cmocka_unit_test(a_list_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
