/* test_lines.c - protects which lines a body has, however it is divided, what is told of those that cannot be
 * kept, and that what is held is let go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/front/calls/lines.h"

struct holder {
    size_t held, most;
};

static bool hold(void *arg, size_t bytes) {
    struct holder *holder = arg;
    if (holder->held + bytes > holder->most)
        return false;
    holder->held += bytes;
    return true;
}

static void let_go(void *arg, size_t bytes) {
    struct holder *holder = arg;
    assert_true(holder->held >= bytes);
    holder->held -= bytes;
}

/* Writes each line to *out behind its length, or "long" or "room" in its place. */
static void tell(struct lines *lines, struct holder *holder, enum lines_found found, struct buffer *out) {
    if (found == LINES_TOO_LONG)
        buffer_string(out, "long|");
    if (found == LINES_NO_ROOM)
        buffer_string(out, "room|");
    if (found != LINES_LINE)
        return;
    struct buffer line = lines_take(lines);
    buffer_print(out, "%zu:", line.size);
    buffer_bytes(out, line.data, line.size);
    buffer_string(out, "|");
    let_go(holder, line.capacity);
    buffer_free(&line);
}

static void read_all(struct lines *lines, struct holder *holder, const char *body, size_t size, size_t piece,
                     struct buffer *out) {
    for (size_t at = 0; at < size; at += piece) {
        const char *from = body + at, *end = body + (at + piece < size ? at + piece : size);
        while (from < end)
            tell(lines, holder, lines_read(lines, &from, end), out);
    }
    const bool pending = lines_pending(lines);
    const enum lines_found last = lines_end(lines);
    assert_int_equal(pending, last != LINES_NONE);
    assert_false(lines_pending(lines) && last != LINES_LINE); /* that one is still to be taken */
    tell(lines, holder, last, out);
    assert_false(lines_pending(lines));
    buffer_bytes(out, "", 1);
}

static void check(const char *body, size_t size, size_t most, size_t room, const char *expected) {
    for (size_t piece = 1; piece <= size + 1; piece++) {
        struct holder holder = {.most = room};
        struct lines lines = {.most = most, .hold = hold, .let_go = let_go, .arg = &holder};
        struct buffer out = {0};
        read_all(&lines, &holder, body, size, piece, &out);
        assert_false(out.failed);
        assert_string_equal(out.data, expected);
        lines_free(&lines);
        assert_int_equal(holder.held, 0);
        buffer_free(&out);
    }
}

#define CHECK(body, most, room, expected) check(body, sizeof(body) - 1, most, room, expected)
#define PLENTY                            ((size_t)1 << 20)

static void lines_end_with_a_newline_or_the_body(void **state) {
    (void)state;
    CHECK("", 100, PLENTY, "");
    CHECK("a", 100, PLENTY, "1:a|");
    CHECK("a\n", 100, PLENTY, "1:a|");
    CHECK("a\nbc\ne", 100, PLENTY, "1:a|2:bc|1:e|");
    CHECK("a\r\nb", 100, PLENTY, "2:a\r|1:b|");
}

static void blank_lines_are_skipped(void **state) {
    (void)state;
    CHECK("\n\r\n \t \n", 100, PLENTY, "");
    CHECK("\n\na\n\n  \nb\n \n", 100, PLENTY, "1:a|1:b|");
    CHECK("   ", 100, PLENTY, "");
}

static void what_is_too_long_is_told_of_once(void **state) {
    (void)state;
    CHECK("abcd\nabcde\nabcd\n", 4, PLENTY, "4:abcd|long|4:abcd|");
    CHECK("abcdefghijkl", 4, PLENTY, "long|");
    CHECK("a\nbcdefgh\n\n\nijklmnop", 4, PLENTY, "1:a|long|long|");
    CHECK("      \na", 4, PLENTY, "long|1:a|"); /* nobody has looked at the end of it */
}

static void what_has_no_room_is_told_of_once(void **state) {
    (void)state;
    CHECK("abcdefghij\nb\n", 4096, 512, "room|room|");
    CHECK("a\nb", 64, 64, "1:a|1:b|");
}

static void a_long_line_grows_in_steps(void **state) {
    (void)state;
    const size_t size = (size_t)5 << 20;
    struct holder holder = {.most = 2 * size};
    struct lines lines = {.most = size, .hold = hold, .let_go = let_go, .arg = &holder};
    static char piece[4096];
    memset(piece, 'x', sizeof piece);
    for (size_t at = 0; at < size; at += sizeof piece) {
        const char *from = piece;
        assert_int_equal(lines_read(&lines, &from, piece + sizeof piece), LINES_NONE);
        assert_true(holder.held <= at + sizeof piece + (1u << 20)); /* what comes is not held before */
    }
    assert_int_equal(lines_end(&lines), LINES_LINE);
    assert_int_equal(lines.line.size, size);
    assert_int_equal(lines.line.capacity, holder.held);
    lines_free(&lines);
    assert_int_equal(holder.held, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_with_a_newline_or_the_body),
        cmocka_unit_test(blank_lines_are_skipped),
        cmocka_unit_test(what_is_too_long_is_told_of_once),
        cmocka_unit_test(what_has_no_room_is_told_of_once),
        cmocka_unit_test(a_long_line_grows_in_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
