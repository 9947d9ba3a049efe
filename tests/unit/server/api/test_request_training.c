/* test_request_training.c - protects POST /v1/adapters/{name}: examples come to the same classes in either form, by label and in
 * their order within it; what is refused is named; and what is said of a job. What is refused over HTTP alone is in
 * tests/e2e/test_adapter_jobs.py. */
#include "server/api/training.h"
#include "tests/unit/server/api/reading.h"

static bool read_json(const char *body, struct training_request *request) {
    return request_training_json(&model, exactly(body, strlen(body)), strlen(body), arena, request, &error);
}

static struct request_field part(const char *name, const char *bytes) {
    return (struct request_field){
        .name = name, .bytes = (const uint8_t *)exactly(bytes, strlen(bytes)), .size = strlen(bytes)};
}

static bool read_form(const struct request_field *parts, size_t n, struct training_request *request) {
    return request_training_multipart(&model, parts, n, 1000, arena, request, &error);
}

static void expect_examples(const struct training_request *request, const char *const *expected, size_t n) {
    assert_int_equal(request->n, n);
    for (size_t i = 0; i < n; i++)
        assert_bytes((const char *)request->examples[i].bytes, request->examples[i].size, expected[i]);
}

static void json_is_grouped_by_label(void **state) {
    (void)state;
    static const char *const expected[] = {"a0", "a1", "b0"};
    struct training_request request;
    /* "b0", "a0", "a1" */
    assert_true(read_json(
        "{\"examples\":[{\"image\":\"YjA=\",\"label\":\"b\"},{\"image\":\"YTA=\",\"label\":\"a\"},"
        "{\"label\":\"a\",\"image\":\"YTE=\"}],\"kind\":\"tail\",\"options\":{\"epochs\":3,"
        "\"start_block\":1,\"learning_rate\":0.25,\"seed\":9007199254740991,\"held_out\":0,\"flip\":true,"
        "\"skip_broken\":null}}",
        &request));
    expect_examples(&request, expected, 3);
    assert_int_equal(request.of[0], 0);
    assert_int_equal(request.of[1], 0);
    assert_int_equal(request.of[2], 1);
    assert_int_equal(request.definition.n_labels, 2);
    assert_int_equal(request.kind, LIMOE_TUNE_TAIL);
    assert_int_equal(request.epochs, 3);
    assert_int_equal(request.start_block, 1);
    assert_true(request.rate == 0.25 && request.held_out == -1 && request.flip && !request.skip_broken);
    assert_true(request.seed == UINT64_C(9007199254740991));
    assert_string_equal(request.examples[2].param, "examples[0]");
}

static void a_form_is_read_alike(void **state) {
    (void)state;
    static const char *const expected[] = {"a0", "a1", "b0"};
    const struct request_field parts[] = {
        part("examples[dog]", "b0"),
        part("examples[a]b]", "a0"),
        part("labels", "[\"dog\",\"zebra\",\"a]b\"]"),
        part("options", "{\"seed\":7}"),
        part("examples[a]b]", "a1"),
        part("templates", "a {}"),
    };
    struct training_request request;
    assert_true(read_form(parts, sizeof parts / sizeof *parts, &request));
    expect_examples(&request, expected, 3);
    assert_int_equal(request.definition.n_labels, 3);
    assert_bytes(request.definition.labels[2].data, request.definition.labels[2].size, "zebra");
    assert_int_equal(request.kind, LIMOE_TUNE_AUTO);
    assert_int_equal(request.start_block, LIMOE_TUNE_MIDDLE);
    assert_true(request.seed == 7 && request.held_out == 0);
}

/* More than the first room, by the function that whatever brings examples calls. */
static void examples_are_bounded(void **state) {
    (void)state;
    struct training_request request = {0};
    const struct training_example example = {
        .label = text_of("a"), .bytes = (const uint8_t *)"x", .size = 1, .param = "examples[a]"};
    for (size_t i = 0; i < TRAINING_MOST_EXAMPLES; i++)
        assert_true(training_take(&request, &example, arena, &error));
    assert_int_equal(request.n, TRAINING_MOST_EXAMPLES);
    assert_false(training_take(&request, &example, arena, &error));
    assert_error(400, "too_many_images", "examples", "more than 10000 examples");
}

static void what_is_refused_is_named(void **state) {
    (void)state;
    struct training_request request;
    const struct request_field twice[] = {part("examples[a]", "x"), part("examples[b]", "y"),
                                          part("model", "pictograms"), part("model", "pictograms")};
    const struct request_field misnamed[] = {part("examples[a]", "x"), part("image", "y")};
    const struct request_field bytes[] = {part("examples[\xff]", "x"), part("examples[b]", "y")};
    assert_false(read_form(twice, 4, &request));
    assert_error(400, "duplicate_field", "model", "model is given 2 times");
    assert_false(read_form(misnamed, 2, &request));
    assert_error(400, "unknown_field", "image",
                 "examples[LABEL], archive, labels, templates, model, kind, options");
    assert_false(read_form(bytes, 2, &request));
    assert_error(400, "invalid_utf8", "examples[?]", "is not UTF-8");
    assert_false(read_json("{\"examples\":[{\"image\":\"YTA=\",\"label\":\"a\"}],\"labels\":[\"a\",\"b\"]}",
                           &request));
    assert_error(400, "too_few_classes", "examples", "the examples are all of \"a\"");
}

static void a_job_is_told_of(void **state) {
    (void)state;
    struct buffer out = {0};
    struct training_answer job = {.state = TRAINING_FAILED,
                                  .created = 5,
                                  .model = "m",
                                  .why = "no \"reason\"",
                                  .n_notes = 1,
                                  .note = {"a note"}};
    answer_training_alone(&out, text_of("pets"), &job);
    assert_bytes(
        out.data, out.size,
        "{\"object\":\"adapter\",\"name\":\"pets\",\"model\":\"m\",\"state\":\"failed\",\"created\":5,"
        "\"progress\":0,\"seconds\":0.000,\"stage\":null,\"epoch\":null,\"epochs\":null,\"loss\":null,"
        "\"notes\":[\"a note\"],\"reason\":\"no \\\"reason\\\"\",\"held_out\":null}");
    out.size = 0;
    const struct limoe_adapter_info tail = {
        .kind = LIMOE_ADAPTER_TAIL,
        .training = "{\"held_out\":{\"before\":25,\"probe\":{\"right\":50},\"tail\":{\"right\":75.5}}}"};
    answer_held_out(&out, &tail);
    assert_bytes(out.data, out.size, ",\"held_out\":{\"before\":25,\"after\":75.5}");
    out.size = 0;
    /* A record may be anybody's. */
    const struct limoe_adapter_info odd = {.kind = LIMOE_ADAPTER_TAIL,
                                           .training = "{\"held_out\":{\"tail\":[1]}}"};
    answer_held_out(&out, &odd);
    assert_bytes(out.data, out.size, ",\"held_out\":null");
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(json_is_grouped_by_label), TEST(a_form_is_read_alike), TEST(examples_are_bounded),
        TEST(what_is_refused_is_named), TEST(a_job_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
