/* test_request_embed.c - protects every form of input that clients send to /v1/embeddings and /v1/routing,
 * and what they are told when it is none of them. */
#include "tests/unit/server/api/reading.h"

static struct embed_request read_body(const char *body) {
    struct embed_request request;
    if (!request_embeddings_json(&model, exactly(body, strlen(body)), strlen(body), arena, &request, &error))
        fail_msg("%s: %s", body, error.message);
    return request;
}

static void refused(const char *body, int status, const char *code, const char *param, const char *message) {
    struct embed_request request;
    if (request_embeddings_json(&model, exactly(body, strlen(body)), strlen(body), arena, &request, &error))
        fail_msg("accepted: %s", body);
    assert_error(status, code, param, message);
}

static void assert_item(const struct request_item *item, enum limoe_modality modality, const char *bytes,
                        const char *param) {
    assert_int_equal(item->modality, modality);
    assert_bytes(item->bytes, item->size, bytes);
    assert_string_equal(item->param, param);
}

static void a_string_is_a_text(void **state) {
    (void)state;
    struct embed_request request = read_body("{\"input\":\"a caf\\u00e9\",\"model\":\"pictograms\"}");
    assert_int_equal(request.n_items, 1);
    assert_int_equal(request.encoding, REQUEST_FLOAT);
    assert_item(&request.items[0], LIMOE_TEXT, "a café", "input");
}

static void lists_mix_strings_and_items(void **state) {
    (void)state;
    struct embed_request request =
        read_body("{\"input\":[\"cat\",{\"text\":\"dog\"},{\"image\":\"Zm9vYg==\"},{\"image\":\"data:image/"
                  "png;base64,Zm9v\",\"text\":null},\"data:image/jpeg;base64,YmFy\",\"data: a love story\"],"
                  "\"encoding_format\":\"base64\"}");
    assert_int_equal(request.n_items, 6);
    assert_int_equal(request.encoding, REQUEST_BASE64);
    assert_item(&request.items[0], LIMOE_TEXT, "cat", "input[0]");
    assert_item(&request.items[1], LIMOE_TEXT, "dog", "input[1].text");
    assert_item(&request.items[2], LIMOE_IMAGE, "foob", "input[2].image");
    assert_item(&request.items[3], LIMOE_IMAGE, "foo", "input[3].image");
    assert_item(&request.items[4], LIMOE_IMAGE, "bar", "input[4]");
    assert_item(&request.items[5], LIMOE_TEXT, "data: a love story", "input[5]");
}

static void modality_says_what_strings_are(void **state) {
    (void)state;
    struct embed_request request =
        read_body("{\"modality\":\"image\",\"input\":[\"Zm9v\",{\"text\":\"cat\"}]}");
    assert_item(&request.items[0], LIMOE_IMAGE, "foo", "input[0]");
    assert_item(&request.items[1], LIMOE_TEXT, "cat", "input[1].text");
    request = read_body("{\"modality\":\"text\",\"input\":\"data:image/png;base64,Zm9v\"}");
    assert_item(&request.items[0], LIMOE_TEXT, "data:image/png;base64,Zm9v", "input");
    refused("{\"modality\":\"audio\",\"input\":\"x\"}", 400, "invalid_modality", "modality",
            "must be \"text\" or \"image\"");
    refused("{\"modality\":1,\"input\":\"x\"}", 400, "invalid_type", "modality", "modality is a number");
}

static void what_openai_clients_add_is_accepted(void **state) {
    (void)state;
    struct embed_request request =
        read_body("{\"input\":[\"x\"],\"model\":\"pictograms\",\"encoding_format\":\"float\","
                  "\"dimensions\":192,\"user\":\"someone\"}");
    read_body("{\"input\":\"x\",\"dimensions\":0}");
    assert_int_equal(request.encoding, REQUEST_FLOAT);
    request = read_body("{\"input\":\"x\",\"model\":null,\"encoding_format\":null,\"dimensions\":null,"
                        "\"modality\":null,\"user\":null,\"anything\":null}");
    assert_int_equal(request.n_items, 1);
}

static void fields_are_checked(void **state) {
    (void)state;
    refused("{\"input\":\"x\",\"model\":\"clip\"}", 404, "model_not_found", "model",
            "there is no model \"clip\" here; available: \"pictograms\"");
    refused("{\"input\":\"x\",\"model\":7}", 400, "invalid_type", "model",
            "model is a number; accepted: a string");
    refused("{\"input\":\"x\",\"dimensions\":64}", 400, "unsupported_dimensions", "dimensions",
            "dimensions is 64; this model's embeddings have 192");
    refused("{\"input\":\"x\",\"dimensions\":-1}", 400, "unsupported_dimensions", "dimensions",
            "accepted: 192, and 0 for the model's own");
    refused("{\"input\":\"x\",\"dimensions\":\"192\"}", 400, "invalid_type", "dimensions", "is a string");
    refused("{\"input\":\"x\",\"encoding_format\":\"hex\"}", 400, "invalid_encoding_format",
            "encoding_format",
            "is \"hex\"; accepted: \"float\", \"base64\", \"int8\", \"ubinary\" or \"binary\"");
    refused("{\"input\":\"x\",\"encoding_format\":[]}", 400, "invalid_type", "encoding_format",
            "is an array");
    refused("{\"input\":\"x\",\"user\":1}", 400, "invalid_type", "user", "user is a number");
    refused("{\"input\":\"x\",\"inputs\":\"y\"}", 400, "unknown_field", "inputs",
            "there is no field \"inputs\" here; accepted: input, messages,");
}

static void input_is_checked(void **state) {
    (void)state;
    refused("{}", 400, "missing_input", "input", "input is missing; accepted: a string, or a list");
    refused("{\"input\":null}", 400, "missing_input", "input", "input is missing");
    refused("{\"input\":{\"text\":\"x\"}}", 400, "invalid_type", "input", "input is an object");
    refused("{\"input\":[]}", 400, "empty_input", "input", "1 to 2048 items are accepted");
    refused("{\"input\":\"\"}", 400, "empty_input", "input", "input is empty");
    refused("{\"input\":[\"x\",\"\"]}", 400, "empty_input", "input[1]", "input[1] is empty");
    refused("{\"input\":[\"x\",{\"text\":\"\"}]}", 400, "empty_input", "input[1].text",
            "input[1].text is empty");
    refused("{\"input\":[\"x\",null]}", 400, "invalid_type", "input[1]", "input[1] is null");
    refused("{\"input\":[1,2,3]}", 400, "invalid_type", "input[0]", "token ids are not accepted");
    refused("{\"input\":[[1,2,3]]}", 400, "invalid_type", "input[0]", "check_embedding_ctx_length=False");
    refused("{\"input\":[{}]}", 400, "invalid_item", "input[0]",
            "nothing to embed; accepted is one of text, image");
    refused("{\"input\":[{\"text\":\"x\",\"image\":\"Zm9v\"}]}", 400, "invalid_item", "input[0]",
            "both text and image");
    refused("{\"input\":[{\"texts\":\"x\"}]}", 400, "unknown_field", "input[0]", "no field \"texts\"");
    refused("{\"input\":[{\"image\":{\"url\":\"x\"}}]}", 400, "invalid_type", "input[0].image",
            "is an object");
    refused("{\"input\":[{\"image\":\"Zm9\"}]}", 400, "invalid_image", "input[0].image",
            "input[0].image: not base64: 3 characters");
    refused("{\"input\":[\"x\",\"data:image/png;base64,Zm9v!\"]}", 400, "invalid_image", "input[1]",
            "input[1]: not base64: \"!\" at character 5");
}

static void f4_white_space_is_a_text(void **state) {
    (void)state;
    struct embed_request request =
        read_body("{\"input\":[\"x\",\" \",\"\\n\\n\",{\"text\":\"\\t\"},\"\\u00a0\",\"\\u3000\"]}");
    assert_int_equal(request.n_items, 6);
    assert_item(&request.items[1], LIMOE_TEXT, " ", "input[1]");
    assert_item(&request.items[2], LIMOE_TEXT, "\n\n", "input[2]");
    assert_item(&request.items[3], LIMOE_TEXT, "\t", "input[3].text");
    assert_item(&request.items[4], LIMOE_TEXT, "\xC2\xA0", "input[4]");
    assert_item(&request.items[5], LIMOE_TEXT, "\xE3\x80\x80", "input[5]");
}

static void f13_strings_meant_for_pictures_are_pictures(void **state) {
    (void)state;
    struct embed_request request = read_body(
        "{\"input\":[\"data:application/octet-stream;base64,Zm9v\",\"data:;base64,Zm9v\","
        "\" data:image/png;base64,Zm9v\",\"DATA:IMAGE/PNG;base64,Zm9v\",\"data:text/plain,Zm9v\"]}");
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(request.items[i].modality, LIMOE_IMAGE);
        assert_bytes(request.items[i].bytes, request.items[i].size, "foo");
    }
    assert_item(&request.items[4], LIMOE_TEXT, "data:text/plain,Zm9v", "input[4]");
    refused("{\"input\":\"data:text/plain;base64,Zm9v\"}", 400, "invalid_image", "input",
            "a data URI of type \"text/plain\"; image/… is accepted");
}

static void f21_an_alias_or_no_name_is_the_model(void **state) {
    (void)state;
    static const struct request_models aliased = {
        .info = infos, .n = 1, .aliases = "text-embedding-3-small,openai/clip=pictograms"};
    static const struct request_models any = {.info = infos, .n = 1, .aliases = "clip,*"};
    static const struct {
        const struct request_models *model;
        const char *name;
        bool here;
    } cases[] = {
        {&model, "pictograms", true},
        {&model, "", true},
        {&model, "clip", false},
        {&aliased, "text-embedding-3-small", true},
        {&aliased, "openai/clip", true},
        {&aliased, "pictograms", true},
        {&aliased, "", true},
        {&aliased, "clip", false},
        {&aliased, "openai/clip=pictograms", false},
        {&aliased, "text-embedding-3-smal", false},
        {&any, "whatever", true},
        {&model, "*", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct embed_request request;
        const char *body = arena_print(arena, "{\"input\":\"x\",\"model\":\"%s\"}", cases[i].name);
        const bool here =
            request_embeddings_json(cases[i].model, body, strlen(body), arena, &request, &error);
        if (here != cases[i].here)
            fail_msg("\"%s\" is %s", cases[i].name, here ? "here" : "not here");
        if (!here)
            assert_error(404, "model_not_found", "model", "--model-alias");
    }
}

/* A model of one tower takes its modality, and refuses the other where it stands. */
static void what_the_model_has_no_tower_for(void **state) {
    (void)state;
    static const struct limoe_info alone[] = {{.name = "vision", .towers = 2, .tower = {{8, 4, 2, 16}, {0}}},
                                              {.name = "words", .towers = 2, .tower = {{0}, {8, 4, 2, 16}}}};
    static const struct limoe_info *const both[] = {&alone[0], &alone[1]};
    static const struct request_models models = {.info = both, .n = 2};
    static const struct {
        const char *body, *param, *message; /* param NULL: accepted */
    } cases[] = {
        {"{\"input\":[{\"image\":\"QUJD\"}]}", NULL, NULL},
        {"{\"input\":[\"x\",{\"text\":\"y\"}],\"model\":\"words\"}", NULL, NULL},
        {"{\"input\":\"x\"}", "input",
         "input is a text: \"vision\" has no text tower; pictures alone are accepted"},
        {"{\"input\":[{\"image\":\"QUJD\"},{\"text\":\"y\"}]}", "input[1].text",
         "\"vision\" has no text tower"},
        {"{\"input\":[\"x\",{\"image\":\"QUJD\"}],\"model\":\"words\"}", "input[1].image",
         "input[1].image is a picture: \"words\" has no image tower; texts alone are accepted"},
    };
    struct embed_request request;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const bool good =
            request_embeddings_json(&models, cases[i].body, strlen(cases[i].body), arena, &request, &error);
        if (cases[i].param) {
            assert_false(good);
            assert_error(400, "unsupported_modality", cases[i].param, cases[i].message);
            assert_false(
                request_routing_json(&models, cases[i].body, strlen(cases[i].body), arena, &request, &error));
        } else if (!good) {
            fail_msg("%s: %s", cases[i].body, error.message);
        }
    }
}

/* Of several models a request gets the one that it names, wherever in its body it does so, and what depends on
 * the model is held against that one. */
static void a_request_names_its_model(void **state) {
    (void)state;
    static const struct limoe_info clip = {.name = "clip", BOTH_TOWERS, .embed = 512, .text_length = 77};
    static const struct limoe_info *const both[] = {&info, &clip};
    static const struct request_models models = {
        .info = both, .n = 2, .aliases = "openai/clip=clip,any,*=clip,text-embedding-3-small=pictograms"};
    static const struct {
        const char *body;
        size_t model;
    } good[] = {
        {"{\"input\":\"x\"}", 0},
        {"{\"input\":\"x\",\"model\":null}", 0},
        {"{\"input\":\"x\",\"model\":\"\"}", 0},
        {"{\"input\":\"x\",\"model\":\"pictograms\",\"dimensions\":192}", 0},
        {"{\"dimensions\":512,\"truncate_prompt_tokens\":77,\"input\":\"x\",\"model\":\"clip\"}", 1},
        {"{\"input\":\"x\",\"model\":\"openai/clip\"}", 1},
        {"{\"input\":\"x\",\"model\":\"any\"}", 0},
        {"{\"input\":\"x\",\"model\":\"whatever\"}", 1},
        {"{\"input\":\"x\",\"model\":\"text-embedding-3-small\"}", 0},
    };
    struct embed_request request;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        if (!request_embeddings_json(&models, good[i].body, strlen(good[i].body), arena, &request, &error))
            fail_msg("%s: %s", good[i].body, error.message);
        assert_int_equal(request.model, good[i].model);
    }
    static const char wrong[] = "{\"dimensions\":192,\"input\":\"x\",\"model\":\"clip\"}";
    assert_false(request_embeddings_json(&models, wrong, strlen(wrong), arena, &request, &error));
    assert_error(400, "unsupported_dimensions", "dimensions", "have 512");
    static const struct request_models strict = {.info = both, .n = 2};
    static const char unknown[] = "{\"input\":\"x\",\"model\":\"siglip\"}";
    assert_false(request_routing_json(&strict, unknown, strlen(unknown), arena, &request, &error));
    assert_error(404, "model_not_found", "model", "available: \"pictograms\", \"clip\"");
    static const char number[] = "{\"input\":\"x\",\"model\":1}";
    assert_false(request_routing_json(&strict, number, strlen(number), arena, &request, &error));
    assert_error(400, "invalid_type", "model", "a string");
}

static void names_of_several_models_are_checked(void **state) {
    (void)state;
    static const struct limoe_info clip = {.name = "clip", BOTH_TOWERS},
                                   same = {.name = "pictograms", BOTH_TOWERS};
    static const struct limoe_info *const both[] = {&info, &clip}, *const twice[] = {&info, &clip, &same};
    static const struct {
        const char *aliases, *message;
    } cases[] = {
        {NULL, NULL},
        {"a=clip,b,a=clip", NULL},
        {"clip=clip,pictograms", NULL},
        {"a=clip,a", "\"a\" for two models"},
        {"pictograms=clip", "\"pictograms\" for two models"},
        {"*,*=clip", "\"*\" for two models"},
        {"a=siglip", "\"siglip\"; there is \"pictograms\", \"clip\""},
    };
    struct limoe_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct request_models models = {.info = both, .n = 2, .aliases = cases[i].aliases};
        const enum limoe_status status = model_names_check(&models, &err);
        if ((status == LIMOE_OK) != !cases[i].message ||
            (cases[i].message && !strstr(err.message, cases[i].message)))
            fail_msg("%s: %s", cases[i].aliases, status == LIMOE_OK ? "accepted" : err.message);
    }
    const struct request_models doubled = {.info = twice, .n = 3};
    assert_int_equal(model_names_check(&doubled, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, "two models are called \"pictograms\""));
    char names[14]; /* too short for any */
    assert_string_equal(model_names_list(&doubled, names, sizeof names), "…");
    char more[36];
    assert_string_equal(model_names_list(&doubled, more, sizeof more), "\"pictograms\", \"clip\", …");
}

static void a_reload_names_a_model_or_none(void **state) {
    (void)state;
    static const struct limoe_info clip = {.name = "clip", BOTH_TOWERS};
    static const struct limoe_info *const both[] = {&info, &clip};
    static const struct request_models models = {.info = both, .n = 2};
    static const struct {
        const char *body;
        bool named;
        size_t model;
    } good[] = {
        {"", false, 0}, {"{}", false, 0}, {"{\"model\":null}", false, 0}, {"{\"model\":\"clip\"}", true, 1}};
    bool named;
    size_t found;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(
            request_reload_json(&models, good[i].body, strlen(good[i].body), arena, &named, &found, &error));
        assert_int_equal(named, good[i].named);
        assert_int_equal(found, good[i].model);
    }
    assert_false(request_reload_json(&models, "{\"name\":\"clip\"}", 15, arena, &named, &found, &error));
    assert_error(400, "unknown_field", "name", "accepted: model");
    assert_false(request_reload_json(&models, "{\"model\":\"vit\"}", 15, arena, &named, &found, &error));
    assert_error(404, "model_not_found", "model", "\"clip\"");
    assert_false(request_reload_json(&models, "[]", 2, arena, &named, &found, &error));
    assert_error(400, "invalid_json", "", "a JSON object");
}

static void f21_a_list_of_aliases_is_checked(void **state) {
    (void)state;
    static const char *const good[] = {"clip", "a,b=pictograms", "*", "*=pictograms", NULL};
    static const char *const bad[] = {"=pictograms", "clip=", "a,=b", "="};
    struct limoe_error err;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        const struct request_models asked = {.info = infos, .n = 1, .aliases = good[i]};
        assert_int_equal(model_names_check_list(good[i], &err), LIMOE_OK);
        assert_int_equal(model_names_check(&asked, &err), LIMOE_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(model_names_check_list(bad[i], &err), LIMOE_INVALID);
    char *longest = room(MODEL_ALIAS_BYTES + 2);
    memset(longest, 'a', MODEL_ALIAS_BYTES + 1);
    longest[MODEL_ALIAS_BYTES + 1] = '\0';
    assert_int_equal(model_names_check_list(longest, &err), LIMOE_INVALID);
    assert_int_equal(model_names_check_list(longest + 1, &err), LIMOE_OK);
    const struct request_models other = {.info = infos, .n = 1, .aliases = "a=pictograms,b=photographs"};
    assert_int_equal(model_names_check(&other, &err), LIMOE_INVALID);
    assert_non_null(strstr(err.message, "\"photographs\"; there is \"pictograms\""));
}

static void w15_a_nul_in_a_name_or_a_value_is_refused(void **state) {
    (void)state;
    static const char name[] = "{\"input\0evil\":\"x\"}", value[] = "{\"input\":\"a\0b\"}";
    struct embed_request request;
    assert_false(request_embeddings_json(&model, exactly(name, sizeof name - 1), sizeof name - 1, arena,
                                         &request, &error));
    assert_error(400, "invalid_json", "", "control character 0x00");
    assert_false(request_embeddings_json(&model, exactly(value, sizeof value - 1), sizeof value - 1, arena,
                                         &request, &error));
    assert_error(400, "invalid_json", "", "control character 0x00");
    refused("{\"input\\u0000evil\":\"x\"}", 400, "invalid_json", "", "\\u0000 is not accepted");
    refused("{\"input\":\"x\",\"model\":\"pictograms\\u0000evil\"}", 400, "invalid_json", "",
            "\\u0000 is not accepted");
}

static void the_number_and_size_of_items_are_bounded(void **state) {
    (void)state;
    for (unsigned n = REQUEST_MAX_ITEMS; n <= REQUEST_MAX_ITEMS + 1; n++) {
        char *body = room(64 + 4 * n), *end = body;
        end += sprintf(end, "{\"input\":[\"0\"");
        for (unsigned i = 1; i < n; i++)
            end += sprintf(end, ",\"%u\"", i % 10);
        strcpy(end, "]}");
        if (n == REQUEST_MAX_ITEMS)
            assert_int_equal(read_body(body).n_items, n);
        else
            refused(body, 400, "too_many_items", "input", "2049 items; up to 2048 are accepted");
    }
    for (unsigned n = REQUEST_MAX_TEXT_BYTES; n <= REQUEST_MAX_TEXT_BYTES + 1; n++) {
        char *body = room(n + 64);
        strcpy(body, "{\"input\":\"");
        memset(body + 10, 'x', n);
        strcpy(body + 10 + n, "\"}");
        if (n == REQUEST_MAX_TEXT_BYTES)
            assert_int_equal(read_body(body).items[0].size, n);
        else
            refused(body, 400, "too_long", "input", "65537 bytes of text; up to 65536");
    }
}

static void a_body_that_is_no_json_object_says_where(void **state) {
    (void)state;
    refused("", 400, "invalid_json", "", "the body is empty");
    refused("[]", 400, "invalid_json", "", "the body is an array; a JSON object is expected");
    refused("{\"input\":\n \"x\",}", 400, "invalid_json", "", "line 2, column 6: expected a member's name");
    refused("{\"input\":\"a\\u0000b\"}", 400, "invalid_json", "", "\\u0000 is not accepted");
    refused("{\"input\":\"\xFF\"}", 400, "invalid_json", "", "byte 0xff is not UTF-8");
    refused("{\"input\":\"x\",\"input\":\"y\"}", 400, "invalid_json", "", "\"input\" is given twice");
}

/* Jina's, Infinity's, NVIDIA's, Voyage's and OpenAI's chat's ways to say text and picture. */
static void items_of_other_servers(void **state) {
    (void)state;
    static const struct {
        const char *item, *param, *bytes;
        enum limoe_modality modality;
    } cases[] = {
        {"{\"url\":\"data:image/png;base64,Zm9v\"}", "input[0].url", "foo", LIMOE_IMAGE},
        {"{\"bytes\":\"Zm9v\"}", "input[0].bytes", "foo", LIMOE_IMAGE},
        {"{\"image_base64\":\"data:image/png;base64,Zm9v\"}", "input[0].image_base64", "foo", LIMOE_IMAGE},
        {"{\"image_url\":\"data:image/png;base64,Zm9v\"}", "input[0].image_url", "foo", LIMOE_IMAGE},
        {"{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,Zm9v\",\"detail\":\"low\"}}",
         "input[0].image_url", "foo", LIMOE_IMAGE},
        {"{\"image_url\":{\"url\":\"Zm9v\",\"detail\":null},\"type\":\"image_url\"}", "input[0].image_url",
         "foo", LIMOE_IMAGE},
        {"{\"type\":\"image\",\"image\":\"Zm9v\"}", "input[0].image", "foo", LIMOE_IMAGE},
        {"{\"type\":\"image\",\"url\":\"Zm9v\",\"text\":null}", "input[0].url", "foo", LIMOE_IMAGE},
        {"{\"type\":\"text\",\"text\":\"cat\"}", "input[0].text", "cat", LIMOE_TEXT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct embed_request request = read_body(arena_print(arena, "{\"input\":[%s]}", cases[i].item));
        assert_item(&request.items[0], cases[i].modality, cases[i].bytes, cases[i].param);
    }
}

static void pictures_may_be_urls(void **state) {
    (void)state;
    struct embed_request request =
        read_body("{\"input\":[{\"url\":\"https://a.example/b.png\"},\"https://a.example/b.png\"]}");
    assert_item(&request.items[0], LIMOE_IMAGE, "https://a.example/b.png", "input[0].url");
    assert_item(&request.items[1], LIMOE_TEXT, "https://a.example/b.png", "input[1]");
    assert_true(request.items[0].remote && !request.items[1].remote);
}

static void items_of_other_servers_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *item, *code, *param, *message;
    } cases[] = {
        {"{\"url\":\"ftp://example.com/a.png\"}", "invalid_image", "input[0].url", "not base64"},
        {"{\"image_url\":{\"uri\":\"Zm9v\"}}", "unknown_field", "input[0].image_url",
         "\"uri\"; accepted: url"},
        {"{\"image_url\":{\"url\":7}}", "unknown_field", "input[0].image_url", "no string \"url\""},
        {"{\"image_url\":{}}", "invalid_type", "input[0].image_url", "is an object; accepted: {\"url\":"},
        {"{\"image_url\":[]}", "invalid_type", "input[0].image_url", "is an array"},
        {"{\"bytes\":7}", "invalid_type", "input[0].bytes", "is a number; accepted: a string"},
        {"{\"url\":\"Zm9v\",\"bytes\":\"Zm9v\"}", "invalid_item", "input[0]", "both url and bytes"},
        {"{\"type\":\"text\",\"image\":\"Zm9v\"}", "invalid_item", "input[0]",
         "of type \"text\" and has image; accepted: \"image\""},
        {"{\"type\":\"image\",\"text\":\"x\"}", "invalid_item", "input[0]", "accepted: \"text\""},
        {"{\"type\":1,\"text\":\"x\"}", "invalid_type", "input[0]", "input[0].type is a number"},
        {"{\"type\":\"image_url\"}", "invalid_item", "input[0]", "nothing to embed"},
        {"{\"type\":\"audio\",\"audio\":\"x\"}", "unknown_field", "input[0]", "no field \"audio\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(arena_print(arena, "{\"input\":[%s]}", cases[i].item), 400, cases[i].code, cases[i].param,
                cases[i].message);
}

#define PART "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,Zm9v\"}}"

static void messages_of_a_chat_are_one_item(void **state) {
    (void)state;
    struct embed_request request = read_body("{\"messages\":[{\"role\":\"user\",\"content\":[" PART
                                             "]}],\"encoding_format\":\"float\"}");
    assert_int_equal(request.n_items, 1);
    assert_item(&request.items[0], LIMOE_IMAGE, "foo", "messages[0].content[0].image_url");
    request = read_body("{\"messages\":[{\"role\":\"user\",\"content\":\"a cat\"}],\"input\":null,"
                        "\"continue_final_message\":true}");
    assert_int_equal(request.n_items, 1);
    assert_item(&request.items[0], LIMOE_TEXT, "a cat", "messages[0].content");
}

/* As `vllm bench serve --backend openai-embeddings-clip` sends a picture. */
static void an_empty_text_beside_an_item_is_nothing(void **state) {
    (void)state;
    struct embed_request request =
        read_body("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"\"}," PART
                  "]}],\"truncate_prompt_tokens\":-1}");
    assert_int_equal(request.n_items, 1);
    assert_item(&request.items[0], LIMOE_IMAGE, "foo", "messages[0].content[1].image_url");
    refused("{\"messages\":[{\"content\":[{\"text\":\"\"}]}]}", 400, "empty_input",
            "messages[0].content[0].text", "is empty");
    refused("{\"messages\":[{\"content\":[{\"text\":\"\"},{\"text\":\"\"}]}]}", 400, "too_many_items",
            "messages[0].content", "has 2 parts");
}

static void messages_of_a_chat_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *messages, *code, *param, *message;
    } cases[] = {
        {"\"a cat\"", "invalid_type", "messages", "messages is a string; accepted: [{\"role\":\"user\""},
        {"[]", "empty_input", "messages", "has 0 messages; exactly one"},
        {"[{\"content\":\"a\"},{\"content\":\"b\"}]", "too_many_items", "messages", "has 2 messages"},
        {"[7]", "invalid_type", "messages[0]", "is a number"},
        {"[{\"role\":\"user\"}]", "missing_input", "messages[0].content", "has no content"},
        {"[{\"name\":\"x\",\"content\":\"a\"}]", "unknown_field", "messages[0]", "no field \"name\""},
        {"[{\"content\":[" PART ",{\"type\":\"text\",\"text\":\"a\"}]}]", "too_many_items",
         "messages[0].content", "has 2 parts; exactly one is accepted"},
        {"[{\"content\":[]}]", "empty_input", "messages[0].content", "has 0 parts"},
        {"[{\"content\":7}]", "invalid_type", "messages[0].content", "is a number"},
        {"[{\"content\":\"\"}]", "empty_input", "messages[0].content", "is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(arena_print(arena, "{\"messages\":%s}", cases[i].messages), 400, cases[i].code,
                cases[i].param, cases[i].message);
    refused("{\"input\":\"x\",\"messages\":[{\"content\":\"x\"}]}", 400, "conflicting_fields", "messages",
            "input and messages");
}

static void numbers_by_any_servers_name(void **state) {
    (void)state;
    static const struct {
        const char *fields;
        enum request_encoding encoding;
    } cases[] = {
        {"\"encoding_format\":\"int8\"", REQUEST_INT8},
        {"\"encoding_format\":\"ubinary\"", REQUEST_UBINARY},
        {"\"encoding_format\":\"binary\"", REQUEST_BINARY},
        {"\"embedding_type\":\"float\"", REQUEST_FLOAT},
        {"\"embedding_type\":\"base64\"", REQUEST_BASE64},
        {"\"embedding_type\":[\"binary\"]", REQUEST_BINARY},
        {"\"embedding_types\":[\"int8\"]", REQUEST_INT8},
        {"\"embedding_type\":\"int8\",\"encoding_format\":\"float\"", REQUEST_INT8},
        {"\"embedding_type\":\"int8\",\"output_dtype\":\"int8\"", REQUEST_INT8},
        {"\"output_dtype\":\"ubinary\"", REQUEST_UBINARY},
        {"\"output_dtype\":\"float\",\"encoding_format\":\"base64\"", REQUEST_BASE64},
        {"\"output_dtype\":\"int8\",\"encoding_format\":\"base64\"", REQUEST_INT8_BASE64},
        {"\"encoding_format\":\"base64\",\"output_dtype\":\"ubinary\"", REQUEST_UBINARY_BASE64},
        {"\"encoding_format\":\"base64\",\"output_dtype\":\"binary\"", REQUEST_BINARY_BASE64},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *body = arena_print(arena, "{\"input\":\"x\",%s}", cases[i].fields);
        if (read_body(body).encoding != cases[i].encoding)
            fail_msg("%s is read otherwise", body);
    }
}

static void numbers_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *fields, *code, *param, *message;
    } cases[] = {
        {"\"embedding_type\":\"uint8\"", "unsupported_value", "embedding_type",
         "is \"uint8\"; accepted: \"float\", \"base64\", \"int8\", \"ubinary\" or \"binary\""},
        {"\"output_dtype\":\"base64\"", "unsupported_value", "output_dtype", "accepted: \"float\", \"int8\""},
        {"\"embedding_types\":[\"float\",\"int8\"]", "unsupported_value", "embedding_types", "a list of 2"},
        {"\"embedding_types\":[]", "unsupported_value", "embedding_types", "a list of 0"},
        {"\"embedding_types\":[7]", "invalid_type", "embedding_types", "is a number"},
        {"\"output_dtype\":[\"int8\"]", "invalid_type", "output_dtype", "is an array"},
        {"\"encoding_format\":\"int8\",\"embedding_type\":\"binary\"", "conflicting_fields", "embedding_type",
         "encoding_format is \"int8\" and embedding_type \"binary\""},
        {"\"output_dtype\":\"int8\",\"embedding_type\":\"float\"", "conflicting_fields", "embedding_type",
         "one of them"},
        /* What the openai client asks for by itself, and would read as float32. */
        {"\"encoding_format\":\"base64\",\"embedding_type\":\"int8\"", "conflicting_fields",
         "encoding_format", "send encoding_format \"float\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(arena_print(arena, "{\"input\":\"x\",%s}", cases[i].fields), 400, cases[i].code,
                cases[i].param, cases[i].message);
}

static void routing_has_no_encoding(void **state) {
    (void)state;
    struct embed_request request;
    const char *body = "{\"model\":\"pictograms\",\"input\":[\"cat\",{\"image\":\"Zm9v\"}]}";
    assert_true(request_routing_json(&model, body, strlen(body), arena, &request, &error));
    assert_int_equal(request.n_items, 2);
    assert_item(&request.items[1], LIMOE_IMAGE, "foo", "input[1].image");
    static const char *const others[] = {"encoding_format", "dimensions",     "user",
                                         "input_type",      "embedding_type", "messages"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        body = arena_print(arena, "{\"input\":\"x\",\"%s\":\"float\"}", others[i]);
        assert_false(request_routing_json(&model, body, strlen(body), arena, &request, &error));
        assert_error(400, "unknown_field", others[i], "accepted: input, model, modality");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_string_is_a_text),
        TEST(lists_mix_strings_and_items),
        TEST(modality_says_what_strings_are),
        TEST(what_openai_clients_add_is_accepted),
        TEST(fields_are_checked),
        TEST(input_is_checked),
        TEST(items_of_other_servers),
        TEST(pictures_may_be_urls),
        TEST(items_of_other_servers_are_checked),
        TEST(messages_of_a_chat_are_one_item),
        TEST(an_empty_text_beside_an_item_is_nothing),
        TEST(messages_of_a_chat_are_checked),
        TEST(numbers_by_any_servers_name),
        TEST(numbers_are_checked),
        TEST(f4_white_space_is_a_text),
        TEST(f13_strings_meant_for_pictures_are_pictures),
        TEST(f21_an_alias_or_no_name_is_the_model),
        TEST(what_the_model_has_no_tower_for),
        TEST(a_request_names_its_model),
        TEST(names_of_several_models_are_checked),
        TEST(a_reload_names_a_model_or_none),
        TEST(f21_a_list_of_aliases_is_checked),
        TEST(w15_a_nul_in_a_name_or_a_value_is_refused),
        TEST(the_number_and_size_of_items_are_bounded),
        TEST(a_body_that_is_no_json_object_says_where),
        TEST(routing_has_no_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
