/* route_models.c - GET /v1/models and /v1/models/{id}: what the engine runs; /v1/models/{id}/load: what its
 * experts were given to do. */
#include <stdlib.h>
#include <string.h>

#include "server/api/answer.h"
#include "server/front/calls/call.h"

#define LOAD "/load"

/* What each rank of the engine holds, to be freed. NULL: no memory. */
static struct limoe_rank *list_ranks(struct engine *engine, uint32_t n) {
    struct engine_rank *ranks = calloc(n, sizeof *ranks);
    struct limoe_rank *list = calloc(n, sizeof *list);
    if (ranks && list) {
        engine_ranks(engine, ranks, n);
        for (uint32_t r = 0; r < n; r++)
            list[r] = (struct limoe_rank){.experts = ranks[r].experts,
                                          .dense_bytes = ranks[r].dense_bytes,
                                          .expert_bytes = ranks[r].expert_bytes};
    } else {
        free(list);
        list = NULL;
    }
    free(ranks);
    return list;
}

/* False if the model is not open yet; the call is answered then. *ranks is to be freed. */
static bool describe(struct call *call, struct answer_model *out, struct limoe_rank **ranks) {
    const struct engine_info *engine = call->generation ? engine_info(call->generation->engine) : NULL;
    if (!engine) {
        struct api_error error;
        api_fail(&error, 503, "starting", NULL, "the server is starting: the model is not ready yet");
        call->retry_after = 1;
        call_fail(call, &error);
        return false;
    }
    *ranks = list_ranks(call->generation->engine, engine->ranks);
    if (!*ranks) {
        struct api_error error;
        api_fail(&error, 500, "internal", NULL, "no memory to list %u ranks", engine->ranks);
        call_fail(call, &error);
        return false;
    }
    *out = (struct answer_model){
        .info = &engine->model,
        .aliases = call->generation->asked.aliases,
        .dtype = limoe_dtype_name(engine->dtype),
        .backend = engine->backend,
        .fingerprint = engine->fingerprint,
        .threads = engine->threads,
        .ranks = engine->ranks,
        .rank = *ranks,
        .created = engine->created,
    };
    return true;
}

void route_models(struct call *call) {
    struct answer_model model;
    struct limoe_rank *ranks;
    if (!describe(call, &model, &ranks))
        return;
    answer_models(&call->answer, &model, 1);
    buffer_string(&call->answer, "\n");
    free(ranks);
    call_succeed(call, "application/json");
}

void route_model(struct call *call) {
    struct answer_model model;
    struct limoe_rank *ranks;
    if (!describe(call, &model, &ranks))
        return;
    struct text asked = text_of(call->route_path + strlen(call->route->path));
    struct api_error error;
    const size_t suffix = strlen(LOAD);
    const bool load = asked.size > suffix &&
                      text_is((struct text){.data = asked.data + asked.size - suffix, .size = suffix}, LOAD);
    asked.size -= load ? suffix : 0;
    if (!request_check_model_name(&call->generation->asked, asked, &error)) {
        free(ranks);
        call_fail(call, &error);
        return;
    }
    if (load)
        metrics_write_load(call->server->metrics, model.info->name, &call->answer);
    else
        answer_model(&call->answer, &model);
    buffer_string(&call->answer, "\n");
    free(ranks);
    call_succeed(call, "application/json");
}
