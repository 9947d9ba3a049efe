/* fuzz_dialect.c - any bytes, as the body of a dialect's route. The first byte, a digit in the corpus, chooses the
 * reader:
 *     0  POST / and /hf    1  /embed    2  /similarity    3  /v1/rerank    4  /rerank and /v2/rerank
 *     5  /invocations, its type by the next byte: 0 JSON, 1 a picture, 2 a form, else none
 *     6  /vertex/predict    7  /model/m/invoke    8  /predict
 *     9, : /api/embed, /api/embeddings    ;, < /v2/embed, /v1/embed    = /v1/multimodalembeddings
 *     > /vectorize    ?, @, A /clip/embed_text, /clip/embed_image, /clip/compare
 *
 * What is accepted must keep the promises of dialect.h, and its writer make JSON of made-up results; what is refused
 * must say why, in JSON of the dialect's form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/dialects/cohere.h"
#include "server/api/dialects/hf.h"
#include "server/api/dialects/immich.h"
#include "server/api/dialects/ollama.h"
#include "server/api/dialects/rerank.h"
#include "server/api/dialects/roboflow.h"
#include "server/api/dialects/sagemaker.h"
#include "server/api/dialects/titan.h"
#include "server/api/dialects/vertex.h"
#include "server/api/dialects/voyage.h"
#include "server/api/dialects/weaviate.h"
#include "server/formats/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool promise) {
    if (!promise)
        abort();
}

static void require_json(struct buffer *answer, struct arena *arena) {
    struct json_value *value = NULL;
    struct json_error error;
    require(!answer->failed && json_read(answer->data, answer->size, arena, &value, &error));
    buffer_free(answer);
}

static void check_items(const struct request_item *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        require(items[i].param && items[i].bytes && items[i].size > 0);
}

/* How many are ranked, and how many of these are answered with. */
static void check_request(const struct dialect_request *request, size_t *ranked, size_t *top) {
    *ranked = *top = 0;
    switch (request->kind) {
    case DIALECT_EMBED:
        require(request->embed.n_items >= 1 && request->embed.n_items <= REQUEST_MAX_ITEMS);
        check_items(request->embed.items, request->embed.n_items);
        break;
    case DIALECT_CLASSIFY:
        require(request->classify.n_images >= 1 && request->classify.n_images <= REQUEST_MAX_ITEMS);
        require(request->classify.n_labels >= 1);
        require(classify_prompt_count(&request->classify) <= REQUEST_MAX_PROMPTS);
        check_items(request->classify.images, request->classify.n_images);
        *ranked = request->classify.n_labels;
        *top = request->classify.top_k;
        break;
    default:
        require(request->compare.n >= 1 && request->compare.n < REQUEST_MAX_ITEMS);
        check_items(request->compare.items, request->compare.n + 1);
        *ranked = request->compare.n;
        *top = request->compare.top_n;
    }
    require(request->write && *top <= *ranked && (request->kind == DIALECT_EMBED || *top > 0));
}

/* An answer as if everything had come out alike, the last first. */
static void check_answer(const struct dialect_request *request, const struct limoe_info *model,
                         struct arena *arena) {
    size_t ranked, top;
    check_request(request, &ranked, &top);
    struct prediction *predictions = arena_array(arena, top, sizeof *predictions);
    float *vectors = arena_array(arena, REQUEST_MAX_ITEMS * (size_t)model->embed, sizeof *vectors);
    const size_t n = request->kind == DIALECT_CLASSIFY ? request->classify.n_images : 1;
    struct classification *rows = arena_array(arena, n, sizeof *rows);
    require(predictions && vectors && rows);
    for (size_t k = 0; k < top; k++)
        predictions[k].label = ranked - 1 - k;
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct classification){.index = i, .predictions = predictions, .count = top};
    const struct dialect_result result = {.model = model, .embeddings = vectors, .rows = rows};
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    request->write(request, &result, &answer);
    require_json(&out, arena);
}

static void check_error(const struct dialect *dialect, const struct api_error *error, struct arena *arena) {
    struct buffer out = {0};
    require(((error->status >= 400 && error->status < 500) || error->status == 501) && *error->message);
    dialect->write_error(&out, error);
    require_json(&out, arena);
}

#define FORM "multipart/form-data; boundary=b"

static const struct speaker {
    dialect_reader *read;
    const struct dialect *dialect;
    const char *below, *type;
} speakers[] = {
    {hf_read, &dialect_hf, "", NULL},
    {hf_read_embed, &dialect_hf, "", NULL},
    {hf_read_similarity, &dialect_hf, "", NULL},
    {rerank_read, &dialect_rerank, "", NULL},
    {rerank_read_peers, &dialect_rerank, "", NULL},
    {sagemaker_read, &dialect_sagemaker, "", NULL},
    {vertex_read, &dialect_vertex, "", NULL},
    {titan_read, &dialect_titan, "m/invoke", NULL},
    {immich_read, &dialect_immich, "", FORM},
    {ollama_read_embed, &dialect_ollama, "", NULL},
    {ollama_read_prompt, &dialect_ollama, "", NULL},
    {cohere_read_v2, &dialect_cohere, "", NULL},
    {cohere_read_v1, &dialect_cohere, "", NULL},
    {voyage_read, &dialect_voyage, "", NULL},
    {weaviate_read, &dialect_weaviate, "", NULL},
    {roboflow_read_text, &dialect_roboflow, "", NULL},
    {roboflow_read_image, &dialect_roboflow, "", NULL},
    {roboflow_read_compare, &dialect_roboflow, "", NULL},
};
static const char *const types[] = {"application/json", "image/png", FORM, NULL};
#define SPEAKERS (sizeof speakers / sizeof *speakers)
#define TYPES    (sizeof types / sizeof *types)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct limoe_info info = {
        .name = "m", .towers = 1, .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}}, .embed = 8, .text_length = 4};
    static const struct limoe_info *const infos[] = {&info};
    static const struct request_models models = {.info = infos, .n = 1, .aliases = "a"};
    if (size == 0)
        return 0;
    struct arena *arena = arena_new();
    require(arena);
    const struct speaker *speaker = &speakers[(size_t)(data[0] - (unsigned)'0') % SPEAKERS];
    const char *type = speaker->type;
    size_t head = 1;
    if (speaker->read == sagemaker_read && size > 1)
        type = types[(size_t)(data[head++] - (unsigned)'0') % TYPES];
    const struct dialect_input in = {.models = &models,
                                     .body = (const char *)data + head,
                                     .size = size - head,
                                     .content_type = type,
                                     .below = text_of(speaker->below),
                                     .arena = arena};
    struct dialect_request request = {0};
    struct api_error error;
    if (speaker->read(&in, &request, &error))
        check_answer(&request, &info, arena);
    else
        check_error(speaker->dialect, &error, arena);
    arena_free(arena);
    return 0;
}
