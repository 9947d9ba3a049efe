/* route_ask.c - POST /v1/ask: a picture is described, and a language model answers a question by the description. */
#include "server/api/ask.h"
#include "server/api/ask_stream.h"

#include "server/front/calls/classifying.h"
#include "server/front/calls/describing.h"
#include "server/front/calls/upstream.h"

static bool asks_chat(const struct call *call) {
    return call->server->options.relaying.endpoint == RELAY_CHAT;
}

static bool list_inputs(struct call *call, struct api_error *error) {
    const struct ask_request *request = &call->request.ask;
    /* The prompt is written, sent and given back. */
    call->scratch = 3 * (256 + request->describe.prompt.question.size + request->describe.prompt.ocr.size +
                         describing_words_size(call));
    return describing_list(call, error);
}

bool route_ask_parse(struct call *call, struct api_error *error) {
    struct ask_request *request = &call->request.ask;
    return upstream_possible(call, error) &&
           ask_read(&call->roster->models, call->body.data, call->body.size, call->arena, request, error) &&
           call_choose(call, request->describe.model) && classifying_possible(call, error) &&
           describing_look(call, error) && (call->asking || list_inputs(call, error));
}

/* The prompt, in the arena. */
static bool write_prompt(struct call *call, struct api_error *error) {
    struct describe_vocabulary vocabularies[DESCRIBE_LISTS];
    const struct text *terms[DESCRIBE_LISTS];
    struct described_words words[DESCRIBE_LISTS];
    struct buffer prompt = {0};
    if (!describing_measure(call, vocabularies) || !describing_rank(call, vocabularies, 0, words))
        return api_fail_memory(error);
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        terms[i] = vocabularies[i].terms;
    describe_write_prompt(&prompt, &call->request.ask.describe.prompt,
                          &(struct description){.words = words, .terms = terms});
    const char *copy = prompt.failed ? NULL : arena_copy(call->arena, prompt.data, prompt.size);
    call->prompt = (struct text){.data = copy, .size = prompt.size};
    buffer_free(&prompt);
    return copy || api_fail_memory(error);
}

/* What there is of the answer before the language model answers. */
static struct ask_answer begin_answer(struct call *call) {
    const struct limoe_info *model = call->generation->model;
    call->usage = (struct usage){.image_tokens = model->image_tokens};
    return (struct ask_answer){
        .model = model->name, .request = &call->request.ask, .prompt = call->prompt, .usage = &call->usage};
}

static bool put(struct call *call, struct api_error *error) {
    const struct ask_model model = {.name = call->server->options.relaying.model,
                                    .chat = asks_chat(call),
                                    .hold = call->server->options.llm_choices};
    struct upstream_request asked = {.endpoint = call->server->options.relaying.endpoint,
                                     .streamed = call->request.ask.stream};
    if (!write_prompt(call, error))
        return false;
    const struct ask_answer answer = begin_answer(call);
    asked.stream = asked.streamed ? ask_stream_new(&answer, asks_chat(call)) : NULL;
    if (asked.streamed && !asked.stream)
        return api_fail_memory(error);
    ask_write_request(&asked.body, &call->request.ask, &model, call->prompt);
    return upstream_ask(call, &asked, error);
}

bool route_ask_answer(struct call *call, struct api_error *error) {
    return describing_make(call, error) && (call->asking || put(call, error));
}

bool route_ask_stored(struct call *call, struct api_error *error) {
    if (!call->answering)
        return describing_found(call, error) && (call->asking || list_inputs(call, error));
    return describing_kept(call, error) && (call->asking || put(call, error));
}

bool route_ask_relayed(struct call *call, struct api_error *error) {
    struct text bytes;
    struct ask_reply reply;
    if (!upstream_take(call, &bytes, error) ||
        !ask_read_reply(bytes.data, bytes.size, asks_chat(call), call->arena, &reply, error))
        return false;
    struct ask_answer answer = begin_answer(call);
    answer.reply = &reply;
    answer.ns = upstream_took(call);
    ask_write_answer(&call->answer, &answer);
    return true;
}
