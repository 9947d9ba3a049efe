/* route_classifiers.c - /v1/classifiers: PUT, GET and DELETE of one, GET of the list.
 *
 * PUT embeds every prompt in the model's own queue, as a classification would, and stores one vector a label.
 * The others only ask the store, on a worker: a disk may be slow.
 */
#include <string.h>

#include "codec/classifier.h"
#include "codec/classify.h"
#include "http/classifying.h"

/* What follows "/v1/classifiers/". */
static struct text name_of(const struct call *call) {
    return text_of(call->route_path + strlen(call->route->path));
}

static bool parse_name(struct call *call, struct api_error *error) {
    return request_classifier_name(name_of(call), &call->request.classifier, error);
}

/* ---- PUT */

bool route_classifier_put_parse(struct call *call, struct api_error *error) {
    struct classifier_request *request = &call->request.classifier;
    if (!request_classifier_json(&call->generation->asked, name_of(call), call->body.data, call->body.size,
                                 call->arena, request, error))
        return false;
    call->n = classify_prompt_count(&request->definition);
    struct request_item *inputs = arena_array(call->arena, call->n, sizeof *inputs);
    if (!inputs || !classify_prompts(&request->definition, call->arena, inputs))
        return api_fail_memory(error);
    call->inputs = inputs;
    return true;
}

bool route_classifier_put_answer(struct call *call, struct api_error *error) {
    const struct classifier_request *request = &call->request.classifier;
    const struct classify_request *definition = &request->definition;
    const struct classifier_model model = classifier_model_of(call);
    struct limoe_error cause;
    classify_labels(call->embeddings, definition->n_labels, definition->n_templates, model.embed,
                    call->embeddings);
    struct classifier_draft draft = {
        .name = request->name,
        .labels = definition->labels,
        .n_labels = definition->n_labels,
        .templates = definition->templates,
        .n_templates = definition->n_templates,
        .matrix = call->embeddings,
        .prompt_tokens = call->usage.prompt_tokens,
    };
    const enum limoe_status status = classifiers_put(call->server->classifiers, &model, &draft, &cause);
    if (status == LIMOE_TOO_LARGE)
        return api_fail(error, 400, "too_many_classifiers", "name", "%s", cause.message);
    if (status != LIMOE_OK)
        return classifier_fail(call, &cause, error);
    answer_classifier(&call->answer, &(struct classifier_answer){.name = draft.name,
                                                                 .labels = draft.labels,
                                                                 .n_labels = draft.n_labels,
                                                                 .templates = draft.templates,
                                                                 .n_templates = draft.n_templates,
                                                                 .created = draft.created,
                                                                 .updated = draft.updated,
                                                                 .model = call->generation->model->name});
    return true;
}

/* ---- GET */

bool route_classifier_get_parse(struct call *call, struct api_error *error) {
    return parse_name(call, error);
}

bool route_classifier_get_answer(struct call *call, struct api_error *error) {
    const struct classifier_model model = classifier_model_of(call);
    const struct text name = call->request.classifier.name;
    struct limoe_error cause;
    if (classifiers_get(call->server->classifiers, name, &model, &call->classifier, &cause) != LIMOE_OK)
        return classifier_fail(call, &cause, error);
    const struct classifier *found = call->classifier;
    if (!found)
        return classifier_fail_unknown(call, name, "name", error);
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
    return parse_name(call, error);
}

bool route_classifier_delete_answer(struct call *call, struct api_error *error) {
    const struct text name = call->request.classifier.name;
    struct limoe_error cause;
    bool deleted;
    if (classifiers_delete(call->server->classifiers, name, &deleted, &cause) != LIMOE_OK)
        return classifier_fail(call, &cause, error);
    if (!deleted)
        return classifier_fail_unknown(call, name, "name", error);
    answer_classifier_deleted(&call->answer, name);
    return true;
}

/* ---- the list */

bool route_classifiers_parse(struct call *call, struct api_error *error) {
    return request_classifier_list(call->args, call->n_args, &call->request.classifier, error);
}

bool route_classifiers_answer(struct call *call, struct api_error *error) {
    const struct classifier_request *request = &call->request.classifier;
    struct classifier_page page;
    struct limoe_error cause;
    if (classifiers_list(call->server->classifiers, request->after, request->limit, call->arena, &page,
                         &cause) != LIMOE_OK)
        return classifier_fail(call, &cause, error);
    answer_classifiers_begin(&call->answer);
    for (size_t i = 0; i < page.n; i++) {
        const struct classifier_summary *summary = &page.summaries[i];
        answer_classifiers_entry(&call->answer, i, summary->name, summary->label_count,
                                 summary->template_count, summary->created, summary->updated);
    }
    answer_classifiers_end(&call->answer, page.more);
    return true;
}
