/* Protects asks and answers between front and relay: what neither may send is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/protocol/relay_wire.h"

static void test_asks(void **state) {
    (void)state;
    assert_true(relay_check_ask(&(struct relay_ask){.timeout_ms = 1, .size = RELAY_BODY_MOST}));
    assert_true(relay_check_ask(
        &(struct relay_ask){.timeout_ms = 1, .size = 1, .endpoint = RELAY_COMPLETIONS, .streamed = 1}));
    assert_false(relay_check_ask(&(struct relay_ask){.timeout_ms = 1, .size = RELAY_BODY_MOST + 1}));
    assert_false(relay_check_ask(&(struct relay_ask){.size = 1}));
    assert_false(relay_check_ask(&(struct relay_ask){.timeout_ms = 1}));
    assert_false(
        relay_check_ask(&(struct relay_ask){.timeout_ms = 1, .size = 1, .endpoint = RELAY_ENDPOINTS}));
    assert_false(relay_check_ask(&(struct relay_ask){.timeout_ms = 1, .size = 1, .streamed = 2}));
    assert_true(relay_check_ask(&(struct relay_ask){.kind = RELAY_TAKE_BACK}));
    assert_false(relay_check_ask(&(struct relay_ask){.kind = RELAY_TAKE_BACK, .size = 1}));
    assert_true(relay_check_ask(&(struct relay_ask){.kind = RELAY_TAKEN, .size = UINT64_MAX}));
    assert_false(relay_check_ask(&(struct relay_ask){.kind = RELAY_KINDS, .size = 1}));
}

static void test_answers(void **state) {
    (void)state;
    assert_true(relay_check_answer(&(struct relay_answer){.size = 10}, 10));
    assert_true(relay_check_answer(
        &(struct relay_answer){.outcome = RELAY_ERROR, .status = 500, .message = "a"}, 10));
    assert_false(relay_check_answer(&(struct relay_answer){.size = 11}, 10));
    assert_true(
        relay_check_answer(&(struct relay_answer){.outcome = RELAY_MORE, .size = RELAY_PIECE_MOST}, 10));
    assert_false(relay_check_answer(
        &(struct relay_answer){.outcome = RELAY_MORE, .size = RELAY_PIECE_MOST + 1}, RELAY_PIECE_MOST + 1));
    assert_false(relay_check_answer(&(struct relay_answer){.outcome = RELAY_MORE}, 10));
    assert_false(relay_check_answer(&(struct relay_answer){.outcome = RELAY_LATE, .size = 1}, 10));
    assert_false(relay_check_answer(&(struct relay_answer){.outcome = RELAY_LOST}, 10));
    struct relay_answer unended = {.size = 1};
    memset(unended.message, 'a', sizeof unended.message);
    assert_false(relay_check_answer(&unended, 10));
}

static void test_answers_to_streams(void **state) {
    (void)state;
    const struct relay_answer whole = {.size = 1}, end = {.size = 0},
                              piece = {.outcome = RELAY_MORE, .size = 1}, late = {.outcome = RELAY_LATE};
    assert_true(relay_is_of(&whole, false) && relay_is_of(&end, true) && relay_is_of(&piece, true));
    assert_true(relay_is_of(&late, false) && relay_is_of(&late, true));
    assert_false(relay_is_of(&whole, true) || relay_is_of(&end, false) || relay_is_of(&piece, false));
}

static bool receives(const struct relay_settings *sent, size_t size) {
    static struct relay_settings got;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[0], sent, size), size);
    close(ends[0]);
    const bool good = relay_receive_settings(ends[1], &got);
    close(ends[1]);
    return good && memcmp(sent, &got, sizeof got) == 0;
}

static void test_settings(void **state) {
    (void)state;
    static struct relay_settings settings = {.url = "http://a/v1", .key = "b", .most_bytes = 1};
    assert_true(receives(&settings, sizeof settings));
    assert_false(receives(&settings, sizeof settings - 1));
    settings.most_bytes = 0;
    assert_false(receives(&settings, sizeof settings));
    settings.most_bytes = 1;
    memset(settings.key, 'a', sizeof settings.key);
    assert_false(receives(&settings, sizeof settings));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asks),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answers_to_streams),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
