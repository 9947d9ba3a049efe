/* test_ollama.c - protects what clients of Ollama send and read. The bodies are ollama's (0.6) and LangChain's. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/ollama.h"

static void inputs_are_answered_with_vectors(void **state) {
    (void)state;
    assert_true(hears(ollama_read_embed, "",
                      "{\"model\":\"pictograms\",\"input\":[\"cat\",\"data:image/png;base64," PIXEL
                      "\"],\"truncate\":true,\"options\":{\"num_ctx\":64},\"keep_alive\":\"5m\"}"));
    assert_int_equal(spoken.embed.n_items, 2);
    assert_int_equal(spoken.embed.items[0].modality, LIMOE_TEXT);
    assert_int_equal(spoken.embed.items[1].modality, LIMOE_IMAGE);
    assert_vectors((const float[]){1, 0, 0.6f, -0.8f}, 3,
                   "{\"model\":\"small\",\"embeddings\":[[1.0,0.0],[0.6,-0.8]],\"total_duration\":0,"
                   "\"load_duration\":0,\"prompt_eval_count\":3}");
    assert_true(hears(ollama_read_embed, "", "{\"input\":\"cat\",\"dimensions\":192,\"keep_alive\":-1}"));
    assert_int_equal(spoken.embed.n_items, 1);
}

static void a_prompt_is_answered_with_its_vector(void **state) {
    (void)state;
    assert_true(hears(ollama_read_prompt, "", "{\"model\":\"pictograms:latest\",\"prompt\":\"cat\"}"));
    assert_bytes(spoken.embed.items[0].bytes, spoken.embed.items[0].size, "cat");
    assert_vectors((const float[]){0.6f, -0.8f}, 3, "{\"embedding\":[0.6,-0.8]}");
}

/* Which of two models the body asks for. */
static size_t asked(const char *aliases, const char *name) {
    static const struct limoe_info second = {.name = "clip", BOTH_TOWERS, .embed = 192, .text_length = 16};
    static const struct limoe_info *const both[] = {&info, &second};
    const struct request_models models = {.info = both, .n = 2, .aliases = aliases};
    char body[128];
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"input\":\"a\"}", name);
    return hears_input(ollama_read_embed, &(struct dialect_input){.models = &models}, body, strlen(body))
               ? spoken.embed.model
               : 2;
}

static void the_tag_latest_is_not_part_of_a_name(void **state) {
    (void)state;
    assert_int_equal(asked(NULL, "clip"), 1);
    assert_int_equal(asked(NULL, "clip:latest"), 1);
    assert_int_equal(asked(NULL, "pictograms:latest"), 0);
    assert_int_equal(asked(NULL, ""), 0);
    assert_int_equal(asked(NULL, "clip:7b"), 2);
    assert_error(404, "model_not_found", "model", "\"clip:7b\"");
    assert_int_equal(asked(NULL, ":latest"), 2);
    assert_int_equal(asked("nomic=clip", "nomic:latest"), 1);
    assert_int_equal(asked("nomic:latest=clip,nomic", "nomic:latest"), 1);
    assert_int_equal(asked("nomic:latest=clip,nomic", "nomic"), 0);
    /* "*" comes last. */
    assert_int_equal(asked("*", "clip:latest"), 1);
    assert_int_equal(asked("*=clip", "pictograms:latest"), 0);
    assert_int_equal(asked("*=clip,nomic=pictograms", "nomic:latest"), 0);
    assert_int_equal(asked("*=clip", "nomic:latest"), 1);
    assert_int_equal(asked("*=clip", "*:latest"), 1);
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{}", "missing_input", "input", "input is missing"},
        {"{\"input\":[]}", "empty_input", "input", "input is empty"},
        {"{\"input\":\"\"}", "empty_input", "input", "input is empty"},
        {"{\"input\":[1,2]}", "invalid_type", "input[0]", "token ids"},
        {"{\"input\":\"a\",\"truncate\":false}", "unsupported_value", "truncate", "is false"},
        {"{\"input\":\"a\",\"dimensions\":64}", "unsupported_dimensions", "dimensions", "must be 192"},
        {"{\"input\":\"a\",\"options\":[]}", "invalid_type", "options", "an object"},
        {"{\"input\":\"a\",\"keep_alive\":{}}", "invalid_type", "keep_alive", "a number or a string"},
        {"{\"input\":\"a\",\"model\":1}", "invalid_type", "model", "a string"},
        {"{\"prompt\":\"a\"}", "unknown_field", "prompt", "accepted: input, truncate"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(ollama_read_embed, "", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
    assert_false(hears(ollama_read_prompt, "", "{\"prompt\":[\"a\",\"b\"]}"));
    assert_error(400, "too_many_items", "prompt", "prompt has 2 items");
    assert_false(hears(ollama_read_prompt, "", "{\"input\":\"a\"}"));
    assert_error(400, "unknown_field", "input", "accepted: prompt");
    assert_written(&dialect_ollama, &(struct api_error){.status = 400, .message = "a \"b\""},
                   "{\"error\":\"a \\\"b\\\"\"}");
}

static void models_are_told_with_their_tag(void **state) {
    (void)state;
    static const struct limoe_info small = {
        .name = "a\"b", .architecture = "limoe", .total_parameters = 1250000, .weight_bytes = 5000000};
    const struct answer_model one = {
        .info = &small, .dtype = "bfloat16", .fingerprint = "0123", .created = 86400};
    assert_told(ollama_tell_tags, &(struct dialect_about){.models = &one, .n = 1},
                "{\"models\":[{\"name\":\"a\\\"b:latest\",\"model\":\"a\\\"b:latest\","
                "\"modified_at\":\"1970-01-02T00:00:00Z\",\"size\":5000000,\"digest\":\"0123\","
                "\"details\":{\"format\":\"safetensors\",\"family\":\"limoe\",\"families\":[\"limoe\"],"
                "\"parameter_size\":\"1.2M\",\"quantization_level\":\"bfloat16\"}}]}");
    assert_told(ollama_tell_tags, &(struct dialect_about){.n = 0}, NULL);
    assert_error(503, "starting", "", "the server is starting");
    char version[64];
    snprintf(version, sizeof version, "{\"version\":\"%s\"}", limoe_version());
    assert_told(ollama_tell_version, &(struct dialect_about){.n = 0}, version);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(inputs_are_answered_with_vectors),     TEST(a_prompt_is_answered_with_its_vector),
        TEST(the_tag_latest_is_not_part_of_a_name), TEST(what_is_not_done_is_refused),
        TEST(models_are_told_with_their_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
