/* test_link.c - protects frames that are half sent when what they are made of goes: they arrive whole, and
 * what comes behind them too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/protocol/link.h"

enum { PIECE = 300000, PIECES = 3 };

static void pair(int ends[2]) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
}

static void fill(uint8_t *bytes, size_t n, unsigned seed) {
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) + seed);
}

/* Sends and receives until a frame is there. */
static void pass(struct link *from, struct link *to) {
    struct limoe_error err;
    for (;;) {
        assert_int_not_equal(link_send(from, &err), LINK_BROKEN);
        const enum link_event event = link_receive_any(to, FRAME_IN(FRAME_STEP) | FRAME_IN(FRAME_GROUP),
                                                       (uint64_t)PIECE * PIECES, &err);
        if (event == LINK_DONE)
            return;
        assert_int_equal(event, LINK_WAITS);
    }
}

static void stage(struct link *link, enum frame_type type, uint8_t *const *pieces, size_t n) {
    struct iovec parts[PIECES];
    const struct frame_header header = {.type = type, .length = n * PIECE, .id = 9};
    for (size_t i = 0; i < n; i++)
        parts[i] = (struct iovec){pieces[i], PIECE};
    assert_true(link_stage(link, &header, parts, n));
}

/* Once, and again while what is left is on its way. */
static void test_a_half_sent_frame_arrives_whole(void **state) {
    (void)state;
    struct link from, to;
    struct limoe_error err;
    uint8_t *pieces[PIECES], *whole = malloc(PIECE * PIECES), *behind = calloc(1, PIECE);
    int ends[2];
    pair(ends);
    link_init(&from, ends[0]);
    link_init(&to, ends[1]);
    for (int i = 0; i < PIECES; i++) {
        pieces[i] = malloc(PIECE);
        fill(pieces[i], PIECE, (unsigned)i);
        memcpy(whole + (size_t)i * PIECE, pieces[i], PIECE);
    }
    stage(&from, FRAME_STEP, pieces, PIECES);
    assert_int_equal(link_send(&from, &err), LINK_WAITS);
    assert_true(link_detach(&from));
    for (int i = 0; i < PIECES; i++)
        free(pieces[i]);
    assert_int_equal(link_receive(&to, FRAME_STEP, PIECE * PIECES, &err), LINK_WAITS);
    assert_int_equal(link_send(&from, &err), LINK_WAITS);
    assert_true(link_detach(&from));
    pass(&from, &to);
    assert_int_equal(to.frame.length, PIECE * PIECES);
    assert_memory_equal(to.payload, whole, PIECE * PIECES);

    stage(&from, FRAME_GROUP, &behind, 1);
    pass(&from, &to);
    assert_int_equal(to.frame.type, FRAME_GROUP);
    assert_memory_equal(to.payload, behind, PIECE);
    link_free(&from);
    link_free(&to);
    close(ends[0]);
    close(ends[1]);
    free(behind);
    free(whole);
}

/* The other side would wait for its end. */
static void test_a_frame_not_begun_is_taken_back(void **state) {
    (void)state;
    struct link from, to;
    uint8_t *piece = calloc(1, PIECE);
    int ends[2];
    pair(ends);
    link_init(&from, ends[0]);
    link_init(&to, ends[1]);
    assert_true(link_detach(&from)); /* nothing */
    stage(&from, FRAME_STEP, &piece, 1);
    assert_true(link_detach(&from));
    assert_false(link_sending(&from));
    stage(&from, FRAME_GROUP, &piece, 1);
    pass(&from, &to);
    assert_int_equal(to.frame.type, FRAME_GROUP);
    link_free(&from);
    link_free(&to);
    close(ends[0]);
    close(ends[1]);
    free(piece);
}

/* The last 32 bytes of a frame are as many as a header has, and no header. */
static void test_an_end_as_long_as_a_header_is_kept(void **state) {
    (void)state;
    struct link from, to;
    struct limoe_error err;
    uint8_t bytes[FRAME_HEADER_BYTES];
    int ends[2];
    pair(ends);
    link_init(&from, ends[0]);
    link_init(&to, ends[1]);
    fill(bytes, sizeof bytes, 1);
    const struct frame_header header = {.type = FRAME_STEP, .length = sizeof bytes, .id = 1};
    assert_true(link_stage(&from, &header, &(struct iovec){bytes, sizeof bytes}, 1));
    uint8_t head[FRAME_HEADER_BYTES];
    memcpy(head, from.out_head, sizeof head);
    assert_int_equal(write(ends[0], head, sizeof head), sizeof head); /* as if it had been sent */
    from.out_at = 1;
    assert_true(link_detach(&from));
    assert_true(link_sending(&from));
    assert_true(link_detach(&from));
    assert_true(link_sending(&from));
    assert_int_equal(link_send(&from, &err), LINK_DONE);
    pass(&from, &to);
    assert_memory_equal(to.payload, bytes, sizeof bytes);
    link_free(&from);
    link_free(&to);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_half_sent_frame_arrives_whole),
        cmocka_unit_test(test_a_frame_not_begun_is_taken_back),
        cmocka_unit_test(test_an_end_as_long_as_a_header_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
