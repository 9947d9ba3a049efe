/* route_captions.c - POST /v1/captions: by the model's decoder (captioning.h), or from a bank, which is a vocabulary as a
 * description has them (describing.h). */
#include <stdio.h>
#include <string.h>

#include "server/api/captions.h"
#include "server/front/calls/captioning.h"
#include "server/front/calls/classifying.h"
#include "server/front/calls/describing.h"

/* The field that a description has in "captions" stands by itself here. Returns false. */
static bool fail_bank(struct api_error *error) {
    if (strcmp(error->param, "captions.vocabulary") == 0)
        snprintf(error->param, sizeof error->param, "vocabulary");
    return false;
}

static bool list_bank(struct call *call, struct api_error *error) {
    call->scratch = call->request.captions.describe.n_images * (256 + describing_words_size(call));
    return describing_list(call, error);
}

bool route_captions_parse(struct call *call, struct api_error *error) {
    struct captions_request *request = &call->request.captions;
    if (!captions_read(&call->roster->models, call->body.data, call->body.size, call->arena, request,
                       error) ||
        !call_choose(call, request->describe.model))
        return false;
    if (request->decoded)
        return captioning_choose(call, request, error);
    return classifying_possible(call, error) && (describing_look(call, error) || fail_bank(error)) &&
           (call->asking || list_bank(call, error));
}

/* ---- answers */

static struct captions_usage usage_of(const struct call *call) {
    return (struct captions_usage){.image_tokens = (uint64_t)call->request.captions.describe.n_images *
                                                   call->generation->model->image_tokens};
}

static bool write_bank(struct call *call, struct api_error *error) {
    const size_t n = call->request.captions.describe.n_images;
    struct describe_vocabulary vocabularies[DESCRIBE_LISTS];
    const struct captions_usage usage = usage_of(call);
    if (!describing_measure(call, vocabularies))
        return api_fail_memory(error);
    captions_begin(&call->answer, call->generation->model->name);
    for (size_t i = 0; i < n; i++) {
        struct described_words words[DESCRIBE_LISTS];
        if (stages_reader_left(call, error))
            return false;
        if (!describing_rank(call, vocabularies, i, words))
            return api_fail_memory(error);
        captions_append_bank(&call->answer, i == 0, i, vocabularies[DESCRIBE_CAPTIONS].terms,
                             &words[DESCRIBE_CAPTIONS]);
    }
    captions_end(&call->answer, &usage);
    return true;
}

static bool write_decoded(struct call *call, struct api_error *error) {
    const struct captioning *captioning = &call->captioning;
    const uint32_t n = captioning->each.n;
    struct captions_usage usage = usage_of(call);
    struct limoe_error err;
    char *text = arena_alloc(call->arena, LIMOE_CAPTION_TEXT);
    if (!text)
        return api_fail_memory(error);
    captions_begin(&call->answer, call->generation->model->name);
    for (size_t i = 0; i < captioning->n; i++) {
        if (stages_reader_left(call, error))
            return false;
        if (captions_append(&call->answer, i == 0, i, call->generation->processor,
                            captioning->captions + i * n, n, text, &usage, &err) != LIMOE_OK)
            return api_fail(error, 500, "engine_error", NULL, "the captions have no text: %s", err.message);
    }
    captions_end(&call->answer, &usage);
    return true;
}

bool route_captions_answer(struct call *call, struct api_error *error) {
    if (call->request.captions.decoded)
        return write_decoded(call, error);
    return describing_make(call, error) && (call->asking || write_bank(call, error));
}

bool route_captions_stored(struct call *call, struct api_error *error) {
    if (!call->answering)
        return (describing_found(call, error) || fail_bank(error)) &&
               (call->asking || list_bank(call, error));
    return describing_kept(call, error) && (call->asking || write_bank(call, error));
}
