/* route_models.c - GET /v1/models and /v1/models/{id}: what the engines run; /v1/models/{id}/load: what its
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

/* False: no memory. out->rank is to be freed. */
static bool describe(const struct call *call, size_t index, struct answer_model *out) {
    const struct roster *roster = call->roster;
    const struct generation *generation = roster->generation[index];
    char why[700];
    const struct engine_info *engine = engine_info(generation->engine);
    *out = (struct answer_model){
        .info = &engine->model,
        .models = &roster->models,
        .index = index,
        .ready = atomic_load(&call->server->phase) == SERVER_READY &&
                 health_good(generation->health, why, sizeof why),
        .dtype = limoe_dtype_name(engine->dtype),
        .backend = engine->backend,
        .fingerprint = engine->fingerprint,
        .threads = engine->threads,
        .ranks = engine->ranks,
        .rank = list_ranks(generation->engine, engine->ranks),
        .created = engine->created,
    };
    return out->rank != NULL;
}

/* False: no model is open yet, and the call is answered. */
static bool is_open(struct call *call) {
    struct api_error error;
    if (call->roster)
        return true;
    api_fail(&error, 503, "starting", NULL, "the server is starting: the model is not ready yet");
    call->retry_after = 1;
    call_fail(call, &error);
    return false;
}

static void fail_memory(struct call *call) {
    struct api_error error;
    api_fail_memory(&error);
    call_fail(call, &error);
}

struct answer_model *models_describe(struct call *call) {
    const size_t n = call->roster->models.n;
    struct answer_model *models = arena_array(call->arena, n, sizeof *models);
    bool good = models != NULL;
    for (size_t i = 0; good && i < n; i++)
        good = describe(call, i, &models[i]);
    if (good)
        return models;
    models_forget(models, n);
    return NULL;
}

void models_forget(struct answer_model *models, size_t n) {
    for (size_t i = 0; models && i < n; i++)
        free((struct limoe_rank *)models[i].rank);
}

void route_models(struct call *call) {
    if (!is_open(call))
        return;
    const size_t n = call->roster->models.n;
    struct answer_model *models = models_describe(call);
    if (models) {
        answer_models(&call->answer, models, n);
        buffer_string(&call->answer, "\n");
        call_succeed(call, "application/json");
    } else
        fail_memory(call);
    models_forget(models, n);
}

void route_model(struct call *call) {
    struct answer_model model;
    struct api_error error;
    size_t index;
    if (!is_open(call))
        return;
    struct text asked = call_below(call);
    const bool load = text_take_suffix(&asked, LOAD);
    if (!request_find_model(&call->roster->models, asked, &index, &error)) {
        call_fail(call, &error);
        return;
    }
    if (!describe(call, index, &model)) {
        fail_memory(call);
        return;
    }
    if (load)
        metrics_write_load(call->server->metrics, model.info->name, &call->answer);
    else
        answer_model(&call->answer, &model);
    buffer_string(&call->answer, "\n");
    free((struct limoe_rank *)model.rank);
    call_succeed(call, "application/json");
}
