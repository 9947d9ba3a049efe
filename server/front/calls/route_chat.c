/* route_chat.c - POST /v1/chat/completions: pictures are described, and a language model goes on with the chat. */
#include "server/api/chat.h"

#include "server/front/calls/classifying.h"
#include "server/front/calls/describing.h"
#include "server/front/calls/upstream.h"

static bool list_inputs(struct call *call, struct api_error *error) {
    const struct chat_request *request = &call->request.chat;
    /* What is seen is written, and sent with what came. */
    call->scratch =
        2 * request->describe.n_images * (256 + describing_words_size(call)) + 2 * call->body.size;
    return describing_list(call, error);
}

bool route_chat_parse(struct call *call, struct api_error *error) {
    struct chat_request *request = &call->request.chat;
    if (!upstream_possible(call, error) ||
        !chat_read(&call->roster->models, call->server->options.relaying.model, call->body.data,
                   call->body.size, call->arena, request, error) ||
        !call_choose(call, request->describe.model))
        return false;
    if (!request->describe.n_images)
        return true; /* there is nothing to see */
    return classifying_possible(call, error) && describing_look(call, error) &&
           (call->asking || list_inputs(call, error));
}

/* What is seen of each picture, in the arena; NULL: no memory. */
static struct text *write_seen(struct call *call) {
    struct describe_vocabulary vocabularies[DESCRIBE_LISTS];
    const struct text *terms[DESCRIBE_LISTS];
    const size_t n = call->request.chat.describe.n_images;
    struct text *seen = arena_array(call->arena, n, sizeof *seen);
    bool good = seen && (n == 0 || describing_measure(call, vocabularies));
    for (size_t i = 0; good && n && i < DESCRIBE_LISTS; i++)
        terms[i] = vocabularies[i].terms;
    for (size_t i = 0; good && i < n; i++) {
        struct described_words words[DESCRIBE_LISTS];
        struct buffer text = {0};
        good = describing_rank(call, vocabularies, i, words);
        if (good)
            describe_write_words(&text, &(struct description){.words = words, .terms = terms});
        seen[i] = (struct text){.data = text.failed ? NULL : arena_copy(call->arena, text.data, text.size),
                                .size = text.size};
        good = good && seen[i].data;
        buffer_free(&text);
    }
    return good ? seen : NULL;
}

static bool put(struct call *call, struct api_error *error) {
    const struct text *seen = write_seen(call);
    struct upstream_request asked = {.endpoint = RELAY_CHAT, .streamed = call->request.chat.stream};
    if (!seen)
        return api_fail_memory(error);
    chat_write_request(&asked.body, &call->request.chat, call->server->options.relaying.model, seen);
    return upstream_ask(call, &asked, error);
}

bool route_chat_answer(struct call *call, struct api_error *error) {
    if (!call->request.chat.describe.n_images)
        return put(call, error);
    return describing_make(call, error) && (call->asking || put(call, error));
}

bool route_chat_stored(struct call *call, struct api_error *error) {
    if (!call->answering)
        return describing_found(call, error) && (call->asking || list_inputs(call, error));
    return describing_kept(call, error) && (call->asking || put(call, error));
}

bool route_chat_relayed(struct call *call, struct api_error *error) {
    struct text bytes;
    if (!upstream_take(call, &bytes, error) || !chat_check_reply(bytes.data, bytes.size, call->arena, error))
        return false;
    call->answer_type = "application/json";
    buffer_bytes(&call->answer, bytes.data, bytes.size);
    return true;
}
