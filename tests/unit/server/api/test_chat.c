/* test_chat.c - protects a chat's way to the language model: pictures give way to what is seen of them, in their places, all else arrives
 * as it came, and nothing that the model's server would fetch gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/chat.h"

static const struct limoe_info info = {.name = "pictograms"};
static const struct limoe_info *const infos[] = {&info};
static const struct request_models models = {.info = infos, .n = 1};

#define IMAGE(bytes) "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64," bytes "\"}}"
#define TEXT(text)   "{\"type\":\"text\",\"text\":\"" text "\"}"

static bool read(const char *body, struct arena *arena, struct chat_request *out, struct api_error *error) {
    return chat_read(&models, "llm", body, strlen(body), arena, out, error);
}

static void sends(const char *body, size_t images, const char *expected) {
    static const struct text seen[] = {{"Tags: a.", 8}, {"Tags: \"b\".", 10}};
    struct arena *arena = arena_new();
    struct chat_request request;
    struct api_error error;
    struct buffer out = {0};
    if (!read(body, arena, &request, &error))
        fail_msg("%s", error.message);
    assert_int_equal(request.describe.n_images, images);
    chat_write_request(&out, &request, "llm", seen);
    buffer_bytes(&out, "", 1);
    assert_string_equal(out.data, expected);
    buffer_free(&out);
    arena_free(arena);
}

static void what_is_sent(void **state) {
    (void)state;
    sends("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 0,
          "{\"model\":\"llm\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
    sends("{\"model\":\"pictograms\",\"messages\":[{\"role\":\"user\",\"content\":[" TEXT("a") "," IMAGE(
              "AAAA") "]},"
                      "{\"content\":[" IMAGE("BBBB") "," TEXT(
                          "\\u00e9") "],\"name\":null}],\"seed\":12345678901234567890}",
          2,
          "{\"model\":\"llm\",\"messages\":[{\"role\":\"user\",\"content\":\"a\\u000aTags: a.\"},"
          "{\"content\":\"Tags: \\\"b\\\".\\u000a\xc3\xa9\",\"name\":null}],\"seed\":12345678901234567890}");
    sends("{\"tools\":[{\"a\":[1.50,-2e3,true,false,null,{}]}],\"model\":\"llm\",\"messages\":[{\"content\":"
          "[" TEXT("a") "]}]}",
          0,
          "{\"model\":\"llm\",\"tools\":[{\"a\":[1.50,-2e3,true,false,null,{}]}],\"messages\":[{\"content\":"
          "[" TEXT("a") "]}]}");
}

static void what_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *code, *param;
    } cases[] = {
        {"{}", "missing_field", "messages"},
        {"{\"messages\":5}", "invalid_type", "messages"},
        {"{\"messages\":[]}", "empty_input", "messages"},
        {"{\"messages\":[5]}", "invalid_type", "messages[0]"},
        {"{\"messages\":[{\"content\":5}]}", "invalid_type", "messages[0].content"},
        {"{\"messages\":[{},{\"content\":[5]}]}", "invalid_type", "messages[1].content[0]"},
        {"{\"messages\":[{\"content\":[{}]}]}", "unsupported_value", "messages[0].content[0]"},
        {"{\"messages\":[{\"content\":[{\"type\":\"text\"}]}]}", "invalid_type", "messages[0].content[0]"},
        {"{\"messages\":[{\"content\":[{\"type\":\"video_url\",\"video_url\":{\"url\":\"http://a/\"}}]}]}",
         "unsupported_value", "messages[0].content[0]"},
        {"{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"a\",\"image_url\":{\"url\":\"http://a/"
         "\"}}]}]}",
         "unsupported_value", "messages[0].content[0]"},
        {"{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"A\"}}]}]}",
         "invalid_image", "messages[0].content[0].image_url"},
        {"{\"messages\":[{\"content\":[{\"type\":\"image_url\"}]}]}", "invalid_item",
         "messages[0].content[0]"},
        {"{\"messages\":[{}],\"model\":\"other\"}", "model_not_found", "model"},
        {"{\"messages\":[{}],\"stream\":5}", "invalid_type", "stream"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct arena *arena = arena_new();
        struct chat_request request;
        struct api_error error;
        assert_false(read(cases[i].body, arena, &request, &error));
        assert_string_equal(error.code, cases[i].code);
        assert_string_equal(error.param, cases[i].param);
        arena_free(arena);
    }
}

static void replies(void **state) {
    (void)state;
    static const char *const odd[] = {"", "5", "[]", "{}", "{\"choices\":5}", "{\"choices\":[]} 5", "\xff"};
    struct arena *arena = arena_new();
    struct api_error error;
    assert_true(chat_check_reply("{\"choices\":[]}", 14, arena, &error));
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_false(chat_check_reply(odd[i], strlen(odd[i]), arena, &error));
        assert_string_equal(error.code, "upstream_invalid");
    }
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(replies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
