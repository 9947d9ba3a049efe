/* route_embeddings.c - POST /v1/embeddings. */
#include "server/api/answer.h"
#include "server/front/calls/call.h"

bool route_embeddings_parse(struct call *call, struct api_error *error) {
    struct embed_request *request = &call->request.embed;
    if (!request_embeddings_json(&call->roster->models, call->body.data, call->body.size, call->arena,
                                 request, error) ||
        !call_choose(call, request->model))
        return false;
    call->inputs = request->items;
    call->n = request->n_items;
    if (!adapting_choose(call, &request->adapter, error) || !adapting_changes(call, error) ||
        !adapting_all(call, error))
        return false;
    call->scratch =
        answer_embeddings_size(call->n, call->generation->model->embed, call->request.embed.encoding);
    return true;
}

bool route_embeddings_answer(struct call *call, struct api_error *error) {
    (void)error;
    const struct limoe_info *model = call->generation->model;
    answer_embeddings(&call->answer, model->name, call->embeddings, NULL, call->n, model->embed,
                      call->request.embed.encoding, &call->usage);
    return true;
}
