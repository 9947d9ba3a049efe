/* test_request_classifier.c - protects the routes of named classifiers: names, PUT's body, the list's query,
 * a classification by name in its three forms, and what is printed. */
#include "server/api/answer.h"
#include "server/api/classifier.h"
#include "tests/unit/server/api/reading.h"

static bool read_put(const char *name, const char *body, struct classifier_request *request) {
    return request_classifier_json(&model, text_of(name), exactly(body, strlen(body)), strlen(body), arena,
                                   request, &error);
}

static void put_refused(const char *name, const char *body, int status, const char *code, const char *param,
                        const char *message) {
    struct classifier_request request;
    if (read_put(name, body, &request))
        fail_msg("accepted: %s %s", name, body);
    assert_error(status, code, param, message);
}

static struct request_field field(const char *name, const char *bytes) {
    return (struct request_field){
        .name = name, .bytes = (const uint8_t *)exactly(bytes, strlen(bytes)), .size = strlen(bytes)};
}

/* ---- names and PUT */

static void names_are_checked(void **state) {
    (void)state;
    static const char *const good[] = {"a", "Z", "0", "_", "a.b-c_D", "a..b", "_-."};
    static const char *const bad[] = {"",    ".", "-",   ".a", "-a",   "a b",
                                      "a/b", "ä", "a\n", "a%", "../x", "a\"b"};
    char name[CLASSIFIER_NAME_BYTES + 2];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(classifier_check_name(text_of(good[i]), "name", &error));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (classifier_check_name(text_of(bad[i]), "name", &error))
            fail_msg("accepted: \"%s\"", bad[i]);
        assert_error(400, "invalid_name", "name",
                     "is no name for a classifier, a vocabulary or an adapter; accepted: 1 to 128 of A-Z");
    }
    assert_false(classifier_check_name((struct text){.data = "a\0b", .size = 3}, "name", &error));

    memset(name, 'n', sizeof name);
    assert_true(classifier_check_name((struct text){.data = name, .size = 128}, "name", &error));
    assert_false(classifier_check_name((struct text){.data = name, .size = 129}, "name", &error));
}

static void a_definition_is_read(void **state) {
    (void)state;
    struct classifier_request request;
    assert_true(read_put("animals",
                         "{\"labels\":[\"cat\",\"犬\"],\"templates\":[\"a {}\",\"{}!\",\"{}\"],"
                         "\"model\":\"pictograms\"}",
                         &request));
    assert_bytes(request.name.data, request.name.size, "animals");
    assert_int_equal(request.definition.n_labels, 2);
    assert_int_equal(request.definition.n_templates, 3);
    assert_int_equal(request.definition.n_images, 0);
    assert_bytes(request.definition.labels[1].data, request.definition.labels[1].size, "犬");
    assert_bytes(request.definition.templates[1].data, request.definition.templates[1].size, "{}!");

    assert_true(read_put("a", "{\"labels\":[\"cat\"],\"templates\":null}", &request));
    assert_int_equal(request.definition.n_templates, 1);
    assert_bytes(request.definition.templates[0].data, request.definition.templates[0].size, "{}");
}

static void a_definition_is_checked(void **state) {
    (void)state;
    put_refused(".hidden", "{\"labels\":[\"cat\"]}", 400, "invalid_name", "name", "\".hidden\" is no name");
    put_refused("a", "", 400, "invalid_json", "", "the body is empty");
    put_refused("a", "[]", 400, "invalid_json", "", "the body is an array");
    put_refused("a", "{}", 400, "empty_labels", "labels", "there are no labels; 1 to 10000 are accepted");
    put_refused("a", "{\"labels\":[]}", 400, "empty_labels", "labels", "there are no labels");
    put_refused("a", "{\"labels\":[\"cat\",\" \"]}", 400, "empty_labels", "labels[1]",
                "labels[1] is nothing but white space");
    put_refused("a", "{\"labels\":\"cat\"}", 400, "invalid_type", "labels", "a list of strings");
    put_refused("a", "{\"labels\":[\"cat\"],\"templates\":[\"a\"]}", 400, "invalid_template", "templates[0]",
                "exactly one is accepted");
    put_refused("a", "{\"labels\":[\"cat\"],\"model\":\"clip\"}", 404, "model_not_found", "model",
                "available: \"pictograms\"");
    put_refused("a", "{\"labels\":[\"cat\"],\"top_k\":1}", 400, "unknown_field", "top_k",
                "accepted: labels, templates, model");
    put_refused("a", "{\"labels\":[\"cat\"],\"image\":\"Zm9v\"}", 400, "unknown_field", "image", "accepted:");
}

/* ---- the list */

static void list_refused(const struct request_field *args, size_t n, const char *code, const char *param,
                         const char *message) {
    struct classifier_request request;
    assert_false(request_classifier_list(args, n, &request, &error));
    assert_error(400, code, param, message);
}

static void a_list_is_asked_for_in_parts(void **state) {
    (void)state;
    struct classifier_request request;
    assert_true(request_classifier_list(NULL, 0, &request, &error));
    assert_int_equal(request.limit, 100);
    assert_int_equal(request.after.size, 0);
    const struct request_field both[] = {field("after", "animals"), field("limit", "1000")};
    assert_true(request_classifier_list(both, 2, &request, &error));
    assert_int_equal(request.limit, 1000);
    assert_bytes(request.after.data, request.after.size, "animals");

    static const char *const bad[] = {"", "0", "-1", "1001", "10000", "1.0", " 1", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        list_refused((struct request_field[]){field("limit", bad[i])}, 1, "invalid_limit", "limit",
                     "a whole number from 1 to 1000");
    list_refused((struct request_field[]){field("after", "")}, 1, "invalid_name", "after", "is no name");
    list_refused((struct request_field[]){field("after", "\xff")}, 1, "invalid_name", "after", "is no name");
    list_refused((struct request_field[]){field("before", "x")}, 1, "unknown_field", "before",
                 "accepted: limit, after");
    list_refused((struct request_field[]){field("limit", "5"), field("limit", "5")}, 2, "duplicate_field",
                 "limit", "more than once");
    list_refused((struct request_field[]){field("after", "a"), field("after", "b")}, 2, "duplicate_field",
                 "after", "more than once");
}

/* ---- a classification by name */

static void assert_named(const struct classify_request *request, size_t top_k) {
    assert_bytes(request->classifier.data, request->classifier.size, "animals");
    assert_int_equal(request->n_images, 1);
    assert_int_equal(request->n_labels, 0);
    assert_int_equal(request->n_templates, 0);
    assert_int_equal(request->top_k, top_k);
}

static void each_form_takes_a_name(void **state) {
    (void)state;
    struct classify_request request;
    const char *body = "{\"image\":\"Zm9v\",\"classifier\":\"animals\",\"top_k\":3,\"labels\":null}";
    assert_true(request_classify_json(&model, body, strlen(body), arena, &request, &error));
    assert_named(&request, 3);
    const struct request_field parts[] = {field("image", "foo"), field("classifier", "animals")};
    assert_true(request_classify_multipart(&model, parts, 2, arena, &request, &error));
    assert_named(&request, 0);
    const struct request_field args[] = {field("classifier", "animals"), field("top_k", "99")};
    assert_true(request_classify_raw(&model, (const uint8_t *)"foo", 3, args, 2, arena, &request, &error));
    assert_named(&request, 99);

    const struct text labels[] = {text_of("cat"), text_of("dog")}, bare = text_of("{}");
    request_use_classifier(&request, labels, 2, &bare, 1);
    assert_int_equal(request.top_k, 2);
    assert_ptr_equal(request.labels, labels);
    request.top_k = 1;
    request_use_classifier(&request, labels, 2, &bare, 1);
    assert_int_equal(request.top_k, 1);
    request.top_k = 0;
    request_use_classifier(&request, labels, 2, &bare, 1);
    assert_int_equal(request.top_k, 2);
}

static void json_refused(const char *more, const char *code, const char *param, const char *message) {
    struct classify_request request;
    const char *body = arena_print(arena, "{\"image\":\"Zm9v\",%s}", more);
    if (request_classify_json(&model, body, strlen(body), arena, &request, &error))
        fail_msg("accepted: %s", body);
    assert_error(400, code, param, message);
}

static void a_name_excludes_labels_and_templates(void **state) {
    (void)state;
    json_refused("\"classifier\":\"a\",\"labels\":[\"cat\"]", "conflicting_fields", "labels",
                 "both classifier and labels are given");
    json_refused("\"labels\":[],\"classifier\":\"a\"", "conflicting_fields", "labels", "both classifier and");
    json_refused("\"classifier\":\"a\",\"templates\":[\"a {}\"]", "conflicting_fields", "templates",
                 "both classifier and templates are given");
    json_refused("\"classifier\":5", "invalid_type", "classifier", "classifier is a number");
    json_refused("\"classifier\":\"\"", "invalid_name", "classifier", "is no name");
    json_refused("\"classifier\":\"a b\"", "invalid_name", "classifier", "\"a b\" is no name");

    struct classify_request request;
    const struct request_field both[] = {field("image", "foo"), field("classifier", "a"),
                                         field("labels", "cat")};
    assert_false(request_classify_multipart(&model, both, 3, arena, &request, &error));
    assert_error(400, "conflicting_fields", "labels", "both classifier and labels are given");
    assert_false(
        request_classify_raw(&model, (const uint8_t *)"foo", 3, both + 1, 2, arena, &request, &error));
    assert_error(400, "conflicting_fields", "labels", "both classifier and labels are given");
    const struct request_field nameless[] = {field("image", "foo"), field("classifier", "")};
    assert_false(request_classify_multipart(&model, nameless, 2, arena, &request, &error));
    assert_error(400, "invalid_name", "classifier", "is no name");
    const struct request_field twice[] = {field("classifier", "a"), field("classifier", "a")};
    assert_false(request_classify_raw(&model, (const uint8_t *)"foo", 3, twice, 2, arena, &request, &error));
    assert_error(400, "duplicate_field", "classifier", "classifier is given 2 times");
}

/* ---- what is printed */

static void printed(struct buffer *out, const char *expected) {
    assert_false(out->failed);
    assert_bytes(out->data, out->size, expected);
    buffer_free(out);
}

static void answers_are_printed(void **state) {
    (void)state;
    struct buffer out = {0};
    const struct text labels[] = {text_of("cat"), text_of("\"犬\"")}, bare = text_of("{}");
    answer_classifier(&out, &(struct classifier_answer){.name = text_of("a"),
                                                        .labels = labels,
                                                        .n_labels = 2,
                                                        .templates = &bare,
                                                        .n_templates = 1,
                                                        .created = 5,
                                                        .updated = 6,
                                                        .model = "m"});
    printed(&out, "{\"object\":\"classifier\",\"name\":\"a\",\"labels\":[\"cat\",\"\\\"犬\\\"\"],"
                  "\"templates\":[\"{}\"],\"created\":5,\"updated\":6,\"model\":\"m\"}");

    answer_list_begin(&out);
    answer_list_end(&out, false);
    printed(&out, "{\"object\":\"list\",\"data\":[],\"has_more\":false}");
    answer_list_begin(&out);
    answer_classifiers_entry(&out, 0, text_of("a"), 2, 1, 5, 6);
    answer_classifiers_entry(&out, 1, text_of("b"), 3, 4, 7, 8);
    answer_list_end(&out, true);
    printed(&out,
            "{\"object\":\"list\",\"data\":[{\"object\":\"classifier\",\"name\":\"a\",\"label_count\":2,"
            "\"template_count\":1,\"created\":5,\"updated\":6},{\"object\":\"classifier\",\"name\":\"b\","
            "\"label_count\":3,\"template_count\":4,\"created\":7,\"updated\":8}],\"has_more\":true}");
    answer_deleted(&out, "classifier", text_of("a"));
    printed(&out, "{\"object\":\"classifier.deleted\",\"name\":\"a\",\"deleted\":true}");
}

static void an_unknown_name_is_told_its_nearest(void **state) {
    (void)state;
    char longest[3][CLASSIFIER_NAME_BYTES];
    struct text nearest[3] = {text_of("animals"), text_of("animal")};
    assert_false(classifier_refuse_unknown(text_of("anmals"), "classifier", nearest, 2, &error));
    assert_error(404, "classifier_not_found", "classifier",
                 "there is no classifier \"anmals\"; the nearest: \"animals\", \"animal\"");
    assert_false(classifier_refuse_unknown(text_of("x"), "name", NULL, 0, &error));
    assert_error(404, "classifier_not_found", "name", "GET /v1/classifiers lists them");
    for (unsigned i = 0; i < 3; i++) {
        memset(longest[i], 'n', sizeof longest[i]);
        nearest[i] = (struct text){.data = longest[i], .size = sizeof longest[i]};
    }
    assert_false(classifier_refuse_unknown(nearest[0], "name", nearest, 3, &error));
    assert_error(404, "classifier_not_found", "name", "nnn\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(names_are_checked),       TEST(a_definition_is_read),
        TEST(a_definition_is_checked), TEST(a_list_is_asked_for_in_parts),
        TEST(each_form_takes_a_name),  TEST(a_name_excludes_labels_and_templates),
        TEST(answers_are_printed),     TEST(an_unknown_name_is_told_its_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
