/* route_classify.c - POST /v1/classify, in its three forms.
 *
 * The job's items are the pictures first, then every label's prompts: one job, so that pictures and prompts
 * share steps.
 */
#include <string.h>

#include "codec/answer.h"
#include "codec/classify.h"
#include "codec/multipart.h"
#include "http/call.h"

/* Bounds on one request's scoring and answer: they grow with images × labels, which its items do not. */
#define MOST_SCORES      1000000u
#define MOST_PREDICTIONS 200000u

static bool parse_form(struct call *call, struct classify_request *request, struct api_error *error) {
    const struct limoe_info *model = call->server->model;
    const char *body = call->body.data ? call->body.data : "";
    if (call->form == REQUEST_BODY_IMAGE)
        return request_classify_raw(model, (const uint8_t *)body, call->body.size, call->args, call->n_args,
                                    call->arena, request, error);
    if (call->form == REQUEST_BODY_MULTIPART) {
        struct request_field *parts;
        size_t n;
        return multipart_parse(call->content_type, body, call->body.size, call->arena, &parts, &n, error) &&
               request_classify_multipart(model, parts, n, call->arena, request, error);
    }
    return request_classify_json(model, body, call->body.size, call->arena, request, error);
}

static bool check_scale(const struct classify_request *request, struct api_error *error) {
    if (request->n_images * request->n_labels > MOST_SCORES)
        return api_fail(error, 400, "too_many_items", "labels",
                        "%zu images × %zu labels are more than the %u scores of one request",
                        request->n_images, request->n_labels, MOST_SCORES);
    if (request->n_images * request->top_k > MOST_PREDICTIONS)
        return api_fail(
            error, 400, "too_many_items", "top_k",
            "%zu images × %zu predictions are more than the %u of one answer; ask for a smaller top_k",
            request->n_images, request->top_k, MOST_PREDICTIONS);
    return true;
}

bool route_classify_parse(struct call *call, struct api_error *error) {
    struct classify_request *request = &call->request.classify;
    if (!parse_form(call, request, error) || !check_scale(request, error))
        return false;
    call->n = request->n_images + classify_prompt_count(request);
    struct request_item *inputs = arena_array(call->arena, call->n, sizeof *inputs);
    if (!inputs || !classify_prompts(request, call->arena, inputs + request->n_images))
        return api_fail_memory(error);
    memcpy(inputs, request->images, request->n_images * sizeof *inputs);
    call->inputs = inputs;
    call->scratch = request->n_images * request->n_labels * (sizeof(struct prediction) + 2 * sizeof(float));
    return true;
}

bool route_classify_answer(struct call *call, struct api_error *error) {
    const struct classify_request *request = &call->request.classify;
    const struct limoe_info *model =
        &engine_info(call->server->engine)->model; /* with the weights' logit scale */
    size_t embed = model->embed;
    float *labels = call->job.embeddings + request->n_images * embed;
    classify_labels(labels, request->n_labels, request->n_templates, embed, labels);

    struct classification *rows = arena_array(call->arena, request->n_images, sizeof *rows);
    if (!rows)
        return api_fail_memory(error);
    for (size_t i = 0; i < request->n_images; i++) {
        rows[i].index = i;
        if (!classify_rank(call->job.embeddings + i * embed, labels, request->n_labels, embed,
                           model->logit_scale, request->top_k, call->arena, &rows[i]))
            return api_fail_memory(error);
    }
    answer_classify(&call->answer, model->name, request->labels, rows, request->n_images, &call->usage);
    return true;
}
