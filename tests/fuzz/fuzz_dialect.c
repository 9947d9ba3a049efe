/* fuzz_dialect.c - any bytes, as the body of a dialect's route. The first byte chooses the reader, 0 the first of
 * `sides`, below; ':' is the tenth.
 *
 * What is accepted must keep the promises of dialect.h, and its writer make JSON of made-up results; what is refused
 * must say why, in JSON of the dialect's form.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/api/dialects/cohere.h"
#include "server/api/dialects/hf.h"
#include "server/api/dialects/ollama.h"
#include "server/api/dialects/rerank.h"
#include "server/api/dialects/roboflow.h"
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
        require(request->classify.n_images == 1 && request->classify.n_labels >= 1);
        require(classify_prompt_count(&request->classify) <= REQUEST_MAX_PROMPTS);
        check_items(request->classify.images, 1);
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
    require(predictions && vectors);
    for (size_t k = 0; k < top; k++)
        predictions[k].label = ranked - 1 - k;
    const struct classification rows = {.predictions = predictions, .count = top};
    const struct dialect_result result = {.model = model, .embeddings = vectors, .rows = &rows};
    struct buffer out = {0};
    struct dialect_answer answer = {.body = &out};
    request->write(request, &result, &answer);
    require_json(&out, arena);
}

static void check_error(const struct dialect *dialect, const struct api_error *error, struct arena *arena) {
    struct buffer out = {0};
    require(error->status >= 400 && error->status < 500 && *error->message);
    dialect->write_error(&out, error);
    require_json(&out, arena);
}

static const struct {
    dialect_reader *read;
    const struct dialect *dialect;
} sides[] = {
    {hf_read, &dialect_hf},
    {hf_read_embed, &dialect_hf},
    {hf_read_similarity, &dialect_hf},
    {rerank_read, &dialect_rerank},
    {rerank_read_peers, &dialect_rerank},
    {ollama_read_embed, &dialect_ollama},
    {ollama_read_prompt, &dialect_ollama},
    {cohere_read_v2, &dialect_cohere},
    {cohere_read_v1, &dialect_cohere},
    {voyage_read, &dialect_voyage},
    {weaviate_read, &dialect_weaviate},
    {roboflow_read_text, &dialect_roboflow},
    {roboflow_read_image, &dialect_roboflow},
    {roboflow_read_compare, &dialect_roboflow},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct limoe_info info = {
        .name = "m", .towers = 1, .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}}, .embed = 8, .text_length = 4};
    static const struct limoe_info *const infos[] = {&info};
    static const struct request_models models = {.info = infos, .n = 1, .aliases = "a"};
    if (size == 0)
        return 0;
    struct arena *arena = arena_new();
    require(arena);
    const size_t which = (size_t)(data[0] - (unsigned)'0') % (sizeof sides / sizeof *sides);
    const struct dialect_input in = {.models = &models,
                                     .body = (const char *)data + 1,
                                     .size = size - 1,
                                     .below = {.data = ""},
                                     .arena = arena};
    struct dialect_request request = {0};
    struct api_error error;
    if (sides[which].read(&in, &request, &error))
        check_answer(&request, &info, arena);
    else
        check_error(sides[which].dialect, &error, arena);
    arena_free(arena);
    return 0;
}
