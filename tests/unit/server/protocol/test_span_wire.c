/* Protects records of finished requests: what is packed is what is unpacked, texts that are too long are cut, and what is no
 * record is told from one that is not complete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/protocol/span_wire.h"

static size_t make(char bytes[SPAN_RECORD_MOST]) {
    static char agent[400];
    memset(agent, 'a', sizeof agent - 1);
    struct span_record record = {
        .trace_id = "0123", .request = {1, 2}, .part = {[SPAN_STEP] = {3, 4}}, .status = 200};
    const char *const texts[SPAN_TEXTS] = {[SPAN_METHOD] = "POST", [SPAN_AGENT] = agent};
    assert_int_equal(span_count(&record), 2);
    return span_pack(&record, texts, bytes);
}

static void test_round_trip(void **state) {
    (void)state;
    char bytes[SPAN_RECORD_MOST];
    const char *texts[SPAN_TEXTS];
    struct span_record record;
    const size_t size = make(bytes);
    assert_int_equal(span_unpack(bytes, sizeof bytes, &record, texts), size);
    assert_int_equal(record.length[SPAN_METHOD], 4);
    assert_memory_equal(texts[SPAN_METHOD], "POST", 4);
    assert_int_equal(record.length[SPAN_AGENT], SPAN_TEXT_MOST);
    assert_int_equal(record.length[SPAN_KEY], 0);
    assert_int_equal(record.part[SPAN_STEP].ended, 4);
    for (size_t part = 0; part < size; part++)
        assert_int_equal(span_unpack(bytes, part, &record, texts), 0);
}

static void test_malformed(void **state) {
    (void)state;
    char bytes[SPAN_RECORD_MOST];
    const char *texts[SPAN_TEXTS];
    struct span_record record;
    const size_t size = make(bytes);
    const uint32_t sizes[] = {0, 8, (uint32_t)size - 8, (uint32_t)size + 8, UINT32_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memcpy(bytes, &sizes[i], sizeof sizes[i]);
        assert_int_equal(span_unpack(bytes, sizeof bytes, &record, texts), SIZE_MAX);
    }
}

static void test_settings(void **state) {
    (void)state;
    static struct span_settings sent = {.endpoint = "http://a/"}, got;
    int ends[2], pipes[2], reader;
    char c;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(pipe(pipes), 0);
    assert_true(span_send_settings(ends[0], &sent, pipes[0]));
    assert_true(span_receive_settings(ends[1], &got, &reader));
    assert_string_equal(got.endpoint, "http://a/");
    assert_int_equal(write(pipes[1], "x", 1), 1);
    assert_int_equal(read(reader, &c, 1), 1);
    close(ends[0]);
    assert_false(span_receive_settings(ends[1], &got, &reader));
    close(ends[1]), close(pipes[0]), close(pipes[1]), close(reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_malformed),
                                       cmocka_unit_test(test_settings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
