/* admission.c - requests are counted before they are computed, and get the room that was counted. */
#include "server/front/calls/admission.h"

/* The most pixels of a request whose pictures are decoded in the quick lane: a photograph of 1920 × 1080. */
#define QUICK_PIXELS (UINT64_C(2) << 20)

bool admission_again(const struct call *call, size_t i) {
    const struct request_item *input = &call->inputs[i];
    return adapting_passes(call) > 1 && i % adapting_passes(call) > 0 && input[-1].bytes == input->bytes;
}

uint64_t admission_pixels(const struct call *call, const struct request_item *input) {
    const uint64_t most = call->server->options.image.max_pixels;
    uint32_t width, height;
    if (!limoe_image_measure(input->bytes, input->size, &width, &height))
        return most;
    const uint64_t pixels = (uint64_t)width * height;
    return pixels == 0 ? 1 : pixels / LIMOE_JPEG_FACTOR > most ? most : pixels;
}

struct queue_load admission_measure(struct call *call) {
    const struct limoe_info *model = call->generation->model;
    struct queue_load load = {.items = call->n - 1, .captions = captioning_tokens(call)};
    bool cached = call->generation->cache && !call->route->routing;
    for (size_t i = 0; i < call->n; i++) {
        bool image = call->inputs[i].modality == LIMOE_IMAGE;
        call->pictures += image;
        load.pixels += image && !admission_again(call, i) ? admission_pixels(call, &call->inputs[i]) : 0;
        load.tokens += image ? model->image_tokens : model->text_length;
        load.bytes += image ? (uint64_t)model->image_size * model->image_size * 3
                            : model->text_length * sizeof(int32_t);
    }
    call->lane = load.pixels > QUICK_PIXELS ? LANE_LONG : LANE_QUICK;
    load.bytes += call->scratch + call->n * (sizeof *call->items + sizeof *call->input_of +
                                             (cached ? 2 : 1) * model->embed * sizeof(float));
    load.bytes += adapting_bytes(call);
    if (call->route->routing)
        load.bytes += load.tokens * model->moe_layers * model->top_k * (sizeof(int32_t) + sizeof(float));
    return load;
}

/* Checks the pixels of all pictures together. A picture that is too large by itself is refused by its
 * decoder, which says why. */
bool admission_check(const struct call *call, const struct queue_load *load, struct api_error *error) {
    const uint64_t most = call->server->options.max_request_pixels;
    if (call->pictures <= 1 || load->pixels <= most)
        return true;
    return api_fail(error, 413, "too_many_pixels", NULL,
                    "the request's %zu pictures have %llu pixels; up to %llu are accepted in one request",
                    call->pictures, (unsigned long long)load->pixels, (unsigned long long)most);
}

bool admission_allocate(struct call *call, const struct queue_load *load) {
    const struct limoe_info *model = call->generation->model;
    call->items = arena_array(call->arena, call->n, sizeof *call->items);
    call->input_of = arena_array(call->arena, call->n, sizeof *call->input_of);
    call->embeddings = arena_array(call->arena, call->n * model->embed, sizeof(float));
    if (call->route->routing) {
        size_t rows = load->tokens * model->moe_layers; /* an upper bound: texts may be shorter */
        call->job.expert = arena_array(call->arena, rows * model->top_k + 1, sizeof *call->job.expert);
        call->job.gate = arena_array(call->arena, rows * model->top_k + 1, sizeof *call->job.gate);
    }
    if (call->route->shares)
        call->shares = arena_array(call->arena, attention_shares_size(model), sizeof *call->shares);
    return call->items && call->input_of && call->embeddings && (!call->route->shares || call->shares) &&
           (!call->route->routing || (call->job.expert && call->job.gate));
}
