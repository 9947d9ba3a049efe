/* test_weaviate.c - protects what Weaviate's multi2vec-clip sends and reads. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/weaviate.h"

static void vectors_are_apart_by_modality(void **state) {
    (void)state;
    assert_true(hears(weaviate_read, "", "{\"texts\":[\"cat\",\"dog\"],\"images\":[\"" PIXEL "\"]}"));
    assert_int_equal(spoken.embed.n_items, 3);
    assert_int_equal(spoken.embed.items[2].modality, LIMOE_IMAGE);
    assert_vectors((const float[]){1, 0, 0, 1, 0.6f, -0.8f}, 3,
                   "{\"textVectors\":[[1.0,0.0],[0.0,1.0]],\"imageVectors\":[[0.6,-0.8]]}");
    assert_true(hears(weaviate_read, "", "{\"texts\":null,\"images\":[\"" PIXEL "\"]}"));
    assert_vectors((const float[]){0.6f, -0.8f}, 3, "{\"textVectors\":[],\"imageVectors\":[[0.6,-0.8]]}");
    assert_true(hears(weaviate_read, "", "{\"texts\":[\"cat\"],\"images\":[]}"));
    assert_vectors((const float[]){0.6f, -0.8f}, 3, "{\"textVectors\":[[0.6,-0.8]],\"imageVectors\":[]}");
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{\"texts\":null,\"images\":null}", "empty_input", "texts", "0 texts and images"},
        {"{\"texts\":\"a\"}", "invalid_type", "texts", "a list of strings"},
        {"{\"texts\":[\"a\"],\"images\":{}}", "invalid_type", "images", "a list of strings"},
        {"{\"texts\":[\"\"]}", "empty_input", "texts[0]", "is empty"},
        {"{\"images\":[\"!\"]}", "invalid_image", "images[0]", "images[0]"},
        {"{\"videos\":[]}", "unknown_field", "videos", "accepted: texts, images"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(weaviate_read, "", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
}

static void it_is_told_what_and_whether(void **state) {
    (void)state;
    static const struct limoe_info small = {.name = "small", .architecture = "limoe", .embed = 2};
    const struct answer_model one = {.info = &small, .fingerprint = "0123"};
    char meta[160];
    snprintf(meta, sizeof meta,
             "{\"model\":\"small\",\"architecture\":\"limoe\",\"fingerprint\":\"0123\",\"dimensions\":2,"
             "\"version\":\"%s\"}",
             limoe_version());
    assert_told(weaviate_tell_meta, &(struct dialect_about){.models = &one, .n = 1}, meta);
    assert_told(weaviate_tell_meta, &(struct dialect_about){.n = 0}, NULL);
    struct dialect_answer answer = {0};
    assert_true(weaviate_tell_live(&(struct dialect_about){.n = 0}, &answer, &error));
    assert_int_equal(answer.status, 204);
    assert_true(weaviate_tell_ready(&(struct dialect_about){.ready = true}, &answer, &error));
    assert_int_equal(answer.status, 204);
    assert_false(weaviate_tell_ready(&(struct dialect_about){.why = "it is out"}, &answer, &error));
    assert_error(503, "starting", "", "it is out");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(vectors_are_apart_by_modality),
        TEST(what_is_not_done_is_refused),
        TEST(it_is_told_what_and_whether),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
