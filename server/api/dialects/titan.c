/* titan.c - a text, a picture, or one of each → one vector. Shapes:
 * docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-mm.html and …-embed-text.html. */
#include "server/api/dialects/titan.h"

#include "server/api/request_parts.h"
#include "server/api/request_peers.h"
#include <math.h>

#define SUFFIX "/invoke"

struct reader {
    const struct limoe_info *model;
    struct request_item *items; /* [2] */
    size_t n;
    const struct json_value *image; /* read last */
    bool by_type;                   /* "embeddingTypes" is there: vectors come by their type, too */
    struct api_error *error;
};

static bool read_text(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    if (value->type != JSON_STRING)
        return request_refuse_type("inputText", "a string", value->type, r->error);
    return request_read_text(value->string, "inputText", &r->items[r->n++], r->error);
}

static bool keep_image(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    r->image = value;
    return value->type == JSON_STRING ||
           request_refuse_type("inputImage", "a string (base64 or a data URI)", value->type, r->error);
}

static bool check_length(const struct reader *r, const struct json_value *value, const char *name) {
    return (value->type == JSON_NUMBER && value->number == r->model->embed) ||
           api_fail(r->error, 400, "unsupported_dimensions", name,
                    "%s must be %u: this model was not trained to be cut shorter", name, r->model->embed);
}

static bool read_config(void *reader, const struct json_value *value) {
    const struct reader *r = reader;
    if (value->type != JSON_OBJECT)
        return request_refuse_type("embeddingConfig", "an object", value->type, r->error);
    for (const struct json_value *member = value->child; member; member = member->next) {
        if (member->type == JSON_NULL)
            continue;
        if (!text_is(member->name, "outputEmbeddingLength"))
            return request_refuse_field(member->name.data, member->name.size,
                                        "outputEmbeddingLength (of embeddingConfig)", r->error);
        if (!check_length(r, member, "embeddingConfig.outputEmbeddingLength"))
            return false;
    }
    return true;
}

static bool check_dimensions(void *reader, const struct json_value *value) {
    return check_length(reader, value, "dimensions");
}

static bool check_normalize(void *reader, const struct json_value *value) {
    const struct reader *r = reader;
    return request_peer_check(request_peer_find(value->name), r->model, value, r->error);
}

static bool read_types(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    const struct json_value *only = value->type == JSON_ARRAY && value->count == 1 ? value->child : NULL;
    r->by_type = true;
    return (only && only->type == JSON_STRING && text_is(only->string, "float")) ||
           api_fail(r->error, 400, "unsupported_value", "embeddingTypes",
                    "embeddingTypes must be [\"float\"]");
}

static const struct field asked[] = {
    {.name = "inputText", .forms = FIELD_JSON, .read = read_text},
    {.name = "inputImage", .forms = FIELD_JSON, .read = keep_image},
    {.name = "embeddingConfig", .forms = FIELD_JSON, .read = read_config},
    {.name = "dimensions", .forms = FIELD_JSON, .read = check_dimensions},
    {.name = "normalize", .forms = FIELD_JSON, .read = check_normalize},
    {.name = "embeddingTypes", .forms = FIELD_JSON, .read = read_types},
};
static const struct field_table fields = {FIELD_TABLE(asked)};

/* ---- the answer */

/* Element i of the sum of n vectors. */
static float sum_at(const float *rows, size_t n, size_t embed, size_t i) {
    return n == 1 ? rows[i] : rows[i] + rows[embed + i];
}

/* The unit vector between n vectors, 1 or 2: one is that itself, bit for bit. A vector and its opposite have
 * none between them: theirs is zero. */
static void write_joint(struct buffer *out, const float *rows, size_t n, size_t embed) {
    double squares = 0;
    for (size_t i = 0; n > 1 && i < embed; i++)
        squares += (double)sum_at(rows, n, embed, i) * sum_at(rows, n, embed, i);
    const double scale = n == 1 ? 1 : squares > 0 ? 1 / sqrt(squares) : 0;
    for (size_t i = 0; i < embed; i++) {
        buffer_bytes(out, i ? "," : "[", 1);
        buffer_json_float(out, (float)(sum_at(rows, n, embed, i) * scale));
    }
    buffer_bytes(out, "]", 1);
}

static void write_vector(const struct dialect_request *request, const struct dialect_result *result,
                         struct dialect_answer *out) {
    const size_t n = request->embed.n_items, embed = result->model->embed;
    buffer_string(out->body, "{\"embedding\":");
    write_joint(out->body, result->embeddings, n, embed);
    if (request->notes) {
        buffer_string(out->body, ",\"embeddingsByType\":{\"float\":");
        write_joint(out->body, result->embeddings, n, embed);
        buffer_string(out->body, "}");
    }
    buffer_string(out->body, ",\"inputTextTokenCount\":");
    buffer_json_unsigned(out->body, result->usage.prompt_tokens);
    buffer_string(out->body, ",\"message\":null}");
}

/* ---- the request */

/* The model's name, of "NAME/invoke" below /model/. */
static bool find_model(const struct dialect_input *in, size_t *model, struct api_error *error) {
    struct text name = in->below;
    char quoted[64];
    if (text_take_suffix(&name, SUFFIX))
        return request_find_model(in->models, name, model, error);
    return api_fail(error, 404, "unknown_path", NULL,
                    "there is nothing at /model/%s; the nearest is POST /model/{id}/invoke",
                    text_quote(in->below, quoted, sizeof quoted));
}

bool titan_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    const struct json_value *object = NULL;
    struct request_item *items = arena_array(in->arena, 2, sizeof *items);
    struct reader r = {.items = items, .error = error};
    size_t model = 0;
    if (!items)
        return api_fail_memory(error);
    if (!find_model(in, &model, error) || !dialect_read_object(in, &object, error))
        return false;
    r.model = in->models->info[model];
    if (!field_read_object(object, &fields, &r, error))
        return false;
    if (r.image && !request_read_image(r.image->string, "inputImage", in->arena, &items[r.n++], error))
        return false;
    if (!r.n)
        return api_fail(error, 400, "missing_input", "inputText",
                        "there is nothing to embed; accepted: inputText, inputImage, or both");
    out->kind = DIALECT_EMBED;
    out->write = write_vector;
    out->embed = (struct embed_request){.model = model, .items = items, .n_items = r.n};
    if (r.by_type) {
        out->notes = items;
        out->scratch = answer_embeddings_size(1, r.model->embed, REQUEST_FLOAT);
    }
    return request_check_modalities(r.model, items, r.n, error);
}

/* ---- errors */

/* The exception that Bedrock's clients raise: botocore reads its name from "__type". */
static const char *exception_of(int status) {
    switch (status) {
    case 401:
    case 403:
        return "AccessDeniedException";
    case 404:
        return "ResourceNotFoundException";
    case 429:
        return "ThrottlingException";
    case 500:
        return "InternalServerException";
    case 503:
        return "ServiceUnavailableException";
    case 504:
        return "ModelTimeoutException";
    default:
        return "ValidationException";
    }
}

static void write_error(struct buffer *out, const struct api_error *error) {
    buffer_print(out, "{\"__type\":\"%s\",\"message\":", exception_of(error->status));
    buffer_json_string(out, error->message);
    buffer_string(out, "}");
}

static const char *const prefixes[] = {"/model", NULL};
const struct dialect dialect_titan = {
    .name = "titan", .bit = DIALECT_TITAN, .prefixes = prefixes, .write_error = write_error};
