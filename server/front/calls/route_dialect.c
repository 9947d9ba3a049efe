/* route_dialect.c - the routes that readers and writers of server/api/dialects answer, whatever the dialect:
 * the reader says which of three kinds of work the request is, and its writer gets what came of it. */
#include <string.h>

#include "base/clock.h"
#include "server/api/dialects/dialect.h"
#include "server/front/calls/classifying.h"

static struct text header_of(const struct call *call) {
    const char *value = call->route->header ? MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND,
                                                                          call->route->header)
                                            : NULL;
    return value ? text_of(value) : (struct text){.data = NULL};
}

/* ---- what is to be embedded */

static bool list_items(struct call *call, const struct request_item *items, size_t n) {
    call->inputs = items;
    call->n = n;
    return true;
}

static bool list_documents(struct call *call, const struct compare_request *request) {
    call->scratch = classify_rank_bytes(request->n) + request->n * (sizeof(struct prediction) + 64);
    return list_items(call, request->items, request->n + 1);
}

/* Adapters are named where a dialect has our own bodies. */
static bool list(struct call *call, struct dialect_request *request, struct api_error *error) {
    switch (request->kind) {
    case DIALECT_CLASSIFY:
        return classifying_possible(call, error) &&
               adapting_choose(call, &request->classify.adapter, error) && adapting_one(call, error) &&
               adapting_labels(call, &request->classify, error) &&
               classifying_list(call, &request->classify, true, error) && adapting_all(call, error);
    case DIALECT_COMPARE:
        return list_documents(call, &request->compare);
    default:
        call->scratch =
            answer_embeddings_size(request->embed.n_items, call->generation->model->embed, REQUEST_FLOAT);
        return list_items(call, request->embed.items, request->embed.n_items) &&
               adapting_choose(call, &request->embed.adapter, error) && adapting_changes(call, error) &&
               adapting_all(call, error);
    }
}

static size_t model_of(const struct dialect_request *request) {
    return request->kind == DIALECT_CLASSIFY  ? request->classify.model
           : request->kind == DIALECT_COMPARE ? request->compare.model
                                              : request->embed.model;
}

bool route_dialect_parse(struct call *call, struct api_error *error) {
    struct dialect_request *request = &call->request.dialect;
    const struct dialect_input in = {
        .models = &call->roster->models,
        .body = call->body.data ? call->body.data : "",
        .size = call->body.size,
        .content_type = call->content_type,
        .below = call_below(call),
        .header = header_of(call),
        .args = call->args,
        .n_args = call->n_args,
        .arena = call->arena,
    };
    *request = (struct dialect_request){0};
    if (!call->route->read(&in, request, error) || !call_choose(call, model_of(request)) ||
        !list(call, request, error))
        return false;
    call->scratch += request->scratch;
    return true;
}

/* ---- what came of it */

static const struct classification *rank_labels(struct call *call, const struct classify_request *request,
                                                struct api_error *error) {
    const size_t embed = call->generation->model->embed;
    float *labels = call->embeddings + request->n_images * embed;
    classify_labels(labels, request->n_labels, request->n_templates, embed, labels);
    return classifying_rank(call, request, NULL, call->embeddings, labels, error);
}

/* Scores grow with cosines, and equal ones are in the order of their cosines: a ranking by score is one by
 * cosine. */
static const struct classification *rank_documents(struct call *call, const struct compare_request *request,
                                                   struct api_error *error) {
    const struct classify_request ranking = {
        .n_images = 1, .n_labels = request->n, .n_templates = 1, .top_k = request->top_n};
    return classifying_rank(call, &ranking, NULL, call->embeddings,
                            call->embeddings + call->generation->model->embed, error);
}

static bool keep_answer(struct call *call, const struct dialect_answer *answer, struct api_error *error) {
    call->answer_type = answer->type;
    if (!answer->header_name)
        return true;
    struct answer_header *header = arena_array(call->arena, 1, sizeof *header);
    const char *value = arena_copy(call->arena, answer->header_value, strlen(answer->header_value));
    if (!header || !value)
        return api_fail_memory(error);
    *header = (struct answer_header){answer->header_name, value};
    call->headers = header;
    call->n_headers = 1;
    return true;
}

bool route_dialect_answer(struct call *call, struct api_error *error) {
    const struct dialect_request *request = &call->request.dialect;
    struct dialect_result result = {
        .model = call->generation->model,
        .embeddings = call->embeddings,
        .usage = call->usage,
        .ns = clock_now() - call->began,
    };
    struct dialect_answer answer = {.body = &call->answer};
    if (request->kind == DIALECT_CLASSIFY)
        result.rows = rank_labels(call, &request->classify, error);
    else if (request->kind == DIALECT_COMPARE)
        result.rows = rank_documents(call, &request->compare, error);
    if (request->kind != DIALECT_EMBED && !result.rows)
        return false;
    request->write(request, &result, &answer);
    return keep_answer(call, &answer, error);
}

/* ---- what is told without a body */

static struct dialect_sum sum_of(const struct metrics_sum *sum) {
    return (struct dialect_sum){.count = sum->count, .ns = sum->total};
}

/* Of each model; NULL: no memory. */
static const struct dialect_statistics *list_statistics(struct call *call, const struct roster *roster) {
    struct dialect_statistics *list = arena_array(call->arena, roster->models.n, sizeof *list);
    for (size_t i = 0; list && i < roster->models.n; i++) {
        struct metrics_statistics counted;
        metrics_statistics(call->server->metrics, roster->generation[i]->index, &counted);
        list[i] = (struct dialect_statistics){
            .items = counted.step_items.total,
            .steps = counted.step_items.count,
            .last_ms = counted.last_step_ms,
            .ok = sum_of(&counted.ok),
            .failed = sum_of(&counted.failed),
            .queue = sum_of(&counted.stages[METRICS_QUEUE]),
            .input = sum_of(&counted.stages[METRICS_PREPROCESS]),
            .inference = sum_of(&counted.stages[METRICS_INFERENCE]),
        };
    }
    return list;
}

static bool tell(struct call *call, struct api_error *error) {
    char why[256];
    const bool ready = health_of_all(call, why, sizeof why);
    const struct roster *roster = call->roster;
    const struct dialect_statistics *statistics = roster ? list_statistics(call, roster) : NULL;
    struct answer_model *models = statistics ? models_describe(call) : NULL;
    if (roster && !models)
        return api_fail_memory(error);
    const struct dialect_about about = {
        .models = models,
        .n = roster ? roster->models.n : 0,
        .names = roster ? &roster->models : NULL,
        .statistics = statistics,
        .ready = ready,
        .why = why,
        .below = call_below(call),
        .most_requests = call->server->options.queue.items,
        .most_body_bytes = call->server->options.max_body_bytes,
    };
    struct dialect_answer answer = {.body = &call->answer};
    bool good = call->route->tell(&about, &answer, error);
    models_forget(models, about.n);
    if (good && call->answer.failed)
        good = api_fail_memory(error);
    if (!good)
        return false;
    if (!answer.type && call->answer.size)
        buffer_string(&call->answer, "\n");
    if (!keep_answer(call, &answer, error))
        return false;
    call_succeed(call, answer.type ? answer.type : "application/json");
    if (answer.status)
        call->status = answer.status;
    return true;
}

void route_dialect_get(struct call *call) {
    struct api_error error;
    if (tell(call, &error))
        return;
    call->retry_after = error.status == 503 ? 1 : 0;
    call_fail(call, &error);
}
