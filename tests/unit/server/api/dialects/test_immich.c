/* test_immich.c - protects what Immich's server sends and reads, and that nothing of it is taken for what it is
 * not. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/immich.h"

#define TYPE    "multipart/form-data; boundary=b"
#define PNG     "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x63\0\0\0\x57\b\2\0\0\0\0\0\0\0"
#define VISUAL  "{\"clip\":{\"visual\":{\"modelName\":\"pictograms\"}}}"
#define TEXTUAL "{\"clip\":{\"textual\":{\"modelName\":\"pictograms\",\"options\":{\"language\":\"en\"}}}}"

/* A part as undici, which Immich's server has its fetch of, writes it. */
static size_t put(char *out, const char *name, const char *bytes, size_t size) {
    const bool file = strcmp(name, "image") == 0;
    size_t n = (size_t)sprintf(out, "--b\r\nContent-Disposition: form-data; name=\"%s\"%s\r\n\r\n", name,
                               file ? "; filename=\"blob\"\r\nContent-Type: application/octet-stream" : "");
    memcpy(out + n, bytes, size);
    n += size;
    return n + (size_t)sprintf(out + n, "\r\n");
}

struct part {
    const char *name, *bytes;
    size_t size; /* 0: of a string */
};

static bool predicts(const struct part *parts, size_t n) {
    char form[2000];
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += put(form + size, parts[i].name, parts[i].bytes,
                    parts[i].size ? parts[i].size : strlen(parts[i].bytes));
    size += (size_t)sprintf(form + size, "--b--\r\n");
    return hears_input(immich_read, &(struct dialect_input){.content_type = TYPE}, form, size);
}

static bool predicts_picture(const char *entries) {
    return predicts((const struct part[]){{"entries", entries, 0}, {"image", PNG, sizeof PNG - 1}}, 2);
}

static bool predicts_text(const char *entries) {
    return predicts((const struct part[]){{"entries", entries, 0}, {"text", "a cat", 0}}, 2);
}

static void a_vector_is_a_string(void **state) {
    (void)state;
    assert_true(predicts_picture(VISUAL));
    assert_int_equal(spoken.embed.items[0].modality, LIMOE_IMAGE);
    assert_vectors((const float[]){0.5f, -1}, 0,
                   "{\"clip\":\"[0.5,-1.0]\",\"imageHeight\":87,\"imageWidth\":99}");
    assert_true(predicts_text(TEXTUAL));
    assert_bytes(spoken.embed.items[0].bytes, spoken.embed.items[0].size, "a cat");
    assert_vectors((const float[]){0.5f, -1}, 2, "{\"clip\":\"[0.5,-1.0]\"}");
}

static void what_is_not_served_keeps_the_server_in_use(void **state) {
    (void)state;
    static const char *const tasks[] = {
        "{\"facial-recognition\":{\"detection\":{\"modelName\":\"buffalo_l\",\"options\":{\"minScore\":0.7}},"
        "\"recognition\":{\"modelName\":\"buffalo_l\"}}}",
        "{\"ocr\":{\"detection\":{\"modelName\":\"PP-OCRv5_mobile\",\"options\":{}},\"recognition\":{"
        "\"modelName\":"
        "\"PP-OCRv5_mobile\",\"options\":{}}}}",
    };
    for (size_t i = 0; i < 2; i++) {
        assert_false(predicts_picture(tasks[i]));
        assert_int_equal(error.status, 501);
        assert_non_null(
            strstr(error.message, i ? "there is no ocr here" : "there is no facial-recognition here"));
        assert_int_equal(dialect_immich.status(&error), 200);
    }
    assert_written(&dialect_immich, &(struct api_error){.status = 400, .message = "why"},
                   "{\"detail\":\"why\"}");
    assert_int_equal(dialect_immich.status(&(struct api_error){.status = 404}), 404);
}

static void another_model_is_refused_unless_an_alias_says_so(void **state) {
    (void)state;
    static const char other[] = "{\"clip\":{\"textual\":{\"modelName\":\"ViT-B-32__openai\"}}}";
    assert_false(predicts_text(other));
    assert_error(404, "model_not_found", "model", "there is no model \"ViT-B-32__openai\" here");
    const struct request_models aliased = {.info = infos, .n = 1, .aliases = "ViT-B-32__openai"};
    char form[600];
    size_t size = put(form, "entries", other, sizeof other - 1);
    size += put(form + size, "text", "a", 1);
    size += (size_t)sprintf(form + size, "--b--");
    const struct dialect_input in = {.content_type = TYPE, .models = &aliased};
    assert_true(hears_input(immich_read, &in, form, size));
}

static void wrong_entries_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *entries, *code, *param, *message;
    } cases[] = {
        {"{", "invalid_json", "entries", "entries is not JSON: line 1"},
        {"{\"clip\":1,\"clip\":1}", "invalid_json", "entries", "entries is not JSON"},
        {"[]", "invalid_type", "entries", "entries is an array"},
        {"{}", "invalid_item", "entries", "entries has 0 members"},
        {"{\"clip\":{},\"other\":{}}", "invalid_item", "entries", "entries has 2 members"},
        {"{\"blip\":{}}", "unknown_field", "blip", "no field \"blip\""},
        {"{\"clip\":3}", "invalid_type", "entries.clip", "entries.clip is a number"},
        {"{\"clip\":{}}", "invalid_item", "entries.clip", "has 0 members"},
        {"{\"clip\":{\"visual\":{},\"textual\":{}}}", "invalid_item", "entries.clip", "has 2 members"},
        {"{\"clip\":{\"audio\":{}}}", "unknown_field", "entries.clip", "no \"audio\""},
        {"{\"clip\":{\"textual\":[]}}", "invalid_type", "entries", "entries is an array"},
        {"{\"clip\":{\"textual\":{}}}", "missing_input", "modelName", "modelName is missing"},
        {"{\"clip\":{\"textual\":{\"modelName\":\"\"}}}", "missing_input", "modelName", "missing or empty"},
        {"{\"clip\":{\"textual\":{\"modelName\":7}}}", "invalid_type", "modelName", "modelName is a number"},
        {"{\"clip\":{\"textual\":{\"modelName\":\"pictograms\",\"x\":1}}}", "unknown_field", "x",
         "no field \"x\""},
        {VISUAL, "conflicting_fields", "text", "there is a part text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(predicts_text(cases[i].entries));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
}

static void wrong_parts_are_refused(void **state) {
    (void)state;
    static const struct {
        struct part parts[3];
        size_t n;
        const char *code, *param, *message;
    } cases[] = {
        {{{"text", "a", 0}}, 1, "missing_input", "entries", "there is no entries"},
        {{{"entries", TEXTUAL, 0}}, 1, "missing_input", "text", "there is no part text"},
        {{{"entries", VISUAL, 0}}, 1, "missing_image", "image", "there is no part image"},
        {{{"entries", VISUAL, 0}, {"image", "", 0}}, 2, "invalid_image", "image", "image is an empty file"},
        {{{"entries", TEXTUAL, 0}, {"text", "", 0}}, 2, "empty_input", "text", "text is empty"},
        {{{"entries", TEXTUAL, 0}, {"text", "a\0b", 3}}, 2, "invalid_utf8", "text", "byte 0x00 at 1"},
        {{{"entries", TEXTUAL, 0}, {"text", "\xff", 0}}, 2, "invalid_utf8", "text", "byte 0xff at 0"},
        {{{"entries", TEXTUAL, 0}, {"text", "a", 0}, {"text", "b", 0}},
         3,
         "duplicate_field",
         "text",
         "several"},
        {{{"entries", TEXTUAL, 0}, {"entries", VISUAL, 0}}, 2, "duplicate_field", "entries", "several"},
        {{{"entries", TEXTUAL, 0}, {"text", "a", 0}, {"image", "b", 0}},
         3,
         "conflicting_fields",
         "image",
         "part image"},
        {{{"entries", TEXTUAL, 0}, {"assetId", "a", 0}},
         2,
         "unknown_field",
         "assetId",
         "no field \"assetId\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(predicts(cases[i].parts, cases[i].n));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
    assert_false(hears_input(immich_read, &(struct dialect_input){.content_type = TYPE}, "--b\r\n", 5));
    assert_error(400, "malformed_multipart", "", "");
}

static void a_ping_is_answered(void **state) {
    (void)state;
    assert_told(immich_tell_ping, &(struct dialect_about){.ready = true, .why = ""}, "pong");
    assert_told(immich_tell_ping, &(struct dialect_about){.why = "it is being loaded"}, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_vector_is_a_string),
        TEST(what_is_not_served_keeps_the_server_in_use),
        TEST(another_model_is_refused_unless_an_alias_says_so),
        TEST(wrong_entries_are_refused),
        TEST(wrong_parts_are_refused),
        TEST(a_ping_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
