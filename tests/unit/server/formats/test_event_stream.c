/* test_event_stream.c - protects streams of events: whole events come out, the same ones however the bytes are cut, and what is none
 * is refused and bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/formats/event_stream.h"

struct fed {
    bool good, may_end;
    const char *what;
    char written[512];
};

/* The bytes, `step` at a time. */
static struct fed feed(const char *bytes, size_t size, size_t step) {
    struct event_stream stream = {0};
    struct buffer out = {0};
    struct fed fed = {.good = true};
    for (size_t at = 0; at < size && fed.good; at += step)
        fed.good =
            event_stream_feed(&stream, bytes + at, size - at < step ? size - at : step, &out, &fed.what);
    fed.may_end = fed.good && event_stream_may_end(&stream);
    assert_true(out.size < sizeof fed.written);
    if (out.size)
        memcpy(fed.written, out.data, out.size);
    event_stream_free(&stream);
    buffer_free(&out);
    return fed;
}

static void events(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *written;
        bool may_end;
    } cases[] = {
        {"data: {}\n\n", "data: {}\n\n", true},
        {"data:{\"a\": 1.50}\r\n\r\n", "data: {\"a\": 1.50}\n\n", true},
        {"data: {}\r\rdata: {\"b\":2}\r\r", "data: {}\n\ndata: {\"b\":2}\n\n", true},
        {"\xEF\xBB\xBF"
         "data: {}\n\n",
         "data: {}\n\n", true},
        {": a comment\nretry: 5\nid: 1\nevent: x\n\ndata: {}\n\n", "data: {}\n\n", true},
        {"data: {\"a\":\ndata: 1}\n\n", "data: {\"a\": 1}\n\n", true},
        {"data\ndata: {}\n\n", "data: {}\n\n", true},
        {"data: {}\n\ndata: [DONE]\n\nwhatever \xff", "data: {}\n\ndata: [DONE]\n\n", true},
        {"data: {}\n\ndata: {\"a", "data: {}\n\n", false},
        {"data: {}\n\ndata: {}\n", "data: {}\n\n", false},
        {"data: [DONE]\n\n", "data: [DONE]\n\n", false},
        {"\n\n\n", "", false},
        {"datum: {}\n\n", "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 64; step++) {
            const struct fed fed = feed(cases[i].bytes, strlen(cases[i].bytes), step);
            assert_true(fed.good && !fed.what && fed.may_end == cases[i].may_end);
            assert_string_equal(fed.written, cases[i].written);
        }
}

static void what_is_none(void **state) {
    (void)state;
    static const char *const wrong[] = {"data: garbage\n\n", "data: [1]\n\n", "data: \"a\"\n\n",
                                        "data: {}}\n\n", "data: {\"a\":\"\xff\"}\n\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct fed fed = feed(wrong[i], strlen(wrong[i]), 3);
        assert_false(fed.good);
        assert_string_equal(fed.what, "an event that is no JSON object");
        assert_string_equal(fed.written, "");
    }
}

static void bounds(void **state) {
    (void)state;
    const size_t size = 8 * EVENT_STREAM_MOST;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'a', size);
    assert_string_equal(feed(bytes, size, 1000).what, "a line that is too long");
    static const char line[] = "data: a\n"; /* many lines of one event */
    for (size_t at = 0; at < size; at++)
        bytes[at] = line[at % strlen(line)];
    assert_string_equal(feed(bytes, size, 4096).what, "an event that is too long");
    free(bytes);
}

static void reading_what_was_written(void **state) {
    (void)state;
    struct text rest = text_of("data: {}\n\ndata: [DONE]\n\ndata: {"), data;
    assert_true(event_stream_next(&rest, &data) && text_is(data, "{}"));
    assert_true(event_stream_next(&rest, &data) && text_is(data, EVENT_STREAM_DONE));
    assert_false(event_stream_next(&rest, &data));
    rest = text_of("x: {}\n\n");
    assert_false(event_stream_next(&rest, &data));
    rest = (struct text){.data = NULL};
    assert_false(event_stream_next(&rest, &data));
    rest = text_of("\n\n");
    assert_false(event_stream_next(&rest, &data));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events),
        cmocka_unit_test(what_is_none),
        cmocka_unit_test(bounds),
        cmocka_unit_test(reading_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
