/* test_ask.c - protects what a language model's server is sent, to the byte, what is taken from its answers, whatever they are, and
 * which choice an answer names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/api/ask.h"

static const struct text choices[] = {{"cat", 3}, {"a \"dog\"\\\n", 9}};

static void sends(const struct ask_request *request, struct ask_model model, const char *expected) {
    struct buffer out = {0};
    model.name = "m";
    ask_write_request(&out, request, &model, text_of("p\"\n"));
    buffer_bytes(&out, "", 1);
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

#define CHAT                                                                                                 \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"p\\\"\\u000a\"}],\"max_tokens\":7,"     \
    "\"temperature\":0"

static void requests(void **state) {
    (void)state;
    const struct ask_request plain = {.max_tokens = 7},
                             chosen = {.max_tokens = 7, .choices = choices, .n_choices = 2};
    sends(&plain, (struct ask_model){.chat = true, .hold = ASK_HOLD_GRAMMAR}, CHAT "}");
    sends(&plain, (struct ask_model){.chat = false},
          "{\"model\":\"m\",\"prompt\":\"p\\\"\\u000a\",\"max_tokens\":7,\"temperature\":0}");
    sends(&(struct ask_request){.max_tokens = 7, .stream = true}, (struct ask_model){.chat = true},
          CHAT ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    sends(&chosen, (struct ask_model){.chat = true}, CHAT "}");
    sends(&chosen, (struct ask_model){.chat = true, .hold = ASK_HOLD_GUIDED},
          CHAT ",\"guided_choice\":[\"cat\",\"a \\\"dog\\\"\\\\\\u000a\"]}");
    sends(&chosen, (struct ask_model){.chat = true, .hold = ASK_HOLD_STRUCTURED},
          CHAT ",\"structured_outputs\":{\"choice\":[\"cat\",\"a \\\"dog\\\"\\\\\\u000a\"]}}");
    sends(&chosen, (struct ask_model){.chat = true, .hold = ASK_HOLD_GRAMMAR},
          CHAT ",\"grammar\":\"root ::= \\\"cat\\\" | \\\"a \\\\\\\"dog\\\\\\\"\\\\\\\\\\\\x0A\\\"\"}");
}

/* ---- replies */

static bool read(const char *bytes, bool chat, struct arena *arena, struct ask_reply *reply) {
    struct api_error error;
    const bool good = ask_read_reply(bytes, strlen(bytes), chat, arena, reply, &error);
    if (!good) {
        assert_int_equal(error.status, 502);
        assert_string_equal(error.code, "upstream_invalid");
    }
    return good;
}

static void replies(void **state) {
    (void)state;
    struct arena *arena = arena_new();
    struct ask_reply reply;
    assert_true(read("{\"model\":\"m\",\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\" "
                     "\\n cat\\t\"}},5],"
                     "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}",
                     true, arena, &reply));
    assert_true(text_is(reply.text, "cat") && text_is(reply.model, "m") && text_is(reply.finish, "stop"));
    assert_true(reply.counted && reply.prompt_tokens == 3 && reply.completion_tokens == 2);
    assert_true(read("{\"choices\":[{\"text\":\"dog\"}],\"usage\":{\"prompt_tokens\":-1},\"model\":5}", false,
                     arena, &reply));
    assert_true(text_is(reply.text, "dog") && !reply.counted && !reply.model.data && !reply.finish.data);
    assert_true(read("{\"choices\":[{\"message\":{\"content\":null}}]}", true, arena, &reply));
    assert_int_equal(reply.text.size, 0);
    arena_free(arena);
}

static void what_is_no_reply(void **state) {
    (void)state;
    static const char *const odd[] = {"",
                                      "a",
                                      "5",
                                      "[]",
                                      "{}",
                                      "{\"choices\":{}}",
                                      "{\"choices\":[]}",
                                      "{\"choices\":[5]}",
                                      "{\"choices\":[{\"text\":\"a\"}]}",
                                      "{\"choices\":[{\"message\":\"a\"}]}",
                                      "{\"choices\":[{\"message\":{\"content\":[]}}]}",
                                      "{\"choices\":[{\"message\":{\"content\":\"\xff\"}}]}",
                                      "{\"choices\":[{\"message\":{\"content\":\"a\"}}]"};
    struct arena *arena = arena_new();
    struct ask_reply reply;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_false(read(odd[i], true, arena, &reply));
    arena_free(arena);
}

/* ---- choices */

static void choosing(void **state) {
    (void)state;
    static const struct text list[] = {{"cat", 3}, {"cat flap", 8},     {"dog", 3},
                                       {"no", 2},  {"\xe7\x8a\xac", 3}, {"4", 1}};
    static const struct {
        const char *text, *named;
    } cases[] = {
        {"cat", "cat"},
        {" CAT.\n", "cat"},
        {"\"Cat Flap\"!", "cat flap"},
        {"**dog**", "dog"},
        {"the cat flap of a dog", "cat flap"},
        {"a dog, no cat", "dog"},
        {"cats and catalogues", NULL},
        {"I know nothing", NULL},
        {"know? No.", "no"},
        {"\xe7\x8c\xab\xe3\x81\xa7\xe3\x81\xaf\xe3\x81\xaa\xe3\x81\x8f\xe7\x8a\xac\xe3\x81\xa7\xe3\x81\x99",
         "\xe7\x8a\xac"},
        {"14", NULL},
        {"= 4", "4"},
        {"", NULL},
        {"...", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct text *chosen = ask_choose(text_of(cases[i].text), list, sizeof list / sizeof *list);
        if (cases[i].named)
            assert_true(chosen && text_is(*chosen, cases[i].named));
        else
            assert_null(chosen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(replies),
        cmocka_unit_test(what_is_no_reply),
        cmocka_unit_test(choosing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
