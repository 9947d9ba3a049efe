/* test_request_classify.c - protects the three ways into /v1/classify: that they mean the same, and what a
 * client is told when it errs. */
#include "tests/unit/server/api/reading.h"

static struct classify_request read_body(const char *body) {
    struct classify_request request;
    if (!request_classify_json(&model, exactly(body, strlen(body)), strlen(body), arena, &request, &error))
        fail_msg("%s: %s", body, error.message);
    return request;
}

static void refused(const char *body, int status, const char *code, const char *param, const char *message) {
    struct classify_request request;
    if (request_classify_json(&model, exactly(body, strlen(body)), strlen(body), arena, &request, &error))
        fail_msg("accepted: %s", body);
    assert_error(status, code, param, message);
}

static void assert_texts(const struct text *texts, size_t n, const char *const *expected) {
    size_t i = 0;
    for (; i < n; i++) {
        assert_non_null(expected[i]);
        assert_bytes(texts[i].data, texts[i].size, expected[i]);
    }
    assert_null(expected[i]);
}

/* ---- JSON */

static void a_json_body_is_read(void **state) {
    (void)state;
    struct classify_request request = read_body(
        "{\"image\":\"data:image/png;base64,Zm9v\",\"labels\":[\"cat\",\"猫\",\"cat\"],"
        "\"templates\":[\"a {}\",\"{}!\"],\"top_k\":2,\"model\":\"pictograms\",\"classifier\":null}");
    assert_int_equal(request.n_images, 1);
    assert_bytes(request.images[0].bytes, request.images[0].size, "foo");
    assert_string_equal(request.images[0].param, "image");
    assert_texts(request.labels, request.n_labels, (const char *[]){"cat", "猫", "cat", NULL});
    assert_texts(request.templates, request.n_templates, (const char *[]){"a {}", "{}!", NULL});
    assert_int_equal(request.top_k, 2);

    request = read_body("{\"images\":[\"Zm9v\",\"YmFy\"],\"labels\":[\"cat\",\"dog\"]}");
    assert_int_equal(request.n_images, 2);
    assert_bytes(request.images[1].bytes, request.images[1].size, "bar");
    assert_string_equal(request.images[1].param, "images[1]");
    assert_texts(request.templates, request.n_templates, (const char *[]){"{}", NULL});
    assert_int_equal(request.top_k, 2);
    assert_int_equal(read_body("{\"image\":\"Zm9v\",\"labels\":[\"x\"],\"top_k\":50}").top_k, 1);
}

#define IMAGE  "\"image\":\"Zm9v\""
#define LABELS "\"labels\":[\"cat\",\"dog\"]"

static void images_are_checked(void **state) {
    (void)state;
    refused("{" LABELS "}", 400, "missing_image", "image", "there is no image");
    refused("{" LABELS ",\"image\":null}", 400, "missing_image", "image", "there is no image");
    refused("{" LABELS ",\"images\":[]}", 400, "missing_image", "images", "images is empty");
    refused("{" LABELS "," IMAGE ",\"images\":[\"Zm9v\"]}", 400, "conflicting_fields", "images", "both");
    refused("{" LABELS ",\"image\":[\"Zm9v\"]}", 400, "invalid_type", "image", "\"images\" takes a list");
    refused("{" LABELS ",\"images\":\"Zm9v\"}", 400, "invalid_type", "images", "images is a string");
    refused("{" LABELS ",\"images\":[\"Zm9v\",5]}", 400, "invalid_type", "images[1]",
            "images[1] is a number");
    refused("{" LABELS ",\"images\":[\"Zm9v\",\"Zm9\"]}", 400, "invalid_image", "images[1]",
            "images[1]: not base64: 3 characters");
    refused("{" LABELS ",\"image\":\"\"}", 400, "invalid_image", "image", "image: empty");
    struct classify_request request = read_body("{" LABELS ",\"image\":\"http://x/y.png\"}");
    assert_true(request.images[0].remote);
    assert_bytes(request.images[0].bytes, request.images[0].size, "http://x/y.png");
}

static void labels_are_checked(void **state) {
    (void)state;
    refused("{" IMAGE "}", 400, "empty_labels", "labels", "there are no labels; 1 to 10000 are accepted");
    refused("{" IMAGE ",\"labels\":[]}", 400, "empty_labels", "labels", "there are no labels");
    refused("{" IMAGE ",\"labels\":[\"cat\",\"\"]}", 400, "empty_labels", "labels[1]", "labels[1] is empty");
    refused("{" IMAGE ",\"labels\":[\"cat\",\" \\t\"]}", 400, "empty_labels", "labels[1]",
            "labels[1] is nothing but white space");
    refused("{" IMAGE ",\"labels\":\"cat,dog\"}", 400, "invalid_type", "labels",
            "accepted: a list of strings");
    refused("{" IMAGE ",\"labels\":[\"cat\",null]}", 400, "invalid_type", "labels[1]", "labels[1] is null");
    refused("{" IMAGE ",\"lables\":[\"cat\"]}", 400, "unknown_field", "lables",
            "accepted: image, images, labels");

    char *body = room(2 * REQUEST_MAX_LABEL_BYTES);
    for (unsigned size = REQUEST_MAX_LABEL_BYTES; size <= REQUEST_MAX_LABEL_BYTES + 1; size++) {
        const int head = sprintf(body, "{" IMAGE ",\"labels\":[\"");
        memset(body + head, 'x', size);
        strcpy(body + head + size, "\"]}");
        if (size == REQUEST_MAX_LABEL_BYTES)
            assert_int_equal(read_body(body).labels[0].size, size);
        else
            refused(body, 400, "too_long", "labels[0]", "labels[0] has 1025 bytes; up to 1024 are accepted");
    }
}

/* {image, labels: n, templates: m} */
static char *body_of(unsigned labels, unsigned templates) {
    char *body = room(100 + 8 * labels + 8 * templates), *end = body;
    end += sprintf(end, "{" IMAGE ",\"labels\":[");
    for (unsigned i = 0; i < labels; i++)
        end += sprintf(end, "%s\"%u\"", i ? "," : "", i % 100);
    end += sprintf(end, "]");
    for (unsigned i = 0; i < templates; i++)
        end += sprintf(end, "%s\"a {}\"", i ? "," : ",\"templates\":[");
    end += sprintf(end, templates ? "]}" : "}");
    return body;
}

static void the_number_of_prompts_is_bounded(void **state) {
    (void)state;
    assert_int_equal(read_body(body_of(10000, 0)).n_labels, 10000);
    refused(body_of(10001, 0), 400, "too_many_labels", "labels", "10001 labels; up to 10000 are accepted");
    assert_int_equal(read_body(body_of(200, 100)).n_templates, 100);
    refused(body_of(1, 101), 400, "too_many_templates", "templates", "101 templates; up to 100 are accepted");
    assert_int_equal(read_body(body_of(10000, 2)).n_labels, 10000);
    refused(body_of(6667, 3), 400, "too_many_prompts", "templates", "are 20001 prompts; up to 20000");
}

static void templates_are_checked(void **state) {
    (void)state;
    refused("{" IMAGE "," LABELS ",\"templates\":[\"a {}\",\"a cat\"]}", 400, "invalid_template",
            "templates[1]", "templates[1] (\"a cat\") has 0 \"{}\"; exactly one");
    refused("{" IMAGE "," LABELS ",\"templates\":[\"{} or {}\"]}", 400, "invalid_template", "templates[0]",
            "has 2 \"{}\"");
    refused("{" IMAGE "," LABELS ",\"templates\":[\"\"]}", 400, "empty_template", "templates[0]", "is empty");
    refused("{" IMAGE "," LABELS ",\"templates\":\"a {}\"}", 400, "invalid_type", "templates", "is a string");
    assert_int_equal(read_body("{" IMAGE "," LABELS ",\"templates\":[]}").n_templates, 1);
    /* Braces of a label are its own. */
    assert_int_equal(read_body("{" IMAGE ",\"labels\":[\"{}\"],\"templates\":[\"{{}}\"]}").n_labels, 1);
}

static void the_other_fields_are_checked(void **state) {
    (void)state;
    static const char *const bad[] = {"0", "-1", "1.5", "\"5\"", "1e300", "true", "[1]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(arena_print(arena, "{" IMAGE "," LABELS ",\"top_k\":%s}", bad[i]), 400, "invalid_top_k",
                "top_k", "top_k must be a whole number, 1 or more");
    refused("{" IMAGE "," LABELS ",\"model\":\"clip\"}", 404, "model_not_found", "model",
            "available: \"pictograms\"");
    refused("{" IMAGE ",\"classifier\":5}", 400, "invalid_type", "classifier", "classifier is a number");
}

/* ---- forms and queries */

static struct request_field field(const char *name, const char *value) {
    const size_t size = strlen(value);
    return (struct request_field){.name = name, .bytes = (const uint8_t *)exactly(value, size), .size = size};
}

static void form_refused(const struct request_field *fields, size_t n, int status, const char *code,
                         const char *param, const char *message) {
    struct classify_request request;
    if (request_classify_multipart(&model, fields, n, arena, &request, &error))
        fail_msg("accepted; expected %s", message);
    assert_error(status, code, param, message);
}

static void a_form_is_read(void **state) {
    (void)state;
    struct classify_request request;
    const struct request_field repeated[] = {field("labels", "cat"),     field("image", "foo"),
                                             field("labels", "a [dog]"), field("templates", "a {}"),
                                             field("top_k", "1"),        field("model", "pictograms")};
    assert_true(request_classify_multipart(&model, repeated, 6, arena, &request, &error));
    assert_int_equal(request.n_images, 1);
    assert_bytes(request.images[0].bytes, request.images[0].size, "foo");
    assert_string_equal(request.images[0].param, "image");
    assert_texts(request.labels, request.n_labels, (const char *[]){"cat", "a [dog]", NULL});
    assert_texts(request.templates, request.n_templates, (const char *[]){"a {}", NULL});
    assert_int_equal(request.top_k, 1);

    const struct request_field arrays[] = {field("image", "foo"), field("image", "bar"),
                                           field("labels", "[\"cat\", \"d\\u006fg\"]"),
                                           field("templates", "[\"a {}\"]")};
    assert_true(request_classify_multipart(&model, arrays, 4, arena, &request, &error));
    assert_int_equal(request.n_images, 2);
    assert_string_equal(request.images[1].param, "image[1]");
    assert_texts(request.labels, request.n_labels, (const char *[]){"cat", "dog", NULL});
    assert_int_equal(request.top_k, 2);

    /* Repeated labels are taken as they are, brackets and all. */
    const struct request_field brackets[] = {field("image", "x"), field("labels", "[1]"),
                                             field("labels", "b")};
    assert_true(request_classify_multipart(&model, brackets, 3, arena, &request, &error));
    assert_texts(request.labels, request.n_labels, (const char *[]){"[1]", "b", NULL});
}

static void forms_are_checked(void **state) {
    (void)state;
    const struct request_field cat = field("labels", "cat"), image = field("image", "foo");
    form_refused(NULL, 0, 400, "empty_labels", "labels", "there are no labels");
    form_refused(&cat, 1, 400, "missing_image", "image", "curl -F image=@cat.png");
    form_refused(&image, 1, 400, "empty_labels", "labels", "there are no labels");
    form_refused((struct request_field[]){cat, field("image", "")}, 2, 400, "invalid_image", "image",
                 "image is an empty file");
    form_refused((struct request_field[]){image, field("labels", "")}, 2, 400, "empty_labels", "labels[0]",
                 "labels[0] is empty");
    form_refused((struct request_field[]){image, field("labels", "[\"cat\"")}, 2, 400, "invalid_json",
                 "labels", "labels begins with \"[\" but is not a JSON array: line 1, column 7");
    form_refused((struct request_field[]){image, field("labels", "[1]")}, 2, 400, "invalid_type", "labels[0]",
                 "labels[0] is a number");
    form_refused((struct request_field[]){image, cat, field("labels", "caf\xE9")}, 3, 400, "invalid_utf8",
                 "labels[1]", "labels[1] is not UTF-8 text: byte 0xe9 at 3");
    struct request_field nul = cat;
    nul.bytes = (const uint8_t *)"c\0t";
    form_refused((struct request_field[]){image, nul}, 2, 400, "invalid_utf8", "labels[0]",
                 "labels[0] has a NUL byte at 1");
    form_refused((struct request_field[]){image, cat, field("lables", "dog")}, 3, 400, "unknown_field",
                 "lables", "there is no field \"lables\" here");
    form_refused((struct request_field[]){image, cat, field("model", "clip")}, 3, 404, "model_not_found",
                 "model", "available: \"pictograms\"");
    form_refused((struct request_field[]){image, cat, field("top_k", "1"), field("top_k", "2")}, 4, 400,
                 "duplicate_field", "top_k", "top_k is given 2 times");
    static const char *const bad[] = {"", "0", "-1", "1.5", " 1", "five", "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        form_refused((struct request_field[]){image, cat, field("top_k", bad[i])}, 3, 400, "invalid_top_k",
                     "top_k", "top_k must be a whole number");
}

static void a_raw_picture_is_read(void **state) {
    (void)state;
    struct classify_request request;
    const struct request_field args[] = {field("labels", "cat"), field("labels", "犬"), field("top_k", "1")};
    assert_true(request_classify_raw(&model, (const uint8_t *)"foo", 3, args, 3, arena, &request, &error));
    assert_int_equal(request.n_images, 1);
    assert_bytes(request.images[0].bytes, request.images[0].size, "foo");
    assert_texts(request.labels, request.n_labels, (const char *[]){"cat", "犬", NULL});
    assert_int_equal(request.top_k, 1);

    assert_false(request_classify_raw(&model, NULL, 0, args, 3, arena, &request, &error));
    assert_error(400, "missing_image", "", "the body is empty; a picture is expected");
    assert_false(request_classify_raw(&model, (const uint8_t *)"foo", 3, NULL, 0, arena, &request, &error));
    assert_error(400, "empty_labels", "labels", "there are no labels");
    const struct request_field image = field("image", "foo");
    assert_false(request_classify_raw(&model, (const uint8_t *)"foo", 3, &image, 1, arena, &request, &error));
    assert_error(400, "unknown_field", "image", "accepted: labels, templates, top_k");
}

/* Labels in a form or a query, as plain text and once, are divided as the command line divides them. */
static void f18_labels_are_divided_at_commas(void **state) {
    (void)state;
    struct classify_request request;
    const struct request_field image = field("image", "foo");
    const char *const two[] = {"cat", "a dog", NULL}, *const whole[] = {"cat, dog", NULL};
    const struct request_field once = field("labels", " cat,\ta dog "),
                               array = field("labels", "[\"cat, dog\"]");
    assert_true(request_classify_multipart(&model, (struct request_field[]){image, once}, 2, arena, &request,
                                           &error));
    assert_texts(request.labels, request.n_labels, two);
    assert_true(request_classify_raw(&model, (const uint8_t *)"foo", 3, &once, 1, arena, &request, &error));
    assert_texts(request.labels, request.n_labels, two);
    assert_int_equal(request.top_k, 2);
    /* A label that has a comma: in an array. */
    assert_true(request_classify_raw(&model, (const uint8_t *)"foo", 3, &array, 1, arena, &request, &error));
    assert_texts(request.labels, request.n_labels, whole);
    /* Given more than once, each is a label as it stands; and templates are sentences, which have commas. */
    const struct request_field more[] = {image, field("labels", "cat, dog"), field("labels", "bird"),
                                         field("templates", "a photo, blurred, of a {}")};
    assert_true(request_classify_multipart(&model, more, 4, arena, &request, &error));
    assert_texts(request.labels, request.n_labels, (const char *[]){"cat, dog", "bird", NULL});
    assert_texts(request.templates, request.n_templates, (const char *[]){"a photo, blurred, of a {}", NULL});
}

static void f18_what_is_divided_is_checked(void **state) {
    (void)state;
    const struct request_field image = field("image", "foo");
    form_refused((struct request_field[]){image, field("labels", "cat,")}, 2, 400, "empty_labels",
                 "labels[1]", "labels[1] is empty");
    form_refused((struct request_field[]){image, field("labels", "cat,caf\xE9")}, 2, 400, "invalid_utf8",
                 "labels", "labels is not UTF-8 text: byte 0xe9 at 7");
    char many[REQUEST_MAX_LABELS + 1];
    memset(many, ',', sizeof many);
    struct request_field labels = field("labels", "");
    labels.bytes = (const uint8_t *)many;
    labels.size = sizeof many;
    form_refused((struct request_field[]){image, labels}, 2, 400, "too_many_labels", "labels",
                 "10002 labels; up to 10000 are accepted");
}

static void f18_other_names_of_fields_are_recognised(void **state) {
    (void)state;
    const struct request_field cat = field("labels", "cat"), image = field("image", "foo");
    for (size_t i = 0; i < 2; i++)
        form_refused((struct request_field[]){cat, field(i ? "file" : "images", "foo")}, 2, 400,
                     "unknown_field", i ? "file" : "images",
                     "it is called \"image\", and repeated for several pictures (curl -F image=@cat.png)");
    form_refused((struct request_field[]){image, field("candidate_labels", "cat")}, 2, 400, "unknown_field",
                 "candidate_labels", "it is called \"labels\"");
    struct classify_request request;
    const struct request_field file = field("file", "foo"); /* no hint at what a query does not take */
    assert_false(request_classify_raw(&model, (const uint8_t *)"foo", 3, &file, 1, arena, &request, &error));
    assert_error(400, "unknown_field", "file", "accepted: labels, templates, top_k");
}

static void media_types_are_told_apart(void **state) {
    (void)state;
    assert_int_equal(request_body_of("application/json"), REQUEST_BODY_JSON);
    assert_int_equal(request_body_of(" Application/JSON ; charset=utf-8"), REQUEST_BODY_JSON);
    assert_int_equal(request_body_of("multipart/form-data; boundary=x"), REQUEST_BODY_MULTIPART);
    assert_int_equal(request_body_of("image/png"), REQUEST_BODY_IMAGE);
    assert_int_equal(request_body_of("IMAGE/WebP;q=1"), REQUEST_BODY_IMAGE);
    assert_int_equal(request_body_of("image/"), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_of("Application/x-ndjson; charset=utf-8"), REQUEST_BODY_LINES);
    assert_int_equal(request_body_of("application/jsonlines"), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_of("application/x-www-form-urlencoded"), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_of(""), REQUEST_BODY_UNTYPED);
    assert_int_equal(request_body_of(" "), REQUEST_BODY_UNTYPED);
    assert_int_equal(request_body_of(NULL), REQUEST_BODY_UNTYPED);

    static const char bytes[] = "Application/Octet-Stream; x=y";
    const unsigned image = 1u << REQUEST_BODY_IMAGE, other = 1u << REQUEST_BODY_OTHER;
    assert_int_equal(request_body_of(bytes), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_for(bytes, image), REQUEST_BODY_IMAGE);
    assert_int_equal(request_body_for(bytes, image | other), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_for(bytes, 1u << REQUEST_BODY_JSON), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_for("application/octet", image), REQUEST_BODY_OTHER);
    assert_int_equal(request_body_for(NULL, image), REQUEST_BODY_UNTYPED);
    assert_false(request_refuse_body("text/css; x", "application/json", &error));
    assert_error(415, "unsupported_media_type", "", "\"text/css\" is not read here");
    assert_null(strstr(error.message, "curl"));
}

static void f19_a_body_without_a_type_is_told_by_its_bytes(void **state) {
    (void)state;
    static const char *const json[] = {"", "{", "[", " \r\n\t{\"a\":1}", "\xEF\xBB\xBF {}", "\xFF\xFE{"};
    static const char *const others[] = {
        " ", "x", "\"a\"", "1", "input=a", "\x89PNG", "\xFF\xD8\xFF\xE0", "\xEF\xBB"};
    for (size_t i = 0; i < sizeof json / sizeof *json; i++)
        assert_int_equal(request_body_look(exactly(json[i], strlen(json[i])), strlen(json[i])),
                         REQUEST_BODY_JSON);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(request_body_look(exactly(others[i], strlen(others[i])), strlen(others[i])),
                         REQUEST_BODY_IMAGE);
    assert_int_equal(request_body_look("{\0\"\0", 4), REQUEST_BODY_JSON);
    assert_int_equal(request_body_look(NULL, 0), REQUEST_BODY_JSON);
    assert_false(request_refuse_body("application/x-www-form-urlencoded", "application/json", &error));
    assert_error(415, "unsupported_media_type", "", "add -H \"Content-Type: application/json\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_json_body_is_read),
        TEST(images_are_checked),
        TEST(labels_are_checked),
        TEST(the_number_of_prompts_is_bounded),
        TEST(f18_labels_are_divided_at_commas),
        TEST(f18_what_is_divided_is_checked),
        TEST(f18_other_names_of_fields_are_recognised),
        TEST(templates_are_checked),
        TEST(the_other_fields_are_checked),
        TEST(a_form_is_read),
        TEST(forms_are_checked),
        TEST(a_raw_picture_is_read),
        TEST(media_types_are_told_apart),
        TEST(f19_a_body_without_a_type_is_told_by_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
