/* route_classifiers.c - /v1/classifiers: PUT, GET and DELETE of one, GET of the list.
 *
 * PUT embeds every prompt in the model's own queue, as a classification would, and stores one vector a label.
 * The others only ask the store.
 */
#include "server/api/answer.h"
#include "server/api/classifier.h"
#include "server/api/classify.h"
#include "server/front/calls/classifying.h"

/* GET says whether the vectors of the model that "model" names are there; the others are asked of no model. */
static bool parse_name(struct call *call, struct api_error *error) {
    return request_classifier_name(call_below(call), &call->request.classifier, error) &&
           call_choose_named(call, false, error);
}

/* ---- PUT */

bool route_classifier_put_parse(struct call *call, struct api_error *error) {
    struct classifier_request *request = &call->request.classifier;
    if (!request_classifier_json(&call->roster->models, call_below(call), call->body.data, call->body.size,
                                 call->arena, request, error) ||
        !call_choose(call, request->definition.model) || !classifying_possible(call, error))
        return false;
    call->n = classify_prompt_count(&request->definition);
    struct request_item *inputs = arena_array(call->arena, call->n, sizeof *inputs);
    if (!inputs || !classify_prompts(&request->definition, call->arena, inputs))
        return api_fail_memory(error);
    call->inputs = inputs;
    /* The store's copies: its owner may have to leave before the disk is done with them. */
    call->scratch =
        2 * call->body.size + request->definition.n_labels * call->generation->model->embed * sizeof(float);
    return true;
}

bool route_classifier_put_answer(struct call *call, struct api_error *error) {
    const struct classifier_request *request = &call->request.classifier;
    const struct classify_request *definition = &request->definition;
    const struct classifier_model model = classifying_model(call);
    classify_labels(call->embeddings, definition->n_labels, definition->n_templates, model.embed,
                    call->embeddings);
    const struct classifier_draft draft = {
        .name = request->name,
        .labels = definition->labels,
        .n_labels = definition->n_labels,
        .templates = definition->templates,
        .n_templates = definition->n_templates,
        .matrix = call->embeddings,
        .prompt_tokens = call->usage.prompt_tokens,
    };
    return stages_ask(call, store_job_put(&draft, &model), error);
}

bool route_classifier_put_stored(struct call *call, struct api_error *error) {
    const struct classifier_request *request = &call->request.classifier;
    const struct classify_request *definition = &request->definition;
    const struct store_job *job = call->asked;
    if (job && job->outcome == STORE_TOO_MANY)
        return api_fail(error, 400, "too_many_classifiers", "name", "%s", job->error.message);
    if (!job || job->outcome != STORE_DONE)
        return classifying_fail(call, error);
    answer_classifier(&call->answer, &(struct classifier_answer){.name = request->name,
                                                                 .labels = definition->labels,
                                                                 .n_labels = definition->n_labels,
                                                                 .templates = definition->templates,
                                                                 .n_templates = definition->n_templates,
                                                                 .created = job->created,
                                                                 .updated = job->updated,
                                                                 .model = call->generation->model->name});
    return true;
}

/* ---- GET */

bool route_classifier_get_parse(struct call *call, struct api_error *error) {
    return parse_name(call, error) && classifying_look(call, call->request.classifier.name, error);
}

bool route_classifier_get_stored(struct call *call, struct api_error *error) {
    return classifying_take(call, call->request.classifier.name, "name", error);
}

bool route_classifier_get_answer(struct call *call, struct api_error *error) {
    (void)error;
    const struct classifier *found = call->classifier;
    answer_classifier(&call->answer, &(struct classifier_answer){.name = found->name,
                                                                 .labels = found->labels,
                                                                 .n_labels = found->n_labels,
                                                                 .templates = found->templates,
                                                                 .n_templates = found->n_templates,
                                                                 .created = found->created,
                                                                 .updated = found->updated,
                                                                 .model = call->generation->model->name});
    return true;
}

/* ---- DELETE */

bool route_classifier_delete_parse(struct call *call, struct api_error *error) {
    return parse_name(call, error) &&
           stages_ask(call, store_job_delete(call->request.classifier.name), error);
}

/* If there is no such name, the answer names those that are like it. */
bool route_classifier_delete_stored(struct call *call, struct api_error *error) {
    const struct classifier_model model = classifying_model(call);
    const struct text name = call->request.classifier.name;
    const struct store_job *job = call->asked;
    if (!job || job->outcome != STORE_DONE)
        return classifying_fail(call, error);
    if (job->operation == STORE_GET)
        return classifier_refuse_unknown(name, "name", job->nearest, job->n_nearest, error);
    return job->found || stages_ask(call, store_job_get(name, &model), error);
}

bool route_classifier_delete_answer(struct call *call, struct api_error *error) {
    (void)error;
    answer_deleted(&call->answer, "classifier", call->request.classifier.name);
    return true;
}

/* ---- the list */

bool route_classifiers_parse(struct call *call, struct api_error *error) {
    const struct classifier_request *request = &call->request.classifier;
    return request_classifier_list(call->args, call->n_args, &call->request.classifier, error) &&
           call_choose(call, 0) && /* of no model in particular */
           stages_ask(call, store_job_list(request->after, request->limit), error);
}

bool route_classifiers_stored(struct call *call, struct api_error *error) {
    return (call->asked && call->asked->outcome == STORE_DONE) || classifying_fail(call, error);
}

bool route_classifiers_answer(struct call *call, struct api_error *error) {
    (void)error;
    const struct classifier_page *page = &call->asked->page;
    answer_list_begin(&call->answer);
    for (size_t i = 0; i < page->n; i++) {
        const struct classifier_summary *summary = &page->summaries[i];
        answer_classifiers_entry(&call->answer, i, summary->name, summary->label_count,
                                 summary->template_count, summary->created, summary->updated);
    }
    answer_list_end(&call->answer, page->more);
    return true;
}
