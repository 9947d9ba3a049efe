/* route_describe.c - POST /v1/describe: pictures in words. Their vocabularies come from the store, or are embedded beside the
 * pictures the first time that a model is asked (describing.h). */
#include "server/api/describe.h"

#include "server/front/calls/classifying.h"
#include "server/front/calls/describing.h"

/* Of one answer: it grows with pictures × what each prompt has of its own. */
#define MOST_BYTES ((size_t)32 << 20)
/* More scores than these take longer than a slice. */
#define SLOW_SCORES 50000u

static size_t longest(const struct describing_set *set) {
    size_t most = 0;
    for (size_t i = 0; i < set->n; i++)
        most = set->labels[i].size > most ? set->labels[i].size : most;
    return most;
}

/* About how many bytes the answer has. */
static size_t answer_size(const struct call *call, const struct describe_request *request) {
    const struct describe_prompt *prompt = &request->prompt;
    const size_t times =
        prompt->mode == DESCRIBE_NO_PROMPT ? 1 : 2; /* what is in the prompt is there twice */
    size_t one = 256 + prompt->question.size + prompt->ocr.size;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        one += request->words[i].most * times * (64 + longest(&call->describing.sets[i]));
    for (size_t i = 0; i < prompt->n_examples; i++)
        one += prompt->examples[i].prompt.size + prompt->examples[i].answer.size;
    return request->n_images * one;
}

static bool list_inputs(struct call *call, struct api_error *error) {
    const struct describe_request *request = &call->request.describe;
    size_t terms = 0;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        terms += call->describing.sets[i].n;
    if (request->n_images * terms > CLASSIFYING_MOST_SCORES)
        return api_fail(error, 400, "too_many_items", "images",
                        "%zu images × %zu terms are more than the %u scores of one request",
                        request->n_images, terms, CLASSIFYING_MOST_SCORES);
    call->scratch = answer_size(call, request);
    if (call->scratch > MOST_BYTES)
        return api_fail(error, 400, "too_many_items", "images",
                        "%zu images' words and prompts may take %zu bytes; up to %zu are accepted",
                        request->n_images, call->scratch, MOST_BYTES);
    call->scratch += describe_rank_bytes(terms);
    call->slow = request->n_images * terms > SLOW_SCORES;
    return describing_list(call, error);
}

bool route_describe_parse(struct call *call, struct api_error *error) {
    struct describe_request *request = &call->request.describe;
    return describe_read(&call->roster->models, call->body.data, call->body.size, call->arena, request,
                         error) &&
           call_choose(call, request->model) && classifying_possible(call, error) &&
           describing_look(call, error) && (call->asking || list_inputs(call, error));
}

/* The vocabularies as the model sees them. */
static bool measure(struct call *call, struct describe_vocabulary *vocabularies) {
    const struct describing_set *sets = call->describing.sets;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        vocabularies[i] = (struct describe_vocabulary){.terms = sets[i].labels,
                                                       .matrix = sets[i].matrix,
                                                       .shortlist = sets[i].shortlist,
                                                       .n = sets[i].n,
                                                       .reference = sets[DESCRIBING_REFERENCE].matrix,
                                                       .n_reference = sets[DESCRIBING_REFERENCE].n,
                                                       .embed = call->generation->model->embed};
        if (sets[i].wanted && !describe_measure(&vocabularies[i], call->arena))
            return false;
    }
    return true;
}

static bool describe_one(struct call *call, const struct describe_vocabulary *vocabularies, size_t image,
                         struct described_words *words) {
    const struct describe_request *request = &call->request.describe;
    const float *row = call->embeddings + image * call->generation->model->embed;
    for (size_t i = 0; i < DESCRIBE_LISTS; i++) {
        words[i] = (struct described_words){0};
        if (call->describing.sets[i].wanted &&
            !describe_rank(&vocabularies[i], &request->words[i], row, call->arena, &words[i]))
            return false;
    }
    return true;
}

/* What is shared was embedded for everybody: the answer, its usage included, is the same whether it was there already. */
static bool write_answer(struct call *call, struct api_error *error) {
    const struct describe_request *request = &call->request.describe;
    const struct limoe_info *model = call->generation->model;
    struct describe_vocabulary vocabularies[DESCRIBE_LISTS];
    const struct text *terms[DESCRIBE_LISTS];
    if (!measure(call, vocabularies))
        return api_fail_memory(error);
    for (size_t i = 0; i < DESCRIBE_LISTS; i++)
        terms[i] = vocabularies[i].terms;
    call->usage = (struct usage){.image_tokens = (uint64_t)request->n_images * model->image_tokens};
    describe_begin(&call->answer, model->name);
    for (size_t i = 0; i < request->n_images; i++) {
        struct described_words words[DESCRIBE_LISTS];
        if (stages_reader_left(call, error))
            return false;
        if (!describe_one(call, vocabularies, i, words))
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
