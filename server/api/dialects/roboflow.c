/* roboflow.c - what Roboflow's inference_sdk sends to its CLIP routes, and reads. Shapes: inference.roboflow.com,
 * its OpenAPI document. A key in the body or the query is accepted and not looked at: keys of this server come in
 * the header Authorization, where nobody logs them. */
#include "server/api/dialects/roboflow.h"

#include <string.h>

#include "server/api/request_parts.h"
#include "server/formats/data_uri.h"

#define IMAGE_FORM "{\"type\": \"base64\" or \"url\", \"value\": …}"

/* The reader of all three; what a request has not is NULL. */
struct reader {
    const struct json_value *items; /* "text", "image" or "prompt" */
    const struct json_value *subject, *subject_type, *prompt_type;
    struct api_error *error;
};

static bool keep_items(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->items = value;
    return true;
}

static bool keep_subject(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->subject = value;
    return true;
}

static bool keep_subject_type(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->subject_type = value;
    return true;
}

static bool keep_prompt_type(void *reader, const struct json_value *value) {
    ((struct reader *)reader)->prompt_type = value;
    return true;
}

/* "id", "source", "api_key" …: who asks, which is of no consequence here. Their values are never repeated. */
#define SHARED                                                                                               \
    {.name = "clip_version_id", .forms = FIELD_JSON}, {.name = "model_id", .forms = FIELD_JSON},             \
        {.name = "api_key", .forms = FIELD_JSON, .unlisted = true},                                          \
        {.name = "id", .forms = FIELD_JSON, .unlisted = true},                                               \
        {.name = "start", .forms = FIELD_JSON, .unlisted = true},                                            \
        {.name = "source", .forms = FIELD_JSON, .unlisted = true},                                           \
        {.name = "source_info", .forms = FIELD_JSON, .unlisted = true},                                      \
        {.name = "disable_model_monitoring", .forms = FIELD_JSON, .unlisted = true},                         \
        {.name = "usage_billable", .forms = FIELD_JSON, .unlisted = true}, FIELD_MODEL(FIELD_JSON)

static const struct field text_rows[] = {{.name = "text", .forms = FIELD_JSON, .read = keep_items}, SHARED};
static const struct field image_rows[] = {{.name = "image", .forms = FIELD_JSON, .read = keep_items}, SHARED};
static const struct field compare_rows[] = {
    {.name = "subject", .forms = FIELD_JSON, .read = keep_subject},
    {.name = "subject_type", .forms = FIELD_JSON, .read = keep_subject_type},
    {.name = "prompt", .forms = FIELD_JSON, .read = keep_items},
    {.name = "prompt_type", .forms = FIELD_JSON, .read = keep_prompt_type},
    SHARED};
static const struct field_table text_fields = {FIELD_TABLE(text_rows)},
                                image_fields = {FIELD_TABLE(image_rows)},
                                compare_fields = {FIELD_TABLE(compare_rows)};

/* ---- the model: "model_id", of "clip/ViT-B-32", or "clip_version_id", of "ViT-B-32" */

/* A model or alias called so, with or without "clip/". */
static bool choose_version(const struct request_models *models, struct text name, size_t *out) {
    static const char clip[] = "clip/";
    const bool has = name.size > sizeof clip - 1 && memcmp(name.data, clip, sizeof clip - 1) == 0;
    *out = model_names_find_written(models, name);
    if (*out == models->n && has)
        *out = model_names_find_written(models, (struct text){.data = name.data + sizeof clip - 1,
                                                              .size = name.size - (sizeof clip - 1)});
    return *out < models->n;
}

static bool choose_model(const struct request_models *models, const struct json_value *object, size_t *out,
                         struct api_error *error) {
    static const char *const names[] = {"model_id", "clip_version_id"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct json_value *name = json_member(object, text_of(names[i]));
        if (!name || name->type == JSON_NULL)
            continue;
        if (name->type != JSON_STRING)
            return request_refuse_type(names[i], "a string", name->type, error);
        return choose_version(models, name->string, out) ||
               request_find_model(models, name->string, out, error);
    }
    return request_choose_model(models, object, out, error);
}

/* ---- items */

static bool is_string(const struct json_value *value, const char *string) {
    return value && value->type == JSON_STRING && text_is(value->string, string);
}

static bool read_picture(const struct request_items_reader *r, const struct json_value *image,
                         const char *param, struct request_item *out) {
    const struct json_value *type = json_member(image, text_of("type"));
    const struct json_value *value = json_member(image, text_of("value"));
    const bool url = is_string(type, "url");
    struct text string;
    char quoted[32];
    if (image->type != JSON_OBJECT || !value || value->type != JSON_STRING)
        return request_refuse_type(param, IMAGE_FORM, value ? value->type : image->type, r->error);
    if (!url && !is_string(type, "base64"))
        return api_fail(
            r->error, 400, "unsupported_value", param, "%s is of type \"%s\"; accepted: \"base64\", \"url\"",
            param, type && type->type == JSON_STRING ? text_quote(type->string, quoted, sizeof quoted) : "");
    string = value->string;
    if (url && !data_uri_is_url(&string))
        return api_fail(r->error, 400, "image_url_refused", param,
                        "%s is of type \"url\" and its value begins with neither https: nor http:", param);
    return request_read_image(string, param, r->arena, out, r->error);
}

static bool read_one(const struct request_items_reader *r, const struct json_value *value, const char *param,
                     struct request_item *out) {
    if (r->strings == STRINGS_ARE_IMAGES)
        return read_picture(r, value, param, out);
    if (value->type != JSON_STRING)
        return request_refuse_type(param, "a string", value->type, r->error);
    return request_read_text(value->string, param, out, r->error);
}

/* One or a list of them, behind `before` others. */
static struct request_item *read_list(const struct request_items_reader *r, const struct json_value *value,
                                      const char *name, size_t before, size_t *n) {
    const bool list = value && value->type == JSON_ARRAY;
    *n = list ? value->count : 1;
    if (!value || !*n || *n + before > REQUEST_MAX_ITEMS) {
        api_fail(r->error, 400,
                 !value ? "missing_input"
                 : *n   ? "too_many_items"
                        : "empty_input",
                 name,
                 !value ? "%s is missing; accepted: one, or a list of 1 to %zu"
                        : "%s is a list of another length than accepted: 1 to %zu",
                 name, REQUEST_MAX_ITEMS - before);
        return NULL;
    }
    struct request_item *items = arena_array(r->arena, before + *n, sizeof *items);
    if (!items) {
        api_fail_memory(r->error);
        return NULL;
    }
    const struct json_value *one = list ? value->child : value;
    for (size_t i = 0; i < *n; i++, one = one->next) {
        const char *param = list ? arena_print(r->arena, "%s[%zu]", name, i) : name;
        if (!param) {
            api_fail_memory(r->error);
            return NULL;
        }
        if (!read_one(r, one, param, &items[before + i]))
            return NULL;
    }
    return items;
}

/* ---- answers: what the client wants of a frame of a video is null for a picture */

static void write_time(struct buffer *out, const struct dialect_result *result) {
    buffer_print(out, ",\"time\":%.6f,\"frame_id\":null}", (double)result->ns / 1e9);
}

static void write_embeddings(const struct dialect_request *request, const struct dialect_result *result,
                             struct dialect_answer *out) {
    buffer_string(out->body, "{\"embeddings\":");
    dialect_write_vectors(out->body, result->embeddings, request->embed.n_items, result->model->embed);
    write_time(out->body, result);
}

/* In the order of the prompts. */
static void write_similarity(const struct dialect_request *request, const struct dialect_result *result,
                             struct dialect_answer *out) {
    buffer_string(out->body, "{\"similarity\":");
    dialect_write_cosines(out->body, result->rows, (float *)request->notes);
    write_time(out->body, result);
}

/* ---- requests */

static bool read_body(const struct dialect_input *in, const struct field_table *table, struct reader *r,
                      size_t *model) {
    const struct json_value *object;
    return dialect_read_object(in, &object, r->error) && choose_model(in->models, object, model, r->error) &&
           field_read_object(object, table, r, r->error);
}

static bool read_embed(const struct dialect_input *in, const struct field_table *table, const char *name,
                       enum request_strings strings, struct dialect_request *out, struct api_error *error) {
    const struct request_items_reader items = {.arena = in->arena, .strings = strings, .error = error};
    struct embed_request *request = &out->embed;
    struct reader reader = {.error = error};
    out->kind = DIALECT_EMBED;
    out->write = write_embeddings;
    if (!read_body(in, table, &reader, &request->model))
        return false;
    request->items = read_list(&items, reader.items, name, 0, &request->n_items);
    return request->items && request_check_modalities(in->models->info[request->model], request->items,
                                                      request->n_items, error);
}

bool roboflow_read_text(const struct dialect_input *in, struct dialect_request *out,
                        struct api_error *error) {
    return read_embed(in, &text_fields, "text", STRINGS_ARE_TEXTS, out, error);
}

bool roboflow_read_image(const struct dialect_input *in, struct dialect_request *out,
                         struct api_error *error) {
    return read_embed(in, &image_fields, "image", STRINGS_ARE_IMAGES, out, error);
}

/* "image" or "text"; absent: `otherwise`. */
static bool read_kind(const struct json_value *value, const char *name, enum request_strings otherwise,
                      enum request_strings *out, struct api_error *error) {
    *out = otherwise;
    if (!value)
        return true;
    if (value->type != JSON_STRING || (!text_is(value->string, "image") && !text_is(value->string, "text")))
        return api_fail(error, 400, "unsupported_value", name, "%s must be \"image\" or \"text\"", name);
    *out = text_is(value->string, "image") ? STRINGS_ARE_IMAGES : STRINGS_ARE_TEXTS;
    return true;
}

static bool read_subject(const struct request_items_reader *r, const struct json_value *subject,
                         struct request_item *out) {
    return subject ? read_one(r, subject, "subject", out)
                   : api_fail(r->error, 400, "missing_input", "subject",
                              "subject is missing; accepted: a string, or " IMAGE_FORM);
}

bool roboflow_read_compare(const struct dialect_input *in, struct dialect_request *out,
                           struct api_error *error) {
    struct request_items_reader subject = {.arena = in->arena, .error = error}, prompt = subject;
    struct compare_request *request = &out->compare;
    struct reader reader = {.error = error};
    out->kind = DIALECT_COMPARE;
    out->write = write_similarity;
    if (!read_body(in, &compare_fields, &reader, &request->model) ||
        !read_kind(reader.subject_type, "subject_type", STRINGS_ARE_IMAGES, &subject.strings, error) ||
        !read_kind(reader.prompt_type, "prompt_type", STRINGS_ARE_TEXTS, &prompt.strings, error))
        return false;
    struct request_item *items = read_list(&prompt, reader.items, "prompt", 1, &request->n);
    if (!items || !read_subject(&subject, reader.subject, &items[0]))
        return false;
    request->items = items;
    request->top_n = request->n;
    out->notes = arena_array(in->arena, request->n, sizeof(float));
    if (!out->notes)
        return api_fail_memory(error);
    return request_check_modalities(in->models->info[request->model], items, request->n + 1, error);
}

/* ---- errors */

static const char *const prefixes[] = {"/clip", NULL};
const struct dialect dialect_roboflow = {
    .name = "roboflow", .bit = DIALECT_ROBOFLOW, .prefixes = prefixes, .write_error = dialect_error_message};
