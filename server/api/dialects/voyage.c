/* voyage.c - what Voyage's clients send for texts and pictures, and read. Shapes:
 * docs.voyageai.com/reference/multimodal-embeddings-api. */
#include "server/api/dialects/voyage.h"

#include <inttypes.h>

#include "server/api/dialects/contents.h"
#include "server/api/request_encoding.h"
#include "server/api/request_peers.h"

struct reader {
    const struct limoe_info *model;
    const struct json_value *inputs; /* read last */
    struct encoding_choice encoding;
    struct api_error *error;
};

static bool keep_inputs(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->inputs = value;
    return true;
}

static bool read_encoding(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return encoding_read(&r->encoding, value, r->error);
}

/* The service's name for encoding_format, which is its client's. */
static bool read_output_encoding(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    if (value->type != JSON_STRING || !text_is(value->string, "base64"))
        return api_fail(r->error, 400, "unsupported_value", "output_encoding",
                        "output_encoding must be \"base64\", or absent");
    return r->encoding.base64 = true;
}

static bool check_peer(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return request_peer_check(request_peer_find(value->name), r->model, value, r->error);
}

static const struct field rows[] = {
    {.name = "inputs", .forms = FIELD_JSON, .read = keep_inputs},
    {.name = "input_type", .forms = FIELD_JSON, .read = check_peer},
    {.name = "truncation", .forms = FIELD_JSON, .read = check_peer},
    {.name = "output_dimension", .forms = FIELD_JSON, .read = check_peer},
    {.name = "output_dtype", .forms = FIELD_JSON, .read = read_encoding},
    {.name = "output_encoding", .forms = FIELD_JSON, .read = read_output_encoding},
    {.name = "encoding_format", .forms = FIELD_JSON, .read = read_encoding, .unlisted = true},
    FIELD_MODEL(FIELD_JSON),
};
static const struct field_table fields = {FIELD_TABLE(rows)};

/* ---- the answer */

/* Clients add up all four numbers. Pixels are those that the model looks at. */
static void write_usage(const struct dialect_request *request, const struct dialect_result *result,
                        struct buffer *out) {
    const uint64_t side = result->model->image_size;
    buffer_print(out,
                 "\"usage\":{\"text_tokens\":%" PRIu64 ",\"image_pixels\":%" PRIu64
                 ",\"video_pixels\":0,\"total_tokens\":%" PRIu64 "}",
                 result->usage.prompt_tokens, dialect_count_images(&request->embed) * side * side,
                 result->usage.prompt_tokens + result->usage.image_tokens);
}

static void write(const struct dialect_request *request, const struct dialect_result *result,
                  struct dialect_answer *out) {
    const size_t embed = result->model->embed;
    buffer_string(out->body, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < request->embed.n_items; i++) {
        buffer_print(out->body, "%s{\"object\":\"embedding\",\"index\":%zu,\"embedding\":", i ? "," : "", i);
        embedding_write(out->body, result->embeddings + i * embed, embed, request->embed.encoding);
        buffer_string(out->body, "}");
    }
    buffer_string(out->body, "],\"model\":");
    buffer_json_string(out->body, result->model->name);
    buffer_string(out->body, ",");
    write_usage(request, result, out->body);
    buffer_string(out->body, "}");
}

/* ---- the request */

bool voyage_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    const struct json_value *object;
    struct embed_request *request = &out->embed;
    struct reader reader = {.error = error};
    const struct request_items_reader items = {
        .arena = in->arena, .strings = STRINGS_ARE_TEXTS, .error = error};
    out->kind = DIALECT_EMBED;
    out->write = write;
    if (!dialect_read_object(in, &object, error) ||
        !request_choose_model(in->models, object, &request->model, error))
        return false;
    reader.model = in->models->info[request->model];
    return field_read_object(object, &fields, &reader, error) &&
           encoding_settle(&reader.encoding, &request->encoding, error) &&
           contents_read(&items, reader.inputs, "inputs", request) &&
           request_check_modalities(reader.model, request->items, request->n_items, error);
}

/* ---- errors */

static const char *const prefixes[] = {NULL};
const struct dialect dialect_voyage = {
    .name = "voyage", .bit = DIALECT_VOYAGE, .prefixes = prefixes, .write_error = dialect_error_detail};
