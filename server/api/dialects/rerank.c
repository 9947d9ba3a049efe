/* rerank.c - {"query", "documents"} (Cohere, Jina, vLLM, Infinity) and {"query", "texts"} (TEI) → documents by
 * descending cosine. A query or a document is a text or a picture. */
#include "server/api/dialects/rerank.h"

#include "server/api/dialects/hf.h"
#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

#define MOST (REQUEST_MAX_ITEMS - 1)
_Static_assert(MOST == 2047, "as the schema has it");

/* The reader of both forms. */
struct reader {
    const struct limoe_info *model;
    const struct json_value *query, *documents, *texts; /* read last */
    size_t top_n;                                       /* 0: all */
    bool returns;                                       /* documents come back with the results */
    struct api_error *error;
};

static bool read_flag(const struct json_value *value, const char *name, bool *out, struct api_error *error) {
    if (value->type != JSON_TRUE && value->type != JSON_FALSE)
        return request_refuse_type(name, "true or false", value->type, error);
    *out = value->type == JSON_TRUE;
    return true;
}

static bool keep_query(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->query = value;
    return true;
}

static bool keep_documents(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->documents = value;
    return true;
}

static bool keep_texts(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->texts = value;
    return true;
}

static bool read_top_n(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    /* The upper bound only keeps the conversion defined: more than all documents is all documents. */
    if (value->type != JSON_NUMBER || !(value->number >= 1 && value->number <= 1e9) ||
        value->number != (double)(size_t)value->number)
        return api_fail(r->error, 400, "invalid_top_n", "top_n", "top_n must be a whole number, 1 or more");
    r->top_n = (size_t)value->number;
    return true;
}

static bool read_return_documents(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return read_flag(value, "return_documents", &r->returns, r->error);
}

static bool read_return_text(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return read_flag(value, "return_text", &r->returns, r->error);
}

/* Scores are cosines in any case. */
static bool check_raw_scores(void *reader, const struct json_value *value) {
    bool raw;
    return read_flag(value, "raw_scores", &raw, ((struct reader *)reader)->error);
}

/* A text is cut at its end in any case. */
static bool check_max_tokens(void *reader, const struct json_value *value) {
    return value->type == JSON_NUMBER || request_refuse_type("max_tokens_per_doc", "a number", value->type,
                                                             ((struct reader *)reader)->error);
}

static bool check_truncation(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    return request_peer_check(request_peer_find(value->name), r->model, value, r->error);
}

#define QUERY_ROW                                                                                            \
    {                                                                                                        \
        .name = "query", .forms = FIELD_JSON, .kind = FIELD_SCHEMA, .required = true,                        \
        .schema = "{\"$ref\":\"#/components/schemas/Item\"}", .what = "What documents are held against.",    \
        .read = keep_query                                                                                   \
    }
#define DOCUMENTS_ROW                                                                                        \
    .name = "documents", .forms = FIELD_JSON, .kind = FIELD_SCHEMA,                                          \
    .schema = "{\"type\":\"array\",\"minItems\":1,\"maxItems\":2047,\"items\":{\"$ref\":"                    \
              "\"#/components/schemas/Item\"}}",                                                             \
    .what = "What is to be ordered: texts and pictures.", .read = keep_documents
#define TOP_N_ROW                                                                                            \
    {                                                                                                        \
        .name = "top_n", .forms = FIELD_JSON, .kind = FIELD_WHOLE, .least = 1,                               \
        .what = "How many are answered with, the best first; absent, or more than there are: all.",          \
        .read = read_top_n                                                                                   \
    }
#define RETURN_DOCUMENTS_ROW                                                                                 \
    {                                                                                                        \
        .name = "return_documents", .forms = FIELD_JSON, .kind = FIELD_SCHEMA,                               \
        .schema = "{\"type\":\"boolean\"}", .fallback = "false",                                             \
        .what = "Whether each result has its document.", .read = read_return_documents                       \
    }

static const struct field own[] = {
    QUERY_ROW, {DOCUMENTS_ROW, .required = true}, TOP_N_ROW, RETURN_DOCUMENTS_ROW, FIELD_MODEL(FIELD_JSON)};
const struct field_table rerank_fields = {FIELD_TABLE(own)};

static const struct field of_peers[] = {
    QUERY_ROW,
    {DOCUMENTS_ROW},
    {.name = "texts", .forms = FIELD_JSON, .read = keep_texts},
    TOP_N_ROW,
    RETURN_DOCUMENTS_ROW,
    {.name = "return_text", .forms = FIELD_JSON, .read = read_return_text},
    {.name = "raw_scores", .forms = FIELD_JSON, .read = check_raw_scores},
    {.name = "truncate", .forms = FIELD_JSON, .read = check_truncation},
    {.name = "truncation_direction", .forms = FIELD_JSON, .read = check_truncation},
    {.name = "max_tokens_per_doc", .forms = FIELD_JSON, .read = check_max_tokens},
    FIELD_MODEL(FIELD_JSON),
};
static const struct field_table peers_fields = {FIELD_TABLE(of_peers)};

static bool check_list(const struct json_value *list, const char *name, struct api_error *error) {
    if (!list)
        return api_fail(error, 400, "missing_input", "documents",
                        "documents is missing; accepted: a list of strings, {\"text\": …} or {\"image\": …}");
    if (list->type != JSON_ARRAY)
        return request_refuse_type(name, "a list of strings, {\"text\": …} or {\"image\": …}", list->type,
                                   error);
    if (!list->count)
        return api_fail(error, 400, "empty_input", name, "%s is empty; 1 to %u are accepted", name, MOST);
    if (list->count > MOST)
        return api_fail(error, 400, "too_many_items", name, "%zu %s; up to %u are accepted", list->count,
                        name, MOST);
    return true;
}

static bool read_items(const struct dialect_input *in, const struct reader *r, struct dialect_request *out,
                       struct api_error *error) {
    const struct request_items_reader reader = {
        .arena = in->arena, .strings = STRINGS_BY_LOOK, .error = error};
    const struct json_value *list = r->documents ? r->documents : r->texts;
    const char *name = r->texts ? "texts" : "documents";
    struct compare_request *request = &out->compare;
    if (!r->query)
        return api_fail(error, 400, "missing_input", "query",
                        "query is missing; accepted: a string, or {\"image\": …}");
    if (!check_list(list, name, error) || !list)
        return false;
    struct request_item *items = arena_array(in->arena, list->count + 1, sizeof *items);
    if (!items)
        return api_fail_memory(error);
    request->items = items;
    request->n = list->count;
    request->top_n = r->top_n && r->top_n < request->n ? r->top_n : request->n;
    if (r->returns) {
        out->notes = items + 1;
        out->scratch = 2 * in->size;
    }
    return request_read_item(&reader, r->query, "query", &items[0]) &&
           request_read_item_list(&reader, list, name, items + 1) &&
           request_check_modalities(r->model, items, request->n + 1, error);
}

/* ---- answers */

static struct text text_of_item(const struct request_item *item) {
    return (struct text){.data = (const char *)item->bytes, .size = item->size};
}

/* ,"document":{"text":…} or {"image":…}, whatever form it came in; a picture that was named by its URL as that. */
static void write_document(struct buffer *out, const struct request_item *document) {
    buffer_string(out, ",\"document\":");
    buffer_string(out, document->modality == LIMOE_IMAGE ? "{\"image\":" : "{\"text\":");
    if (document->modality == LIMOE_IMAGE && !document->remote)
        buffer_json_base64(out, document->bytes, document->size);
    else
        buffer_json_text(out, text_of_item(document));
    buffer_string(out, "}");
}

/* The notes are the documents, if they are to come back. */
static void write_results(struct buffer *out, const struct dialect_request *request,
                          const struct classification *ranked) {
    const struct request_item *documents = request->notes;
    buffer_string(out, ",\"results\":[");
    for (size_t k = 0; k < ranked->count; k++) {
        buffer_string(out, k ? ",{\"index\":" : "{\"index\":");
        buffer_json_unsigned(out, ranked->predictions[k].label);
        buffer_string(out, ",\"relevance_score\":");
        buffer_json_float(out, ranked->predictions[k].cosine);
        if (documents)
            write_document(out, &documents[ranked->predictions[k].label]);
        buffer_string(out, "}");
    }
    buffer_string(out, "]");
}

static void write_results_object(const struct dialect_request *request, const struct dialect_result *result,
                                 struct dialect_answer *out) {
    buffer_string(out->body, "{\"object\":\"list\",\"model\":");
    buffer_json_string(out->body, result->model->name);
    write_results(out->body, request, result->rows);
    buffer_string(out->body, ",\"usage\":");
    answer_usage(out->body, &result->usage);
    buffer_string(out->body, "}");
}

/* TEI's: [{"index","score","text"?}]. */
static void write_tei(const struct dialect_request *request, const struct dialect_result *result,
                      struct dialect_answer *out) {
    const struct request_item *documents = request->notes;
    const struct classification *ranked = result->rows;
    buffer_string(out->body, "[");
    for (size_t k = 0; k < ranked->count; k++) {
        const size_t i = ranked->predictions[k].label;
        buffer_string(out->body, k ? ",{\"index\":" : "{\"index\":");
        buffer_json_unsigned(out->body, i);
        buffer_string(out->body, ",\"score\":");
        buffer_json_float(out->body, ranked->predictions[k].cosine);
        if (documents && documents[i].modality == LIMOE_TEXT) {
            buffer_string(out->body, ",\"text\":");
            buffer_json_text(out->body, text_of_item(&documents[i]));
        }
        buffer_string(out->body, "}");
    }
    buffer_string(out->body, "]");
}

static bool read(const struct dialect_input *in, const struct field_table *table, struct dialect_request *out,
                 struct api_error *error) {
    const struct json_value *object;
    struct reader reader = {.error = error};
    if (!dialect_read_object(in, &object, error) ||
        !request_choose_model(in->models, object, &out->compare.model, error))
        return false;
    reader.model = in->models->info[out->compare.model];
    if (!field_read_object(object, table, &reader, error))
        return false;
    if (reader.documents && reader.texts)
        return api_fail(error, 400, "conflicting_fields", "texts",
                        "both documents and texts are given; one of them is accepted");
    out->kind = DIALECT_COMPARE;
    out->write = reader.texts ? write_tei : write_results_object;
    return read_items(in, &reader, out, error);
}

bool rerank_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return read(in, &rerank_fields, out, error);
}

bool rerank_read_peers(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return read(in, &peers_fields, out, error);
}

/* "error" is what TEI's clients read, "message" what Cohere's do. */
static void write_error(struct buffer *out, const struct api_error *error) {
    buffer_string(out, "{\"error\":");
    buffer_json_string(out, error->message);
    buffer_print(out, ",\"error_type\":\"%s\",\"message\":", hf_error_type(error->status));
    buffer_json_string(out, error->message);
    buffer_string(out, "}");
}

static const char *const prefixes[] = {NULL};
const struct dialect dialect_rerank = {.name = "rerank",
                                       .bit = DIALECT_RERANK,
                                       .prefixes = prefixes,
                                       .write_error = write_error,
                                       .status = hf_status};
