/* fuzz_oip.c - any bytes, as the body of an inference request of the Open Inference Protocol. What stands before
 * the first "|" is the header that says how long the body's JSON is; without a "|" there is no header.
 *
 * What is accepted must keep the promises of oip_body.h: every element lies in the body or in the arena, which the
 * sanitizer sees when it is read; what is refused must say why. What is an inference besides is answered with made-up
 * results.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/dialects/oip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

/* A sum of all bytes, so that each is read. */
static unsigned sum(struct text text) {
    unsigned all = 0;
    for (size_t i = 0; i < text.size; i++)
        all += (unsigned char)text.data[i];
    return all;
}

static void check_input(const struct oip_input *input, size_t size) {
    size_t bytes = 0;
    require(input->n >= 1 && input->n <= OIP_MOST_ELEMENTS && *input->param);
    for (size_t i = 0; i < input->n; i++) {
        const struct text element = input->elements[i];
        require(sum(element) <= 255 * element.size);
        require(input->binary || text_check(element.data, element.size) == element.size);
        bytes += element.size;
    }
    require(bytes <= size);
}

/* Vectors and scores of zeros: labels in the order that they have. */
static void answer(const struct dialect_request *request, const struct limoe_info *model,
                   struct arena *arena) {
    const size_t labels = request->classify.n_labels;
    struct prediction *predictions = arena_array(arena, labels + 1, sizeof *predictions);
    struct classification *rows = arena_array(arena, request->classify.n_images + 1, sizeof *rows);
    float *vectors = arena_array(arena, REQUEST_MAX_ITEMS * (size_t)model->embed, sizeof *vectors);
    struct buffer out = {0};
    struct dialect_answer written = {.body = &out};
    require(predictions && rows && vectors && labels <= OIP_MOST_ELEMENTS);
    for (size_t k = 0; k < labels; k++)
        predictions[k].label = k;
    for (size_t i = 0; i < request->classify.n_images; i++)
        rows[i] = (struct classification){.index = i, .predictions = predictions, .count = labels};
    const struct dialect_result result = {.model = model, .embeddings = vectors, .rows = rows};
    request->write(request, &result, &written);
    require(!out.failed && out.size > 0);
    buffer_free(&out);
}

static void infer(const char *body, size_t size, struct text length, struct arena *arena) {
    static const struct limoe_info info = {
        .name = "m", .towers = 1, .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}}, .embed = 8, .text_length = 4};
    static const struct limoe_info *const infos[] = {&info};
    static const struct request_models models = {.info = infos, .n = 1};
    const struct dialect_input in = {.models = &models,
                                     .body = body,
                                     .size = size,
                                     .below = text_of("m/infer"),
                                     .header = length,
                                     .arena = arena};
    struct dialect_request request = {0};
    struct api_error error;
    if (oip_read_infer(&in, &request, &error))
        answer(&request, &info, arena);
    else
        require(error.status == 400 && *error.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *bar = size ? memchr(data, '|', size) : NULL;
    const struct text length = {.data = bar ? (const char *)data : NULL,
                                .size = bar ? (size_t)(bar - data) : 0};
    const size_t before = bar ? length.size + 1 : 0, left = size - before;
    struct arena *arena = arena_new();
    struct oip_body body;
    struct api_error error;
    char *copy = malloc(left ? left : 1); /* of exactly the body's size */
    require(arena && copy);
    if (left)
        memcpy(copy, data + before, left);
    if (oip_read_body(copy, left, length, arena, &body, &error)) {
        require(body.n_inputs >= 1 && body.n_inputs <= OIP_MOST_TENSORS &&
                body.n_outputs <= OIP_MOST_TENSORS);
        require(body.id.size <= OIP_MOST_ID_BYTES);
        for (size_t i = 0; i < body.n_inputs; i++)
            check_input(&body.inputs[i], left);
    } else {
        require(error.status == 400 && *error.message);
        require(text_check(error.message, strlen(error.message)) == strlen(error.message));
    }
    infer(copy, left, length, arena);
    free(copy);
    arena_free(arena);
    return 0;
}
