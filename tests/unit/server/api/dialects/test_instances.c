/* test_instances.c - protects the reader of "instances", whichever dialect they come in. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/instances.h"

static bool read_default(const struct dialect_input *in, struct dialect_request *out, struct api_error *e) {
    return instances_read(in, in->below, out, e);
}

static void an_instance_is_a_text_or_a_picture(void **state) {
    (void)state;
    assert_true(hears(read_default, "",
                      "{\"instances\":[\"cat\",{\"text\":\"dog\"},{\"image\":\"" PIXEL "\"},{\"b64\":\"" PIXEL
                      "\"},{\"image\":{\"b64\":\"" PIXEL "\"}},\"data:image/png;base64," PIXEL
                      "\"],\"parameters\":{\"normalize\":true}}"));
    assert_int_equal(spoken.kind, DIALECT_EMBED);
    assert_int_equal(spoken.embed.n_items, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(spoken.embed.items[i].modality, i < 2 ? LIMOE_TEXT : LIMOE_IMAGE);
        assert_int_equal(spoken.embed.items[i].size, i < 2 ? 3 : 8);
    }
    assert_string_equal(spoken.embed.items[4].param, "instances[4]");
}

static void vectors_are_predictions(void **state) {
    (void)state;
    assert_true(hears(read_default, "", "{\"instances\":[\"cat\",\"dog\"],\"parameters\":null}"));
    assert_vectors((const float[]){0.5f, -1, 0, 1}, 2, "{\"predictions\":[[0.5,-1.0],[0.0,1.0]]}");
}

static void labels_make_predictions_ranked(void **state) {
    (void)state;
    static const char *const names[] = {"labels", "candidate_labels"};
    for (size_t i = 0; i < 2; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"instances\":[{\"b64\":\"" PIXEL "\"}],\"parameters\":{\"%s\":[\"cat\",\"dog\"],"
                 "\"templates\":[\"a {}\"],\"top_k\":5}}",
                 names[i]);
        assert_true(hears(read_default, "", body));
        assert_int_equal(spoken.kind, DIALECT_CLASSIFY);
        assert_int_equal(spoken.classify.n_images, 1);
        assert_int_equal(spoken.classify.top_k, 2);
        const struct prediction ranked[] = {{.label = 1, .score = 0.75f}, {.label = 0, .score = 0.25f}};
        assert_ranked(
            ranked, 2,
            "{\"predictions\":[[{\"label\":\"dog\",\"score\":0.75},{\"label\":\"cat\",\"score\":0.25}]]}");
    }
}

static void the_path_names_the_model_or_the_body(void **state) {
    (void)state;
    assert_true(hears(read_default, "pictograms", "{\"instances\":[\"cat\"],\"model\":\"nobody\"}"));
    assert_true(hears(read_default, "", "{\"instances\":[\"cat\"],\"model\":\"pictograms\"}"));
    assert_false(hears(read_default, "", "{\"instances\":[\"cat\"],\"model\":\"nobody\"}"));
    assert_error(404, "model_not_found", "model", "there is no model \"nobody\" here");
    assert_false(hears(read_default, "nobody", "{\"instances\":[\"cat\"]}"));
    assert_error(404, "model_not_found", "model", "there is no model \"nobody\" here");
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{}", "missing_input", "instances", "instances is missing"},
        {"{\"instances\":\"cat\"}", "invalid_type", "instances", "instances is a string"},
        {"{\"instances\":[]}", "empty_input", "instances", "instances is empty"},
        {"{\"instances\":[\"a\",3]}", "invalid_type", "instances[1]", "token ids are not accepted"},
        {"{\"instances\":[null]}", "invalid_type", "instances[0]", "instances[0] is null"},
        {"{\"instances\":[{\"b64\":\"!\"}]}", "invalid_image", "instances[0]", "instances[0]"},
        {"{\"instances\":[{\"b64\":1}]}", "unknown_field", "instances[0]", "no field \"b64\""},
        {"{\"instances\":[{\"text\":\"a\",\"image\":\"" PIXEL "\"}]}", "invalid_item", "instances[0]",
         "both text and image"},
        {"{\"instances\":[\"a\"],\"parameters\":[]}", "invalid_type", "parameters", "parameters is an array"},
        {"{\"instances\":[\"a\"],\"parameters\":{\"label\":[]}}", "unknown_field", "label",
         "no field \"label\""},
        {"{\"instances\":[\"a\"],\"parameters\":{\"normalize\":false}}", "unsupported_value", "normalize",
         "unit vectors"},
        {"{\"instances\":[\"a\"],\"parameters\":{\"top_k\":1}}", "empty_labels", "parameters.labels",
         "parameters.labels is missing"},
        {"{\"instances\":[\"a\"],\"parameters\":{\"labels\":[]}}", "empty_labels", "labels", "no labels"},
        {"{\"instances\":[\"a\"],\"parameters\":{\"labels\":[\"x\"]}}", "invalid_item", "instances[0]",
         "instances[0] is a text"},
        {"{\"instances\":[\"a\"],\"parameters\":{\"labels\":[\"x\"],\"candidate_labels\":[\"y\"]}}",
         "conflicting_fields", "candidate_labels", "one of them is accepted"},
        {"{\"instances\":[\"a\"],\"signature\":1}", "unknown_field", "signature", "no field \"signature\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(hears(read_default, "", cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_instance_is_a_text_or_a_picture), TEST(vectors_are_predictions),
        TEST(labels_make_predictions_ranked),     TEST(the_path_names_the_model_or_the_body),
        TEST(what_is_not_done_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
