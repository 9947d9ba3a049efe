/* test_captions.c - protects what a request for captions may say, of a model with a decoder and of one without, and its answer's
 * bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "server/api/captions.h"

static const struct limoe_info writer = {.name = "w",
                                         .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}},
                                         .vocab = 100,
                                         .decoder = {8, 2, 2, 16},
                                         .caption_length = 20};
static const struct limoe_info mute = {.name = "m", .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}}};
static const struct limoe_info *const infos[] = {&writer, &mute};
static const struct request_models models = {.info = infos, .n = 2};

static struct arena *arena;
static struct captions_request request;
static struct api_error error;

/* The fields beside a picture. */
static bool reads(const char *fields) {
    char body[512];
    const int size =
        snprintf(body, sizeof body, "{\"image\":\"iVBORw0KGgo=\"%s%s}", *fields ? "," : "", fields);
    arena_free(arena);
    arena = arena_new();
    assert_non_null(arena);
    return captions_read(&models, body, (size_t)size, arena, &request, &error);
}

static void defaults_are_those_of_the_command(void **state) {
    (void)state;
    assert_true(reads(""));
    const struct limoe_caption_options greedy = {.n = 1, .beams = 1, .temperature = 1, .max_length = 20};
    assert_true(request.decoded && request.describe.n_images == 1);
    assert_memory_equal(&request.options, &greedy, sizeof greedy);
    assert_int_equal(captions_tokens(&request), 32);
    assert_true(reads("\"beams\":5,\"n\":3,\"min_tokens\":2,\"max_tokens\":7,\"seed\":null"));
    assert_int_equal(captions_texts(&request.options), 5);
    assert_int_equal(captions_tokens(&request), 5 * 16);
    assert_true(reads("\"top_k\":100,\"n\":64,\"temperature\":0.01,\"seed\":9007199254740991"));
    assert_int_equal(request.options.seed, CAPTIONS_MOST_SEED);
    assert_int_equal(captions_tokens(&request), 64 * 32);
}

static void a_bank_is_for_any_model(void **state) {
    (void)state;
    static const char *const good[] = {"\"vocabulary\":\"bank\",\"n\":64",
                                       "\"vocabulary\":\"bank\",\"n\":64,\"model\":\"m\",\"beams\":null"};
    for (size_t i = 0; i < 2; i++) {
        assert_true(reads(good[i]));
        const struct describe_words *words = request.describe.words;
        assert_false(request.decoded);
        assert_int_equal(captions_tokens(&request), 0);
        assert_int_equal(words[DESCRIBE_CAPTIONS].most, 64);
        assert_int_equal(words[DESCRIBE_TAGS].most + words[DESCRIBE_ATTRIBUTES].most, 0);
    }
}

static void what_cannot_be_is_refused_by_its_field(void **state) {
    (void)state;
    static const struct {
        const char *fields, *code, *param;
    } wrong[] = {
        {"\"model\":\"m\"", "no_decoder", "vocabulary"},
        {"\"model\":\"m\",\"beams\":2", "no_decoder", "vocabulary"},
        {"\"vocabulary\":\"bank\",\"seed\":0", "conflicting_fields", "seed"},
        {"\"vocabulary\":\"-\"", "invalid_name", "vocabulary"},
        {"\"vocabulary\":1", "invalid_type", "vocabulary"},
        {"\"n\":2", "invalid_value", "n"},
        {"\"n\":65,\"top_k\":2", "invalid_value", "n"},
        {"\"n\":1.5", "invalid_value", "n"},
        {"\"beams\":2,\"top_k\":2", "conflicting_fields", "beams"},
        {"\"beams\":1e300", "invalid_value", "beams"},
        {"\"top_k\":101", "invalid_value", "top_k"},
        {"\"temperature\":2", "missing_field", "top_k"},
        {"\"temperature\":101,\"top_k\":2", "invalid_value", "temperature"},
        {"\"temperature\":\"a\",\"top_k\":2", "invalid_type", "temperature"},
        {"\"seed\":9007199254740993,\"top_k\":2", "invalid_value", "seed"},
        {"\"seed\":-1,\"top_k\":2", "invalid_value", "seed"},
        {"\"max_tokens\":21", "invalid_value", "max_tokens"},
        {"\"max_tokens\":0", "invalid_value", "max_tokens"},
        {"\"max_tokens\":3,\"min_tokens\":4", "invalid_value", "min_tokens"},
        {"\"min_tokens\":257", "invalid_value", "min_tokens"},
        {"\"max_length\":3", "unknown_field", "max_length"},
        {"\"images\":[]", "conflicting_fields", "images"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(reads(wrong[i].fields));
        assert_int_equal(error.status, 400);
        if (strcmp(error.code, wrong[i].code) != 0 || strcmp(error.param, wrong[i].param) != 0)
            fail_msg("%s: %s of \"%s\": %s", wrong[i].fields, error.code, error.param, error.message);
    }
}

static void an_answer_from_a_bank_has_its_bytes(void **state) {
    (void)state;
    static const struct text terms[] = {{"a \"cat\"", 7}, {"b", 1}};
    static const struct described words[] = {{1, 0.5f, 2}, {0, 0.25f, -1}};
    struct buffer out = {0};
    captions_begin(&out, "m");
    captions_append_bank(&out, true, 0, terms, &(struct described_words){words, 2});
    captions_append_bank(&out, false, 1, terms, &(struct described_words){NULL, 0});
    captions_end(&out, &(struct captions_usage){.image_tokens = 50, .caption_tokens = 3});
    buffer_bytes(&out, "", 1);
    assert_string_equal(
        out.data,
        "{\"object\":\"list\",\"model\":\"m\",\"data\":[{\"object\":\"captions\",\"index\":0,\"captions\":["
        "{\"text\":\"b\",\"cosine\":0.5,\"score\":2.0,\"source\":\"bank\"},"
        "{\"text\":\"a \\\"cat\\\"\",\"cosine\":0.25,\"score\":-1.0,\"source\":\"bank\"}]},"
        "{\"object\":\"captions\",\"index\":1,\"captions\":[]}],"
        "\"usage\":{\"image_tokens\":50,\"completion_tokens\":3,\"total_tokens\":53}}");
    buffer_free(&out);
}

static int tear_down(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_command),
        cmocka_unit_test(a_bank_is_for_any_model),
        cmocka_unit_test(what_cannot_be_is_refused_by_its_field),
        cmocka_unit_test(an_answer_from_a_bank_has_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
