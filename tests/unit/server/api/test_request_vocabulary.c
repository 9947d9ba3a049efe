/* test_request_vocabulary.c - protects vocabularies that clients bring: PUT's body with its bounds, the query of GET, and that what is
 * written of a definition is read as the same. */
#include "server/api/vocabularies.h"

#include "server/formats/json_reader.h"
#include "tests/unit/server/api/reading.h"

static bool read_put(const char *name, const char *body, struct vocabulary_request *request) {
    return request_vocabulary_json(text_of(name), exactly(body, strlen(body)), strlen(body), arena, request,
                                   &error);
}

static void refused(const char *name, const char *body, int status, const char *code, const char *param,
                    const char *message) {
    struct vocabulary_request request;
    if (read_put(name, body, &request))
        fail_msg("accepted: %s %s", name, body);
    assert_error(status, code, param, message);
}

static void assert_term(const struct vocabulary_request *request, size_t i, const char *expected) {
    assert_bytes(request->definition.terms[i].data, request->definition.terms[i].size, expected);
}

static void a_definition_is_read(void **state) {
    (void)state;
    struct vocabulary_request request;
    assert_true(read_put("words", "{\"terms\":[\"cat\",\"犬\"],\"template\":\"a {}!\",\"threshold\":0.25}",
                         &request));
    assert_int_equal(request.definition.n, 2);
    assert_term(&request, 1, "犬");
    assert_bytes(request.definition.template.data, request.definition.template.size, "a {}!");
    assert_true(!request.definition.automatic && request.definition.threshold == 0.25f);
    assert_true(
        read_put("words", "{\"terms\":[\"cat\"],\"template\":null,\"threshold\":\"auto\"}", &request));
    assert_bytes(request.definition.template.data, request.definition.template.size, "{}");
    assert_true(request.definition.automatic);
}

static void what_comes_again_is_taken_once(void **state) {
    (void)state;
    struct vocabulary_request request;
    assert_true(read_put("w", "{\"terms\":[\"b\",\"a\",\"b\",\"ab\",\"a\",\"b\"]}", &request));
    assert_int_equal(request.definition.n, 3);
    assert_term(&request, 0, "b");
    assert_term(&request, 1, "a");
    assert_term(&request, 2, "ab");
}

static void objects_become_terms(void **state) {
    (void)state;
    struct vocabulary_request request;
    assert_true(
        read_put("w", "{\"objects\":{\"cat\":[\"pointed ears\",\"a tail\"],\"rock\":[],\"犬\":[\"a tail\"]}}",
                 &request));
    assert_int_equal(request.definition.n, 3);
    assert_term(&request, 0, "cat with pointed ears");
    assert_term(&request, 2, "犬 with a tail");
    refused("w", "{\"objects\":{\"cat\":[]}}", 400, "empty_terms", "objects", "there are no terms");
    refused("w", "{\"objects\":{\"cat\":[\"\"]}}", 400, "empty_terms", "objects.cat[0]", "is empty");
    refused("w", "{\"objects\":{\" \":[\"x\"]}}", 400, "empty_terms", "objects", "an object has no name");
    refused("w", "{\"objects\":{\"cat\":\"x\"}}", 400, "invalid_type", "objects.cat", "a list of strings");
    refused("w", "{\"objects\":{\"a very long name of a thing\":[7]}}", 400, "invalid_type",
            "objects.a very long …[0]", "a string");
    refused("w", "{\"objects\":[]}", 400, "invalid_type", "objects", "an object of lists");
}

static void what_is_none_is_refused(void **state) {
    (void)state;
    refused("w", "{}", 400, "missing_field", "terms", "there are no terms");
    refused("w", "{\"terms\":[]}", 400, "empty_terms", "terms", "1 to 100000 are accepted");
    refused("w", "{\"terms\":[\"a\",\"\"]}", 400, "empty_terms", "terms[1]", "terms[1] is empty");
    refused("w", "{\"terms\":[\" \"]}", 400, "empty_terms", "terms[0]", "white space");
    refused("w", "{\"terms\":[1]}", 400, "invalid_type", "terms[0]", "a string");
    refused("w", "{\"terms\":\"cat\"}", 400, "invalid_type", "terms", "a list of strings");
    refused("w", "{\"terms\":[\"a\"],\"objects\":{}}", 400, "conflicting_fields", "objects", "one of them");
    refused("w", "{\"terms\":[\"a\"],\"model\":\"m\"}", 400, "unknown_field", "model",
            "terms, objects, template, threshold");
    refused("w", "{\"terms\":[\"a\"],\"template\":\"a photo\"}", 400, "invalid_template", "template",
            "has 0 \"{}\"");
    refused("w", "{\"terms\":[\"a\"],\"template\":\"{} {}\"}", 400, "invalid_template", "template",
            "has 2 \"{}\"");
    refused("w", "{\"terms\":[\"a\"],\"template\":7}", 400, "invalid_type", "template", "a string");
    refused("w", "{\"terms\":[\"a\"],\"threshold\":1.5}", 400, "invalid_value", "threshold",
            "a cosine, -1 to 1");
    refused("w", "{\"terms\":[\"a\"],\"threshold\":\"0.5\"}", 400, "invalid_value", "threshold", "\"auto\"");
    refused("w", "{\"terms\":[\"a\"],\"threshold\":NaN}", 400, "invalid_json", "", "not JSON");
    refused("tags", "{\"terms\":[\"a\"]}", 409, "vocabulary_shipped", "name", "comes with the program");
    refused("attributes", "", 409, "vocabulary_shipped", "name", "take another name");
    refused("../w", "{\"terms\":[\"a\"]}", 400, "invalid_name", "name", "is no name");
}

/* A body with n terms of `size` bytes, no two alike. */
static char *many(size_t n, size_t size) {
    char *body = room(n * (size + 3) + 16), *at = body + sprintf(body, "{\"terms\":[");
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s\"%0*zu\"", i ? "," : "", (int)size, i);
    memcpy(at, "]}", 3);
    return body;
}

static void terms_are_bounded(void **state) {
    (void)state;
    struct vocabulary_request request;
    assert_true(read_put("w", many(VOCABULARY_MOST_TERMS, 6), &request));
    assert_int_equal(request.definition.n, VOCABULARY_MOST_TERMS);
    refused("w", many(VOCABULARY_MOST_TERMS + 1, 6), 400, "too_many_terms", "terms",
            "100001 terms; up to 100000");
    assert_true(read_put("w", many(1, REQUEST_MAX_LABEL_BYTES), &request));
    refused("w", many(1, REQUEST_MAX_LABEL_BYTES + 1), 400, "too_long", "terms[0]",
            "up to 1024 are accepted");
    refused("w", many(VOCABULARY_MOST_BYTES / 1000 + 1, 1000), 400, "too_many_terms", "terms",
            "bytes in all; up to 16777216");
}

static void what_is_written_is_read(void **state) {
    (void)state;
    struct vocabulary_request request;
    struct vocabulary_definition again;
    struct json_value *object;
    struct json_error at;
    struct buffer text = {0};
    assert_true(
        read_put("w", "{\"terms\":[\"\\\"\\n\",\"犬\"],\"template\":\"\\t{}\",\"threshold\":0.1}", &request));
    buffer_string(&text, "{");
    vocabulary_write(&text, &request.definition);
    buffer_string(&text, "}");
    assert_true(json_read_within(text.data, text.size, &request_vocabulary_limits, arena, &object, &at));
    assert_true(request_vocabulary_object(object, arena, &again, &error));
    assert_true(again.n == 2 && text_equal(again.terms[0], request.definition.terms[0]));
    assert_true(text_equal(again.template, request.definition.template));
    assert_true(!again.automatic && again.threshold == request.definition.threshold);
    buffer_free(&text);
}

static struct request_field field(const char *name, const char *bytes) {
    return (struct request_field){
        .name = name, .bytes = (const uint8_t *)exactly(bytes, strlen(bytes)), .size = strlen(bytes)};
}

static void a_page_is_read(void **state) {
    (void)state;
    struct vocabulary_request request;
    const struct request_field good[] = {field("limit", "10000"), field("offset", "0")};
    const struct request_field bad[] = {field("limit", "10001"), field("offset", "-1"), field("limit", ""),
                                        field("limit", "1e3")};
    const struct request_field twice[] = {field("offset", "0"), field("offset", "0")},
                               other = field("after", "a");
    assert_true(request_vocabulary_page(text_of("w"), good, 2, &request, &error));
    assert_true(request.limit == 10000 && request.offset == 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(request_vocabulary_page(text_of("w"), &bad[i], 1, &request, &error));
        assert_error(400, "invalid_limit", bad[i].name, "must be a whole number from 0 to");
    }
    assert_false(request_vocabulary_page(text_of("w"), twice, 2, &request, &error));
    assert_error(400, "duplicate_field", "offset", "more than once");
    assert_false(request_vocabulary_page(text_of("w"), &other, 1, &request, &error));
    assert_error(400, "unknown_field", "after", "offset, limit");
}

static void what_is_printed(void **state) {
    (void)state;
    const struct text terms[] = {{"cat", 3}, {"dog", 3}, {"cow", 3}};
    const struct vocabulary_definition definition = {
        .terms = terms, .n = 3, .template = {"a {}", 4}, .threshold = 0.5f};
    const struct vocabulary_progress models[] = {
        {.model = "m", .state = VOCABULARY_EMBEDDING, .embedded = 2},
        {.model = "n", .state = VOCABULARY_FAILED, .why = "no \"room\""}};
    struct vocabulary_answer answer = {.name = {"w", 1},
                                       .definition = &definition,
                                       .created = 1,
                                       .updated = 2,
                                       .models = models,
                                       .n_models = 2,
                                       .offset = 1,
                                       .limit = 5};
    struct buffer out = {0};
    answer_vocabulary(&out, &answer);
    assert_bytes(
        out.data, out.size,
        "{\"object\":\"vocabulary\",\"name\":\"w\",\"size\":3,\"template\":\"a {}\",\"threshold\":0.5,"
        "\"shipped\":false,\"created\":1,\"updated\":2,\"models\":["
        "{\"model\":\"m\",\"state\":\"embedding\",\"embedded\":2,\"reason\":null},"
        "{\"model\":\"n\",\"state\":\"failed\",\"embedded\":0,\"reason\":\"no \\\"room\\\"\"}],"
        "\"terms\":[\"dog\",\"cow\"]}");
    buffer_free(&out);
    answer.offset = 7; /* behind the last */
    answer.own = true;
    answer_vocabulary(&out, &answer);
    assert_non_null(memmem(out.data, out.size, "\"shipped\":true,\"terms\":[]}", 26));
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_definition_is_read), TEST(what_comes_again_is_taken_once),
        TEST(objects_become_terms), TEST(what_is_none_is_refused),
        TEST(terms_are_bounded),    TEST(what_is_written_is_read),
        TEST(a_page_is_read),       TEST(what_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
