/* test_cohere.c - protects what clients of Cohere send for embeddings, and read. The bodies are cohere's (7.3). */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/cohere.h"

#define META(version, tokens, images)                                                                        \
    "\"meta\":{\"api_version\":{\"version\":\"" version "\"},\"billed_units\":{\"input_tokens\":" tokens     \
    ",\"image_tokens\":0,\"images\":" images "}}}"

static void texts_are_answered_by_type(void **state) {
    (void)state;
    assert_true(
        hears(cohere_read_v2, "",
              "{\"model\":\"pictograms\",\"input_type\":\"search_query\",\"texts\":[\"a \\\"cat\\\"\"],"
              "\"embedding_types\":[\"binary\",\"float\"],\"truncate\":\"END\",\"max_tokens\":16,"
              "\"output_dimension\":192,\"priority\":0}"));
    assert_true(spoken.scratch > 0);
    assert_vectors(
        (const float[]){0.6f, -0.8f}, 3,
        "{\"id\":\"\",\"response_type\":\"embeddings_by_type\",\"embeddings\":{"
        "\"float\":[[0.6,-0.8]],\"binary\":[[0]]},\"texts\":[\"a \\\"cat\\\"\"]," META("2", "3", "0"));
    assert_true(
        hears(cohere_read_v2, "", "{\"texts\":[\"a\",{\"image\":\"" PIXEL "\"}],\"embedding_types\":[]}"));
    assert_vectors((const float[]){1, 0, 0, 1}, 3,
                   "{\"id\":\"\",\"response_type\":\"embeddings_by_type\",\"embeddings\":{"
                   "\"float\":[[1.0,0.0],[0.0,1.0]]},\"texts\":[\"a\"]," META("2", "3", "1"));
}

static void the_old_api_answers_with_a_list(void **state) {
    (void)state;
    assert_true(hears(cohere_read_v1, "", "{\"images\":[\"data:image/png;base64," PIXEL "\"]}"));
    assert_int_equal(spoken.embed.items[0].modality, LIMOE_IMAGE);
    assert_vectors((const float[]){0.6f, -0.8f}, 0,
                   "{\"id\":\"\",\"response_type\":\"embeddings_floats\",\"embeddings\":[[0.6,-0.8]],"
                   "\"texts\":[]," META("1", "0", "1"));
    assert_true(hears(cohere_read_v1, "", "{\"texts\":[\"a\"],\"embedding_types\":[\"ubinary\"]}"));
    assert_vectors((const float[]){0.6f, -0.8f}, 1,
                   "{\"id\":\"\",\"response_type\":\"embeddings_by_type\",\"embeddings\":{"
                   "\"ubinary\":[[128]]},\"texts\":[\"a\"]," META("1", "1", "0"));
}

static void inputs_have_one_part_each(void **state) {
    (void)state;
    assert_true(hears(cohere_read_v2, "",
                      "{\"inputs\":[{\"content\":[{\"type\":\"text\",\"text\":\"cat\"}]},{\"content\":[{"
                      "\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64," PIXEL
                      "\"}}]}]}"));
    assert_int_equal(spoken.embed.n_items, 2);
    assert_bytes(spoken.embed.items[0].bytes, spoken.embed.items[0].size, "cat");
    assert_int_equal(spoken.embed.items[1].modality, LIMOE_IMAGE);
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{}", "missing_input", "texts", "nothing to embed"},
        {"{\"texts\":[]}", "empty_input", "texts", "texts is empty"},
        {"{\"texts\":[\"a\"],\"images\":[\"b\"]}", "conflicting_fields", "images", "texts and images"},
        {"{\"images\":[\"!\"]}", "invalid_image", "images[0]", "images[0]"},
        {"{\"texts\":[\"a\"],\"embedding_types\":\"float\"}", "invalid_type", "embedding_types", "a list of"},
        {"{\"texts\":[\"a\"],\"embedding_types\":[1]}", "invalid_type", "embedding_types", "a number"},
        {"{\"texts\":[\"a\"],\"embedding_types\":[\"uint8\"]}", "unsupported_value", "embedding_types",
         "uint8"},
        {"{\"texts\":[\"a\"],\"truncate\":\"NONE\"}", "unsupported_value", "truncate", "NONE"},
        {"{\"texts\":[\"a\"],\"max_tokens\":15}", "unsupported_value", "max_tokens", "16 or more"},
        {"{\"texts\":[\"a\"],\"output_dimension\":64}", "unsupported_value", "output_dimension", "192"},
        {"{\"texts\":[\"a\"],\"priority\":\"1\"}", "invalid_type", "priority", "a number"},
        {"{\"inputs\":\"a\"}", "invalid_type", "inputs", "a list of"},
        {"{\"inputs\":[]}", "empty_input", "inputs", "1 to 2048"},
        {"{\"inputs\":[\"a\"]}", "invalid_type", "inputs[0].content", "accepted: [{"},
        {"{\"inputs\":[{\"content\":[]}]}", "empty_input", "inputs[0].content", "has 0 parts"},
        {"{\"inputs\":[{\"content\":[\"a\"],\"x\":1}]}", "unknown_field", "inputs[0].content", "2 fields"},
        {"{\"inputs\":[{\"content\":[\"a\",\"b\"]}]}", "too_many_items", "inputs[0].content", "has 2 parts"},
        {"{\"inputs\":[{\"content\":[{\"text\":1}]}]}", "invalid_type", "inputs[0].content[0].text",
         "a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(cohere_read_v2, "", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
    assert_false(hears(cohere_read_v1, "", "{\"inputs\":[]}"));
    assert_error(400, "unknown_field", "inputs", "accepted: texts, images");
    assert_written(&dialect_cohere, &(struct api_error){.status = 400, .message = "a \"b\""},
                   "{\"message\":\"a \\\"b\\\"\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(texts_are_answered_by_type),
        TEST(the_old_api_answers_with_a_list),
        TEST(inputs_have_one_part_each),
        TEST(what_is_not_done_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
