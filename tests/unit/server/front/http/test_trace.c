/* test_trace.c - protects the strictness of traceparent, and that every request has ids of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/front/http/trace.h"

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void a_parent_is_taken_over(void **state) {
    (void)state;
    struct trace trace;
    trace_begin("00-" TRACE "-" PARENT "-01", &trace);
    assert_string_equal(trace.trace_id, TRACE);
    assert_string_equal(trace.parent_id, PARENT);
    assert_int_equal(trace.flags, 1);
    assert_string_not_equal(trace.span_id, PARENT);
    char out[TRACE_HEADER_SIZE], expected[TRACE_HEADER_SIZE] = "00-" TRACE "-";
    trace_print(&trace, out);
    strcat(strcat(expected, trace.span_id), "-01");
    assert_string_equal(out, expected);
}

static void later_versions_are_read_as_far_as_they_are_known(void **state) {
    (void)state;
    struct trace trace = {0};
    assert_true(trace_parse("01-" TRACE "-" PARENT "-03", &trace));
    assert_int_equal(trace.flags, 3);
    assert_true(trace_parse("cc-" TRACE "-" PARENT "-00-what-the-future-holds", &trace));
    assert_false(trace_parse("cc-" TRACE "-" PARENT "-00.what-the-future-holds", &trace));
}

static void what_is_malformed_is_no_parent(void **state) {
    (void)state;
    static const char *const malformed[] = {
        "",
        "00",
        "00-" TRACE "-" PARENT,
        "00-" TRACE "-" PARENT "-",
        "00-" TRACE "-" PARENT "-0",
        "00-" TRACE "-" PARENT "-0g",
        "00-" TRACE "-" PARENT "-01-",
        "00-" TRACE "-" PARENT "-011",
        "00-" TRACE "-" PARENT "-01 ",
        " 00-" TRACE "-" PARENT "-01",
        "ff-" TRACE "-" PARENT "-01",
        "0-" TRACE "-" PARENT "-01",
        "00_" TRACE "-" PARENT "-01",
        "00-" TRACE "_" PARENT "-01",
        "00-" TRACE "-" PARENT "_01",
        "00-00000000000000000000000000000000-" PARENT "-01",
        "00-" TRACE "-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01",
        "00-" TRACE "-00F067AA0BA902B7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "-001",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        struct trace trace = {.trace_id = "untouched", .parent_id = "too", .flags = 77};
        if (trace_parse(malformed[i], &trace))
            fail_msg("\"%s\" is taken", malformed[i]);
        assert_string_equal(trace.trace_id, "untouched");
        assert_string_equal(trace.parent_id, "too");
        assert_int_equal(trace.flags, 77);
        trace_begin(malformed[i], &trace);
        assert_string_not_equal(trace.trace_id, TRACE);
        assert_string_equal(trace.parent_id, "");
        assert_int_equal(trace.flags, 0);
    }
}

/* Whatever is made is itself a well-formed parent. */
static void new_traces_differ(void **state) {
    (void)state;
    struct trace first, second, read;
    char out[TRACE_HEADER_SIZE];
    trace_begin(NULL, &first);
    trace_begin(NULL, &second);
    assert_string_not_equal(first.trace_id, second.trace_id);
    assert_string_not_equal(first.span_id, second.span_id);
    trace_print(&first, out);
    assert_true(trace_parse(out, &read));
    assert_string_equal(read.trace_id, first.trace_id);
    assert_string_equal(read.parent_id, first.span_id);
}

/* A caller's decision holds; of our own traces the share is chosen by the id, and said in the flags. */
static void a_share_is_sampled(void **state) {
    (void)state;
    struct trace caller, low = {.trace_id = "ffffffffffffffffff3fffffffffffff"}, high = low;
    high.trace_id[18] = 'c';
    trace_begin("00-" TRACE "-" PARENT "-00", &caller);
    assert_false(trace_sample(&caller, 1));
    trace_begin("00-" TRACE "-" PARENT "-01", &caller);
    assert_true(trace_sample(&caller, 0));
    assert_false(trace_sample(&high, 0.5));
    assert_int_equal(high.flags, 0);
    assert_true(trace_sample(&low, 0.5));
    assert_int_equal(low.flags, TRACE_SAMPLED);
    assert_true(trace_sample(&high, 1));
    assert_false(trace_sample(&(struct trace){.trace_id = "00000000000000000000000000000001"}, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parent_is_taken_over),
        cmocka_unit_test(later_versions_are_read_as_far_as_they_are_known),
        cmocka_unit_test(what_is_malformed_is_no_parent),
        cmocka_unit_test(new_traces_differ),
        cmocka_unit_test(a_share_is_sampled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
