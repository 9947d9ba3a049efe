/* test_voyage.c - protects what Voyage's clients send for texts and pictures, and read. The bodies are voyageai's
 * (0.5). */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/voyage.h"

#define CAT "{\"content\":[{\"type\":\"text\",\"text\":\"cat\"}]}"

static void inputs_are_answered_with_vectors(void **state) {
    (void)state;
    assert_true(hears(voyage_read, "",
                      "{\"inputs\":[" CAT ",{\"content\":[{\"type\":\"image_base64\",\"image_base64\":"
                      "\"data:image/webp;base64," PIXEL
                      "\"}]}],\"model\":\"pictograms\",\"input_type\":\"query\","
                      "\"truncation\":true,\"output_dtype\":null,\"output_dimension\":null}"));
    assert_int_equal(spoken.embed.items[1].modality, LIMOE_IMAGE);
    assert_vectors(
        (const float[]){1, 0, 0.6f, -0.8f}, 3,
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[1.0,0.0]},"
        "{\"object\":\"embedding\",\"index\":1,\"embedding\":[0.6,-0.8]}],\"model\":\"small\","
        "\"usage\":{\"text_tokens\":3,\"image_pixels\":0,\"video_pixels\":0,\"total_tokens\":3}}");
}

static void numbers_are_as_asked_for(void **state) {
    (void)state;
    static const struct {
        const char *fields, *embedding;
    } cases[] = {
        {"\"encoding_format\":\"base64\"", "\"AACAPwAAAAA=\""},
        {"\"output_encoding\":\"base64\"", "\"AACAPwAAAAA=\""},
        {"\"output_dtype\":\"ubinary\"", "[128]"},
        {"\"output_dtype\":\"ubinary\",\"encoding_format\":\"base64\"", "\"gA==\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[256], expected[256];
        snprintf(body, sizeof body, "{\"inputs\":[" CAT "],%s}", cases[i].fields);
        snprintf(expected, sizeof expected,
                 "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":%s}],"
                 "\"model\":\"small\",\"usage\":{\"text_tokens\":3,\"image_pixels\":0,\"video_pixels\":0,"
                 "\"total_tokens\":3}}",
                 cases[i].embedding);
        assert_true(hears(voyage_read, "", body));
        assert_vectors((const float[]){1, 0}, 3, expected);
    }
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{}", "missing_input", "inputs", "inputs is missing"},
        {"{\"inputs\":[{\"content\":[{\"type\":\"video_url\",\"video_url\":\"a\"}]}]}", "unknown_field",
         "inputs[0].content[0]", "video_url"},
        {"{\"inputs\":[" CAT "],\"output_dtype\":\"uint8\"}", "unsupported_value", "output_dtype", "uint8"},
        {"{\"inputs\":[" CAT "],\"output_encoding\":\"float\"}", "unsupported_value", "output_encoding",
         "base64"},
        {"{\"inputs\":[" CAT "],\"truncation\":false}", "unsupported_value", "truncation", "is false"},
        {"{\"input\":[]}", "unknown_field", "input", "accepted: inputs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(voyage_read, "", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
    assert_written(&dialect_voyage, &(struct api_error){.status = 400, .message = "a"}, "{\"detail\":\"a\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(inputs_are_answered_with_vectors),
        TEST(numbers_are_as_asked_for),
        TEST(what_is_not_done_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
