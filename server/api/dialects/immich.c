/* immich.c - Immich's forms. Its client: github.com/immich-app/immich,
 * server/src/repositories/machine-learning.repository.ts. */
#include "server/api/dialects/immich.h"

#include <string.h>

#include "server/api/multipart.h"
#include "server/api/request_parts.h"

#define ENTRY "{\"clip\":{\"visual\":{\"modelName\":…}}} or {\"clip\":{\"textual\":{\"modelName\":…}}}"

/* What Immich asks for that no model here has. */
static const char *const others[] = {"facial-recognition", "ocr"};

/* The parts of a form; NULL: it has none of that name. */
struct form {
    const struct request_field *entries, *image, *text;
};

/* ---- the form */

static const struct request_field **slot_of(struct form *form, const char *name) {
    return strcmp(name, "entries") == 0 ? &form->entries
           : strcmp(name, "image") == 0 ? &form->image
           : strcmp(name, "text") == 0  ? &form->text
                                        : NULL;
}

static bool read_form(const struct dialect_input *in, struct form *form, struct api_error *error) {
    struct request_field *parts;
    size_t n;
    if (!multipart_parse(in->content_type, in->body, in->size, in->arena, &parts, &n, error))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct request_field **slot = slot_of(form, parts[i].name);
        if (!slot)
            return request_refuse_field(parts[i].name, strlen(parts[i].name), "entries, image, text", error);
        if (*slot)
            return api_fail(error, 400, "duplicate_field", parts[i].name,
                            "%s is given several times; once is accepted", (*slot)->name);
        *slot = &parts[i];
    }
    return form->entries ||
           api_fail(error, 400, "missing_input", "entries", "there is no entries; accepted: " ENTRY);
}

/* ---- entries */

static bool read_entries(const struct request_field *field, struct arena *arena,
                         const struct json_value **entries, struct api_error *error) {
    struct json_value *value;
    struct json_error at;
    if (!json_read((const char *)field->bytes, field->size, arena, &value, &at))
        return at.no_memory ? api_fail_memory(error)
                            : api_fail(error, 400, "invalid_json", "entries",
                                       "entries is not JSON: line %zu, column %zu: %s", at.line, at.column,
                                       at.message);
    *entries = value;
    return value->type == JSON_OBJECT || request_refuse_type("entries", ENTRY, value->type, error);
}

/* The one member that an object has; NULL: *error says what is accepted. */
static const struct json_value *only_member(const struct json_value *object, const char *param,
                                            struct api_error *error) {
    if (object->type == JSON_OBJECT && object->count == 1)
        return object->child;
    if (object->type == JSON_OBJECT)
        api_fail(error, 400, "invalid_item", param, "%s has %zu members; one is accepted: " ENTRY, param,
                 object->count);
    else
        request_refuse_type(param, ENTRY, object->type, error);
    return NULL;
}

static bool refuse_others(const struct json_value *entries, struct api_error *error) {
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (json_member(entries, text_of(others[i])))
            return api_fail(
                error, 501, NULL, "entries",
                "there is no %s here, only clip: turn it off in Immich's settings, or leave it to "
                "a server of Immich's own",
                others[i]);
    return true;
}

/* "options" says which language a text has, which is for its model to find out. */
static bool read_name(const struct json_value *entry, struct text *name, struct api_error *error) {
    *name = (struct text){.data = NULL};
    if (entry->type != JSON_OBJECT)
        return request_refuse_type("entries", ENTRY, entry->type, error);
    for (const struct json_value *member = entry->child; member; member = member->next)
        if (text_is(member->name, "modelName") && member->type == JSON_STRING)
            *name = member->string;
        else if (text_is(member->name, "modelName"))
            return request_refuse_type("modelName", "a string", member->type, error);
        else if (!text_is(member->name, "options"))
            return request_refuse_field(member->name.data, member->name.size, "modelName, options", error);
    return name->size || api_fail(error, 400, "missing_input", "modelName",
                                  "modelName is missing or empty; accepted: the name of a model");
}

/* Which side of clip is asked for, and of which model. */
static bool read_entry(const struct dialect_input *in, const struct json_value *entries,
                       enum limoe_modality *modality, size_t *model, struct api_error *error) {
    struct text name;
    char quoted[32];
    const struct json_value *task =
        refuse_others(entries, error) ? only_member(entries, "entries", error) : NULL;
    if (!task)
        return false;
    if (!text_is(task->name, "clip"))
        return request_refuse_field(task->name.data, task->name.size, "clip (of entries)", error);
    const struct json_value *side = only_member(task, "entries.clip", error);
    if (!side)
        return false;
    if (!text_is(side->name, "visual") && !text_is(side->name, "textual"))
        return api_fail(error, 400, "unknown_field", "entries.clip",
                        "entries.clip has no \"%s\"; accepted: visual, textual",
                        text_quote(side->name, quoted, sizeof quoted));
    *modality = text_is(side->name, "visual") ? LIMOE_IMAGE : LIMOE_TEXT;
    return read_name(side, &name, error) && request_find_model(in->models, name, model, error);
}

/* ---- what is embedded */

static bool check_text(const struct request_field *field, struct api_error *error) {
    const size_t at = text_check((const char *)field->bytes, field->size);
    return at == field->size ||
           api_fail(error, 400, "invalid_utf8", "text",
                    "text is not UTF-8, or has a NUL byte: byte 0x%02x at %zu", field->bytes[at], at);
}

static bool read_item(const struct form *form, enum limoe_modality modality, struct request_item *item,
                      struct api_error *error) {
    const char *wanted = modality == LIMOE_IMAGE ? "image" : "text";
    const struct request_field *field = modality == LIMOE_IMAGE ? form->image : form->text;
    const struct request_field *other = modality == LIMOE_IMAGE ? form->text : form->image;
    if (other)
        return api_fail(error, 400, "conflicting_fields", other->name,
                        "there is a part %s; accepted with %s: %s", other->name,
                        modality == LIMOE_IMAGE ? "visual" : "textual", wanted);
    if (!field)
        return api_fail(error, 400, modality == LIMOE_IMAGE ? "missing_image" : "missing_input", wanted,
                        "there is no part %s", wanted);
    if (modality == LIMOE_TEXT)
        return check_text(field, error) &&
               request_read_text((struct text){.data = (const char *)field->bytes, .size = field->size},
                                 "text", item, error);
    if (!field->size)
        return api_fail(error, 400, "invalid_image", "image", "image is an empty file");
    *item = (struct request_item){
        .modality = LIMOE_IMAGE, .bytes = field->bytes, .size = field->size, .param = "image"};
    return true;
}

/* ---- the answer */

static void write_clip(const struct dialect_request *request, const struct dialect_result *result,
                       struct dialect_answer *out) {
    const struct request_item *item = request->embed.items;
    uint32_t width, height;
    buffer_string(out->body, "{\"clip\":\"");
    dialect_write_vector(out->body, result->embeddings, result->model->embed);
    buffer_string(out->body, "\"");
    if (item->modality == LIMOE_IMAGE && limoe_image_measure(item->bytes, item->size, &width, &height))
        buffer_print(out->body, ",\"imageHeight\":%u,\"imageWidth\":%u", height, width);
    buffer_string(out->body, "}");
}

bool immich_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error) {
    const struct json_value *entries = NULL;
    struct form form = {0};
    enum limoe_modality modality = LIMOE_IMAGE;
    struct request_item *item = arena_array(in->arena, 1, sizeof *item);
    size_t model = 0;
    if (!item)
        return api_fail_memory(error);
    if (!read_form(in, &form, error) || !form.entries ||
        !read_entries(form.entries, in->arena, &entries, error) || !entries ||
        !read_entry(in, entries, &modality, &model, error) || !read_item(&form, modality, item, error))
        return false;
    out->kind = DIALECT_EMBED;
    out->write = write_clip;
    out->embed = (struct embed_request){.model = model, .items = item, .n_items = 1};
    return request_check_modalities(in->models->info[model], item, 1, error);
}

bool immich_tell_ping(const struct dialect_about *about, struct dialect_answer *out,
                      struct api_error *error) {
    if (!dialect_check_ready(about, error))
        return false;
    buffer_string(out->body, "pong");
    out->type = "text/plain; charset=utf-8";
    return true;
}

/* ---- errors */

/* immich.h says why what is not there is no failure. */
static int status_of(const struct api_error *error) {
    return error->status == 501 ? 200 : error->status;
}

static const char *const prefixes[] = {"/predict", NULL};
const struct dialect dialect_immich = {.name = "immich",
                                       .bit = DIALECT_IMMICH,
                                       .prefixes = prefixes,
                                       .write_error = dialect_error_detail,
                                       .status = status_of};
