/* test_hf.c - protects what Hugging Face's and TEI's clients send and read. The bodies are huggingface_hub's
 * and LlamaIndex's own. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/hf.h"

static void a_body_is_what_it_looks_like(void **state) {
    (void)state;
    assert_true(hears(hf_read, "", "{\"inputs\":\"cat\"}"));
    assert_int_equal(spoken.kind, DIALECT_EMBED);
    assert_int_equal(spoken.embed.n_items, 1);
    assert_true(hears(hf_read, "", "{\"inputs\":[\"cat\",\"dog\"],\"normalize\":true,\"truncate\":true}"));
    assert_int_equal(spoken.embed.n_items, 2);
    assert_bytes(spoken.embed.items[1].bytes, spoken.embed.items[1].size, "dog");
    assert_true(hears(hf_read, "",
                      "{\"inputs\":{\"source_sentence\":\"cat\",\"sentences\":[\"dog\",\"cat\"]},"
                      "\"parameters\":{}}"));
    assert_int_equal(spoken.kind, DIALECT_COMPARE);
    assert_int_equal(spoken.compare.n, 2);
    assert_bytes(spoken.compare.items[0].bytes, spoken.compare.items[0].size, "cat");
    assert_true(hears(hf_read, "",
                      "{\"inputs\":\"" PIXEL "\",\"parameters\":{\"candidate_labels\":[\"cat\",\"dog\"],"
                      "\"hypothesis_template\":\"a {}\"}}"));
    assert_int_equal(spoken.kind, DIALECT_CLASSIFY);
    assert_int_equal(spoken.classify.n_labels, 2);
    assert_int_equal(spoken.classify.top_k, 2);
    assert_int_equal(spoken.classify.images[0].size, 8);
    assert_bytes(spoken.classify.templates[0].data, spoken.classify.templates[0].size, "a {}");
    assert_true(hears(
        hf_read, "", "{\"inputs\":{\"image\":\"" PIXEL "\"},\"parameters\":{\"candidate_labels\":[\"x\"]}}"));
    assert_int_equal(spoken.kind, DIALECT_CLASSIFY);
}

static void the_path_names_the_model(void **state) {
    (void)state;
    assert_true(hears(hf_read, "pictograms", "{\"inputs\":\"cat\",\"model\":\"whatever the body says\"}"));
    assert_false(hears(hf_read, "other", "{\"inputs\":\"cat\"}"));
    assert_error(404, "model_not_found", "model", "there is no model \"other\" here");
}

static void vectors_are_a_list_of_lists(void **state) {
    (void)state;
    static const struct limoe_info small = {.name = "s", .embed = 2};
    assert_true(hears(hf_read_embed, "", "{\"inputs\":\"cat\"}"));
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    spoken.write(&spoken, &(struct dialect_result){.model = &small, .embeddings = (float[]){0.5f, -1}},
                 &answer);
    assert_bytes(out.data, out.size, "[[0.5,-1.0]]");
    buffer_free(&out);
}

static void labels_come_by_score_and_similarities_in_their_order(void **state) {
    (void)state;
    const struct prediction ranked[] = {{.label = 1, .score = 0.75f, .cosine = 0.5f},
                                        {.label = 0, .score = 0.25f, .cosine = -0.5f}};
    assert_true(hears(hf_read, "",
                      "{\"inputs\":\"" PIXEL
                      "\",\"parameters\":{\"candidate_labels\":[\"cat\",\"a \\\"dog\\\"\"]}}"));
    assert_ranked(ranked, 2,
                  "[{\"score\":0.75,\"label\":\"a \\\"dog\\\"\"},{\"score\":0.25,\"label\":\"cat\"}]");
    assert_true(hears(hf_read_similarity, "",
                      "{\"inputs\":{\"source_sentence\":\"a\",\"sentences\":[\"b\",\"c\"]}}"));
    assert_ranked(ranked, 2, "[-0.5,0.5]");
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{}", "missing_input", "inputs", "inputs is missing"},
        {"{\"inputs\":[]}", "empty_input", "inputs", "inputs is empty"},
        {"{\"inputs\":[\"a\",[1]]}", "invalid_type", "inputs[1]", "token ids are not accepted"},
        {"{\"inputs\":\"a\",\"normalize\":false}", "unsupported_value", "normalize", "unit vectors"},
        {"{\"inputs\":\"a\",\"parameters\":{\"truncate\":false}}", "unsupported_value", "truncate",
         "is false"},
        {"{\"inputs\":\"a\",\"parameters\":[]}", "invalid_type", "parameters", "parameters is an array"},
        {"{\"inputs\":\"a\",\"parameters\":{\"top\":1}}", "unknown_field", "top", "no field \"top\""},
        {"{\"inputs\":\"a\",\"dimensions\":64}", "unsupported_dimensions", "dimensions", "must be 192"},
        {"{\"inputs\":{\"image\":\"" PIXEL "\"}}", "empty_labels", "parameters.candidate_labels",
         "is missing"},
        {"{\"inputs\":{\"source_sentence\":\"a\"}}", "missing_input", "inputs.sentences", "is missing"},
        {"{\"inputs\":{\"source_sentence\":\"a\",\"sentences\":[]}}", "empty_input", "inputs.sentences",
         "0 sentences"},
        {"{\"inputs\":{\"source_sentence\":\"a\",\"sentences\":\"b\"}}", "invalid_type", "inputs.sentences",
         "a string"},
        {"{\"inputs\":{\"sentence\":\"a\"}}", "unknown_field", "sentence", "source_sentence"},
        {"{\"inputs\":\"a cat sat\",\"parameters\":{\"candidate_labels\":[\"x\"]}}", "invalid_image",
         "inputs", "inputs"},
        {"{\"inputs\":\"" PIXEL "\",\"parameters\":{\"candidate_labels\":[]}}", "empty_labels", "labels",
         "no labels"},
        {"{\"inputs\":\"" PIXEL
         "\",\"parameters\":{\"candidate_labels\":[\"x\"],\"hypothesis_template\":\"no hole\"}}",
         "invalid_template", "templates[0]", "exactly one"},
        {"{\"inputs\":[\"" PIXEL "\"],\"parameters\":{\"candidate_labels\":[\"x\"]}}", "invalid_type",
         "inputs", "an array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (hears(hf_read, "", cases[i].body))
            fail_msg("%s is accepted", cases[i].body);
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
}

static void errors_are_strings_with_tei_s_statuses(void **state) {
    (void)state;
    static const struct {
        int status, theirs;
        const char *type;
    } cases[] = {{400, 422, "validation"}, {401, 401, "validation"}, {404, 404, "validation"},
                 {413, 413, "validation"}, {429, 429, "overloaded"}, {500, 424, "backend"},
                 {503, 503, "unhealthy"},  {504, 504, "validation"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out = {0};
        const struct api_error failed = {.status = cases[i].status, .message = "a \"b\""};
        assert_int_equal(dialect_hf.status(&failed), cases[i].theirs);
        dialect_hf.write_error(&out, &failed);
        char expected[100];
        snprintf(expected, sizeof expected, "{\"error\":\"a \\\"b\\\"\",\"error_type\":\"%s\"}",
                 cases[i].type);
        assert_bytes(out.data, out.size, expected);
        buffer_free(&out);
    }
}

static void while_the_server_starts_nothing_is_told(void **state) {
    (void)state;
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    const struct dialect_about starting = {.why = "the model is not ready yet"};
    assert_false(hf_tell_info(&starting, &answer, &error));
    assert_int_equal(error.status, 503);
    assert_false(hf_tell_ping(&starting, &answer, &error));
    assert_error(503, "starting", "", "not ready yet");
    assert_int_equal(out.size, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_body_is_what_it_looks_like),
        TEST(the_path_names_the_model),
        TEST(vectors_are_a_list_of_lists),
        TEST(labels_come_by_score_and_similarities_in_their_order),
        TEST(what_is_not_done_is_refused),
        TEST(errors_are_strings_with_tei_s_statuses),
        TEST(while_the_server_starts_nothing_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
