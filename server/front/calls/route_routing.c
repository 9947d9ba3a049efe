/* route_routing.c - POST /v1/routing: which expert took which patch or token. */
#include "server/api/answer.h"
#include "server/front/calls/call.h"

bool route_routing_parse(struct call *call, struct api_error *error) {
    struct embed_request *request = &call->request.embed;
    if (!request_routing_json(&call->roster->models, call->body.data, call->body.size, call->arena, request,
                              error) ||
        !call_choose(call, request->model))
        return false;
    const struct limoe_info *model = call->generation->model;
    if (!model->moe_layers)
        return api_fail(
            error, 400, "no_experts", "model",
            "the model \"%s\" has no blocks with experts, so nothing is routed in it; \"routing\" is "
            "among the \"capabilities\" of a model that has",
            model->name);
    call->inputs = request->items;
    call->n = request->n_items;
    size_t rows = 0;
    for (size_t i = 0; i < call->n; i++)
        rows += call->inputs[i].modality == LIMOE_IMAGE ? model->image_tokens : model->text_length;
    call->scratch = answer_routing_size(model, call->n, rows);
    return true;
}

bool route_routing_answer(struct call *call, struct api_error *error) {
    (void)error;
    const struct limoe_routing routing = {.expert = call->job.expert, .gate = call->job.gate};
    answer_routing(&call->answer, call->generation->model, call->items, call->n, &routing, &call->usage);
    return true;
}
