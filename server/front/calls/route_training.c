/* route_training.c - POST /v1/adapters/{name}: examples are written to the disk as a job that learns an adapter of them. */
#include "server/api/adapter.h"
#include "server/api/multipart.h"
#include "server/front/calls/call.h"
#include "server/front/training/training.h"

static bool parse_form(struct call *call, struct training_request *request, struct api_error *error) {
    const struct request_models *models = &call->roster->models;
    const char *body = call->body.data ? call->body.data : "";
    struct request_field *parts;
    size_t n;
    if (call->form != REQUEST_BODY_MULTIPART)
        return request_training_json(models, body, call->body.size, call->arena, request, error);
    return multipart_parse(call->content_type, body, call->body.size, call->arena, &parts, &n, error) &&
           request_training_multipart(models, parts, n, call->server->options.max_body_bytes, call->arena,
                                      request, error);
}

static bool takes_pictures(const struct call *call, struct api_error *error) {
    struct limoe_error cause;
    const enum limoe_status status = limoe_accepts(call->generation->model, LIMOE_IMAGE, &cause);
    return !status || api_fail(error, 400, "unsupported_modality", "examples", "%s", cause.message);
}

bool route_adapter_post_parse(struct call *call, struct api_error *error) {
    struct training_request *request = &call->request.training;
    if (!request_adapter_name(call_below(call), error) || !parse_form(call, request, error))
        return false;
    call->slow = request->archive.bytes; /* a small one may be much to write */
    return call_choose(call, request->definition.model) && adapting_possible(call, error) &&
           takes_pictures(call, error);
}

bool route_adapter_post_answer(struct call *call, struct api_error *error) {
    const struct text name = call_below(call);
    const char *copy = arena_copy(call->arena, name.data, name.size);
    const struct engine_info *engine = engine_info(call->generation->engine);
    int64_t created;
    if (!copy)
        return api_fail_memory(error);
    if (!training_add(call->server->training, copy, &call->request.training, call->generation->model->name,
                      engine->base, &created, &call->retry_after, error))
        return false;
    answer_training_begun(&call->answer, name, created);
    return true;
}
