/* test_log.c - protects whoever reads a log: no text from outside ends a line, forges a field or steers a
 * terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "server/front/observe/escape.h"
#include "server/front/observe/log.h"

static void writes(void (*escape)(struct buffer *, const char *), const char *given, const char *expected) {
    struct buffer out = {0};
    escape(&out, given);
    buffer_bytes(&out, "", 1);
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

static void values_are_quoted_where_they_need_it(void **state) {
    (void)state;
    writes(escape_value, "/v1/embeddings", "/v1/embeddings");
    writes(escape_value, "猫é🙂", "猫é🙂");
    writes(escape_value, "", "\"\"");
    writes(escape_value, "/a b", "\"/a b\"");
    writes(escape_value, "a=b", "\"a=b\"");
    writes(escape_value, "a\"b\\c", "\"a\\\"b\\\\c\"");
    writes(escape_value, "\x1b[2J\n\x7f", "\"\\x1b[2J\\x0a\\x7f\"");
    writes(escape_value,
           "\xc2\x9b"
           "2J",
           "\"\\u009b2J\"");                                     /* CSI, in C1 */
    writes(escape_value, "\xe2\x80\xae", "\"\\u202e\"");         /* right to left */
    writes(escape_value, "\xf3\xa0\x81\x81", "\"\\U000e0041\""); /* a tag */
    writes(escape_value, "\xc2\xa0", "\"\\u00a0\"");
    writes(escape_value, "\xff\xc3", "\"\\xff\\xc3\"");
    writes(escape_value, "\xed\xa0\x80", "\"\\xed\\xa0\\x80\""); /* a lone surrogate */
}

static void messages_stay_readable(void **state) {
    (void)state;
    writes(escape_message, "tls: \"a\" expires", "tls: \"a\" expires");
    writes(escape_message, "x\x1b\\", "x\\x1b\\\\");
    writes(escape_message, "x request_id=forged", "\"x request_id=forged\"");
    writes(escape_message, "\"x", "\"\\\"x\"");
}

static void json_is_json(void **state) {
    (void)state;
    writes(escape_json, "a\"b\\c 猫", "\"a\\\"b\\\\c 猫\"");
    writes(escape_json, "\n\x1b\x7f\xc2\x9b\xe2\x80\xae", "\"\\u000a\\u001b\\u007f\\u009b\\u202e\"");
    writes(escape_json, "\xf3\xa0\x81\x81", "\"\\udb40\\udc41\"");
    writes(escape_json, "\xff", "\"\xef\xbf\xbd\"");
}

/* Every byte and every mark, in every place that takes text: the line has as many fields as it should. */
static void w10_no_text_forges_a_field_or_a_line(void **state) {
    (void)state;
    static const char evil[] =
        "a b=c \"d\\ status=200\n2026 info x\r\t\x1b[31m\xc2\x85\xe2\x80\xa8\xe2\x80\x8f\xff";
    char line[4096];
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        struct log *log = log_new(ends[1], (enum log_format)format, LOG_DEBUG);
        log_request(log, &(struct log_request){.request_id = evil,
                                               .method = evil,
                                               .path = evil,
                                               .client = evil,
                                               .trace_id = evil,
                                               .span_id = evil,
                                               .parent_id = evil});
        log_print(log, LOG_INFO, evil, "http: %s", evil);
        log_free(log);
        close(ends[1]);
        const ssize_t size = read(ends[0], line, sizeof line - 1);
        assert_true(size > 0);
        close(ends[0]);
        line[size] = '\0';
        unsigned lines = 0, fields = 0;
        bool quoted = false;
        for (const char *c = line; *c; c++) {
            assert_true((unsigned char)*c < 0x7f || strncmp(c, "\xef\xbf\xbd", 3) == 0 ||
                        (*c & 0xc0) == 0x80);
            assert_true(*c >= ' ' || *c == '\n' || *c < 0);
            if (quoted && *c == '\\')
                c++;
            else if (*c == '"')
                quoted = !quoted;
            else if (*c == '\n')
                lines++;
            else if (!quoted && *c == (format == LOG_JSON ? ':' : '='))
                fields++;
        }
        assert_int_equal(lines, 2);
        assert_int_equal(fields, format == LOG_JSON ? 17 + 4 : 11 + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_quoted_where_they_need_it),
        cmocka_unit_test(messages_stay_readable),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(w10_no_text_forges_a_field_or_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
