/* test_titan.c - protects what clients of Titan's embeddings send and read. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/titan.h"

static void a_text_a_picture_or_both_are_one_vector(void **state) {
    (void)state;
    assert_true(hears(
        titan_read, "pictograms/invoke",
        "{\"inputText\":\"cat\",\"inputImage\":null,\"embeddingConfig\":{\"outputEmbeddingLength\":192}}"));
    assert_int_equal(spoken.embed.n_items, 1);
    assert_vectors((const float[]){0.6f, -0.8f}, 3,
                   "{\"embedding\":[0.6,-0.8],\"inputTextTokenCount\":3,\"message\":null}");
    assert_true(hears(titan_read, "pictograms/invoke", "{\"inputImage\":\"" PIXEL "\"}"));
    assert_int_equal(spoken.embed.items[0].modality, LIMOE_IMAGE);
    assert_true(
        hears(titan_read, "pictograms/invoke", "{\"inputImage\":\"" PIXEL "\",\"inputText\":\"cat\"}"));
    assert_int_equal(spoken.embed.n_items, 2);
    assert_vectors((const float[]){1, 0, 0.28f, 0.96f}, 3,
                   "{\"embedding\":[0.8,0.6],\"inputTextTokenCount\":3,\"message\":null}");
    /* Between a vector and its opposite is none. */
    assert_vectors((const float[]){1, 0, -1, 0}, 3,
                   "{\"embedding\":[0.0,0.0],\"inputTextTokenCount\":3,\"message\":null}");
}

static void vectors_come_by_their_type_if_asked_for(void **state) {
    (void)state;
    assert_true(hears(
        titan_read, "pictograms/invoke",
        "{\"inputText\":\"cat\",\"dimensions\":192,\"normalize\":true,\"embeddingTypes\":[\"float\"]}"));
    assert_true(spoken.scratch > 0);
    assert_vectors((const float[]){1, 0}, 3,
                   "{\"embedding\":[1.0,0.0],\"embeddingsByType\":{\"float\":[1.0,0.0]},"
                   "\"inputTextTokenCount\":3,\"message\":null}");
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{}", "missing_input", "inputText", "nothing to embed"},
        {"{\"inputText\":1}", "invalid_type", "inputText", "inputText is a number"},
        {"{\"inputText\":\"\"}", "empty_input", "inputText", "inputText is empty"},
        {"{\"inputImage\":[]}", "invalid_type", "inputImage", "inputImage is an array"},
        {"{\"inputImage\":\"!\"}", "invalid_image", "inputImage", "inputImage"},
        {"{\"inputText\":\"a\",\"embeddingConfig\":3}", "invalid_type", "embeddingConfig", "is a number"},
        {"{\"inputText\":\"a\",\"embeddingConfig\":{\"length\":3}}", "unknown_field", "length",
         "no field \"length\""},
        {"{\"inputText\":\"a\",\"embeddingConfig\":{\"outputEmbeddingLength\":256}}",
         "unsupported_dimensions", "embeddingConfig.outputEmbeddingLength", "must be 192"},
        {"{\"inputText\":\"a\",\"dimensions\":\"192\"}", "unsupported_dimensions", "dimensions",
         "must be 192"},
        {"{\"inputText\":\"a\",\"normalize\":false}", "unsupported_value", "normalize", "unit vectors"},
        {"{\"inputText\":\"a\",\"embeddingTypes\":[\"binary\"]}", "unsupported_value", "embeddingTypes",
         "must be [\"float\"]"},
        {"{\"inputText\":\"a\",\"input\":\"b\"}", "unknown_field", "input", "no field \"input\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(titan_read, "pictograms/invoke", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
}

static void the_path_names_the_model(void **state) {
    (void)state;
    static const char *const paths[] = {"pictograms", "invoke", "/invoke", "pictograms/invoke/",
                                        "pictograms/converse"};
    assert_false(hears(titan_read, "amazon.titan-embed-image-v1/invoke", "{\"inputText\":\"a\"}"));
    assert_error(404, "model_not_found", "model", "there is no model \"amazon.titan-embed-image-v1\" here");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_false(hears(titan_read, paths[i], "{\"inputText\":\"a\"}"));
        assert_error(404, "unknown_path", "", "POST /model/{id}/invoke");
    }
}

static void errors_name_an_exception(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *name;
    } cases[] = {
        {400, "ValidationException"},         {401, "AccessDeniedException"},
        {404, "ResourceNotFoundException"},   {413, "ValidationException"},
        {429, "ThrottlingException"},         {500, "InternalServerException"},
        {503, "ServiceUnavailableException"}, {504, "ModelTimeoutException"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[100];
        snprintf(expected, sizeof expected, "{\"__type\":\"%s\",\"message\":\"why\"}", cases[i].name);
        assert_written(&dialect_titan, &(struct api_error){.status = cases[i].status, .message = "why"},
                       expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_text_a_picture_or_both_are_one_vector),
        TEST(vectors_come_by_their_type_if_asked_for),
        TEST(what_is_not_done_is_refused),
        TEST(the_path_names_the_model),
        TEST(errors_name_an_exception),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
