/* Protects the JSON of spans where bytes of clients go into it, and what is said of requests that failed. That collectors
 * read it, tests/e2e/test_tracing.py shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "server/exporter/batch.h"
#include "server/formats/json_reader.h"

/* The JSON of a batch with one record; also that it is JSON. */
static char *written(struct span_record *record, const char *const texts[SPAN_TEXTS]) {
    static const struct span_settings settings = {.service = "a \"name\"", .version = "1", .instance = "i"};
    struct batch batch = {0};
    struct json_value *root;
    struct json_error error;
    char bytes[SPAN_RECORD_MOST];
    const char *unpacked[SPAN_TEXTS];
    strcpy(record->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    strcpy(record->span_id, "00f067aa0ba902b7");
    const size_t size = span_pack(record, texts, bytes);
    assert_int_equal(span_unpack(bytes, size, record, unpacked), size);
    batch_open(&batch, &settings);
    batch_add(&batch, record, unpacked);
    assert_int_equal(batch.spans, span_count(record));
    batch_close(&batch);
    struct arena *arena = arena_new();
    assert_true(json_read(batch.json.data, batch.json.size, arena, &root, &error));
    arena_free(arena);
    buffer_bytes(&batch.json, "", 1);
    size_t taken;
    return buffer_take(&batch.json, &taken);
}

static void test_hostile_texts(void **state) {
    (void)state;
    struct span_record record = {.request = {1, 2}, .status = 404};
    const char *const texts[SPAN_TEXTS] = {
        [SPAN_METHOD] = "G\"ET", [SPAN_PATH] = "/\xff\"\\\n", [SPAN_AGENT] = "\x01"};
    char *json = written(&record, texts);
    assert_non_null(strstr(json, "\"name\":\"HTTP\""));
    assert_non_null(strstr(json, "\"_OTHER\""));
    assert_null(strstr(json, "\"status\":"));
    free(json);
}

static void test_failures(void **state) {
    (void)state;
    struct span_record failed = {.request = {5, 2}, .status = 503}, left = {.request = {1, 2}};
    const char *const texts[SPAN_TEXTS] = {[SPAN_METHOD] = "GET", [SPAN_ROUTE] = "/v1/models"};
    const char *const gone[SPAN_TEXTS] = {[SPAN_METHOD] = "GET", [SPAN_ERROR] = "client_gone"};
    char *json = written(&failed, texts);
    assert_non_null(strstr(json, "\"status\":{\"code\":2}"));
    assert_non_null(strstr(json, "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"503\"}}"));
    assert_non_null(strstr(json, "\"endTimeUnixNano\":\"5\"")); /* no span ends before it began */
    free(json);
    json = written(&left, gone);
    assert_non_null(strstr(json, "\"status\":{\"code\":2,\"message\":\"client_gone\"}"));
    assert_null(strstr(json, "http.response.status_code"));
    free(json);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_texts), cmocka_unit_test(test_failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
