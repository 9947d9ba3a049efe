/* route_describe.c - POST /v1/describe: pictures in words. Their vocabularies come from the store, or are embedded beside the
 * pictures the first time that a model is asked (describing.h). */
#include "server/api/describe.h"

#include "server/front/calls/classifying.h"
#include "server/front/calls/describing.h"

/* Of one answer: it grows with pictures × what each prompt has of its own. */
#define MOST_BYTES ((size_t)32 << 20)

/* About how many bytes the answer has. */
static size_t answer_size(const struct call *call, const struct describe_request *request) {
    const struct describe_prompt *prompt = &request->prompt;
    const size_t times =
        prompt->mode == DESCRIBE_NO_PROMPT ? 1 : 2; /* what is in the prompt is there twice */
    size_t one = 256 + prompt->question.size + prompt->ocr.size + times * describing_words_size(call);
    for (size_t i = 0; i < prompt->n_examples; i++)
        one += prompt->examples[i].prompt.size + prompt->examples[i].answer.size;
    return request->n_images * one;
}

static bool list_inputs(struct call *call, struct api_error *error) {
    const struct describe_request *request = &call->request.describe;
    call->scratch = answer_size(call, request);
    if (call->scratch > MOST_BYTES)
        return api_fail(error, 400, "too_many_items", "images",
                        "%zu images' words and prompts may take %zu bytes; up to %zu are accepted",
                        request->n_images, call->scratch, MOST_BYTES);
    return describing_list(call, error);
}

bool route_describe_parse(struct call *call, struct api_error *error) {
    struct describe_request *request = &call->request.describe;
    return describe_read(&call->roster->models, call->body.data, call->body.size, call->arena, request,
                         error) &&
           call_choose(call, request->model) && classifying_possible(call, error) &&
           describing_look(call, error) && (call->asking || list_inputs(call, error));
}

/* What is shared was embedded for everybody: the answer, its usage included, is the same whether it was there already. */
static bool write_answer(struct call *call, struct api_error *error) {
    const struct describe_request *request = &call->request.describe;
    const struct limoe_info *model = call->generation->model;
    struct describe_vocabulary vocabularies[DESCRIBE_LISTS];
    const struct text *terms[DESCRIBE_LISTS];
    if (!describing_measure(call, vocabularies))
        return api_fail_memory(error);
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        terms[i] = vocabularies[i].terms;
    call->usage = (struct usage){.image_tokens = (uint64_t)request->n_images * model->image_tokens};
    describe_begin(&call->answer, model->name);
    for (size_t i = 0; i < request->n_images; i++) {
        struct described_words words[DESCRIBE_LISTS];
        if (stages_reader_left(call, error))
            return false;
        if (!describing_rank(call, vocabularies, i, words))
            return api_fail_memory(error);
        describe_append(&call->answer, i == 0, i, &request->prompt,
                        &(struct description){.words = words, .terms = terms});
    }
    describe_end(&call->answer, &call->usage);
    return true;
}

bool route_describe_answer(struct call *call, struct api_error *error) {
    return describing_make(call, error) && (call->asking || write_answer(call, error));
}

bool route_describe_stored(struct call *call, struct api_error *error) {
    if (!call->answering)
        return describing_found(call, error) && (call->asking || list_inputs(call, error));
    return describing_kept(call, error) && (call->asking || write_answer(call, error));
}
