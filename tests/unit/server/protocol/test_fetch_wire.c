/* Protects asks and answers between front and fetcher: what is not complete is told from what is none, and an answer that the
 * settings do not allow is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/protocol/fetch_wire.h"

static size_t make(char bytes[FETCH_ASK_MOST], uint32_t timeout_ms, const char *url) {
    const struct fetch_ask ask = {.id = 5, .timeout_ms = timeout_ms, .url_size = (uint32_t)strlen(url)};
    memcpy(bytes, &ask, sizeof ask);
    memcpy(bytes + sizeof ask, url, ask.url_size);
    return sizeof ask + ask.url_size;
}

static void test_asks(void **state) {
    (void)state;
    char bytes[FETCH_ASK_MOST];
    struct fetch_ask ask;
    const char *url;
    const size_t size = make(bytes, 9, "https://a/");
    assert_int_equal(fetch_unpack_ask(bytes, size, &ask, &url), size);
    assert_int_equal(ask.id, 5);
    assert_memory_equal(url, "https://a/", ask.url_size);
    for (size_t part = 0; part < size; part++)
        assert_int_equal(fetch_unpack_ask(bytes, part, &ask, &url), 0);
    assert_int_equal(fetch_unpack_ask(bytes, make(bytes, 1, ""), &ask, &url), sizeof ask);
}

static void test_what_is_no_ask(void **state) {
    (void)state;
    char bytes[FETCH_ASK_MOST];
    struct fetch_ask ask;
    const char *url;
    assert_int_equal(fetch_unpack_ask(bytes, make(bytes, 0, "https://a/"), &ask, &url), SIZE_MAX);
    ask = (struct fetch_ask){.timeout_ms = 1, .url_size = FETCH_URL_MOST + 1};
    memcpy(bytes, &ask, sizeof ask);
    assert_int_equal(fetch_unpack_ask(bytes, sizeof bytes, &ask, &url), SIZE_MAX);
}

static void test_answers(void **state) {
    (void)state;
    assert_true(fetch_check_answer(&(struct fetch_answer){.size = 10}, 10));
    assert_true(fetch_check_answer(&(struct fetch_answer){.outcome = FETCH_LATE, .message = "a"}, 10));
    assert_false(fetch_check_answer(&(struct fetch_answer){.size = 11}, 10));
    assert_false(fetch_check_answer(&(struct fetch_answer){.size = 0}, 10));
    assert_false(fetch_check_answer(&(struct fetch_answer){.outcome = FETCH_FAILED, .size = 1}, 10));
    assert_false(fetch_check_answer(&(struct fetch_answer){.outcome = FETCH_LOST}, 10));
    struct fetch_answer unended = {.size = 1};
    memset(unended.message, 'a', sizeof unended.message);
    assert_false(fetch_check_answer(&unended, 10));
}

static bool receives(const struct fetch_settings *sent, size_t size) {
    static struct fetch_settings got;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[0], sent, size), size);
    close(ends[0]);
    const bool good = fetch_receive_settings(ends[1], &got);
    close(ends[1]);
    return good && memcmp(sent, &got, sizeof got) == 0;
}

static void test_settings(void **state) {
    (void)state;
    static struct fetch_settings settings = {.hosts = "a.example", .networks = "::1", .most_bytes = 1};
    assert_true(receives(&settings, sizeof settings));
    assert_false(receives(&settings, sizeof settings - 1));
    settings.most_bytes = 0;
    assert_false(receives(&settings, sizeof settings));
    settings.most_bytes = 1;
    memset(settings.networks, 'a', sizeof settings.networks);
    assert_false(receives(&settings, sizeof settings));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks),
        cmocka_unit_test(test_what_is_no_ask),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
