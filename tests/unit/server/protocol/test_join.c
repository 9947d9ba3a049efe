/* test_join.c - protects how a rank comes to the front: what it says of itself, and how the address is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/protocol/join.h"

static void test_join(void **state) {
    (void)state;
    struct frame_join join = {.rank = 3, .host = "far", .device = "cuda:1", .digest = "0123"}, out;
    uint8_t bytes[FRAME_JOIN_BYTES];
    struct limoe_error err;
    memset(join.token, 'a', FRAME_TOKEN_BYTES);
    frame_put_join(&join, bytes);
    assert_int_equal(frame_get_join(bytes, sizeof bytes, &out, NULL), LIMOE_OK);
    assert_string_equal(out.token, join.token);
    assert_int_equal(out.rank, 3);
    assert_string_equal(out.host, "far");
    assert_string_equal(out.device, "cuda:1");
    assert_string_equal(out.digest, "0123");
    assert_int_equal(frame_get_join(bytes, sizeof bytes - 1, &out, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "a JOIN of 259 bytes, not 260");
    bytes[FRAME_TOKEN_BYTES + 4] = '\n'; /* it would begin a line of the log */
    assert_int_equal(frame_get_join(bytes, sizeof bytes, &out, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "a JOIN whose words have no end, or cannot be shown");
    memset(bytes + FRAME_TOKEN_BYTES + 4, 'x', FRAME_WORD_BYTES);
    assert_int_equal(frame_get_join(bytes, sizeof bytes, &out, NULL), LIMOE_CORRUPT);
}

/* Without a token in the environment it is on standard input, which may end before it. */
static void test_no_token(void **state) {
    (void)state;
    struct frame_join join = {.rank = 0};
    struct limoe_error err;
    int ends[2];
    unsetenv(JOIN_TOKEN);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(write(ends[1], "0123", 4), 4);
    close(ends[1]);
    assert_int_equal(join_front("unix:/nowhere", &join, &err), -1);
    assert_string_equal(err.message,
                        "LIMOE_RANK_TOKEN is not set, nor does standard input have a token: only "
                        "limoe itself starts this command");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
