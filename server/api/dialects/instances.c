/* instances.c - reads instances by the rules of items, and writes predictions in their order. */
#include "server/api/dialects/instances.h"

#include "server/api/request_parts.h"
#include "server/api/request_peers.h"

#define FORMS "a list of strings, {\"text\": …}, {\"image\": …} or {\"b64\": …}"

/* The reader of the body and of its parameters. */
struct reader {
    struct request_labels_reader labels; /* first: its fields' readers are given this one */
    const struct limoe_info *model;
    const struct json_value *instances, *parameters;
    bool ranks; /* there are labels, be it none */
};

static bool keep_instances(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->instances = value;
    return true;
}

static bool keep_parameters(void *reader, const struct json_value *value) {
    struct reader *r = reader;
    r->parameters = value;
    return value->type == JSON_OBJECT ||
           request_refuse_type("parameters", "an object", value->type, r->labels.error);
}

static const struct field body_rows[] = {
    {.name = "instances", .forms = FIELD_JSON, .read = keep_instances},
    {.name = "parameters", .forms = FIELD_JSON, .read = keep_parameters},
    FIELD_MODEL(FIELD_JSON),
};
static const struct field_table body_fields = {FIELD_TABLE(body_rows)};

/* ---- parameters */

static bool read_labels(struct reader *r, const struct json_value *value, const char *name) {
    struct request_list list = request_labels(r->labels.out);
    list.name = name;
    if (r->ranks)
        return api_fail(r->labels.error, 400, "conflicting_fields", "candidate_labels",
                        "both labels and candidate_labels are given; one of them is accepted");
    r->ranks = true;
    return request_read_strings(value, &list, r->labels.arena, r->labels.error);
}

static bool read_own(void *reader, const struct json_value *value) {
    return read_labels(reader, value, "labels");
}

static bool read_candidates(void *reader, const struct json_value *value) {
    return read_labels(reader, value, "candidate_labels");
}

static bool read_top_k(void *reader, const struct json_value *value) {
    const struct reader *r = reader;
    const bool whole = value->type == JSON_NUMBER && value->number >= 1 &&
                       value->number <= REQUEST_MAX_TOP_K && value->number == (double)(size_t)value->number;
    r->labels.out->top_k = whole ? (size_t)value->number : 0;
    return whole || request_refuse_top_k(r->labels.error);
}

static bool check_peers(void *reader, const struct json_value *value) {
    const struct reader *r = reader;
    const struct request_peer_field *peer = request_peer_find(value->name);
    return peer ? request_peer_check(peer, r->model, value, r->labels.error)
                : request_refuse_field(value->name.data, value->name.size,
                                       "labels, templates, top_k (of parameters)", r->labels.error);
}

static const struct field parameter_rows[] = {
    {.name = "labels", .forms = FIELD_JSON, .read = read_own},
    {.name = "candidate_labels", .forms = FIELD_JSON, .read = read_candidates},
    {.name = "templates", .forms = FIELD_JSON, .read = request_read_templates},
    {.name = "top_k", .forms = FIELD_JSON, .read = read_top_k},
};
static const struct field_table parameter_fields = {FIELD_TABLE(parameter_rows), .other = check_peers};

/* ---- instances */

static bool check_list(const struct json_value *instances, struct api_error *error) {
    if (!instances)
        return api_fail(error, 400, "missing_input", "instances", "instances is missing; accepted: " FORMS);
    if (instances->type != JSON_ARRAY)
        return request_refuse_type("instances", FORMS, instances->type, error);
    if (!instances->count)
        return api_fail(error, 400, "empty_input", "instances", "instances is empty; 1 to %u are accepted",
                        REQUEST_MAX_ITEMS);
    return instances->count <= REQUEST_MAX_ITEMS ||
           api_fail(error, 400, "too_many_items", "instances", "%zu instances; up to %u are accepted",
                    instances->count, REQUEST_MAX_ITEMS);
}

/* The string of {"b64": …}; NULL: the value is something else. */
static const struct json_value *bytes_of(const struct json_value *value) {
    const struct json_value *only = value->type == JSON_OBJECT ? value->child : NULL;
    return only && !only->next && only->type == JSON_STRING && text_is(only->name, "b64") ? only : NULL;
}

/* {"b64": …} or {"image": {"b64": …}}, as TensorFlow Serving has bytes in JSON; NULL: neither. */
static const struct json_value *find_bytes(const struct json_value *instance) {
    const struct json_value *only = instance->type == JSON_OBJECT ? instance->child : NULL;
    if (only && !only->next && text_is(only->name, "image"))
        return bytes_of(only);
    return bytes_of(instance);
}

static bool read_list(const struct dialect_input *in, const struct json_value *instances,
                      struct request_item *items, struct api_error *error) {
    const struct request_items_reader reader = {
        .arena = in->arena, .strings = STRINGS_BY_LOOK, .error = error};
    size_t i = 0;
    for (const struct json_value *instance = instances->child; instance; instance = instance->next, i++) {
        const struct json_value *bytes = find_bytes(instance);
        const char *param = arena_print(in->arena, "instances[%zu]", i);
        if (!param)
            return api_fail_memory(error);
        if (!(bytes ? request_read_image(bytes->string, param, in->arena, &items[i], error)
                    : request_read_item(&reader, instance, param, &items[i])))
            return false;
    }
    return true;
}

/* ---- predictions */

static void write_vectors(const struct dialect_request *request, const struct dialect_result *result,
                          struct dialect_answer *out) {
    buffer_string(out->body, "{\"predictions\":");
    dialect_write_vectors(out->body, result->embeddings, request->embed.n_items, result->model->embed);
    buffer_string(out->body, "}");
}

static void write_ranked(struct buffer *out, const struct classify_request *request,
                         const struct classification *ranked) {
    buffer_string(out, "[");
    for (size_t k = 0; k < ranked->count; k++) {
        const struct prediction *prediction = &ranked->predictions[k];
        buffer_string(out, k ? ",{\"label\":" : "{\"label\":");
        buffer_json_text(out, request->labels[prediction->label]);
        buffer_string(out, ",\"score\":");
        buffer_json_float(out, prediction->score);
        buffer_string(out, "}");
    }
    buffer_string(out, "]");
}

static void write_labels(const struct dialect_request *request, const struct dialect_result *result,
                         struct dialect_answer *out) {
    buffer_string(out->body, "{\"predictions\":[");
    for (size_t i = 0; i < request->classify.n_images; i++) {
        buffer_string(out->body, i ? "," : "");
        write_ranked(out->body, &request->classify, &result->rows[i]);
    }
    buffer_string(out->body, "]}");
}

/* ---- both */

static bool ask_for_vectors(const struct classify_request *ranking, struct dialect_request *out,
                            struct api_error *error) {
    if (ranking->n_templates || ranking->top_k)
        return api_fail(error, 400, "empty_labels", "parameters.labels",
                        "parameters.labels is missing: templates and top_k are for labels");
    out->kind = DIALECT_EMBED;
    out->write = write_vectors;
    return true;
}

static bool ask_for_labels(const struct classify_request *ranking, const struct request_item *items,
                           struct dialect_request *out, struct api_error *error) {
    for (size_t i = 0; i < ranking->n_images; i++)
        if (items[i].modality != LIMOE_IMAGE)
            return api_fail(error, 400, "invalid_item", items[i].param,
                            "%s is a text; accepted with labels: pictures", items[i].param);
    out->kind = DIALECT_CLASSIFY;
    out->write = write_labels;
    out->classify = *ranking;
    return true;
}

/* Labels are checked first: they are cheap to check, pictures are not. */
static bool read_body(const struct dialect_input *in, struct reader *r, size_t model,
                      struct dialect_request *out, struct api_error *error) {
    struct classify_request *ranking = r->labels.out;
    if (r->parameters && !field_read_object(r->parameters, &parameter_fields, r, error))
        return false;
    if ((r->ranks && !request_check_labels(ranking, error)) || !check_list(r->instances, error))
        return false;
    const size_t n = r->instances->count;
    struct request_item *items = arena_array(in->arena, n, sizeof *items);
    if (!items)
        return api_fail_memory(error);
    ranking->model = model;
    ranking->images = items;
    ranking->n_images = n;
    out->embed = (struct embed_request){.model = model, .items = items, .n_items = n};
    return read_list(in, r->instances, items, error) && request_check_modalities(r->model, items, n, error) &&
           (r->ranks ? ask_for_labels(ranking, items, out, error) : ask_for_vectors(ranking, out, error));
}

bool instances_read(const struct dialect_input *in, struct text model, struct dialect_request *out,
                    struct api_error *error) {
    const struct json_value *object = NULL;
    struct classify_request ranking = {0};
    struct reader reader = {.labels = {.out = &ranking, .arena = in->arena, .error = error}};
    size_t index = 0;
    if (!dialect_read_object(in, &object, error) ||
        !(model.size ? request_find_model(in->models, model, &index, error)
                     : request_choose_model(in->models, object, &index, error)))
        return false;
    reader.model = in->models->info[index];
    return field_read_object(object, &body_fields, &reader, error) &&
           read_body(in, &reader, index, out, error);
}
