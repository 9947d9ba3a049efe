/* classifying.c - a classification's inputs and ranks; what the store's answers mean for a client: a classifier,
 * or an error with its status. */
#include "server/front/calls/classifying.h"

#include <string.h>

#include "server/api/answer.h"
#include "server/api/classifier.h"

#define BUSY_RETRY_SECONDS 1u

/* A bound on one request's answer, which grows with images × labels, as its items do not. */
#define MOST_PREDICTIONS 200000u

bool classifying_possible(const struct call *call, struct api_error *error) {
    struct limoe_error missing;
    for (int m = 0; m < LIMOE_MODALITIES; m++)
        if (limoe_accepts(call->generation->model, (enum limoe_modality)m, &missing))
            return api_fail(error, 400, "unsupported_modality", "model",
                            "a classification scores pictures by texts, and %s; /v1/embeddings maps them to "
                            "vectors",
                            missing.message);
    return true;
}

static bool check_scale(const struct classify_request *request, size_t answers, size_t passes,
                        struct api_error *error) {
    const size_t prompts = classify_prompt_count(request);
    if (passes > 1 &&
        (request->n_images * passes > REQUEST_MAX_ITEMS || prompts * passes > REQUEST_MAX_PROMPTS))
        return api_fail(error, 400, "too_many_items", "adapter",
                        "%zu images and %zu prompts by %zu adapters; up to %u and %u in all are accepted",
                        request->n_images, prompts, passes, REQUEST_MAX_ITEMS, REQUEST_MAX_PROMPTS);
    if (request->n_images * answers * request->n_labels > CLASSIFYING_MOST_SCORES)
        return api_fail(error, 400, "too_many_items", "labels",
                        "%zu images × %zu labels are more than the %u scores of one request",
                        request->n_images, request->n_labels, CLASSIFYING_MOST_SCORES);
    if (request->n_images * answers * request->top_k > MOST_PREDICTIONS)
        return api_fail(
            error, 400, "too_many_items", "top_k",
            "%zu images × %zu predictions are more than the %u of one answer; ask for a smaller top_k",
            request->n_images, request->top_k, MOST_PREDICTIONS);
    return true;
}

/* Each input as often as there are answers, one after the other. */
static void repeat(struct request_item *inputs, size_t n, size_t times) {
    for (size_t i = n; times > 1 && i-- > 0;)
        for (size_t k = times; k-- > 0;)
            inputs[i * times + k] = inputs[i];
}

bool classifying_list(struct call *call, const struct classify_request *request, bool prompts,
                      struct api_error *error) {
    const size_t answers = adapting_answers(call), passes = adapting_passes(call);
    if (!check_scale(request, answers, passes, error))
        return false;
    const size_t n = request->n_images + (prompts ? classify_prompt_count(request) : 0);
    struct request_item *inputs = arena_array(call->arena, n * passes, sizeof *inputs);
    if (!inputs || (prompts && !classify_prompts(request, call->arena, inputs + request->n_images)))
        return api_fail_memory(error);
    memcpy(inputs, request->images, request->n_images * sizeof *inputs);
    repeat(inputs, n, passes);
    call->n = n * passes;
    call->inputs = inputs;
    call->scratch = answers * (request->n_images * request->top_k * sizeof(struct prediction) +
                               answer_classify_size(request)) +
                    classify_rank_bytes(request->n_labels);
    if (call->adapting.variants) /* an answer's rows, put together */
        call->scratch += n * call->generation->model->embed * sizeof(float);
    return true;
}

const struct classification *classifying_rank(struct call *call, const struct classify_request *request,
                                              const struct adapting_variant *variant, const float *images,
                                              const float *labels, struct api_error *error) {
    const struct limoe_info *model =
        &engine_info(call->generation->engine)->model; /* with the weights' scale and bias */
    const size_t embed = model->embed;
    const struct adapter *adapter = variant ? variant->adapter : call->adapting.adapter;
    const struct classify_probe probe = {.adapter = adapter ? adapter->probe : NULL,
                                         .strength =
                                             (variant ? &variant->key : &call->adapting.key)->strength};
    struct classification *rows = arena_array(call->arena, request->n_images, sizeof *rows);
    if (!rows)
        api_fail_memory(error);
    for (size_t i = 0; rows && i < request->n_images; i++) {
        if (stages_reader_left(call, error))
            return NULL;
        rows[i].index = i;
        if (!classify_rank(images + i * embed, labels, request->n_labels, embed, &model->scoring,
                           probe.adapter ? &probe : NULL, request->top_k, call->arena, &rows[i])) {
            api_fail_memory(error);
            return NULL;
        }
    }
    return rows;
}

struct classifier_model classifying_model(const struct call *call) {
    const struct engine_info *info = engine_info(call->generation->engine);
    return (struct classifier_model){.fingerprint = info->fingerprint, .embed = info->model.embed};
}

bool classifying_look(struct call *call, struct text name, struct api_error *error) {
    const struct classifier_model model = classifying_model(call);
    call->classifier = classifiers_recall(call->server->classifiers, name, &model, false);
    return call->classifier || stages_ask(call, store_job_get(name, &model), error);
}

bool classifying_take(struct call *call, struct text name, const char *param, struct api_error *error) {
    struct store_job *job = call->asked;
    if (!job || job->outcome != STORE_DONE) { /* as it was last seen is better than not at all */
        const struct classifier_model model = classifying_model(call);
        call->classifier = classifiers_recall(call->server->classifiers, name, &model, true);
        return call->classifier || classifying_fail(call, error);
    }
    if (!job->found)
        return classifier_refuse_unknown(name, param, job->nearest, job->n_nearest, error);
    call->classifier = job->classifier;
    job->classifier = NULL;
    return true;
}

/* The log tells operators what is wrong with the store; a client is told only that something is. */
bool classifying_fail(struct call *call, struct api_error *error) {
    const struct store_job *job = call->asked;
    if (!job || job->outcome == STORE_BUSY) {
        metrics_count(call->server->metrics, METRICS_STORE_BUSY, 1);
        call->retry_after = BUSY_RETRY_SECONDS;
        return api_fail(error, 503, "store_busy", NULL,
                        "the classifiers on disk could not be %s in time; try again in %u s",
                        job && job->operation < STORE_PUT ? "read" : "read or written", BUSY_RETRY_SECONDS);
    }
    if (job->error.status == LIMOE_NO_MEMORY)
        return api_fail_memory(error);
    log_print(call->server->log, LOG_ERROR, call->id, "classifiers: %s", job->error.message);
    if (job->outcome == STORE_FULL && job->error.status == LIMOE_TOO_LARGE)
        return api_fail(error, 507, "store_full", NULL, "%s", job->error.message);
    if (job->outcome == STORE_FULL)
        return api_fail(error, 507, "store_full", NULL, "the disk that the classifiers are kept on is full");
    return api_fail(error, 500, "store_error", NULL,
                    "the classifiers on disk could not be read or written; the server's log says why");
}
