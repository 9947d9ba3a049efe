/* fuzz_request.c - any bytes, as the body of any route. The first byte, a digit in the corpus, chooses the
 * route and the way in: 0  /v1/embeddings     1  /v1/routing     2  /v1/classify, JSON     3  /v1/classify, a
 * query before a picture 4  /v1/classify, multipart with the boundary "x"
 *
 * What is accepted must keep the promises of request.h, on which the rest of the server builds; what is
 * refused must say why, in an answer that is JSON.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/answer.h"
#include "codec/classify.h"
#include "codec/json_reader.h"
#include "codec/multipart.h"
#include "codec/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void require_text(const void *data, size_t size) {
    const struct text text = {.data = data, .size = size};
    require(text_check(data, size) == size && !text_blank(text));
}

static void require_json(struct buffer *answer, struct arena *arena) {
    struct json_value *value = NULL;
    struct json_error error;
    require(!answer->failed);
    require(json_read(answer->data, answer->size, arena, &value, &error));
    require(value->type == JSON_OBJECT);
    buffer_free(answer);
}

static void check_error(const struct api_error *error, struct arena *arena) {
    struct buffer answer = {0};
    require(error->status >= 400 && error->status < 500 && *error->message);
    require(text_check(error->message, strlen(error->message)) == strlen(error->message));
    answer_error(&answer, error);
    require_json(&answer, arena);
}

static void check_item(const struct request_item *item) {
    require(item->param && item->bytes && item->size > 0);
    if (item->modality == LIMOE_TEXT)
        require_text(item->bytes, item->size);
}

static void check_embed(const struct embed_request *request) {
    require(request->n_items >= 1 && request->n_items <= REQUEST_MAX_ITEMS);
    for (size_t i = 0; i < request->n_items; i++) {
        check_item(&request->items[i]);
        require(request->items[i].modality == LIMOE_IMAGE ||
                request->items[i].size <= REQUEST_MAX_TEXT_BYTES);
    }
}

/* Prompts are made and an answer written, as if every label had won. */
static void check_classify(const struct classify_request *request, struct arena *arena) {
    const size_t prompts = classify_prompt_count(request);
    require(request->n_images >= 1 && request->n_images <= REQUEST_MAX_ITEMS);
    require(prompts >= 1 && prompts <= REQUEST_MAX_PROMPTS);
    require(request->top_k >= 1 && request->top_k <= request->n_labels);
    for (size_t i = 0; i < request->n_images; i++)
        check_item(&request->images[i]);

    struct request_item *items = arena_array(arena, prompts, sizeof *items);
    struct prediction *predictions = arena_array(arena, request->n_labels, sizeof *predictions);
    require(items && predictions && classify_prompts(request, arena, items));
    for (size_t i = 0; i < prompts; i++)
        check_item(&items[i]);
    for (size_t i = 0; i < request->n_labels; i++)
        predictions[i].label = i;
    struct buffer answer = {0};
    const struct classification row = {.predictions = predictions, .count = request->top_k};
    answer_classify(&answer, "m", request->labels, &row, 1, &(struct usage){0});
    require_json(&answer, arena);
}

/* "labels=cat;labels=dog;top_k=1|picture": enough of a query to reach every argument. */
static bool read_raw(const struct limoe_info *model, const uint8_t *data, size_t size, struct arena *arena,
                     struct classify_request *out, struct api_error *error) {
    const uint8_t *all = data + size, *bar = size ? memchr(data, '|', size) : NULL;
    const uint8_t *end = bar ? bar : all, *body = bar ? bar + 1 : all;
    struct request_field args[64];
    size_t n = 0;
    while (data < end && n < sizeof args / sizeof *args) {
        const uint8_t *stop = memchr(data, ';', (size_t)(end - data));
        stop = stop ? stop : end;
        const uint8_t *equals = memchr(data, '=', (size_t)(stop - data));
        equals = equals ? equals : stop;
        const uint8_t *value = equals < stop ? equals + 1 : stop;
        args[n++] =
            (struct request_field){.name = arena_copy(arena, (const char *)data, (size_t)(equals - data)),
                                   .bytes = value,
                                   .size = (size_t)(stop - value)};
        data = stop < end ? stop + 1 : end;
    }
    return request_classify_raw(model, body, (size_t)(all - body), args, n, arena, out, error);
}

static bool read_multipart(const struct limoe_info *model, const char *body, size_t size, struct arena *arena,
                           struct classify_request *out, struct api_error *error) {
    struct request_field *parts;
    size_t n;
    return multipart_parse("multipart/form-data; boundary=x", body, size, arena, &parts, &n, error) &&
           request_classify_multipart(model, parts, n, arena, out, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct limoe_info model = {.name = "m", .embed = 8};
    if (size == 0)
        return 0;
    struct arena *arena = arena_new();
    require(arena);
    const char *body = (const char *)data + 1;
    struct embed_request embed;
    struct classify_request classify;
    struct api_error error;
    bool ok, classifies = true;
    const unsigned route = (data[0] - (unsigned)'0') % 5;
    size--;
    switch (route) {
    case 0:
    case 1:
        classifies = false;
        ok = (route ? request_routing_json : request_embeddings_json)(&model, body, size, arena, &embed,
                                                                      &error);
        break;
    case 2:
        ok = request_classify_json(&model, body, size, arena, &classify, &error);
        break;
    case 3:
        ok = read_raw(&model, data + 1, size, arena, &classify, &error);
        break;
    default:
        ok = read_multipart(&model, body, size, arena, &classify, &error);
    }
    if (!ok)
        check_error(&error, arena);
    else if (classifies)
        check_classify(&classify, arena);
    else
        check_embed(&embed);
    arena_free(arena);
    return 0;
}
