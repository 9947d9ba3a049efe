/* test_ask_stream.c - protects answers of POST /v1/ask that are streamed: each text as it comes, the whole answer at the end as without
 * a stream, an error for what is no part of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/ask_stream.h"

static struct ask_stream *begin(bool chat) {
    static const struct text choices[] = {{"cat", 3}, {"dog", 3}};
    const struct ask_request request = {.choices = choices, .n_choices = 2};
    const struct usage usage = {.image_tokens = 25};
    struct ask_stream *stream = ask_stream_new(
        &(struct ask_answer){.model = "p", .request = &request, .prompt = text_of("Q"), .usage = &usage},
        chat);
    assert_non_null(stream);
    assert_true(ask_stream_size(stream) > ASK_STREAM_MOST);
    return stream;
}

static void require_written(struct buffer *out, const char *expected) {
    buffer_bytes(out, "", 1);
    assert_false(out->failed);
    assert_string_equal(out->data, expected);
    buffer_free(out);
}

#define DELTA(text) "data: {\"choices\":[{\"delta\":{\"content\":" text "}}]}\n\n"
#define OURS(text)  "data: {\"object\":\"answer.delta\",\"text\":" text "}\n\n"

static void an_answer(void **state) {
    (void)state;
    struct ask_stream *stream = begin(true);
    struct buffer out = {0};
    struct api_error error;
    const char *events =
        "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n" DELTA(
            "\" A \\\"dog\"") DELTA("\"\"") DELTA("null")
            DELTA("\"\\n\"") "data: "
                             "{\"model\":\"n\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                             "data: "
                             "{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}"
                             "\n\ndata: [DONE]\n\n";
    assert_true(ask_stream_take(stream, text_of(events), &out, &error));
    require_written(&out, OURS("\" A \\\"dog\"") OURS("\"\\u000a\""));
    ask_stream_end(stream, 1500000, &out);
    require_written(
        &out, "data: {\"object\":\"answer\",\"model\":\"p\",\"answer\":\"A \\\"dog\",\"chosen\":\"dog\","
              "\"prompt\":\"Q\",\"upstream\":{\"model\":\"m\",\"ms\":1.500,\"tokens\":{\"prompt\":3,"
              "\"completion\":2},\"finish_reason\":\"stop\"},\"usage\":{\"prompt_tokens\":0,"
              "\"image_tokens\":25,\"total_tokens\":25}}\n\ndata: [DONE]\n\n");
    ask_stream_free(stream);
}

static void completions(void **state) {
    (void)state;
    struct ask_stream *stream = begin(false);
    struct buffer out = {0};
    struct api_error error;
    assert_true(
        ask_stream_take(stream, text_of("data: {\"choices\":[{\"text\":\"cat\"}]}\n\n"), &out, &error));
    require_written(&out, OURS("\"cat\""));
    ask_stream_free(stream);
    stream = begin(false);
    ask_stream_end(stream, 0, &out); /* a model that says nothing */
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(out.data, "\"answer\":\"\",\"chosen\":null,"));
    buffer_free(&out);
    ask_stream_free(stream);
}

static void refused(const char *events, const char *code, const char *message, const char *written) {
    struct ask_stream *stream = begin(true);
    struct buffer out = {0};
    struct api_error error;
    assert_false(ask_stream_take(stream, text_of(events), &out, &error));
    assert_int_equal(error.status, 502);
    assert_string_equal(error.code, code);
    assert_non_null(strstr(error.message, message));
    require_written(&out, written);
    ask_stream_free(stream);
}

static void what_is_no_answer(void **state) {
    (void)state;
    refused(DELTA("\"a\"") DELTA("5"), "upstream_invalid", "no text", OURS("\"a\""));
    refused("data: {\"object\":\"x\"}\n\n", "upstream_invalid", "no choices", "");
    refused("data: {\n\n", "upstream_invalid", "no JSON", "");
    refused("data: {\"error\":{\"message\":\"out of\\nmemory\"}}\n\n", "upstream_error",
            "error: out of?memory", "");
    refused("data: {\"error\":\"a\"}\n\n", "upstream_error", "error: a", "");
    refused("data: {\"error\":{}}\n\n", "upstream_error", "with an error", "");
}

static void bounds(void **state) {
    (void)state;
    struct ask_stream *stream = begin(true);
    struct buffer events = {0}, out = {0};
    struct api_error error;
    buffer_string(&events, "data: {\"choices\":[{\"delta\":{\"content\":\"");
    for (size_t i = 0; i < ASK_STREAM_MOST / 2; i++)
        buffer_string(&events, "a");
    buffer_string(&events, "\"}}]}\n\n");
    const struct text half = {.data = events.data, .size = events.size};
    assert_true(ask_stream_take(stream, half, &out, &error) && ask_stream_take(stream, half, &out, &error));
    assert_false(ask_stream_take(stream, text_of(DELTA("\"a\"")), &out, &error));
    assert_string_equal(error.code, "upstream_invalid");
    buffer_free(&events);
    buffer_free(&out);
    ask_stream_free(stream);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer),
        cmocka_unit_test(completions),
        cmocka_unit_test(what_is_no_answer),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
