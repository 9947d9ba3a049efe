/* rerank.c - {"query", "documents"} (Cohere, Jina, vLLM, Infinity) and {"query", "texts"} (TEI) → documents by
 * descending cosine. A query or a document is a text or a picture. */
#include "server/api/dialects/rerank.h"

#include "server/api/dialects/hf.h"
#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

#define FIELDS                                                                                               \
    "query, documents (or texts), top_n, return_documents, return_text, raw_scores, truncate, "              \
    "truncation_direction, max_tokens_per_doc, model"
#define MOST (REQUEST_MAX_ITEMS - 1)

/* The body's fields, before they are judged together. */
struct fields {
    const struct json_value *query, *documents, *texts;
    size_t top_n; /* 0: all */
    bool return_documents, return_text;
};

/* What the writers repeat of the request. */
struct notes {
    const struct json_value **documents; /* [n]; NULL: they are not asked for */
};

static bool read_flag(const struct json_value *field, const char *name, bool *out, struct api_error *error) {
    if (field->type != JSON_TRUE && field->type != JSON_FALSE)
        return request_refuse_type(name, "true or false", field->type, error);
    *out = field->type == JSON_TRUE;
    return true;
}

static bool read_top_n(const struct json_value *field, size_t *out, struct api_error *error) {
    /* The upper bound only keeps the conversion defined: more than all documents is all documents. */
    if (field->type != JSON_NUMBER || !(field->number >= 1 && field->number <= 1e9) ||
        field->number != (double)(size_t)field->number)
        return api_fail(error, 400, "invalid_top_n", "top_n", "top_n must be a whole number, 1 or more");
    *out = (size_t)field->number;
    return true;
}

/* What changes nothing here: scores are cosines in any case, and a text is cut at its end. */
static bool read_indifferent(const struct json_value *field, bool *known, struct api_error *error) {
    bool flag;
    *known = true;
    if (text_is(field->name, "raw_scores"))
        return read_flag(field, "raw_scores", &flag, error);
    if (text_is(field->name, "max_tokens_per_doc"))
        return field->type == JSON_NUMBER ||
               request_refuse_type("max_tokens_per_doc", "a number", field->type, error);
    *known = false;
    return true;
}

static bool read_field(const struct json_value *field, const struct limoe_info *model, bool peers,
                       struct fields *out, struct api_error *error) {
    bool known = true;
    if (text_is(field->name, "query"))
        out->query = field;
    else if (text_is(field->name, "documents"))
        out->documents = field;
    else if (text_is(field->name, "top_n"))
        return read_top_n(field, &out->top_n, error);
    else if (text_is(field->name, "return_documents"))
        return read_flag(field, "return_documents", &out->return_documents, error);
    else if (peers && text_is(field->name, "texts"))
        out->texts = field;
    else if (peers && text_is(field->name, "return_text"))
        return read_flag(field, "return_text", &out->return_text, error);
    else if (peers && (text_is(field->name, "truncate") || text_is(field->name, "truncation_direction")))
        return request_peer_check(request_peer_find(field->name), model, field, error);
    else if (peers && !read_indifferent(field, &known, error))
        return false;
    else if (!peers || !known)
        return request_refuse_field(field->name.data, field->name.size,
                                    peers ? FIELDS : "query, documents, top_n, return_documents, model",
                                    error);
    return true;
}

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

static bool read_items(const struct dialect_input *in, const struct fields *fields,
                       struct compare_request *out, struct api_error *error) {
    const struct request_items_reader reader = {
        .arena = in->arena, .strings = STRINGS_BY_LOOK, .error = error};
    const struct json_value *list = fields->documents ? fields->documents : fields->texts;
    const char *name = list == fields->documents ? "documents" : "texts";
    if (!fields->query)
        return api_fail(error, 400, "missing_input", "query",
                        "query is missing; accepted: a string, or {\"image\": …}");
    if (!check_list(list, name, error) || !list)
        return false;
    struct request_item *items = arena_array(in->arena, list->count + 1, sizeof *items);
    if (!items)
        return api_fail_memory(error);
    out->items = items;
    out->n = list->count;
    out->top_n = fields->top_n && fields->top_n < out->n ? fields->top_n : out->n;
    return request_read_item(&reader, fields->query, "query", &items[0]) &&
           request_read_item_list(&reader, list, name, items + 1) &&
           request_check_modalities(in->models->info[out->model], items, out->n + 1, error);
}

/* Keeps the documents for the writer, which gives them back in another order. */
static bool keep_documents(const struct dialect_input *in, const struct json_value *list, struct notes *notes,
                           struct dialect_request *out, struct api_error *error) {
    notes->documents = arena_array(in->arena, list->count, sizeof(const struct json_value *));
    if (!notes->documents)
        return api_fail_memory(error);
    size_t n = 0;
    for (const struct json_value *value = list->child; value; value = value->next)
        notes->documents[n++] = value;
    out->scratch = 2 * in->size;
    return true;
}

/* ---- answers */

/* A JSON string, as it is or as an object's text or image. */
static void write_member(struct buffer *out, const struct json_value *value) {
    while (value && value->type == JSON_NULL)
        value = value->next;
    buffer_string(out, value && text_is(value->name, "image") ? "{\"image\":" : "{\"text\":");
    buffer_json_text(out, value ? value->string : text_of(""));
    buffer_string(out, "}");
}

/* ,"document":{"text":…} */
static void write_document(struct buffer *out, const struct notes *notes, size_t i) {
    if (!notes->documents)
        return;
    const struct json_value *document = notes->documents[i];
    buffer_string(out, ",\"document\":");
    if (document->type == JSON_OBJECT) {
        write_member(out, document->child);
        return;
    }
    buffer_string(out, "{\"text\":");
    buffer_json_text(out, document->string);
    buffer_string(out, "}");
}

static void write_results(struct buffer *out, const struct dialect_request *request,
                          const struct classification *ranked) {
    buffer_string(out, ",\"results\":[");
    for (size_t k = 0; k < ranked->count; k++) {
        buffer_string(out, k ? ",{\"index\":" : "{\"index\":");
        buffer_json_unsigned(out, ranked->predictions[k].label);
        buffer_string(out, ",\"relevance_score\":");
        buffer_json_float(out, ranked->predictions[k].cosine);
        write_document(out, request->notes, ranked->predictions[k].label);
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
    const struct notes *notes = request->notes;
    const struct classification *ranked = result->rows;
    buffer_string(out->body, "[");
    for (size_t k = 0; k < ranked->count; k++) {
        const size_t i = ranked->predictions[k].label;
        buffer_string(out->body, k ? ",{\"index\":" : "{\"index\":");
        buffer_json_unsigned(out->body, i);
        buffer_string(out->body, ",\"score\":");
        buffer_json_float(out->body, ranked->predictions[k].cosine);
        if (notes->documents && notes->documents[i]->type == JSON_STRING) {
            buffer_string(out->body, ",\"text\":");
            buffer_json_text(out->body, notes->documents[i]->string);
        }
        buffer_string(out->body, "}");
    }
    buffer_string(out->body, "]");
}

static bool read(const struct dialect_input *in, bool peers, struct dialect_request *out,
                 struct api_error *error) {
    const struct json_value *object;
    struct fields fields = {0};
    struct notes *notes = arena_array(in->arena, 1, sizeof *notes);
    if (!notes)
        return api_fail_memory(error);
    if (!request_read_object(in->body, in->size, in->arena, &object, error) ||
        !request_choose_model(in->models, object, &out->compare.model, error))
        return false;
    const struct limoe_info *model = in->models->info[out->compare.model];
    for (const struct json_value *field = object->child; field; field = field->next)
        if (field->type != JSON_NULL && !text_is(field->name, "model") &&
            !read_field(field, model, peers, &fields, error))
            return false;
    if (fields.documents && fields.texts)
        return api_fail(error, 400, "conflicting_fields", "texts",
                        "both documents and texts are given; one of them is accepted");
    out->kind = DIALECT_COMPARE;
    out->notes = notes;
    out->write = fields.texts ? write_tei : write_results_object;
    const bool kept = fields.return_documents || fields.return_text;
    return read_items(in, &fields, &out->compare, error) &&
           (!kept ||
            keep_documents(in, fields.documents ? fields.documents : fields.texts, notes, out, error));
}

bool rerank_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return read(in, false, out, error);
}

bool rerank_read_peers(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    return read(in, true, out, error);
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
