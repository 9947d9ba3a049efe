/* test_oip.c - protects which tensors are embedded or classified, what comes back as JSON and as binary data, and what is
 * told of a model. Bodies as such are test_oip_body.c's. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/oip.h"

#define INPUT(name, shape, data)                                                                             \
    "{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"BYTES\",\"data\":" data "}"
#define CATS         INPUT("text", "[2]", "[\"a cat\",\"a dog\"]")
#define PICTURE      INPUT("image", "[1,1]", "[[\"" PIXEL "\"]]")
#define LABELS       INPUT("labels", "[2]", "[\"cat\",\"dog\"]")
#define BODY(inputs) "{\"inputs\":[" inputs "]}"

static bool infers(const char *body) {
    return hears(oip_read_infer, "pictograms/infer", body);
}

/* What the writer makes of the result, and what it says besides. */
static struct buffer written(const struct dialect_result *result, struct dialect_answer *answer) {
    static struct buffer out;
    out = (struct buffer){0};
    *answer = (struct dialect_answer){.body = &out};
    spoken.write(&spoken, result, answer);
    return out;
}

static void texts_are_an_embedding(void **state) {
    (void)state;
    assert_true(infers("{\"id\":\"7\",\"inputs\":[" CATS "],\"outputs\":[{\"name\":\"embedding\"}]}"));
    assert_int_equal(spoken.kind, DIALECT_EMBED);
    assert_int_equal(spoken.embed.n_items, 2);
    assert_int_equal(spoken.embed.items[1].modality, LIMOE_TEXT);
    assert_vectors(
        (const float[]){0.5f, -1, 1, 0.25f}, 3,
        "{\"model_name\":\"pictograms\",\"model_version\":\"1\",\"id\":\"7\",\"outputs\":[{\"name\":"
        "\"embedding\",\"datatype\":\"FP32\",\"shape\":[2,2],\"data\":[0.5,-1.0,1.0,0.25]}]}");
    assert_true(
        hears(oip_read_infer, "pictograms/versions/1/infer", BODY(INPUT("input_text", "[1]", "[\"x\"]"))));
    assert_int_equal(spoken.embed.n_items, 1);
}

static void binary_outputs_are_the_numbers_as_they_lie_in_memory(void **state) {
    (void)state;
    static const struct limoe_info small = {.name = "small", .embed = 2};
    static const float rows[] = {0.1f, -2, 3, 1e-30f};
    static const char head[] =
        "{\"model_name\":\"pictograms\",\"model_version\":\"1\",\"outputs\":[{\"name\":\"embedding\","
        "\"datatype\":\"FP32\",\"shape\":[2,2],\"parameters\":{\"binary_data_size\":16}}]}";
    const struct dialect_result result = {.model = &small, .embeddings = rows};
    struct dialect_answer answer;
    assert_true(infers("{\"inputs\":[" CATS "],\"parameters\":{\"binary_data_output\":true}}"));
    struct buffer out = written(&result, &answer);
    assert_int_equal(out.size, sizeof head - 1 + sizeof rows);
    assert_memory_equal(out.data, head, sizeof head - 1);
    assert_memory_equal(out.data + sizeof head - 1, rows, sizeof rows);
    assert_string_equal(answer.type, "application/octet-stream");
    assert_string_equal(answer.header_name, "Inference-Header-Content-Length");
    assert_int_equal(strtoul(answer.header_value, NULL, 10), sizeof head - 1);
    buffer_free(&out);
}

static void pictures_with_labels_are_scores_in_the_labels_order(void **state) {
    (void)state;
    assert_true(infers(BODY(PICTURE "," LABELS "," INPUT("templates", "[1]", "[\"a {}\"]"))));
    assert_int_equal(spoken.kind, DIALECT_CLASSIFY);
    assert_int_equal(spoken.classify.top_k, 2);
    assert_int_equal(spoken.classify.n_templates, 1);
    assert_ranked((const struct prediction[]){{.label = 1, .score = 0.75f}, {.label = 0, .score = 0.25f}}, 2,
                  "{\"model_name\":\"pictograms\",\"model_version\":\"1\",\"outputs\":[{\"name\":\"scores\","
                  "\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[0.25,0.75]}]}");
}

/* n elements of binary data behind the JSON that announces them. */
static bool infers_binary(const char *name, const char *bytes, uint32_t size) {
    char body[1024], length[16];
    const int json = snprintf(body, sizeof body,
                              "{\"inputs\":[{\"name\":\"%s\",\"shape\":[1],\"datatype\":\"BYTES\","
                              "\"parameters\":{\"binary_data_size\":%u}}]}",
                              name, size + 4);
    memcpy(body + json, &size, 4);
    memcpy(body + json + 4, bytes, size);
    snprintf(length, sizeof length, "%d", json);
    return hears_input(
        oip_read_infer,
        &(struct dialect_input){.below = text_of("pictograms/infer"), .header = text_of(length)}, body,
        (size_t)json + 4 + size);
}

static void binary_pictures_are_files_or_their_base64(void **state) {
    (void)state;
    static const char file[] = "\x89PNG\r\n\x1a\n";
    assert_true(infers_binary("image", file, sizeof file - 1));
    assert_int_equal(spoken.embed.items[0].size, sizeof file - 1);
    assert_memory_equal(spoken.embed.items[0].bytes, file, sizeof file - 1);
    assert_true(infers_binary("image", PIXEL, sizeof PIXEL - 1));
    assert_int_equal(spoken.embed.items[0].size, sizeof file - 1);
    assert_memory_equal(spoken.embed.items[0].bytes, file, sizeof file - 1);
    assert_false(infers_binary("image", "", 0));
    assert_error(400, "invalid_image", "inputs[0].data", "element 0");
    assert_false(infers_binary("text", "a\xff", 2));
    assert_error(400, "invalid_utf8", "inputs[0].data", "byte 0xff at 1");
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {BODY(INPUT("pixels", "[1]", "[\"x\"]")), "unknown_field", "inputs", "no input \"pixels\""},
        {BODY(CATS "," PICTURE), "conflicting_fields", "inputs", "text stands beside"},
        {BODY(CATS "," INPUT("input_text", "[1]", "[\"x\"]")), "duplicate_field", "inputs",
         "both input_text and text"},
        {BODY(LABELS), "missing_input", "inputs", "neither text nor image"},
        {BODY(PICTURE "," INPUT("templates", "[1]", "[\"{}\"]")), "empty_labels", "labels",
         "labels is missing"},
        {"{\"inputs\":[" CATS "],\"outputs\":[{\"name\":\"scores\"}]}", "unknown_field", "outputs",
         "accepted: embedding"},
        {BODY(INPUT("text", "[1]", "[\"\"]")), "empty_input", "inputs[0].data", "inputs[0].data is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(infers(cases[i].body));
        assert_error(400, cases[i].code, cases[i].param, cases[i].message);
    }
}

static void the_path_names_model_version_and_what_is_asked(void **state) {
    (void)state;
    static const struct {
        const char *below, *name;
        enum oip_action action;
    } good[] = {
        {"m", "m", OIP_METADATA},
        {"m/ready", "m", OIP_READY},
        {"a/b/versions/1/config", "a/b", OIP_CONFIG},
        {"m/versions/1", "m", OIP_METADATA},
        {"ready", "ready", OIP_METADATA},
        {"m/versions/1/stats", "m", OIP_STATISTICS},
        {"stats", "stats", OIP_ALL_STATISTICS},
    };
    struct text name;
    enum oip_action action;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(oip_split(text_of(good[i].below), &name, &action, &error));
        assert_true(text_is(name, good[i].name));
        assert_int_equal(action, good[i].action);
    }
    assert_false(oip_split(text_of("m/versions/2/ready"), &name, &action, &error));
    assert_error(404, "model_not_found", "version", "no version \"2\"");
    assert_false(hears(oip_read_infer, "other/infer", BODY(CATS)));
    assert_error(404, "model_not_found", "model", "there is no model \"other\" here");
    assert_false(hears(oip_read_infer, "pictograms", BODY(CATS)));
    assert_error(404, "unknown_path", "", "/infer");
}

static void the_first_protocol_has_instances(void **state) {
    (void)state;
    assert_true(hears(oip_read_predict, "pictograms:predict", "{\"instances\":[\"a cat\"]}"));
    assert_vectors((const float[]){1, 0}, 3, "{\"predictions\":[[1.0,0.0]]}");
    assert_false(hears(oip_read_predict, "pictograms:explain", "{\"instances\":[\"a cat\"]}"));
    assert_error(404, "unknown_path", "", ":predict");
}

static void what_is_told_of_a_model(void **state) {
    (void)state;
    struct answer_model one = {.info = &info, .models = &model, .ready = true};
    struct dialect_about about = {.models = &one, .n = 1, .names = &model, .ready = true, .why = ""};
    about.below = text_of("pictograms/ready");
    assert_told(oip_tell_model, &about, "{\"name\":\"pictograms\",\"ready\":true}");
    about.below = text_of("pictograms");
    assert_told(oip_tell_model, &about,
                "{\"name\":\"pictograms\",\"versions\":[\"1\"],\"platform\":\"limoe\",\"inputs\":["
                "{\"name\":\"text\",\"datatype\":\"BYTES\",\"shape\":[-1]},{\"name\":\"image\",\"datatype\":"
                "\"BYTES\",\"shape\":[-1]},"
                "{\"name\":\"labels\",\"datatype\":\"BYTES\",\"shape\":[-1]},{\"name\":\"templates\","
                "\"datatype\":\"BYTES\",\"shape\":[-1]}],"
                "\"outputs\":[{\"name\":\"embedding\",\"datatype\":\"FP32\",\"shape\":[-1,192]},"
                "{\"name\":\"scores\",\"datatype\":\"FP32\",\"shape\":[-1,-1]}]}");
    assert_told(oip_tell_live, &about, "{\"live\":true}");
    assert_told(oip_tell_ready, &about, "{\"ready\":true}");
    about.ready = false;
    one.ready = false;
    about.why = "its engine is away";
    assert_told(oip_tell_ready, &about, NULL);
    assert_error(503, "starting", "", "its engine is away");
    about.below = text_of("pictograms/ready");
    assert_told(oip_tell_model, &about, NULL);
    about.below = text_of("pictograms/infer");
    assert_told(oip_tell_model, &about, NULL);
    assert_error(404, "unknown_path", "", "by POST");
    about.below = text_of("other");
    assert_told(oip_tell_model, &about, NULL);
    assert_error(404, "model_not_found", "model", "there is no model \"other\" here");
}

#define COUNTED(name)                                                                                        \
    "{\"name\":\"" name "\",\"version\":\"1\",\"last_inference\":1700000000123,\"inference_count\":7,"       \
    "\"execution_count\":3,\"inference_stats\":{\"success\":{\"count\":4,\"ns\":9000},"                      \
    "\"fail\":{\"count\":1,\"ns\":100},\"queue\":{\"count\":2,\"ns\":20},"                                   \
    "\"compute_input\":{\"count\":2,\"ns\":30},\"compute_infer\":{\"count\":2,\"ns\":4000},"                 \
    "\"compute_output\":{\"count\":0,\"ns\":0}},\"batch_stats\":[]}"

static void statistics_are_of_a_model_or_of_all(void **state) {
    (void)state;
    static const struct dialect_statistics counted = {.items = 7,
                                                      .steps = 3,
                                                      .last_ms = 1700000000123,
                                                      .ok = {4, 9000},
                                                      .failed = {1, 100},
                                                      .queue = {2, 20},
                                                      .input = {2, 30},
                                                      .inference = {2, 4000}};
    const struct answer_model models[] = {{.info = &info, .models = &model},
                                          {.info = &info, .models = &model}};
    const struct dialect_statistics each[] = {counted, counted};
    struct dialect_about about = {
        .models = models, .statistics = each, .n = 1, .names = &model, .ready = true, .why = ""};
    about.below = text_of("pictograms/stats");
    assert_told(oip_tell_model, &about, "{\"model_stats\":[" COUNTED("pictograms") "]}");
    about.below = text_of("pictograms/versions/1/stats");
    assert_told(oip_tell_model, &about, "{\"model_stats\":[" COUNTED("pictograms") "]}");
    about.n = 2;
    about.below = text_of("stats");
    assert_told(oip_tell_model, &about,
                "{\"model_stats\":[" COUNTED("pictograms") "," COUNTED("pictograms") "]}");
    about.below = text_of("other/stats");
    assert_told(oip_tell_model, &about, NULL);
    assert_error(404, "model_not_found", "model", "there is no model \"other\" here");
    about.n = 0;
    about.below = text_of("stats");
    assert_told(oip_tell_model, &about, NULL);
    assert_error(503, "starting", "", "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(texts_are_an_embedding),
        TEST(binary_outputs_are_the_numbers_as_they_lie_in_memory),
        TEST(pictures_with_labels_are_scores_in_the_labels_order),
        TEST(binary_pictures_are_files_or_their_base64),
        TEST(what_does_not_fit_is_refused),
        TEST(the_path_names_model_version_and_what_is_asked),
        TEST(the_first_protocol_has_instances),
        TEST(what_is_told_of_a_model),
        TEST(statistics_are_of_a_model_or_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
