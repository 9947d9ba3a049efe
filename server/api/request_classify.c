/* request_classify.c - POST /v1/classify with a JSON body. */
#include <stdio.h>

#include "server/api/request_parts.h"

#define FIELDS "image or images, labels, templates, top_k, classifier, model"

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

static bool read_json_images(const struct json_value *image, const struct json_value *images,
                             struct arena *arena, struct classify_request *out, struct api_error *error) {
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
    out->images = items;
    out->n_images = n;
    return true;
}

static bool read_classifier(const struct json_value *name, struct classify_request *out,
                            struct api_error *error) {
    if (name->type != JSON_STRING)
        return request_refuse_type("classifier", "a string", name->type, error);
    out->classifier = name->string;
    return true;
}

bool request_classify_json(const struct request_models *models, const char *body, size_t size,
                           struct arena *arena, struct classify_request *out, struct api_error *error) {
    const struct json_value *object, *image = NULL, *images = NULL;
    *out = (struct classify_request){0};
    const struct request_list labels = request_labels(out), templates = request_templates(out);
    if (!request_read_object(body, size, arena, &object, error) ||
        !request_choose_model(models, object, &out->model, error))
        return false;

    for (const struct json_value *field = object->child; field; field = field->next) {
        bool ok = true;
        if (field->type == JSON_NULL || text_is(field->name, "model"))
            ;
        else if (text_is(field->name, "image"))
            image = field;
        else if (text_is(field->name, "images"))
            images = field;
        else if (text_is(field->name, "labels"))
            ok = request_read_strings(field, &labels, arena, error);
        else if (text_is(field->name, "templates"))
            ok = request_read_strings(field, &templates, arena, error);
        else if (text_is(field->name, "top_k")) {
            /* The upper bound only keeps the conversion defined: more than all labels is all labels. */
            const bool whole = field->type == JSON_NUMBER && field->number >= 1 && field->number <= 1e9 &&
                               field->number == (double)(size_t)field->number;
            ok = whole || request_refuse_top_k(error);
            out->top_k = whole ? (size_t)field->number : 0;
        } else if (text_is(field->name, "classifier"))
            ok = read_classifier(field, out, error);
        else
            ok = request_refuse_field(field->name.data, field->name.size, FIELDS, error);
        if (!ok)
            return false;
    }
    /* Labels first: they are cheap to check, pictures are not. */
    return request_check_choice(out, error) && read_json_images(image, images, arena, out, error);
}
