/* request_embed.c - POST /v1/embeddings and POST /v1/routing: one list of texts and pictures, in every form
 * that clients of other servers send it. */
#include "server/api/adapter.h"
#include "server/api/fields.h"
#include "server/api/request_encoding.h"
#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

/* Texts and pictures, in whichever field they are. */
static bool read_input(const struct request_items_reader *r, const struct json_value *input,
                       const struct json_value *messages, struct embed_request *out) {
    if (input && messages)
        return api_fail(r->error, 400, "conflicting_fields", "messages",
                        "there are input and messages; one of them is accepted");
    if (messages)
        return request_read_messages(r, messages, out);
    return request_read_items(r, input, "input", out);
}

/* The reader of both requests. */
struct embed_reader {
    const struct limoe_info *model;
    struct request_items_reader items;
    const struct json_value *input, *messages; /* read last */
    struct encoding_choice encoding;
    struct request_adapter *adapter;
    struct api_error *error;
};

static bool keep_input(void *reader, const struct json_value *value) {
    ((struct embed_reader *)reader)->input = value;
    return true;
}

static bool keep_messages(void *reader, const struct json_value *value) {
    ((struct embed_reader *)reader)->messages = value;
    return true;
}

static bool read_modality(void *reader, const struct json_value *value) {
    struct embed_reader *r = reader;
    const char *accepted = "\"text\" or \"image\"";
    if (value->type != JSON_STRING)
        return request_refuse_type("modality", accepted, value->type, r->error);
    if (text_is(value->string, "text"))
        r->items.strings = STRINGS_ARE_TEXTS;
    else if (text_is(value->string, "image"))
        r->items.strings = STRINGS_ARE_IMAGES;
    else
        return api_fail(r->error, 400, "invalid_modality", "modality", "modality must be %s", accepted);
    return true;
}

static bool read_adapter(void *reader, const struct json_value *value) {
    struct embed_reader *r = reader;
    return request_read_adapter(r->adapter, value, r->error);
}

static bool read_strength(void *reader, const struct json_value *value) {
    struct embed_reader *r = reader;
    return request_read_strength(r->adapter, value, r->error);
}

static bool read_encoding(void *reader, const struct json_value *value) {
    struct embed_reader *r = reader;
    return encoding_read(&r->encoding, value, r->error);
}

/* 0 stands for the model's own, as for some servers. */
static bool check_dimensions(void *reader, const struct json_value *value) {
    const struct embed_reader *r = reader;
    if (value->type != JSON_NUMBER)
        return request_refuse_type("dimensions", "a number", value->type, r->error);
    if (value->number != 0 && value->number != (double)r->model->embed)
        return api_fail(r->error, 400, "unsupported_dimensions", "dimensions",
                        "dimensions is %g; this model's embeddings have %u, and it was not trained to be cut "
                        "shorter; accepted: %u, and 0 for the model's own",
                        value->number, r->model->embed, r->model->embed);
    return true;
}

static bool check_user(void *reader, const struct json_value *value) {
    const struct embed_reader *r = reader;
    return value->type == JSON_STRING || request_refuse_type("user", "a string", value->type, r->error);
}

/* What clients of other servers send, or no field at all. */
static bool check_peers(void *reader, const struct json_value *value) {
    const struct embed_reader *r = reader;
    const struct request_peer_field *peer = request_peer_find(value->name);
    char names[200];
    if (peer)
        return request_peer_check(peer, r->model, value, r->error);
    field_names(&request_embeddings_fields, FIELD_JSON, names, sizeof names);
    return request_refuse_field(value->name.data, value->name.size, names, r->error);
}

static const char *const modalities[] = {"text", "image", NULL};
static const char *const encodings[] = {"float", "base64", "int8", "ubinary", "binary", NULL};
static const char *const numbers[] = {"float", "int8", "ubinary", "binary", NULL};

#define ONE_ENCODING "{\"enum\":[\"float\",\"base64\",\"int8\",\"ubinary\",\"binary\"]}"
#define ONE_NUMBER   "{\"enum\":[\"float\",\"int8\",\"ubinary\",\"binary\"]}"
/* The value, or a list of it alone. */
#define ANY_OF(value)                                                                                        \
    "{\"anyOf\":[" value ",{\"type\":\"array\",\"minItems\":1,\"maxItems\":1,\"items\":" value "}]}"

#define INPUT_ROW                                                                                            \
    .name = "input", .forms = FIELD_JSON, .kind = FIELD_ITEMS, .least = 1, .most = REQUEST_MAX_ITEMS,        \
    .what =                                                                                                  \
        "What to embed: a string, an item, or a list of both. A text has 1 to 65536 bytes, of which the "    \
        "model keeps its first tokens.",                                                                     \
    .read = keep_input
#define MODALITY_ROW                                                                                         \
    .name = "modality", .forms = FIELD_JSON, .kind = FIELD_CHOICE, .choices = modalities,                    \
    .what = "What bare strings are. Absent: a data URI is a picture, any other string a text.",              \
    .read = read_modality

static const struct field embeddings[] = {
    {INPUT_ROW},
    {.name = "messages",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"$ref\":\"#/components/schemas/Messages\"}",
     .what = "In place of input: a chat of one message with one text or picture.",
     .read = keep_messages},
    FIELD_MODEL(FIELD_JSON),
    {.name = "encoding_format",
     .forms = FIELD_JSON,
     .kind = FIELD_CHOICE,
     .choices = encodings,
     .fallback = "\"float\"",
     .what = "How the numbers are written, base64 being of little-endian float32; or what they are.",
     .read = read_encoding},
    {.name = "embedding_type",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = ANY_OF(ONE_ENCODING),
     .what = "As encoding_format.",
     .unlisted = true,
     .read = read_encoding},
    {.name = "embedding_types",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = ANY_OF(ONE_NUMBER),
     .what = "What the numbers are.",
     .unlisted = true,
     .read = read_encoding},
    {.name = "output_dtype",
     .forms = FIELD_JSON,
     .kind = FIELD_CHOICE,
     .choices = numbers,
     .what = "What the numbers are, whose bytes encoding_format base64 then writes.",
     .unlisted = true,
     .read = read_encoding},
    {.name = "dimensions",
     .forms = FIELD_JSON,
     .kind = FIELD_WHOLE,
     .what = "The model's own number of them, or 0 for it: the model was not trained to be cut shorter.",
     .read = check_dimensions},
    {MODALITY_ROW},
    FIELD_ADAPTER_ROW(FIELD_JSON, read_adapter),
    FIELD_STRENGTH_ROW(FIELD_JSON, read_strength),
    {.name = "user",
     .forms = FIELD_JSON,
     .kind = FIELD_STRING,
     .what = "Accepted and not used.",
     .read = check_user},
};
const struct field_table request_embeddings_fields = {FIELD_TABLE(embeddings), .other = check_peers,
                                                      .write_others = request_peer_schemas};

/* There are no embeddings to encode. */
static const struct field routing[] = {{INPUT_ROW, .required = true},
                                       FIELD_MODEL(FIELD_JSON),
                                       {MODALITY_ROW},
                                       FIELD_ADAPTER_ROW(FIELD_JSON, read_adapter),
                                       FIELD_STRENGTH_ROW(FIELD_JSON, read_strength)};
const struct field_table request_routing_fields = {FIELD_TABLE(routing)};

static bool read_request(const struct request_models *models, const struct json_value *object,
                         const struct field_table *fields, struct arena *arena, struct embed_request *out,
                         struct api_error *error) {
    struct embed_reader reader = {.items = {.arena = arena, .strings = STRINGS_BY_LOOK, .error = error},
                                  .adapter = &out->adapter,
                                  .error = error};
    *out = (struct embed_request){.encoding = REQUEST_FLOAT};
    if (!request_choose_model(models, object, &out->model, error))
        return false;
    reader.model = models->info[out->model];
    return field_read_object(object, fields, &reader, error) && request_check_adapter(&out->adapter, error) &&
           encoding_settle(&reader.encoding, &out->encoding, error) &&
           read_input(&reader.items, reader.input, reader.messages, out) &&
           request_check_modalities(reader.model, out->items, out->n_items, error);
}

bool request_embeddings_object(const struct request_models *models, const struct json_value *object,
                               struct arena *arena, struct embed_request *out, struct api_error *error) {
    return read_request(models, object, &request_embeddings_fields, arena, out, error);
}

bool request_embeddings_json(const struct request_models *models, const char *body, size_t size,
                             struct arena *arena, struct embed_request *out, struct api_error *error) {
    const struct json_value *object;
    return request_read_object(body, size, arena, &object, error) &&
           request_embeddings_object(models, object, arena, out, error);
}

bool request_routing_json(const struct request_models *models, const char *body, size_t size,
                          struct arena *arena, struct embed_request *out, struct api_error *error) {
    const struct json_value *object;
    return request_read_object(body, size, arena, &object, error) &&
           read_request(models, object, &request_routing_fields, arena, out, error);
}
