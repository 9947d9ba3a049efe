/* request.c - what the routes' readers share: media types, the model's name, pictures in strings, the checks
 * on labels. */
#include "server/api/request.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/api/request_parts.h"
#include "server/formats/data_uri.h"

/* ---- media types */

/* "Image/PNG; charset=x" → "Image/PNG". */
static struct text media_type(const char *content_type) {
    const char *type = content_type ? content_type : "";
    type += strspn(type, " \t");
    return (struct text){.data = type, .size = strcspn(type, "; \t")};
}

static bool is_type(struct text type, const char *name) {
    return type.size == strlen(name) && strncasecmp(type.data, name, type.size) == 0;
}

enum request_body request_body_of(const char *content_type) {
    const struct text type = media_type(content_type);
    if (!type.size)
        return REQUEST_BODY_UNTYPED;
    if (is_type(type, "application/json"))
        return REQUEST_BODY_JSON;
    if (is_type(type, "application/x-ndjson"))
        return REQUEST_BODY_LINES;
    if (is_type(type, "multipart/form-data"))
        return REQUEST_BODY_MULTIPART;
    if (type.size > 6 && strncasecmp(type.data, "image/", 6) == 0)
        return REQUEST_BODY_IMAGE;
    return REQUEST_BODY_OTHER;
}

enum request_body request_body_for(const char *content_type, unsigned bodies) {
    const enum request_body body = request_body_of(content_type);
    const bool pictures = bodies & 1u << REQUEST_BODY_IMAGE && !(bodies & 1u << REQUEST_BODY_OTHER);
    return pictures && body == REQUEST_BODY_OTHER &&
                   is_type(media_type(content_type), "application/octet-stream")
               ? REQUEST_BODY_IMAGE
               : body;
}

enum request_body request_body_look(const char *body, size_t size) {
    return size == 0 || json_begins(body, size) ? REQUEST_BODY_JSON : REQUEST_BODY_IMAGE;
}

bool request_refuse_body(const char *content_type, const char *accepted, struct api_error *error) {
    char quoted[64];
    const struct text type = media_type(content_type);
    /* What curl -d says its data are, unless it is told. */
    const bool form = is_type(type, "application/x-www-form-urlencoded");
    return api_fail(error, 415, "unsupported_media_type", NULL,
                    "a body of Content-Type \"%s\" is not read here; accepted: %s%s",
                    text_quote(type, quoted, sizeof quoted), accepted,
                    form ? " (with curl -d, add -H \"Content-Type: application/json\")" : "");
}

/* ---- fields */

bool request_read_large_object(const char *body, size_t size, const struct json_limits *limits,
                               struct arena *arena, const struct json_value **object,
                               struct api_error *error) {
    struct json_value *value;
    struct json_error at;
    if (size == 0)
        return api_fail(error, 400, "invalid_json", NULL, "the body is empty; a JSON object is expected");
    if (!json_read_within(body, size, limits, arena, &value, &at)) {
        if (at.no_memory)
            return api_fail_memory(error);
        return api_fail(error, 400, "invalid_json", NULL, "the body is not JSON: line %zu, column %zu: %s",
                        at.line, at.column, at.message);
    }
    if (value->type != JSON_OBJECT)
        return api_fail(error, 400, "invalid_json", NULL, "the body is %s; a JSON object is expected",
                        json_type_name(value->type));
    *object = value;
    return true;
}

bool request_read_object(const char *body, size_t size, struct arena *arena, const struct json_value **object,
                         struct api_error *error) {
    static const struct json_limits limits = {.values = JSON_MAX_VALUES, .members = JSON_MAX_MEMBERS};
    return request_read_large_object(body, size, &limits, arena, object, error);
}

bool request_refuse_field(const char *name, size_t size, const char *accepted, struct api_error *error) {
    char quoted[64];
    text_quote((struct text){.data = name, .size = size}, quoted, sizeof quoted);
    return api_fail(error, 400, "unknown_field", quoted, "there is no field \"%s\" here; accepted: %s",
                    quoted, accepted);
}

bool request_refuse_type(const char *param, const char *accepted, enum json_type found,
                         struct api_error *error) {
    return api_fail(error, 400, "invalid_type", param, "%s is %s; accepted: %s", param, json_type_name(found),
                    accepted);
}

bool request_choose_model(const struct request_models *models, const struct json_value *object, size_t *out,
                          struct api_error *error) {
    const struct json_value *name = json_member(object, text_of("model"));
    *out = 0;
    if (!name || name->type == JSON_NULL)
        return true;
    if (name->type != JSON_STRING)
        return request_refuse_type("model", "a string", name->type, error);
    return request_find_model(models, name->string, out, error);
}

bool request_find_model(const struct request_models *models, struct text name, size_t *out,
                        struct api_error *error) {
    char quoted[64], names[300];
    *out = model_names_find(models, name);
    if (*out < models->n)
        return true;
    return api_fail(error, 404, "model_not_found", "model",
                    "there is no model \"%s\" here; available: %s (the server's option --model-alias gives "
                    "them more names)",
                    text_quote(name, quoted, sizeof quoted), model_names_list(models, names, sizeof names));
}

static bool note_model(void *reader, const struct json_value *value) {
    (void)value;
    *(bool *)reader = true;
    return true;
}

static const struct field reload[] = {
    {.name = "model",
     .forms = FIELD_JSON,
     .kind = FIELD_STRING,
     .what = "The name or an alias of the model to load anew. Absent: all.",
     .read = note_model},
};
const struct field_table request_reload_fields = {FIELD_TABLE(reload)};

bool request_reload_json(const struct request_models *models, const char *body, size_t size,
                         struct arena *arena, bool *named, size_t *out, struct api_error *error) {
    const struct json_value *object = NULL;
    *named = false;
    *out = 0;
    if (!size)
        return true;
    return request_read_object(body, size, arena, &object, error) && object &&
           field_read_object(object, &request_reload_fields, named, error) &&
           request_choose_model(models, object, out, error);
}

bool request_read_image(struct text text, const char *param, struct arena *arena, struct request_item *out,
                        struct api_error *error) {
    struct limoe_error cause;
    *out = (struct request_item){.modality = LIMOE_IMAGE, .param = param};
    out->remote = data_uri_is_url(&text);
    if (out->remote) {
        out->bytes = (const uint8_t *)text.data;
        out->size = text.size;
        return true;
    }
    if (data_uri_decode(text, arena, &out->bytes, &out->size, &cause) == LIMOE_OK)
        return true;
    if (cause.status == LIMOE_NO_MEMORY)
        return api_fail_memory(error);
    return api_fail(error, 400, "invalid_image", param, "%s: %s", param, cause.message);
}

/* ---- labels and templates */

struct request_list request_labels(struct classify_request *request) {
    return (struct request_list){.name = "labels",
                                 .commas = true,
                                 .most = REQUEST_MAX_LABELS,
                                 .too_many = "too_many_labels",
                                 .texts = &request->labels,
                                 .count = &request->n_labels};
}

struct request_list request_templates(struct classify_request *request) {
    return (struct request_list){.name = "templates",
                                 .most = REQUEST_MAX_TEMPLATES,
                                 .too_many = "too_many_templates",
                                 .texts = &request->templates,
                                 .count = &request->n_templates};
}

bool request_check_text(struct text text, const char *list, size_t i, const char *empty_code,
                        struct api_error *error) {
    char param[32];
    snprintf(param, sizeof param, "%s[%zu]", list, i);
    if (text_blank(text)) /* answers are told apart by their labels: one that nobody sees is a slip */
        return api_fail(error, 400, empty_code, param,
                        text.size ? "%s is nothing but white space" : "%s is empty", param);
    if (text.size > REQUEST_MAX_LABEL_BYTES)
        return api_fail(error, 400, "too_long", param, "%s has %zu bytes; up to %u are accepted", param,
                        text.size, REQUEST_MAX_LABEL_BYTES);
    return true;
}

size_t request_placeholders(struct text template) {
    size_t n = 0;
    for (size_t i = 0; i + 1 < template.size; i++)
        n += template.data[i] == '{' && template.data[i + 1] == '}';
    return n;
}

static void bound_top_k(struct classify_request *request) {
    if (request->top_k == 0 || request->top_k > request->n_labels)
        request->top_k = request->n_labels;
}

/* What the prompts have together: labels and templates may be few bytes, and their products many, each of
 * which is tokenised. */
static bool check_prompts(const struct classify_request *request, struct api_error *error) {
    const size_t prompts = request->n_labels * request->n_templates;
    uint64_t labels = 0, templates = 0;
    if (prompts > REQUEST_MAX_PROMPTS)
        return api_fail(error, 400, "too_many_prompts", "templates",
                        "%zu labels in %zu templates are %zu prompts; up to %u are accepted",
                        request->n_labels, request->n_templates, prompts, REQUEST_MAX_PROMPTS);
    for (size_t i = 0; i < request->n_labels; i++)
        labels += request->labels[i].size;
    for (size_t i = 0; i < request->n_templates; i++)
        templates += request->templates[i].size - 2; /* without the place of the label */
    const uint64_t bytes = labels * request->n_templates + templates * request->n_labels;
    if (bytes > REQUEST_MAX_PROMPT_BYTES)
        return api_fail(error, 400, "too_many_prompts", "templates",
                        "%zu labels in %zu templates are prompts of %llu bytes in all; up to %u are accepted",
                        request->n_labels, request->n_templates, (unsigned long long)bytes,
                        REQUEST_MAX_PROMPT_BYTES);
    return true;
}

bool request_check_labels(struct classify_request *request, struct api_error *error) {
    static const struct text bare = {.data = "{}", .size = 2};

    if (request->n_labels == 0)
        return api_fail(error, 400, "empty_labels", "labels", "there are no labels; 1 to %u are accepted",
                        REQUEST_MAX_LABELS);
    if (request->n_labels > REQUEST_MAX_LABELS)
        return api_fail(error, 400, "too_many_labels", "labels", "%zu labels; up to %u are accepted",
                        request->n_labels, REQUEST_MAX_LABELS);
    for (size_t i = 0; i < request->n_labels; i++)
        if (!request_check_text(request->labels[i], "labels", i, "empty_labels", error))
            return false;

    if (request->n_templates == 0) {
        request->templates = &bare;
        request->n_templates = 1;
    }
    if (request->n_templates > REQUEST_MAX_TEMPLATES)
        return api_fail(error, 400, "too_many_templates", "templates", "%zu templates; up to %u are accepted",
                        request->n_templates, REQUEST_MAX_TEMPLATES);
    for (size_t i = 0; i < request->n_templates; i++) {
        if (!request_check_text(request->templates[i], "templates", i, "empty_template", error))
            return false;
        const size_t n = request_placeholders(request->templates[i]);
        char param[32], quoted[64];
        snprintf(param, sizeof param, "templates[%zu]", i);
        if (n != 1)
            return api_fail(error, 400, "invalid_template", param,
                            "%s (\"%s\") has %zu \"{}\"; exactly one is accepted, where the label goes",
                            param, text_quote(request->templates[i], quoted, sizeof quoted), n);
    }
    if (!check_prompts(request, error))
        return false;
    bound_top_k(request);
    return true;
}

void request_use_classifier(struct classify_request *request, const struct text *labels, size_t n_labels,
                            const struct text *templates, size_t n_templates) {
    request->labels = labels;
    request->n_labels = n_labels;
    request->templates = templates;
    request->n_templates = n_templates;
    bound_top_k(request);
}
