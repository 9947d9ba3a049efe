/* request_form.c - POST /v1/classify as a multipart form, or as a picture with a query string.
 *
 * Both are lists of named fields; the form brings the pictures among them, the query beside them.
 */
#include <stdio.h>
#include <string.h>

#include "server/api/adapter.h"
#include "server/api/fields.h"
#include "server/api/request_parts.h"

static struct text text_in(const struct request_field *field) {
    return (struct text){.data = (const char *)field->bytes, .size = field->size};
}

/* How many fields are called `name`; *last is the last of them, or NULL. */
static size_t find(const struct request_form *form, const char *name, const struct request_field **last) {
    size_t found = 0;
    *last = NULL;
    for (size_t i = 0; i < form->n; i++)
        if (strcmp(form->fields[i].name, name) == 0) {
            *last = &form->fields[i];
            found++;
        }
    return found;
}

/* What the JSON reader does for its strings. */
bool request_form_text(struct text text, const char *param, struct api_error *error) {
    const size_t at = text_check(text.data, text.size);
    if (at < text.size && !text.data[at])
        return api_fail(error, 400, "invalid_utf8", param, "%s has a NUL byte at %zu, which no text may have",
                        param, at);
    if (at < text.size)
        return api_fail(error, 400, "invalid_utf8", param, "%s is not UTF-8 text: byte 0x%02x at %zu", param,
                        (unsigned char)text.data[at], at);
    return true;
}

static bool read_json_list(struct text text, const struct request_list *list, struct arena *arena,
                           struct api_error *error) {
    struct json_value *value;
    struct json_error at;
    if (json_read(text.data, text.size, arena, &value, &at))
        return request_read_strings(value, list, arena, error);
    if (at.no_memory)
        return api_fail_memory(error);
    return api_fail(error, 400, "invalid_json", list->name,
                    "%s begins with \"[\" but is not a JSON array: line %zu, column %zu: %s", list->name,
                    at.line, at.column, at.message);
}

/* Room for n texts of a list. NULL: *error says why. */
static struct text *make_room(const struct request_list *list, size_t n, struct arena *arena,
                              struct api_error *error) {
    if (n > list->most) {
        api_fail(error, 400, list->too_many, list->name, "%zu %s; up to %zu are accepted", n, list->name,
                 list->most);
        return NULL;
    }
    struct text *texts = arena_array(arena, n, sizeof *texts);
    if (!texts)
        api_fail_memory(error);
    return texts;
}

/* "cat, dog" → two texts, as `limoe classify --labels` has it. */
static bool read_commas(struct text text, const struct request_list *list, struct arena *arena,
                        struct api_error *error) {
    const size_t n = text_comma_count(text);
    if (!request_form_text(text, list->name, error))
        return false;
    struct text *texts = make_room(list, n, arena, error);
    if (!texts)
        return false;
    for (size_t i = 0; i < n; i++)
        texts[i] = text_comma_next(&text);
    *list->texts = texts;
    *list->count = n;
    return true;
}

/* A list is its field repeated, or one field with a JSON array or with commas. */
bool request_form_list(const struct request_form *form, const struct request_list *list, struct arena *arena,
                       struct api_error *error) {
    const struct request_field *last;
    const size_t found = find(form, list->name, &last);
    if (!found)
        return true;
    if (found == 1 && last->size && last->bytes[0] == '[')
        return read_json_list(text_in(last), list, arena, error);
    if (found == 1 && list->commas && last->size && memchr(last->bytes, ',', last->size))
        return read_commas(text_in(last), list, arena, error);

    struct text *texts = make_room(list, found, arena, error);
    if (!texts)
        return false;
    size_t n = 0;
    for (size_t i = 0; i < form->n; i++) {
        if (strcmp(form->fields[i].name, list->name) != 0)
            continue;
        char param[48];
        snprintf(param, sizeof param, "%s[%zu]", list->name, n);
        texts[n] = text_in(&form->fields[i]);
        if (!request_form_text(texts[n], param, error))
            return false;
        n++;
    }
    *list->texts = texts;
    *list->count = n;
    return true;
}

/* A field that may stand once: *field is it, or NULL. */
bool request_form_one(const struct request_form *form, const char *name, const struct request_field **field,
                      struct api_error *error) {
    const size_t found = find(form, name, field);
    if (found > 1)
        return api_fail(error, 400, "duplicate_field", name, "%s is given %zu times; once is accepted", name,
                        found);
    return !*field || request_form_text(text_in(*field), name, error);
}

static bool read_top_k(struct text text, size_t *top_k, struct api_error *error) {
    *top_k = 0;
    if (text.size == 0 || text.size > 9)
        return request_refuse_top_k(error);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return request_refuse_top_k(error);
        *top_k = *top_k * 10 + (size_t)(text.data[i] - '0');
    }
    return *top_k > 0 || request_refuse_top_k(error);
}

/* An adapter's name and its strength, which is a JSON number. */
static bool read_adapter(const struct request_form *form, struct arena *arena, struct request_adapter *out,
                         struct api_error *error) {
    const struct request_field *name, *strength;
    struct json_value *number;
    struct json_error at;
    if (!request_form_one(form, "adapter", &name, error) ||
        !request_form_one(form, "strength", &strength, error))
        return false;
    if (name &&
        !request_read_adapter(out, &(struct json_value){.type = JSON_STRING, .string = text_in(name)}, error))
        return false;
    if (!strength)
        return true;
    if (!json_read((const char *)strength->bytes, strength->size, arena, &number, &at))
        return at.no_memory ? api_fail_memory(error)
                            : api_fail(error, 400, "invalid_strength", "strength",
                                       "strength is no number; one from 0 to 1 is accepted");
    return request_read_strength(out, number, error) && request_check_adapter(out, error);
}

/* Everything but the pictures. */
static bool read_fields(const struct request_models *models, const struct request_form *form,
                        struct arena *arena, struct classify_request *out, struct api_error *error) {
    const struct request_list labels = request_labels(out), templates = request_templates(out);
    const struct request_field *name, *classifier, *top_k;
    if (!request_form_one(form, "model", &name, error) ||
        !request_form_one(form, "classifier", &classifier, error) ||
        !request_form_one(form, "top_k", &top_k, error))
        return false;
    if (name && !request_find_model(models, text_in(name), &out->model, error))
        return false;
    if (classifier)
        out->classifier = text_in(classifier);
    if ((top_k && !read_top_k(text_in(top_k), &out->top_k, error)) ||
        !read_adapter(form, arena, &out->adapter, error))
        return false;
    return request_form_list(form, &labels, arena, error) &&
           request_form_list(form, &templates, arena, error) && request_check_choice(out, error);
}

/* What other servers call a field, and people who write a form by heart. */
static const struct {
    const char *given, *meant;
} misnamed[] = {
    {"file", "image"},         {"files", "image"},       {"images", "image"},
    {"image[]", "image"},      {"images[]", "image"},    {"picture", "image"},
    {"photo", "image"},        {"upload", "image"},      {"label", "labels"},
    {"labels[]", "labels"},    {"classes", "labels"},    {"candidate_labels", "labels"},
    {"template", "templates"}, {"prompts", "templates"},
};

static bool is_known(const char *name, unsigned places) {
    return field_find(&request_classify_fields, text_of(name), places) != NULL;
}

static bool refuse_misnamed(const char *given, const char *meant, struct api_error *error) {
    return api_fail(
        error, 400, "unknown_field", given, "there is no field \"%s\" here; it is called \"%s\"%s", given,
        meant,
        strcmp(meant, "image") == 0 ? ", and repeated for several pictures (curl -F image=@cat.png)" : "");
}

static bool refuse_unknown(const struct request_form *form, unsigned places, struct api_error *error) {
    char names[100];
    for (size_t i = 0; i < form->n; i++) {
        const char *name = form->fields[i].name;
        if (is_known(name, places))
            continue;
        for (size_t k = 0; k < sizeof misnamed / sizeof *misnamed; k++)
            if (strcmp(name, misnamed[k].given) == 0 && is_known(misnamed[k].meant, places))
                return refuse_misnamed(name, misnamed[k].meant, error);
        return request_refuse_field(
            name, strlen(name), field_names(&request_classify_fields, places, names, sizeof names), error);
    }
    return true;
}

static bool read_image_parts(const struct request_form *form, struct arena *arena,
                             struct classify_request *out, struct api_error *error) {
    const struct request_field *last;
    const size_t found = find(form, "image", &last);
    if (!found)
        return api_fail(error, 400, "missing_image", "image",
                        "there is no image; a file part \"image\" is expected (curl -F image=@cat.png)");
    if (found > REQUEST_MAX_ITEMS)
        return api_fail(error, 400, "too_many_images", "image", "%zu images; up to %u are accepted", found,
                        REQUEST_MAX_ITEMS);
    struct request_item *items = arena_array(arena, found, sizeof *items);
    if (!items)
        return api_fail_memory(error);
    size_t n = 0;
    for (size_t i = 0; i < form->n; i++) {
        const struct request_field *field = &form->fields[i];
        if (strcmp(field->name, "image") != 0)
            continue;
        const char *param = found == 1 ? "image" : arena_print(arena, "image[%zu]", n);
        if (!param)
            return api_fail_memory(error);
        if (!field->size)
            return api_fail(error, 400, "invalid_image", param, "%s is an empty file", param);
        items[n++] = (struct request_item){
            .modality = LIMOE_IMAGE, .bytes = field->bytes, .size = field->size, .param = param};
    }
    out->images = items;
    out->n_images = n;
    return true;
}

bool request_classify_multipart(const struct request_models *models, const struct request_field *parts,
                                size_t n, struct arena *arena, struct classify_request *out,
                                struct api_error *error) {
    const struct request_form whole = {.fields = parts, .n = n}, *form = &whole;
    *out = (struct classify_request){0};
    return refuse_unknown(form, FIELD_PART, error) && read_fields(models, form, arena, out, error) &&
           read_image_parts(form, arena, out, error);
}

bool request_classify_raw(const struct request_models *models, const uint8_t *body, size_t size,
                          const struct request_field *args, size_t n, struct arena *arena,
                          struct classify_request *out, struct api_error *error) {
    const struct request_form whole = {.fields = args, .n = n}, *form = &whole;
    *out = (struct classify_request){0};
    if (!refuse_unknown(form, FIELD_QUERY, error) || !read_fields(models, form, arena, out, error))
        return false;
    if (!size)
        return api_fail(error, 400, "missing_image", NULL, "the body is empty; a picture is expected");
    struct request_item *item = arena_array(arena, 1, sizeof *item);
    if (!item)
        return api_fail_memory(error);
    *item = (struct request_item){.modality = LIMOE_IMAGE, .bytes = body, .size = size, .param = "image"};
    out->images = item;
    out->n_images = 1;
    return true;
}
