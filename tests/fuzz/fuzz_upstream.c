/* fuzz_upstream.c - any bytes as what a language model's server answers. The first byte, 0 to 3 in the corpus, says whether bare
 * completions or a chat was asked, and from 2 on that the answer is a stream.
 *
 * What is taken of an answer is text, and an answer of ours made of it is JSON; what is refused is the server's fault. Events are the same
 * ones however their bytes are cut.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/ask.h"
#include "server/api/ask_stream.h"
#include "server/formats/event_stream.h"
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

/* The events of bytes that come `step` at a time. */
static bool feed(const char *bytes, size_t size, size_t step, struct buffer *out) {
    struct event_stream stream = {0};
    const char *what;
    bool good = true;
    for (size_t at = 0; at < size && good; at += step)
        good = event_stream_feed(&stream, bytes + at, size - at < step ? size - at : step, out, &what);
    require(good || *what);
    event_stream_free(&stream);
    return good;
}

static void require_alike(const struct buffer *a, const struct buffer *b) {
    require(a->size == b->size && (!a->size || memcmp(a->data, b->data, a->size) == 0));
}

/* What is ours is events of JSON, whichever they were made of. */
static void require_events(const struct buffer *made) {
    struct buffer again = {0};
    require(!made->failed && feed(made->data, made->size, SIZE_MAX, &again));
    require_alike(made, &again);
    buffer_free(&again);
}

static void check_stream(const char *bytes, size_t size, bool chat) {
    static const struct text choices[] = {{"cat", 3}, {"a cat", 5}};
    const struct ask_request request = {.choices = choices, .n_choices = 2};
    const struct ask_answer answer = {
        .model = "m", .request = &request, .prompt = text_of("p"), .usage = &(struct usage){0}};
    struct buffer events = {0}, slowly = {0}, made = {0};
    struct api_error error;
    const bool good = feed(bytes, size, SIZE_MAX, &events);
    require(feed(bytes, size, 1, &slowly) == good);
    require_alike(&events, &slowly);
    struct ask_stream *stream = ask_stream_new(&answer, chat);
    require(stream);
    if (ask_stream_take(stream, (struct text){.data = events.data, .size = events.size}, &made, &error))
        ask_stream_end(stream, 0, &made);
    else
        require(error.status == 502 && *error.message);
    require_events(&made);
    ask_stream_free(stream);
    buffer_free(&events);
    buffer_free(&slowly);
    buffer_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ask_reply reply;
    struct api_error error;
    if (size == 0)
        return 0;
    if (data[0] & 2) {
        check_stream((const char *)data + 1, size - 1, data[0] % 2);
        return 0;
    }
    struct arena *arena = arena_new();
    require(arena);
    if (ask_read_reply((const char *)data + 1, size - 1, data[0] % 2, arena, &reply, &error))
        check_reply(&reply, arena);
    else
        require(error.status == 502 && strcmp(error.code, "upstream_invalid") == 0 && *error.message);
    arena_free(arena);
    return 0;
}
