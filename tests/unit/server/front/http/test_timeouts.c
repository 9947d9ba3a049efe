/* test_timeouts.c - protects the limits on slow clients, and that those who leave are seen. Time is made
 * up. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "server/front/http/timeouts.h"

#define SECONDS(n) ((n)*CLOCK_SECOND)
#define IDLE       10
#define RECEIVE    30
#define STALL      8
#define MIB        ((size_t)1 << 20)

struct pair {
    struct timeouts *timeouts;
    int ours, theirs;
    struct timed *entry;
};

/* TCP, of which the kernel tells what the other side has acknowledged. */
static void connect_pair(int fds[2]) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), little = 64 * 1024;
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&address, size), 0);
    fds[0] = accept(listening, NULL, NULL);
    assert_true(fds[0] >= 0);
    close(listening);
}

/* Waits until a hang-up that is on its way has come: loopback is quick, but not at once. */
static void await_end(int fd) {
    struct pollfd polled = {.fd = fd, .events = POLLRDHUP};
    assert_int_equal(poll(&polled, 1, 10000), 1);
}

static void open_pair(struct pair *pair, bool encrypted) {
    const struct timeouts_limits limits = {
        .idle_seconds = IDLE, .receive_seconds = RECEIVE, .stall_seconds = STALL};
    int fds[2];
    assert_int_equal(timeouts_new(&limits, encrypted, &pair->timeouts, NULL), LIMOE_OK);
    connect_pair(fds);
    pair->ours = fds[0];
    pair->theirs = fds[1];
    pair->entry = timeouts_open(pair->timeouts, fds[0], SECONDS(100));
    assert_non_null(pair->entry);
}

static void close_pair(struct pair *pair) {
    timeouts_close(pair->timeouts, pair->entry);
    timeouts_free(pair->timeouts);
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
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100 + IDLE), false), 0);
    assert_int_equal(read_end(&pair, text, sizeof text), -1);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100 + IDLE + 1), false), 1);
    assert_int_equal(read_end(&pair, text, sizeof text), 0);
    assert_false(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(100 + IDLE + 1)));
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(1000), false), 0);
    close_pair(&pair);
}

static void a_body_that_does_not_end(void **state) {
    (void)state;
    for (unsigned encrypted = 0; encrypted < 2; encrypted++) {
        struct pair pair;
        char text[1024] = "";
        open_pair(&pair, encrypted);
        assert_true(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(105)));
        timeouts_received(pair.entry, RECEIVE * (size_t)TIMEOUTS_LEAST_RATE);
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(104 + STALL), false), 0);
        for (int64_t t = 104 + STALL; t < 105 + RECEIVE; t++) { /* as fast as it must */
            timeouts_received(pair.entry, TIMEOUTS_LEAST_RATE);
            assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(t), false), 0);
        }
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(105 + RECEIVE), false), 1);
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
        assert_false(timeouts_working(pair.timeouts, pair.entry));
        close_pair(&pair);
    }
}

static void our_own_time_is_not_the_clients(void **state) {
    (void)state;
    struct pair pair;
    open_pair(&pair, false);
    assert_true(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(101)));
    assert_true(timeouts_working(pair.timeouts, pair.entry));
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100000), false), 0);
    assert_true(timeouts_waiting(pair.timeouts, pair.entry, SECONDS(100070)));
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100070 + IDLE), false), 0);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100070 + IDLE + 1), false), 1);
    close_pair(&pair);
}

/* ---- progress */

/* A pause is forgiven, and earned again by what comes; that much came before a pause does not count. */
static void a_body_that_stops_coming(void **state) {
    (void)state;
    struct pair pair;
    char text[1024] = "";
    open_pair(&pair, false);
    assert_true(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(100)));
    timeouts_received(pair.entry, 16 * MIB);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(101), false), 0);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100 + STALL), false), 0);
    timeouts_received(pair.entry, 4 * (size_t)TIMEOUTS_LEAST_RATE);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100 + STALL + 4), false), 0);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(100 + STALL + 5), false), 1);
    assert_true(read_end(&pair, text, sizeof text - 1) > 0);
    assert_memory_equal(text, "HTTP/1.1 408 ", 13);
    assert_non_null(strstr(text, "the body came in too slowly"));
    close_pair(&pair);
}

/* With memory short, a client that holds much is to go on at a rate that is in keeping with it. */
static void who_holds_much_while_memory_is_short(void **state) {
    (void)state;
    for (unsigned much = 0; much < 2; much++) {
        struct pair pair;
        open_pair(&pair, false);
        assert_true(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(100)));
        timeouts_received(pair.entry, much ? 16 * MIB : 64 * 1024);
        size_t shut = 0;
        for (int64_t t = 101; t < 110; t++) { /* ten times the least rate, a twelfth of what much asks for */
            timeouts_received(pair.entry, 10 * (size_t)TIMEOUTS_LEAST_RATE);
            shut += timeouts_sweep(pair.timeouts, SECONDS(t), true);
        }
        assert_int_equal(shut, much);
        close_pair(&pair);
    }
}

/* Who holds little may pause as ever while memory is short: to cut it off would gain nothing. */
static void who_holds_little_may_pause_as_ever(void **state) {
    (void)state;
    for (unsigned much = 0; much < 2; much++) {
        struct pair pair;
        open_pair(&pair, false);
        assert_true(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(100)));
        timeouts_received(pair.entry, much ? 256 * 1024 : 100 * 1024);
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(101), true), 0);
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(101 + STALL / 4), true), much);
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(101 + STALL), true), !much);
        close_pair(&pair);
    }
}

/* A server that does not get to read is no fault of the client's, nor is one that has nothing to send yet. */
static void who_waits_for_us_is_not_slow(void **state) {
    (void)state;
    struct pair pair;
    char piece[4096] = "";
    open_pair(&pair, false);
    assert_true(timeouts_receiving(pair.timeouts, pair.entry, SECONDS(100)));
    assert_int_equal(send(pair.theirs, piece, sizeof piece, 0), sizeof piece);
    assert_int_equal(recv(pair.ours, piece, sizeof piece, MSG_PEEK | MSG_WAITALL), sizeof piece);
    for (int64_t t = 101; t < 100 + 2 * STALL; t++)
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(t), false), 0);
    assert_true(timeouts_answering(pair.timeouts, pair.entry, MIB, SECONDS(200)));
    for (int64_t t = 201; t < 200 + 2 * STALL; t++)
        assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(t), false), 0);
    close_pair(&pair);
}

/* The client's buffer takes what it takes, which is no reading; from then on it reads, or it does not. */
static void an_answer_that_is_read_or_not(void **state) {
    (void)state;
    for (unsigned reads = 0; reads < 2; reads++) {
        struct pair pair;
        static char piece[MIB];
        size_t shut = 0, read = 0;
        open_pair(&pair, false);
        assert_true(timeouts_answering(pair.timeouts, pair.entry, 64 * MIB, SECONDS(200)));
        for (int64_t t = 201; t < 200 + 4 * STALL && !shut; t++) {
            while (send(pair.ours, piece, sizeof piece, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                ;
            for (size_t end = read + 256 * 1024; reads && read < end;) {
                const ssize_t n = recv(pair.theirs, piece, 64 * 1024, 0);
                assert_true(n > 0);
                read += (size_t)n;
            }
            shut = timeouts_sweep(pair.timeouts, SECONDS(t), false);
            assert_true(!shut || t >= 201 + STALL - 1);
        }
        assert_int_equal(shut, !reads);
        close_pair(&pair);
    }
}

/* A socket that does not tell what the other side has has the time that its answer takes at
 * the least rate. */
static void an_answer_on_another_socket(void **state) {
    (void)state;
    struct pair pair;
    int fds[2];
    open_pair(&pair, false);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct timed *other = timeouts_open(pair.timeouts, fds[0], SECONDS(200));
    timeouts_working(pair.timeouts, pair.entry);
    assert_true(timeouts_answering(pair.timeouts, other, 5 * (size_t)TIMEOUTS_LEAST_RATE, SECONDS(200)));
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(201), false), 0);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(201 + STALL + 4), false), 0);
    assert_int_equal(timeouts_sweep(pair.timeouts, SECONDS(201 + STALL + 5), false), 1);
    timeouts_close(pair.timeouts, other);
    close(fds[0]);
    close(fds[1]);
    close_pair(&pair);
}

static void no_limit_is_none(void **state) {
    (void)state;
    const struct timeouts_limits limits = {0};
    struct timeouts *timeouts;
    assert_int_equal(timeouts_new(&limits, false, &timeouts, NULL), LIMOE_OK);
    struct timed *entry = timeouts_open(timeouts, -1, SECONDS(1));
    assert_int_equal(timeouts_sweep(timeouts, SECONDS(1000000), false), 0);
    assert_true(timeouts_receiving(timeouts, entry, SECONDS(1000000)));
    assert_int_equal(timeouts_sweep(timeouts, SECONDS(2000000), false), 0);
    timeouts_close(timeouts, entry);
    timeouts_free(timeouts);
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
        timeouts_watch(pair.timeouts, pair.entry, count, &gone);
        assert_int_equal(send(pair.theirs, "more", 4, 0), 4); /* who sends on is still there */
        timeouts_sweep(pair.timeouts, SECONDS(100), false);
        assert_int_equal(gone, 0);
        if (halfway) {
            shutdown(pair.theirs, SHUT_WR);
        } else {
            close(pair.theirs);
            pair.theirs = -1;
        }
        await_end(pair.ours);
        timeouts_sweep(pair.timeouts, SECONDS(100), false);
        assert_int_equal(gone, 1);
        timeouts_sweep(pair.timeouts, SECONDS(100), false);
        assert_int_equal(gone, 1);
        timeouts_unwatch(pair.timeouts, pair.entry);
        close_pair(&pair);
    }
}

static void who_is_not_watched_any_more_may_leave(void **state) {
    (void)state;
    struct pair pair;
    unsigned gone = 0;
    open_pair(&pair, false);
    timeouts_unwatch(pair.timeouts, pair.entry); /* never watched */
    timeouts_watch(pair.timeouts, pair.entry, count, &gone);
    timeouts_unwatch(pair.timeouts, pair.entry);
    close(pair.theirs);
    pair.theirs = -1;
    await_end(pair.ours);
    timeouts_sweep(pair.timeouts, SECONDS(100), false);
    assert_int_equal(gone, 0);
    timeouts_watch(pair.timeouts, pair.entry, count, &gone); /* the next request: left already */
    timeouts_sweep(pair.timeouts, SECONDS(100), false);
    assert_int_equal(gone, 1);
    close_pair(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_does_not_come),
        cmocka_unit_test(a_body_that_does_not_end),
        cmocka_unit_test(our_own_time_is_not_the_clients),
        cmocka_unit_test(a_body_that_stops_coming),
        cmocka_unit_test(who_holds_much_while_memory_is_short),
        cmocka_unit_test(who_holds_little_may_pause_as_ever),
        cmocka_unit_test(who_waits_for_us_is_not_slow),
        cmocka_unit_test(an_answer_that_is_read_or_not),
        cmocka_unit_test(an_answer_on_another_socket),
        cmocka_unit_test(no_limit_is_none),
        cmocka_unit_test(who_leaves_is_seen_once),
        cmocka_unit_test(who_is_not_watched_any_more_may_leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
