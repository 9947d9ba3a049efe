/* test_guard.c - protects the limits on slow clients, and that those who leave are seen. Time is made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/guard.h"
#include "observe/clock.h"

#define SECONDS(n) ((n)*CLOCK_SECOND)
#define IDLE       10
#define RECEIVE    30

struct pair {
    struct guard *guard;
    int ours, theirs;
    struct guarded *entry;
};

static void open_pair(struct pair *pair, bool encrypted) {
    const struct guard_limits limits = {.idle_seconds = IDLE, .receive_seconds = RECEIVE};
    int fds[2];
    assert_int_equal(guard_new(&limits, encrypted, &pair->guard, NULL), LIMOE_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pair->ours = fds[0];
    pair->theirs = fds[1];
    pair->entry = guard_open(pair->guard, fds[0], SECONDS(100));
    assert_non_null(pair->entry);
}

static void close_pair(struct pair *pair) {
    guard_close(pair->guard, pair->entry);
    guard_free(pair->guard);
    close(pair->ours);
    if (pair->theirs >= 0)
        close(pair->theirs);
}

/* What the client gets: -1 while the connection is open. */
static ssize_t read_end(const struct pair *pair, char *text, size_t size) {
    size_t got = 0;
    ssize_t n;
    while ((n = recv(pair->theirs, text + got, size - got, MSG_DONTWAIT)) > 0)
        got += (size_t)n;
    return n == 0 ? (ssize_t)got : -1;
}

static void a_head_that_does_not_come(void **state) {
    (void)state;
    struct pair pair;
    char text[64];
    open_pair(&pair, false);
    assert_int_equal(guard_sweep(pair.guard, SECONDS(100 + IDLE)), 0);
    assert_int_equal(read_end(&pair, text, sizeof text), -1);
    assert_int_equal(guard_sweep(pair.guard, SECONDS(100 + IDLE + 1)), 1);
    assert_int_equal(read_end(&pair, text, sizeof text), 0);
    assert_false(guard_receiving(pair.guard, pair.entry, SECONDS(100 + IDLE + 1)));
    assert_int_equal(guard_sweep(pair.guard, SECONDS(1000)), 0);
    close_pair(&pair);
}

static void a_body_that_does_not_end(void **state) {
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct pair pair;
        char text[1024] = "";
        open_pair(&pair, encrypted);
        assert_true(guard_receiving(pair.guard, pair.entry, SECONDS(105)));
        assert_int_equal(guard_sweep(pair.guard, SECONDS(104 + RECEIVE)), 0);
        assert_int_equal(guard_sweep(pair.guard, SECONDS(105 + RECEIVE)), 1);
        ssize_t size = read_end(&pair, text, sizeof text - 1);
        if (encrypted) {
            assert_int_equal(size, 0);
        } else {
            assert_memory_equal(text, "HTTP/1.1 408 ", 13);
            const char *body = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length: ");
            assert_non_null(body);
            assert_non_null(length);
            assert_int_equal(strtoul(length + strlen("Content-Length: "), NULL, 10), strlen(body + 4));
            assert_non_null(strstr(body, "\"code\":\"request_timeout\""));
        }
        assert_false(guard_working(pair.guard, pair.entry));
        close_pair(&pair);
    }
}

static void our_own_time_is_not_the_clients(void **state) {
    (void)state;
    struct pair pair;
    open_pair(&pair, false);
    assert_true(guard_receiving(pair.guard, pair.entry, SECONDS(101)));
    assert_true(guard_working(pair.guard, pair.entry));
    assert_int_equal(guard_sweep(pair.guard, SECONDS(100000)), 0);
    assert_true(guard_answering(pair.guard, pair.entry, 1 << 20, SECONDS(100000)));
    assert_int_equal(guard_sweep(pair.guard, SECONDS(100000 + IDLE + 60)), 0);
    assert_true(guard_waiting(pair.guard, pair.entry, SECONDS(100070)));
    assert_int_equal(guard_sweep(pair.guard, SECONDS(100070 + IDLE)), 0);
    assert_int_equal(guard_sweep(pair.guard, SECONDS(100070 + IDLE + 1)), 1);
    close_pair(&pair);
}

static void an_answer_that_is_not_read(void **state) {
    (void)state;
    struct pair pair;
    open_pair(&pair, false);
    assert_true(guard_answering(pair.guard, pair.entry, 100, SECONDS(200)));
    assert_int_equal(guard_sweep(pair.guard, SECONDS(200 + IDLE)), 0);
    assert_int_equal(guard_sweep(pair.guard, SECONDS(200 + IDLE + 1)), 1);
    close_pair(&pair);
}

static void no_limit_is_none(void **state) {
    (void)state;
    const struct guard_limits limits = {0};
    struct guard *guard;
    assert_int_equal(guard_new(&limits, false, &guard, NULL), LIMOE_OK);
    struct guarded *entry = guard_open(guard, -1, SECONDS(1));
    assert_int_equal(guard_sweep(guard, SECONDS(1000000)), 0);
    assert_true(guard_receiving(guard, entry, SECONDS(1000000)));
    assert_int_equal(guard_sweep(guard, SECONDS(2000000)), 0);
    guard_close(guard, entry);
    guard_free(guard);
}

static void count(void *arg) {
    ++*(unsigned *)arg;
}

static void who_leaves_is_seen_once(void **state) {
    (void)state;
    for (unsigned halfway = 0; halfway < 2; halfway++) {
        struct pair pair;
        unsigned gone = 0;
        open_pair(&pair, false);
        guard_watch(pair.guard, pair.entry, count, &gone);
        assert_int_equal(send(pair.theirs, "more", 4, 0), 4); /* who sends on is still there */
        guard_sweep(pair.guard, SECONDS(100));
        assert_int_equal(gone, 0);
        if (halfway) {
            shutdown(pair.theirs, SHUT_WR);
        } else {
            close(pair.theirs);
            pair.theirs = -1;
        }
        guard_sweep(pair.guard, SECONDS(100));
        assert_int_equal(gone, 1);
        guard_sweep(pair.guard, SECONDS(100));
        assert_int_equal(gone, 1);
        guard_unwatch(pair.guard, pair.entry);
        close_pair(&pair);
    }
}

static void who_is_not_watched_any_more_may_leave(void **state) {
    (void)state;
    struct pair pair;
    unsigned gone = 0;
    open_pair(&pair, false);
    guard_unwatch(pair.guard, pair.entry); /* never watched */
    guard_watch(pair.guard, pair.entry, count, &gone);
    guard_unwatch(pair.guard, pair.entry);
    close(pair.theirs);
    pair.theirs = -1;
    guard_sweep(pair.guard, SECONDS(100));
    assert_int_equal(gone, 0);
    guard_watch(pair.guard, pair.entry, count, &gone); /* the next request: left already */
    guard_sweep(pair.guard, SECONDS(100));
    assert_int_equal(gone, 1);
    close_pair(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_does_not_come),
        cmocka_unit_test(a_body_that_does_not_end),
        cmocka_unit_test(our_own_time_is_not_the_clients),
        cmocka_unit_test(an_answer_that_is_not_read),
        cmocka_unit_test(no_limit_is_none),
        cmocka_unit_test(who_leaves_is_seen_once),
        cmocka_unit_test(who_is_not_watched_any_more_may_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
