/* ask_stream.c - the text of an answer, gathered as it comes. */
#include "server/api/ask_stream.h"

#include <stdlib.h>

#include "server/formats/event_stream.h"

struct ask_stream {
    struct arena *arena; /* has what follows, copied */
    bool chat;
    struct ask_request request; /* its choices alone */
    struct usage usage;
    struct ask_reply reply;
    struct ask_answer answer;
    struct buffer text; /* so far */
};

/* ---- life */

/* False: no memory. */
static bool copy_text(struct arena *arena, struct text *text) {
    text->data = arena_copy(arena, text->data, text->size);
    return text->data != NULL;
}

static bool copy_choices(struct ask_stream *stream, const struct ask_request *request) {
    const size_t n = request->n_choices;
    struct text *copies = arena_array(stream->arena, n, sizeof *copies);
    bool good = copies != NULL;
    for (size_t i = 0; good && i < n; i++) {
        copies[i] = request->choices[i];
        good = copy_text(stream->arena, &copies[i]);
    }
    stream->request = (struct ask_request){.choices = copies, .n_choices = n};
    return good;
}

static bool copy_answer(struct ask_stream *stream, const struct ask_answer *answer) {
    struct text model = text_of(answer->model);
    stream->usage = *answer->usage;
    stream->answer = (struct ask_answer){.request = &stream->request,
                                         .reply = &stream->reply,
                                         .prompt = answer->prompt,
                                         .usage = &stream->usage};
    const bool good = copy_choices(stream, answer->request) && copy_text(stream->arena, &model) &&
                      copy_text(stream->arena, &stream->answer.prompt);
    stream->answer.model = model.data;
    return good;
}

struct ask_stream *ask_stream_new(const struct ask_answer *answer, bool chat) {
    struct ask_stream *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->arena = arena_new();
    stream->chat = chat;
    if (stream->arena && copy_answer(stream, answer))
        return stream;
    ask_stream_free(stream);
    return NULL;
}

size_t ask_stream_size(const struct ask_stream *stream) {
    return arena_size(stream->arena) + ASK_STREAM_MOST;
}

void ask_stream_free(struct ask_stream *stream) {
    if (!stream)
        return;
    arena_free(stream->arena);
    buffer_free(&stream->text);
    free(stream);
}

/* ---- events */

/* The first that is said stays. */
static bool keep_first(struct ask_stream *stream, struct text *kept, struct text said) {
    if (kept->data || !said.data)
        return true;
    *kept = said;
    return copy_text(stream->arena, kept);
}

static bool keep(struct ask_stream *stream, const struct ask_reply *event, struct api_error *error) {
    struct ask_reply *reply = &stream->reply;
    if (event->text.size > ASK_STREAM_MOST - stream->text.size)
        return api_fail(error, 502, "upstream_invalid", NULL,
                        "the language model's server streams an answer of more than %zu bytes",
                        ASK_STREAM_MOST);
    buffer_bytes(&stream->text, event->text.data, event->text.size);
    if (event->counted) {
        reply->counted = true;
        reply->prompt_tokens = event->prompt_tokens;
        reply->completion_tokens = event->completion_tokens;
    }
    return (!stream->text.failed && keep_first(stream, &reply->model, event->model) &&
            keep_first(stream, &reply->finish, event->finish)) ||
           api_fail_memory(error);
}

static void write_delta(struct buffer *out, struct text text) {
    if (!text.size)
        return;
    buffer_string(out, EVENT_STREAM_DATA "{\"object\":\"answer.delta\",\"text\":");
    buffer_json_text(out, text);
    buffer_string(out, "}" EVENT_STREAM_END);
}

static bool take_event(struct ask_stream *stream, struct text data, struct buffer *out,
                       struct api_error *error) {
    struct arena *arena = arena_new();
    struct ask_reply event;
    bool good = arena || api_fail_memory(error);
    good = good && ask_read_event(data, stream->chat, arena, &event, error) && keep(stream, &event, error);
    if (good)
        write_delta(out, event.text);
    arena_free(arena);
    return good && (!out->failed || api_fail_memory(error));
}

bool ask_stream_take(struct ask_stream *stream, struct text events, struct buffer *out,
                     struct api_error *error) {
    struct text data;
    while (event_stream_next(&events, &data))
        if (!text_is(data, EVENT_STREAM_DONE) && !take_event(stream, data, out, error))
            return false;
    return true;
}

void ask_stream_end(struct ask_stream *stream, int64_t ns, struct buffer *out) {
    stream->reply.text = ask_trim(stream->text.size ? buffer_text(&stream->text) : text_of(""));
    stream->answer.ns = ns;
    buffer_string(out, EVENT_STREAM_DATA);
    ask_write_answer(out, &stream->answer);
    buffer_string(out, EVENT_STREAM_END EVENT_STREAM_DATA EVENT_STREAM_DONE EVENT_STREAM_END);
}
