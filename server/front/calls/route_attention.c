/* route_attention.c - POST /v1/attention: which patches a cosine comes from. The engine splits the picture's embedding;
 * texts come from the cache or are embedded beside it. */
#include "server/front/calls/call.h"

bool route_attention_parse(struct call *call, struct api_error *error) {
    struct attention_request *request = &call->request.attention;
    if (!attention_read(&call->roster->models, call->body.data, call->body.size, call->arena, request,
                        error) ||
        !call_choose(call, request->model))
        return false;
    call->inputs = request->items;
    call->n = 1 + request->n;
    call->scratch = attention_size(call->generation->model, request);
    return true;
}

bool route_attention_answer(struct call *call, struct api_error *error) {
    const struct attention_request *request = &call->request.attention;
    const struct attention attention = {.model = call->generation->model,
                                        .pixels = call->items[0].pixels,
                                        .embeddings = call->embeddings,
                                        .shares = call->shares,
                                        .n = request->n};
    if (!request->png) {
        attention_answer(&call->answer, &attention, &call->usage);
        return true;
    }
    call->answer_type = "image/png";
    return attention_draw(&call->answer, &attention) || api_fail_memory(error);
}
