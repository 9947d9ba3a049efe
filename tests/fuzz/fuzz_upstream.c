/* fuzz_upstream.c - any bytes as what a language model's server answers. The first byte, 0 or 1 in the corpus, says whether bare
 * completions or a chat was asked.
 *
 * What is taken of an answer is text, and an answer of ours made of it is JSON; what is refused is the server's fault.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/ask.h"
#include "server/formats/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void require_text(struct text text) {
    require(text_check(text.data, text.size) == text.size);
}

/* The choice is one of them, and stands in the answer. */
static void check_choice(const struct ask_reply *reply, const struct ask_request *request) {
    const struct text *chosen = ask_choose(reply->text, request->choices, request->n_choices);
    require(!chosen || (chosen >= request->choices && chosen < request->choices + request->n_choices));
    require(!chosen || chosen->size <= reply->text.size);
}

static void check_reply(const struct ask_reply *reply, struct arena *arena) {
    static const struct text choices[] = {{"cat", 3}, {"a cat", 5}, {"\xe7\x8a\xac", 3}, {"4", 1}};
    const struct ask_request request = {.choices = choices, .n_choices = sizeof choices / sizeof *choices};
    const struct ask_answer answer = {.model = "m",
                                      .request = &request,
                                      .reply = reply,
                                      .prompt = reply->text,
                                      .usage = &(struct usage){0}};
    struct buffer out = {0};
    struct json_value *value;
    struct json_error error;
    require_text(reply->text);
    require_text(reply->model);
    require_text(reply->finish);
    check_choice(reply, &request);
    ask_write_answer(&out, &answer);
    require(!out.failed && json_read(out.data, out.size, arena, &value, &error) &&
            value->type == JSON_OBJECT);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ask_reply reply;
    struct api_error error;
    if (size == 0)
        return 0;
    struct arena *arena = arena_new();
    require(arena);
    if (ask_read_reply((const char *)data + 1, size - 1, data[0] % 2, arena, &reply, &error))
        check_reply(&reply, arena);
    else
        require(error.status == 502 && strcmp(error.code, "upstream_invalid") == 0 && *error.message);
    arena_free(arena);
    return 0;
}
