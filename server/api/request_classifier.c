/* request_classifier.c - names, PUT's body and the list's query; and the choice that every form of
 * /v1/classify offers, between labels of its own and a classifier's name. */
#include <string.h>

#include "server/api/adapter.h"
#include "server/api/classifier.h"
#include "server/api/fields.h"
#include "server/api/request_parts.h"

#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

bool classifier_check_name(struct text name, const char *param, struct api_error *error) {
    char quoted[64];
    bool good =
        name.size >= 1 && name.size <= CLASSIFIER_NAME_BYTES && name.data[0] != '.' && name.data[0] != '-';
    for (size_t i = 0; i < name.size && good; i++)
        good = name.data[i] && strchr(NAME_LETTERS, name.data[i]);
    return good ||
           api_fail(error, 400, "invalid_name", param,
                    "\"%s\" is no name for a classifier, a vocabulary or an adapter; accepted: 1 to %u of "
                    "A-Z a-z 0-9 . _ -, the first neither . nor -",
                    text_quote(name, quoted, sizeof quoted), CLASSIFIER_NAME_BYTES);
}

static bool refuse_both(const char *field, struct api_error *error) {
    return api_fail(error, 400, "conflicting_fields", field,
                    "both classifier and %s are given; a classifier has its own labels and templates", field);
}

/* By an adapter, which may have labels of its own. */
static bool is_adapted(const struct request_adapter *adapter) {
    bool adapted = adapter->name.data && !text_is(adapter->name, ADAPTER_BASE);
    for (size_t i = 0; i < adapter->n; i++)
        adapted |= !text_is(adapter->list[i], ADAPTER_BASE);
    return adapted;
}

bool request_check_choice(struct classify_request *request, struct api_error *error) {
    if (!request->classifier.data)
        return (is_adapted(&request->adapter) && !request->labels && !request->templates) ||
               request_check_labels(request, error);
    /* An empty list is given, too. */
    if (request->labels)
        return refuse_both("labels", error);
    if (request->templates)
        return refuse_both("templates", error);
    return classifier_check_name(request->classifier, "classifier", error);
}

bool request_classifier_name(struct text name, struct classifier_request *out, struct api_error *error) {
    *out = (struct classifier_request){.name = name};
    return classifier_check_name(name, "name", error);
}

static const struct field put[] = {
    {FIELD_LABELS_ROW, .forms = FIELD_JSON, .required = true, .read = request_read_labels},
    {FIELD_TEMPLATES_ROW, .forms = FIELD_JSON, .read = request_read_templates},
    FIELD_MODEL(FIELD_JSON),
};
const struct field_table request_classifier_fields = {FIELD_TABLE(put)};

static const struct field list[] = {
    {.name = "limit",
     .forms = FIELD_QUERY,
     .kind = FIELD_WHOLE,
     .least = 1,
     .most = CLASSIFIER_MOST_PAGE,
     .fallback = FIELD_NUMBER(CLASSIFIER_PAGE),
     .what = "How many classifiers a page has."},
    {.name = "after",
     .forms = FIELD_QUERY,
     .kind = FIELD_SCHEMA,
     .schema = CLASSIFIER_NAME_SCHEMA,
     .what = "The page begins behind this name, which need not exist."},
};
const struct field_table request_classifiers_fields = {FIELD_TABLE(list)};

bool request_classifier_json(const struct request_models *models, struct text name, const char *body,
                             size_t size, struct arena *arena, struct classifier_request *out,
                             struct api_error *error) {
    const struct json_value *object;
    struct request_labels_reader reader = {.out = &out->definition, .arena = arena, .error = error};
    return request_classifier_name(name, out, error) &&
           request_read_object(body, size, arena, &object, error) &&
           request_choose_model(models, object, &out->definition.model, error) &&
           field_read_object(object, &request_classifier_fields, &reader, error) &&
           request_check_labels(&out->definition, error);
}

static bool read_limit(struct text text, size_t *out, struct api_error *error) {
    size_t limit = 0;
    bool good = text.size >= 1 && text.size <= 4;
    for (size_t i = 0; i < text.size && good; i++) {
        good = text.data[i] >= '0' && text.data[i] <= '9';
        limit = limit * 10 + (size_t)(text.data[i] - '0');
    }
    *out = limit;
    return (good && limit >= 1 && limit <= CLASSIFIER_MOST_PAGE) ||
           api_fail(error, 400, "invalid_limit", "limit", "limit must be a whole number from 1 to %u",
                    CLASSIFIER_MOST_PAGE);
}

bool request_classifier_list(const struct request_field *args, size_t n, struct classifier_request *out,
                             struct api_error *error) {
    char names[100];
    *out = (struct classifier_request){.after = {.data = "", .size = 0}};
    for (size_t i = 0; i < n; i++) {
        const struct text value = {.data = (const char *)args[i].bytes, .size = args[i].size};
        const struct field *field =
            field_find(&request_classifiers_fields, text_of(args[i].name), FIELD_QUERY);
        if (!field)
            return request_refuse_field(
                args[i].name, strlen(args[i].name),
                field_names(&request_classifiers_fields, FIELD_QUERY, names, sizeof names), error);
        const bool limit = field == &list[0];
        /* Both are checked not to be zero or empty: then they have been given before. */
        if (limit ? out->limit > 0 : out->after.size > 0)
            return api_fail(error, 400, "duplicate_field", args[i].name,
                            "%s is given more than once; once is accepted", args[i].name);
        if (!limit)
            out->after = value;
        if (!(limit ? read_limit(value, &out->limit, error) : classifier_check_name(value, "after", error)))
            return false;
    }
    if (!out->limit)
        out->limit = CLASSIFIER_PAGE;
    return true;
}
