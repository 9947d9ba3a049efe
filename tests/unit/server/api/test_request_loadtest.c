/* test_request_loadtest.c - protects POST /v1/loadtests: what is read, its bounds, and that no server is loaded that the
 * options do not name. */
#include "tests/unit/server/api/reading.h"

#include "server/api/request_loadtest.h"

static struct loadtest_request request;
static const struct loadtest_limits limits = {
    .rate = 100, .seconds = 60, .requests = 3000, .targets = "http://10.0.0.1:8080, https://b.example/"};

static bool reads(const char *body) {
    const size_t size = strlen(body);
    return request_loadtest_json(&model, &limits, exactly(body, size), size, arena, &request, &error);
}

static void refuses(const char *body, int status, const char *code, const char *param, const char *message) {
    if (reads(body))
        fail_msg("%s is accepted", body);
    assert_error(status, code, param, message);
}

static void f01_rate_and_duration_are_enough(void **state) {
    (void)state;
    assert_true(reads("{\"rate\":20.5,\"duration\":10,\"target\":null,\"model\":null,\"mix\":null}"));
    assert_true(request.rate == 20.5 && request.seconds == 10 && !request.constant);
    assert_null(request.target.data);
    assert_null(request.model.data);
    assert_int_equal(request.mix[LOADTEST_CLASSIFY], 1);
    assert_int_equal(request.mix[LOADTEST_TEXT], 2);
}

static void f02_all_fields(void **state) {
    (void)state;
    assert_true(reads("{\"rate\":1,\"duration\":1,\"arrivals\":\"constant\",\"mix\":{\"image\":3,\"text\":0},"
                      "\"target\":\"http://10.0.0.1:8080/\",\"model\":\"of another\"}"));
    assert_true(request.constant);
    assert_int_equal(request.mix[LOADTEST_CLASSIFY], 0);
    assert_int_equal(request.mix[LOADTEST_IMAGE], 3);
    assert_true(text_is(request.target, "http://10.0.0.1:8080"));
    assert_true(reads("{\"rate\":1,\"duration\":1,\"target\":\"https://b.example\"}"));
}

static void f03_bounds(void **state) {
    (void)state;
    refuses("{\"duration\":1}", 400, "missing_field", "rate", "rate is missing");
    refuses("{\"rate\":1}", 400, "missing_field", "duration", "duration is missing");
    refuses("{\"rate\":100.5,\"duration\":1}", 400, "invalid_value", "rate",
            "rate is 100.5; accepted: a number from 0.1 to 100 (the server's option --loadtest-max-rate)");
    refuses("{\"rate\":0,\"duration\":1}", 400, "invalid_value", "rate", "rate is 0;");
    refuses("{\"rate\":-1,\"duration\":1}", 400, "invalid_value", "rate", "rate is -1;");
    refuses("{\"rate\":\"9\",\"duration\":1}", 400, "invalid_type", "rate", "rate is a string");
    refuses("{\"rate\":1,\"duration\":61}", 400, "invalid_value", "duration", "--loadtest-max-seconds");
    refuses("{\"rate\":100,\"duration\":60}", 400, "invalid_value", "duration",
            "is 6000 requests; up to 3000 are accepted (the server's option --loadtest-max-requests)");
    assert_true(reads("{\"rate\":50,\"duration\":60}"));
}

static void f04_the_mix(void **state) {
    (void)state;
    refuses("{\"rate\":1,\"duration\":1,\"mix\":{}}", 400, "invalid_value", "mix", "asks for nothing");
    refuses("{\"rate\":1,\"duration\":1,\"mix\":{\"text\":0}}", 400, "invalid_value", "mix", "for nothing");
    refuses("{\"rate\":1,\"duration\":1,\"mix\":{\"text\":1.5}}", 400, "invalid_value", "mix.text", "is 1.5");
    refuses("{\"rate\":1,\"duration\":1,\"mix\":{\"text\":1e9}}", 400, "invalid_value", "mix.text",
            "a whole number from 0 to 1000000");
    refuses("{\"rate\":1,\"duration\":1,\"mix\":{\"audio\":1}}", 400, "unknown_field", "mix",
            "no field \"audio\" in mix; accepted: classify, image, text");
    refuses("{\"rate\":1,\"duration\":1,\"mix\":[1]}", 400, "invalid_type", "mix", "mix is an array");
    refuses("{\"rate\":1,\"duration\":1,\"arrivals\":\"Poisson\"}", 400, "invalid_value", "arrivals",
            "arrivals is \"Poisson\"");
    refuses("{\"rate\":1,\"duration\":1,\"warmup\":1}", 400, "unknown_field", "warmup", "accepted: rate, d");
    refuses("[]", 400, "invalid_json", "", "the body is an array");
}

static void f05_only_targets_that_are_named(void **state) {
    static const char *const others[] = {"http://10.0.0.1",
                                         "http://10.0.0.1:80801",
                                         "http://10.0.0.1:8080/x",
                                         "https://10.0.0.1:8080",
                                         "http://b.example",
                                         "",
                                         "/",
                                         "http://a@10.0.0.1:8080",
                                         "--insecure",
                                         "http://10.0.0.1:8080, https://b.example/"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        refuses(arena_print(arena, "{\"rate\":1,\"duration\":1,\"target\":\"%s\"}", others[i]), 403,
                "target_not_allowed", "target", "--loadtest-targets");
    const struct loadtest_limits none = {.rate = 9, .seconds = 9, .requests = 99};
    const char body[] = "{\"rate\":1,\"duration\":1,\"target\":\"http://10.0.0.1:8080\"}";
    assert_false(request_loadtest_json(&model, &none, body, sizeof body - 1, arena, &request, &error));
    assert_error(403, "target_not_allowed", "target", "(none)");
}

static void f06_models(void **state) {
    (void)state;
    assert_true(reads("{\"rate\":1,\"duration\":1,\"model\":\"pictograms\"}"));
    refuses("{\"rate\":1,\"duration\":1,\"model\":\"of another\"}", 404, "model_not_found", "model",
            "available: \"pictograms\"");
    refuses("{\"rate\":1,\"duration\":1,\"target\":\"https://b.example\",\"model\":\"a\\nb\"}", 400,
            "invalid_value", "model", "without control characters");
    refuses("{\"rate\":1,\"duration\":1,\"target\":\"https://b.example\",\"model\":\"\"}", 400,
            "invalid_value", "model", "model is of 0 bytes");
}

static void f07_the_list_of_targets(void **state) {
    static const char *const wrong[] = {"10.0.0.1:8080", "ftp://a",    "http://",    "http://a/path",
                                        "http://u@a",    "http://a b", "https://a,b"};
    struct limoe_error err;
    (void)state;
    assert_int_equal(loadtest_check_targets(NULL, &err), LIMOE_OK);
    assert_int_equal(loadtest_check_targets("http://a:1/,https://[::1]:2", &err), LIMOE_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (loadtest_check_targets(wrong[i], &err) != LIMOE_INVALID)
            fail_msg("%s is accepted", wrong[i]);
        assert_non_null(strstr(err.message, "loadtest-targets has"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(f01_rate_and_duration_are_enough),
        TEST(f02_all_fields),
        TEST(f03_bounds),
        TEST(f04_the_mix),
        TEST(f05_only_targets_that_are_named),
        TEST(f06_models),
        TEST(f07_the_list_of_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
