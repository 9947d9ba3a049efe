/* test_nim.c - protects what NIM's clients are told. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/nim.h"

static void metadata_names_the_models(void **state) {
    (void)state;
    const struct answer_model models[] = {{.info = &info, .fingerprint = "f1"},
                                          {.info = &info, .fingerprint = "f2"}};
    const struct dialect_about about = {.models = models, .n = 2, .ready = true, .why = ""};
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    assert_true(nim_tell_metadata(&about, &answer, &error));
    buffer_bytes(&out, "", 1);
    assert_non_null(strstr(
        out.data, "\"modelInfo\":[{\"shortName\":\"pictograms\",\"modelUrl\":\"\",\"fingerprint\":\"f1\"},"
                  "{\"shortName\":\"pictograms\""));
    buffer_free(&out);
}

static void who_starts_is_live_and_not_ready(void **state) {
    (void)state;
    const struct dialect_about starting = {.why = "it is being loaded"};
    assert_told(nim_tell_metadata, &starting, NULL);
    assert_error(503, "starting", "", "the server is starting");
    assert_told(nim_tell_ready, &starting, NULL);
    assert_error(503, "starting", "", "it is being loaded");
    assert_told(nim_tell_live, &starting,
                "{\"object\":\"health.response\",\"message\":\"Service is live.\",\"live\":true}");
    const struct dialect_about ready = {.ready = true, .why = ""};
    assert_told(nim_tell_ready, &ready,
                "{\"object\":\"health.response\",\"message\":\"Service is ready.\",\"ready\":true}");
    assert_written(&dialect_nim, &error,
                   "{\"object\":\"error\",\"message\":\"it is being loaded\",\"detail\":\"it is being "
                   "loaded\",\"type\":\"service_unavailable_error\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(metadata_names_the_models),
        TEST(who_starts_is_live_and_not_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
