/* route_models.c - GET /v1/models and /v1/models/{id}: what the engine runs. */
#include <string.h>

#include "codec/answer.h"
#include "http/call.h"

/* False: the model is not open yet, and the call is answered. */
static bool describe(struct call *call, struct answer_model *out) {
    const struct engine_info *engine = call->generation ? engine_info(call->generation->engine) : NULL;
    if (!engine) {
        struct api_error error;
        api_fail(&error, 503, "starting", NULL, "the server is starting: the model is not ready yet");
        call->retry_after = 1;
        call_fail(call, &error);
        return false;
    }
    *out = (struct answer_model){
        .info = &engine->model,
        .dtype = limoe_dtype_name(engine->dtype),
        .backend = engine->backend,
        .fingerprint = engine->fingerprint,
        .threads = engine->threads,
        .ranks = 1,
        .created = engine->created,
    };
    return true;
}

void route_models(struct call *call) {
    struct answer_model model;
    if (!describe(call, &model))
        return;
    answer_models(&call->answer, &model, 1);
    buffer_string(&call->answer, "\n");
    call_succeed(call, "application/json");
}

void route_model(struct call *call) {
    struct answer_model model;
    if (!describe(call, &model))
        return;
    const char *asked = call->path + strlen(call->route->path);
    if (strcmp(asked, model.info->name) != 0) {
        struct api_error error;
        char quoted[128];
        api_fail(&error, 404, "model_not_found", "model", "there is no model \"%s\"; this server has \"%s\"",
                 text_quote(text_of(asked), quoted, sizeof quoted), model.info->name);
        call_fail(call, &error);
        return;
    }
    answer_model(&call->answer, &model);
    buffer_string(&call->answer, "\n");
    call_succeed(call, "application/json");
}
