/* test_sagemaker.c - protects which body is whose at /invocations, and what becomes of it. */
#include "tests/unit/server/api/dialects/speaking.h"

#include "server/api/dialects/sagemaker.h"
#include "server/api/dialects/vertex.h"
#include "server/api/request_parts.h"

#define PNG "\x89PNG\r\n\x1a\n"

static bool invoked(const char *type, const char *body) {
    return hears_input(sagemaker_read, &(struct dialect_input){.content_type = type}, body, strlen(body));
}

static void a_body_is_what_its_fields_say(void **state) {
    (void)state;
    static const struct {
        const char *body;
        enum dialect_kind kind;
    } cases[] = {
        {"{\"input\":[\"cat\",{\"image\":\"" PIXEL "\"}]}", DIALECT_EMBED},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"cat\"}]}", DIALECT_EMBED},
        {"{\"inputs\":[\"cat\"]}", DIALECT_EMBED},
        {"{\"inputs\":\"" PIXEL "\",\"parameters\":{\"candidate_labels\":[\"x\"]}}", DIALECT_CLASSIFY},
        {"{\"inputs\":{\"source_sentence\":\"a\",\"sentences\":[\"b\"]}}", DIALECT_COMPARE},
        {"{\"instances\":[\"cat\"]}", DIALECT_EMBED},
        {"{\"query\":\"a\",\"documents\":[\"b\"]}", DIALECT_COMPARE},
        {"{\"query\":\"a\",\"texts\":[\"b\"]}", DIALECT_COMPARE},
        {"{\"image\":\"" PIXEL "\",\"labels\":[\"x\"]}", DIALECT_CLASSIFY},
        {"{\"images\":[\"" PIXEL "\",\"" PIXEL "\"],\"labels\":[\"x\"]}", DIALECT_CLASSIFY},
    };
    static const char *const types[] = {NULL, "application/json", "application/json; charset=utf-8",
                                        "application/octet-stream"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            if (!invoked(types[t], cases[i].body))
                fail_msg("%s as %s: %s", cases[i].body, types[t] ? types[t] : "nothing", error.message);
            assert_int_equal(spoken.kind, cases[i].kind);
            assert_non_null(spoken.write);
        }
}

static void our_own_bodies_have_our_own_answers(void **state) {
    (void)state;
    assert_true(invoked(NULL, "{\"input\":\"cat\"}"));
    assert_vectors(
        (const float[]){0.5f, -1}, 2,
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[0.5,-1.0]}],"
        "\"model\":\"small\",\"usage\":{\"prompt_tokens\":2,\"image_tokens\":0,\"total_tokens\":2}}");
    assert_true(invoked(NULL, "{\"image\":\"" PIXEL "\",\"labels\":[\"cat\",\"dog\"],\"top_k\":1}"));
    const struct prediction ranked[] = {{.label = 1, .score = 0.75f, .cosine = 0.5f}};
    assert_ranked(
        ranked, 1,
        "{\"object\":\"list\",\"model\":\"pictograms\",\"data\":[{\"object\":\"classification\",\"index\":0,"
        "\"predictions\":[{\"label\":\"dog\",\"score\":0.75,\"cosine\":0.5}]}],\"usage\":{\"prompt_tokens\":"
        "3,"
        "\"image_tokens\":4,\"total_tokens\":7}}");
}

/* By whichever reader it is, what has been parsed is not parsed again: its bytes are not looked at. */
static void a_body_is_parsed_once(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "{\"input\":[\"cat\"]}",
        "{\"inputs\":[\"cat\"]}",
        "{\"instances\":[\"cat\"]}",
        "{\"query\":\"a\",\"texts\":[\"b\"]}",
        "{\"image\":\"" PIXEL "\",\"labels\":[\"x\"]}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct dialect_input in = {.content_type = "application/json"};
        assert_true(request_read_object(bodies[i], strlen(bodies[i]), arena, &in.object, &error));
        if (!hears_input(sagemaker_read, &in, "no JSON", 7))
            fail_msg("%s: %s", bodies[i], error.message);
    }
}

static void a_picture_comes_as_it_is(void **state) {
    (void)state;
    static const char *const types[] = {"image/png", "application/x-image", "application/octet-stream", NULL};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        assert_true(invoked(types[t], PNG));
        assert_int_equal(spoken.kind, DIALECT_EMBED);
        assert_int_equal(spoken.embed.items[0].modality, LIMOE_IMAGE);
        assert_int_equal(spoken.embed.items[0].size, 8);
    }
    const struct request_field labels[] = {
        {.name = "labels", .bytes = (const uint8_t *)"cat,dog", .size = 7}};
    const struct dialect_input in = {.content_type = "image/png", .args = labels, .n_args = 1};
    assert_true(hears_input(sagemaker_read, &in, PNG, 8));
    assert_int_equal(spoken.kind, DIALECT_CLASSIFY);
    assert_int_equal(spoken.classify.n_labels, 2);
}

static void a_form_is_a_classification(void **state) {
    (void)state;
    static const char form[] =
        "--b\r\nContent-Disposition: form-data; name=\"labels\"\r\n\r\ncat\r\n"
        "--b\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n" PNG "\r\n--b--\r\n";
    assert_true(invoked("multipart/form-data; boundary=b", form));
    assert_int_equal(spoken.kind, DIALECT_CLASSIFY);
    assert_int_equal(spoken.classify.images[0].size, 8);
}

static void what_is_not_done_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *type, *body;
        int status;
        const char *code, *param, *message;
    } cases[] = {
        {"text/csv", "1,2", 415, "unsupported_media_type", "", "image/* and application/x-image"},
        {NULL, "", 400, "invalid_json", "", ""},
        {"image/png", "", 400, "missing_image", "", "the body is empty"},
        {NULL, "{}", 400, "missing_input", "input", "input is missing"},
        {NULL, "{\"image\":\"" PIXEL "\",\"classifier\":\"pets\"}", 400, "unknown_field", "classifier",
         "not used here"},
        {NULL, "{\"inputs\":[]}", 400, "empty_input", "inputs", "inputs is empty"},
        {"multipart/form-data", "x", 400, "malformed_multipart", "", "boundary"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(invoked(cases[i].type, cases[i].body));
        assert_error(cases[i].status, cases[i].code, cases[i].param, cases[i].message);
    }
    const struct request_field wrong[] = {{.name = "size", .bytes = (const uint8_t *)"1", .size = 1}};
    const struct dialect_input in = {.content_type = "image/png", .args = wrong, .n_args = 1};
    assert_false(hears_input(sagemaker_read, &in, PNG, 8));
    assert_error(400, "unknown_field", "size", "no field \"size\"");
}

static void health_is_a_status(void **state) {
    (void)state;
    const struct dialect_about ready = {.ready = true, .why = ""}, starting = {.why = "it is being loaded"};
    dialect_teller *const tellers[] = {sagemaker_tell_ping, vertex_tell_health};
    for (size_t i = 0; i < 2; i++) {
        assert_told(tellers[i], &ready, "{\"status\":\"ok\"}");
        assert_told(tellers[i], &starting, NULL);
        assert_error(503, "starting", "", "it is being loaded");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_body_is_what_its_fields_say),
        TEST(our_own_bodies_have_our_own_answers),
        TEST(a_body_is_parsed_once),
        TEST(a_picture_comes_as_it_is),
        TEST(a_form_is_a_classification),
        TEST(what_is_not_done_is_refused),
        TEST(health_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
