/* test_roboflow.c - protects what Roboflow's inference_sdk (1.8) sends and reads. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/roboflow.h"

#define PICTURE "{\"type\":\"base64\",\"value\":\"" PIXEL "\"}"

static void one_or_several_are_answered_with_vectors(void **state) {
    (void)state;
    assert_true(hears(roboflow_read_text, "", "{\"api_key\":\"key\",\"text\":\"cat\",\"source\":\"x\"}"));
    assert_vectors((const float[]){0.6f, -0.8f}, 3,
                   "{\"embeddings\":[[0.6,-0.8]],\"time\":0.000000,\"frame_id\":null}");
    assert_true(hears(roboflow_read_text, "", "{\"text\":[\"cat\",\"data:image/png;base64," PIXEL "\"]}"));
    assert_int_equal(spoken.embed.n_items, 2);
    assert_int_equal(spoken.embed.items[1].modality, LIMOE_TEXT);
    assert_true(hears(roboflow_read_image, "", "{\"image\":" PICTURE ",\"api_key\":null}"));
    assert_int_equal(spoken.embed.items[0].modality, LIMOE_IMAGE);
    assert_true(hears(roboflow_read_image, "", "{\"image\":[" PICTURE "," PICTURE "]}"));
    assert_int_equal(spoken.embed.n_items, 2);
}

static void a_picture_may_be_a_url(void **state) {
    (void)state;
    assert_true(
        hears(roboflow_read_image, "", "{\"image\":{\"type\":\"url\",\"value\":\" https://a/b.png\"}}"));
    assert_true(spoken.embed.items[0].remote);
    assert_bytes(spoken.embed.items[0].bytes, spoken.embed.items[0].size, "https://a/b.png");
    assert_true(hears(roboflow_read_image, "", "{\"image\":" PICTURE "}"));
    assert_false(spoken.embed.items[0].remote);
}

static void similarities_are_in_the_order_of_prompts(void **state) {
    (void)state;
    static const struct prediction ranked[] = {{.label = 1, .cosine = 0.5f}, {.label = 0, .cosine = -0.25f}};
    assert_true(hears(roboflow_read_compare, "", "{\"subject\":" PICTURE ",\"prompt\":[\"a\",\"b\"]}"));
    assert_int_equal(spoken.compare.items[0].modality, LIMOE_IMAGE);
    assert_ranked(ranked, 2, "{\"similarity\":[-0.25,0.5],\"time\":0.000000,\"frame_id\":null}");
    assert_true(hears(roboflow_read_compare, "",
                      "{\"subject\":\"a\",\"subject_type\":\"text\",\"prompt\":" PICTURE
                      ",\"prompt_type\":\"image\"}"));
    assert_int_equal(spoken.compare.items[0].modality, LIMOE_TEXT);
    assert_int_equal(spoken.compare.items[1].modality, LIMOE_IMAGE);
}

/* Which of two models is asked for. */
static size_t asked(const char *aliases, const char *field, const char *name) {
    static const struct limoe_info second = {.name = "clip", BOTH_TOWERS, .embed = 192, .text_length = 16};
    static const struct limoe_info *const both[] = {&info, &second};
    const struct request_models models = {.info = both, .n = 2, .aliases = aliases};
    char body[128];
    snprintf(body, sizeof body, "{\"%s\":\"%s\",\"text\":\"a\"}", field, name);
    return hears_input(roboflow_read_text, &(struct dialect_input){.models = &models}, body, strlen(body))
               ? spoken.embed.model
               : 2;
}

static void a_version_is_a_models_name(void **state) {
    (void)state;
    assert_int_equal(asked("ViT-B-32=clip", "clip_version_id", "ViT-B-32"), 1);
    assert_int_equal(asked("ViT-B-32=clip", "model_id", "clip/ViT-B-32"), 1);
    assert_int_equal(asked("ViT-B-32=clip,clip/ViT-B-32", "model_id", "clip/ViT-B-32"), 0);
    assert_int_equal(asked("*=clip", "clip_version_id", "RN50"), 1);
    assert_int_equal(asked("*=clip", "clip_version_id", "pictograms"), 0);
    assert_int_equal(asked(NULL, "model", "clip"), 1);
    assert_int_equal(asked(NULL, "clip_version_id", "clip/"), 2);
    assert_int_equal(asked("ViT-B-32", "clip_version_id", "RN50"), 2);
    assert_error(404, "model_not_found", "model", "--model-alias");
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        dialect_reader *read;
        const char *body, *code, *param, *message;
    } cases[] = {
        {roboflow_read_text, "{}", "missing_input", "text", "text is missing"},
        {roboflow_read_text, "{\"text\":[]}", "empty_input", "text", "1 to 2048"},
        {roboflow_read_text, "{\"text\":[1]}", "invalid_type", "text[0]", "a number"},
        {roboflow_read_text, "{\"text\":\"a\",\"model_id\":1}", "invalid_type", "model_id", "a string"},
        {roboflow_read_text, "{\"text\":\"a\",\"image\":1}", "unknown_field", "image", "accepted: text"},
        {roboflow_read_image, "{\"image\":\"" PIXEL "\"}", "invalid_type", "image", "a string"},
        {roboflow_read_image, "{\"image\":{\"type\":\"url\",\"value\":\"" PIXEL "\"}}", "image_url_refused",
         "image", "neither https: nor http:"},
        {roboflow_read_image, "{\"image\":{\"type\":\"numpy\",\"value\":\"a\"}}", "unsupported_value",
         "image", "accepted: \"base64\", \"url\""},
        {roboflow_read_image, "{\"image\":{\"value\":\"a\"}}", "unsupported_value", "image", "\"base64\""},
        {roboflow_read_image, "{\"image\":[{\"type\":\"base64\"}]}", "invalid_type", "image[0]", "an object"},
        {roboflow_read_compare, "{\"prompt\":\"a\"}", "missing_input", "subject", "subject is missing"},
        {roboflow_read_compare, "{\"subject\":" PICTURE "}", "missing_input", "prompt", "1 to 2047"},
        {roboflow_read_compare, "{\"subject\":\"a\",\"prompt\":\"a\",\"subject_type\":\"video\"}",
         "unsupported_value", "subject_type", "\"image\" or \"text\""},
        {roboflow_read_compare, "{\"subject\":\"a\",\"prompt\":\"a\"}", "invalid_type", "subject",
         "a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(cases[i].read, "", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
    assert_written(&dialect_roboflow, &(struct api_error){.status = 400, .message = "a"},
                   "{\"message\":\"a\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(one_or_several_are_answered_with_vectors),
        TEST(a_picture_may_be_a_url),
        TEST(similarities_are_in_the_order_of_prompts),
        TEST(a_version_is_a_models_name),
        TEST(what_is_not_done_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
