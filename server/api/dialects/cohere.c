/* cohere.c - what clients of Cohere send for embeddings, and read. Shapes: docs.cohere.com/reference/embed. */
#include "server/api/dialects/cohere.h"

#include <inttypes.h>

#include "server/api/dialects/contents.h"
#include "server/api/request_peers.h"

/* The numbers that an embedding may be asked for, in the order of an answer. */
static const struct type {
    const char *name;
    enum request_encoding encoding;
} types[] = {{"float", REQUEST_FLOAT},
             {"int8", REQUEST_INT8},
             {"ubinary", REQUEST_UBINARY},
             {"binary", REQUEST_BINARY},
             {"base64", REQUEST_BASE64}};
#define TYPES      (sizeof types / sizeof *types)
#define TYPE_NAMES "\"float\", \"int8\", \"ubinary\", \"binary\" or \"base64\""

/* The writer's notes. */
struct answer_form {
    unsigned version;
    bool by_type;
    bool asked[TYPES];
    bool texts; /* were sent as "texts", and come back */
};

/* The reader of both requests. */
struct reader {
    const struct limoe_info *model;
    const struct json_value *texts, *images, *inputs; /* read last; at most one is there */
    struct answer_form *form;
    struct api_error *error;
};

static bool keep(struct reader *r, const struct json_value *value, const struct json_value **out) {
    const struct json_value *before = r->texts ? r->texts : r->images ? r->images : r->inputs;
    char first[16], second[16];
    if (before)
        return api_fail(r->error, 400, "conflicting_fields", text_quote(value->name, second, sizeof second),
                        "there are %s and %s; one of texts, images and inputs is accepted",
                        text_quote(before->name, first, sizeof first), second);
    *out = value;
    return true;
}

static bool keep_texts(void *reader, const struct json_value *value) {
    return keep(reader, value, &((struct reader *)reader)->texts);
}

static bool keep_images(void *reader, const struct json_value *value) {
    return keep(reader, value, &((struct reader *)reader)->images);
}

static bool keep_inputs(void *reader, const struct json_value *value) {
    return keep(reader, value, &((struct reader *)reader)->inputs);
}

static bool read_type(struct reader *r, const struct json_value *value) {
    char quoted[32];
    if (value->type != JSON_STRING)
        return request_refuse_type("embedding_types", "a list of " TYPE_NAMES, value->type, r->error);
    for (size_t i = 0; i < TYPES; i++)
        if (text_is(value->string, types[i].name))
            return r->form->asked[i] = true;
    return api_fail(r->error, 400, "unsupported_value", "embedding_types",
                    "embedding_types has \"%s\"; accepted: " TYPE_NAMES,
                    text_quote(value->string, quoted, sizeof quoted));
}

static bool read_types(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    if (value->type != JSON_ARRAY)
        return request_refuse_type("embedding_types", "a list of " TYPE_NAMES, value->type, r->error);
    for (const struct json_value *one = value->child; one; one = one->next)
        if (!read_type(r, one))
            return false;
    r->form->by_type |= value->count > 0;
    return true;
}

/* A text keeps as many tokens as the model takes: fewer cannot be asked for. */
static bool check_max_tokens(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return (value->type == JSON_NUMBER && value->number >= r->model->text_length) ||
           api_fail(r->error, 400, "unsupported_value", "max_tokens",
                    "max_tokens must be a number, %u or more: a text is cut at its end to the model's length",
                    r->model->text_length);
}

static bool check_priority(void *reader, const struct json_value *value) {
    return value->type == JSON_NUMBER ||
           request_refuse_type("priority", "a number", value->type, ((struct reader *)reader)->error);
}

static bool check_peer(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return request_peer_check(request_peer_find(value->name), r->model, value, r->error);
}

#define SHARED                                                                                               \
    {.name = "texts", .forms = FIELD_JSON, .read = keep_texts},                                              \
        {.name = "images", .forms = FIELD_JSON, .read = keep_images},                                        \
        {.name = "embedding_types", .forms = FIELD_JSON, .read = read_types},                                \
        {.name = "input_type", .forms = FIELD_JSON, .read = check_peer},                                     \
        {.name = "truncate", .forms = FIELD_JSON, .read = check_peer}, FIELD_MODEL(FIELD_JSON)

static const struct field of_v1[] = {SHARED};
static const struct field of_v2[] = {
    SHARED,
    {.name = "inputs", .forms = FIELD_JSON, .read = keep_inputs},
    {.name = "max_tokens", .forms = FIELD_JSON, .read = check_max_tokens},
    {.name = "output_dimension", .forms = FIELD_JSON, .read = check_peer},
    {.name = "priority", .forms = FIELD_JSON, .read = check_priority},
};
static const struct field_table v1_fields = {FIELD_TABLE(of_v1)}, v2_fields = {FIELD_TABLE(of_v2)};

static bool read_items(const struct dialect_input *in, const struct reader *r, struct embed_request *out) {
    const struct request_items_reader reader = {
        .arena = in->arena,
        .strings = r->images ? STRINGS_ARE_IMAGES : STRINGS_ARE_TEXTS,
        .error = r->error,
    };
    if (!r->texts && !r->images && !r->inputs)
        return api_fail(r->error, 400, "missing_input", "texts",
                        "there is nothing to embed; accepted: texts or images, lists of strings%s",
                        r->form->version == 2 ? ", or inputs, a list of {\"content\": [one part]}" : "");
    if (r->inputs)
        return contents_read(&reader, r->inputs, "inputs", out);
    return request_read_items(&reader, r->texts ? r->texts : r->images, r->texts ? "texts" : "images", out);
}

/* ---- answers */

static void write_type(struct buffer *out, const struct type *type, const float *rows, size_t n,
                       size_t embed) {
    buffer_print(out, "\"%s\":[", type->name);
    for (size_t i = 0; i < n; i++) {
        buffer_string(out, i ? "," : "");
        embedding_write(out, rows + i * embed, embed, type->encoding);
    }
    buffer_string(out, "]");
}

static void write_types(struct buffer *out, const struct answer_form *form, const float *rows, size_t n,
                        size_t embed) {
    const char *before = "{";
    for (size_t i = 0; i < TYPES; i++)
        if (form->asked[i]) {
            buffer_string(out, before);
            write_type(out, &types[i], rows, n, embed);
            before = ",";
        }
    buffer_string(out, "}");
}

/* A picture among the texts, {"image": …}, does not come back. */
static void write_texts(struct buffer *out, const struct embed_request *request) {
    const char *before = "";
    for (size_t i = 0; i < request->n_items; i++) {
        const struct request_item *item = &request->items[i];
        if (item->modality != LIMOE_TEXT)
            continue;
        buffer_string(out, before);
        buffer_json_text(out, (struct text){.data = (const char *)item->bytes, .size = item->size});
        before = ",";
    }
}

/* Clients want an "id", which they join into one; a request's own is in the header X-Request-Id. */
static void write(const struct dialect_request *request, const struct dialect_result *result,
                  struct dialect_answer *out) {
    const struct answer_form *form = request->notes;
    const size_t n = request->embed.n_items, embed = result->model->embed;
    buffer_print(out->body, "{\"id\":\"\",\"response_type\":\"embeddings_%s\",\"embeddings\":",
                 form->by_type ? "by_type" : "floats");
    if (form->by_type)
        write_types(out->body, form, result->embeddings, n, embed);
    else
        dialect_write_vectors(out->body, result->embeddings, n, embed);
    buffer_string(out->body, ",\"texts\":[");
    if (form->texts)
        write_texts(out->body, &request->embed);
    buffer_print(
        out->body,
        "],\"meta\":{\"api_version\":{\"version\":\"%u\"},\"billed_units\":{\"input_tokens\":%" PRIu64
        ",\"image_tokens\":%" PRIu64 ",\"images\":%zu}}}",
        form->version, result->usage.prompt_tokens, result->usage.image_tokens,
        dialect_count_images(&request->embed));
}

/* ---- requests */

/* What the answer takes besides float32 numbers and what else is set aside for them. */
static size_t answer_bytes(const struct reader *r, size_t size, size_t n) {
    size_t bytes = r->texts ? 2 * size : 0;
    for (size_t i = 0; i < TYPES; i++)
        if (r->form->asked[i])
            bytes += n * embedding_size(r->model->embed, types[i].encoding);
    return bytes;
}

static bool read(const struct dialect_input *in, unsigned version, struct dialect_request *out,
                 struct api_error *error) {
    const struct json_value *object;
    struct answer_form *form = arena_array(in->arena, 1, sizeof *form);
    struct reader reader = {.form = form, .error = error};
    if (!form)
        return api_fail_memory(error);
    *form = (struct answer_form){.version = version, .by_type = version == 2};
    if (!dialect_read_object(in, &object, error) ||
        !request_choose_model(in->models, object, &out->embed.model, error))
        return false;
    reader.model = in->models->info[out->embed.model];
    if (!field_read_object(object, version == 2 ? &v2_fields : &v1_fields, &reader, error) ||
        !read_items(in, &reader, &out->embed))
        return false;
    bool any = false;
    for (size_t i = 0; i < TYPES; i++)
        any |= form->asked[i];
    form->asked[0] |= !any;
    form->texts = reader.texts != NULL;
    out->kind = DIALECT_EMBED;
    out->write = write;
    out->notes = form;
    out->scratch = answer_bytes(&reader, in->size, out->embed.n_items);
    return request_check_modalities(reader.model, out->embed.items, out->embed.n_items, error);
}

bool cohere_read_v2(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return read(in, 2, out, error);
}

bool cohere_read_v1(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return read(in, 1, out, error);
}

/* ---- errors */

static const char *const prefixes[] = {NULL};
const struct dialect dialect_cohere = {
    .name = "cohere", .bit = DIALECT_COHERE, .prefixes = prefixes, .write_error = dialect_error_message};
