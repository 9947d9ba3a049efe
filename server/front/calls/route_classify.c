/* route_classify.c - POST /v1/classify, in its three forms.
 *
 * What is embedded are the pictures first, then every label's prompts: one job, so that pictures and prompts
 * share steps. With a classifier only the pictures are: its matrix stands for the prompts. Where the matrix
 * is of another model (the model was reloaded), the prompts are embedded once more, and their matrix kept.
 */
#include <string.h>

#include "server/api/answer.h"
#include "server/api/classify.h"
#include "server/api/multipart.h"
#include "server/front/calls/classifying.h"
#include "server/front/calls/stages.h"

static bool parse_form(struct call *call, struct classify_request *request, struct api_error *error) {
    const struct request_models *models = &call->roster->models;
    const char *body = call->body.data ? call->body.data : "";
    if (call->form == REQUEST_BODY_IMAGE)
        return request_classify_raw(models, (const uint8_t *)body, call->body.size, call->args, call->n_args,
                                    call->arena, request, error);
    if (call->form == REQUEST_BODY_MULTIPART) {
        struct request_field *parts;
        size_t n;
        return multipart_parse(call->content_type, body, call->body.size, call->arena, &parts, &n, error) &&
               request_classify_multipart(models, parts, n, call->arena, request, error);
    }
    return request_classify_json(models, body, call->body.size, call->arena, request, error);
}

/* Matrices are of models as they are: an adapter's prompts are embedded each time, or in the cache of texts. */
static bool has_matrix(const struct call *call) {
    return call->classifier && call->classifier->matrix && !call->adapting.on;
}

/* Lists what is to be embedded, once the labels are known: the request's own, or the classifier's. */
static bool list_inputs(struct call *call, struct api_error *error) {
    struct classify_request *request = &call->request.classify;
    const struct classifier *found = call->classifier;
    if (found)
        request_use_classifier(request, found->labels, found->n_labels, found->templates, found->n_templates);
    return classifying_list(call, request, !has_matrix(call), error) && adapting_all(call, error);
}

bool route_classify_parse(struct call *call, struct api_error *error) {
    struct classify_request *request = &call->request.classify;
    if (!parse_form(call, request, error) || !call_choose(call, request->model) ||
        !classifying_possible(call, error) || !adapting_choose(call, &request->adapter, error) ||
        !adapting_labels(call, request, error) ||
        (request->classifier.data && !classifying_look(call, request->classifier, error)))
        return false;
    return call->asking || list_inputs(call, error);
}

/* Ranks the labels for each picture. Their vectors are the classifier's, or are made of the prompts'
 * embeddings. */
static bool rank(struct call *call, const float *labels, struct api_error *error) {
    const struct classify_request *request = &call->request.classify;
    const struct limoe_info *model = call->generation->model;
    const struct classification *rows =
        classifying_rank(call, request, NULL, call->embeddings, labels, error);
    if (!rows)
        return false;
    answer_classify(&call->answer, model->name, request->labels, rows, request->n_images, &call->usage);
    return true;
}

/* The rows of one pass of several, whose inputs stand beside each other. */
static void gather(const struct call *call, size_t pass, size_t embed, float *rows) {
    const size_t passes = adapting_passes(call);
    for (size_t i = 0; i < call->n / passes; i++)
        memcpy(rows + i * embed, call->embeddings + (i * passes + pass) * embed, embed * sizeof *rows);
}

static bool answer_variants(struct call *call, struct api_error *error) {
    const struct classify_request *request = &call->request.classify;
    const size_t embed = call->generation->model->embed;
    float *rows = arena_array(call->arena, call->n / adapting_passes(call) * embed, sizeof *rows);
    if (!rows)
        return api_fail_memory(error);
    float *labels = rows + request->n_images * embed;
    answer_variants_begin(&call->answer, call->generation->model->name);
    for (size_t i = 0; i < adapting_answers(call); i++) {
        const struct adapting_variant *variant = &call->adapting.variants[i];
        gather(call, variant->pass, embed, rows);
        classify_labels(labels, request->n_labels, request->n_templates, embed, labels);
        const struct classification *ranked = classifying_rank(call, request, variant, rows, labels, error);
        if (!ranked)
            return false;
        answer_variant(&call->answer, i, variant->name, request->labels, ranked, request->n_images);
    }
    answer_variants_end(&call->answer, &call->usage);
    return true;
}

static float *prompt_vectors(const struct call *call, size_t embed) {
    return call->embeddings + call->request.classify.n_images * embed;
}

bool route_classify_answer(struct call *call, struct api_error *error) {
    const struct classify_request *request = &call->request.classify;
    if (call->adapting.variants)
        return answer_variants(call, error);
    if (has_matrix(call)) {
        /* Prompts count as if they had been embedded: the answer is the same as with the labels. */
        call->usage.prompt_tokens = call->classifier->prompt_tokens;
        return rank(call, call->classifier->matrix, error);
    }
    const struct classifier_model model = classifying_model(call);
    float *labels = prompt_vectors(call, model.embed);
    classify_labels(labels, request->n_labels, request->n_templates, model.embed, labels);
    if (!call->classifier || call->adapting.on)
        return rank(call, labels, error);
    return stages_ask(call, store_job_put_matrix(call->classifier, &model, labels, call->usage.prompt_tokens),
                      error);
}

/* Tells the log if the matrix could not be stored. The answer is as good without: the next request makes
 * it again. */
static void report_matrix(struct call *call) {
    const struct store_job *job = call->asked;
    if (!job)
        log_print(call->server->log, LOG_WARNING, call->id, "classifiers: the disk has not answered");
    else if (job->outcome != STORE_DONE)
        log_print(call->server->log, LOG_WARNING, call->id, "classifiers: %s", job->error.message);
}

bool route_classify_stored(struct call *call, struct api_error *error) {
    if (!call->answering)
        return classifying_take(call, call->request.classify.classifier, "classifier", error) &&
               list_inputs(call, error);
    report_matrix(call);
    return rank(call, prompt_vectors(call, classifying_model(call).embed), error);
}
