/* request_classify.c - POST /v1/classify with a JSON body. */
#include <stdio.h>

#include "server/api/adapter.h"
#include "server/api/classifier.h"
#include "server/api/fields.h"
#include "server/api/request_parts.h"

bool request_refuse_top_k(struct api_error *error) {
    return api_fail(error, 400, "invalid_top_k", "top_k", "top_k must be a whole number, 1 or more");
}

bool request_read_strings(const struct json_value *list, const struct request_list *field,
                          struct arena *arena, struct api_error *error) {
    if (list->type != JSON_ARRAY)
        return request_refuse_type(field->name, "a list of strings", list->type, error);
    if (list->count > field->most)
        return api_fail(error, 400, field->too_many, field->name, "%zu %s; up to %zu are accepted",
                        list->count, field->name, field->most);
    struct text *texts = arena_array(arena, list->count, sizeof *texts);
    if (!texts)
        return api_fail_memory(error);
    size_t n = 0;
    for (const struct json_value *item = list->child; item; item = item->next, n++) {
        char param[48];
        snprintf(param, sizeof param, "%s[%zu]", field->name, n);
        if (item->type != JSON_STRING)
            return request_refuse_type(param, "a string", item->type, error);
        texts[n] = item->string;
    }
    *field->texts = texts;
    *field->count = n;
    return true;
}

bool request_read_images(const struct json_value *image, const struct json_value *images, struct arena *arena,
                         const struct request_item **out, size_t *count, struct api_error *error) {
    if (image && images)
        return api_fail(error, 400, "conflicting_fields", "images",
                        "both image and images are given; one of them is accepted");
    if (!image && !images)
        return api_fail(error, 400, "missing_image", "image",
                        "there is no image; \"image\" takes a data URI or base64, \"images\" a list of them");
    if (images && images->type != JSON_ARRAY)
        return request_refuse_type("images", "a list of strings", images->type, error);
    if (images && images->count > REQUEST_MAX_ITEMS)
        return api_fail(error, 400, "too_many_images", "images", "%zu images; up to %u are accepted",
                        images->count, REQUEST_MAX_ITEMS);
    if (images && images->count == 0)
        return api_fail(error, 400, "missing_image", "images", "images is empty; 1 to %u are accepted",
                        REQUEST_MAX_ITEMS);

    struct request_item *items = arena_array(arena, image ? 1 : images->count, sizeof *items);
    if (!items)
        return api_fail_memory(error);
    size_t n = 0;
    for (const struct json_value *one = image ? image : images->child; one; one = image ? NULL : one->next) {
        const char *param = image ? "image" : arena_print(arena, "images[%zu]", n);
        if (!param)
            return api_fail_memory(error);
        if (one->type != JSON_STRING)
            return request_refuse_type(param, image ? "a string (\"images\" takes a list)" : "a string",
                                       one->type, error);
        if (!request_read_image(one->string, param, arena, &items[n], error))
            return false;
        n++;
    }
    *out = items;
    *count = n;
    return true;
}

bool request_read_labels(void *reader, const struct json_value *value) {
    const struct request_labels_reader *r = reader;
    const struct request_list list = request_labels(r->out);
    return request_read_strings(value, &list, r->arena, r->error);
}

bool request_read_templates(void *reader, const struct json_value *value) {
    const struct request_labels_reader *r = reader;
    const struct request_list list = request_templates(r->out);
    return request_read_strings(value, &list, r->arena, r->error);
}

/* The reader of the JSON form. */
struct classify_reader {
    struct request_labels_reader labels;     /* first: its fields' readers are given this one */
    const struct json_value *image, *images; /* read last */
};

static bool read_image(void *reader, const struct json_value *value) {
    ((struct classify_reader *)reader)->image = value;
    return true;
}

static bool read_images(void *reader, const struct json_value *value) {
    ((struct classify_reader *)reader)->images = value;
    return true;
}

static bool read_top_k(void *reader, const struct json_value *value) {
    const struct request_labels_reader *r = reader;
    const bool whole = value->type == JSON_NUMBER && value->number >= 1 &&
                       value->number <= REQUEST_MAX_TOP_K && value->number == (double)(size_t)value->number;
    r->out->top_k = whole ? (size_t)value->number : 0;
    return whole || request_refuse_top_k(r->error);
}

static bool read_classifier(void *reader, const struct json_value *value) {
    const struct request_labels_reader *r = reader;
    if (value->type != JSON_STRING)
        return request_refuse_type("classifier", "a string", value->type, r->error);
    r->out->classifier = value->string;
    return true;
}

static bool read_adapter(void *reader, const struct json_value *value) {
    const struct request_labels_reader *r = reader;
    return value->type == JSON_ARRAY ? request_read_adapter_list(&r->out->adapter, value, r->arena, r->error)
                                     : request_read_adapter(&r->out->adapter, value, r->error);
}

static bool read_strength(void *reader, const struct json_value *value) {
    const struct request_labels_reader *r = reader;
    return request_read_strength(&r->out->adapter, value, r->error);
}

static const struct field rows[] = {
    {.name = "image",
     .forms = FIELD_JSON | FIELD_PART,
     .kind = FIELD_PICTURE,
     .most = REQUEST_MAX_ITEMS,
     .what = "The picture: in JSON a data URI, base64, or a URL where these are fetched; in a form a file, "
             "given again for several.",
     .read = read_image},
    {FIELD_IMAGES_ROW, .read = read_images},
    {FIELD_LABELS_ROW, .forms = FIELD_JSON | FIELD_PART | FIELD_QUERY, .read = request_read_labels},
    {FIELD_TEMPLATES_ROW, .forms = FIELD_JSON | FIELD_PART | FIELD_QUERY, .read = request_read_templates},
    {.name = "top_k",
     .forms = FIELD_JSON | FIELD_PART | FIELD_QUERY,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = REQUEST_MAX_TOP_K,
     .what = "How many predictions to return for each picture. Absent, or more than there are labels: all.",
     .read = read_top_k},
    {.name = "classifier",
     .forms = FIELD_JSON | FIELD_PART | FIELD_QUERY,
     .kind = FIELD_STRING,
     .least = 1,
     .most = CLASSIFIER_NAME_BYTES,
     .what = "The name of a stored classifier, in place of labels and templates.",
     .read = read_classifier},
    {.name = "adapter",
     .forms = FIELD_JSON,
     .kind = FIELD_SCHEMA,
     .schema = "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"minItems\":1,\"maxItems\":8,"
               "\"uniqueItems\":true,"
               "\"items\":{\"type\":\"string\"}}]}",
     .what = "The name of a stored adapter of the model, or \"base\" for the model as it is; or a list of "
             "such names, for an "
             "answer by each.",
     .read = read_adapter},
    FIELD_ADAPTER_ROW(FIELD_PART | FIELD_QUERY, NULL),
    FIELD_STRENGTH_ROW(FIELD_JSON | FIELD_PART | FIELD_QUERY, read_strength),
    FIELD_MODEL(FIELD_JSON | FIELD_PART | FIELD_QUERY),
};
const struct field_table request_classify_fields = {FIELD_TABLE(rows)};

bool request_classify_object(const struct request_models *models, const struct json_value *object,
                             struct arena *arena, struct classify_request *out, struct api_error *error) {
    struct classify_reader reader = {.labels = {.out = out, .arena = arena, .error = error}};
    *out = (struct classify_request){0};
    /* Labels first: they are cheap to check, pictures are not. */
    return request_choose_model(models, object, &out->model, error) &&
           field_read_object(object, &request_classify_fields, &reader, error) &&
           request_check_adapter(&out->adapter, error) && request_check_choice(out, error) &&
           request_read_images(reader.image, reader.images, arena, &out->images, &out->n_images, error);
}

bool request_classify_json(const struct request_models *models, const char *body, size_t size,
                           struct arena *arena, struct classify_request *out, struct api_error *error) {
    const struct json_value *object;
    return request_read_object(body, size, arena, &object, error) &&
           request_classify_object(models, object, arena, out, error);
}
