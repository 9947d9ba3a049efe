/* answer_classifier.c - the JSON of named classifiers. Each function reads as the object it prints. */
#include "server/api/classifier.h"

#include <stdio.h>

static void texts(struct buffer *out, const char *name, const struct text *list, size_t n) {
    buffer_print(out, ",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) {
        if (i)
            buffer_bytes(out, ",", 1);
        buffer_json_text(out, list[i]);
    }
    buffer_string(out, "]");
}

static void head(struct buffer *out, struct text name) {
    buffer_string(out, "{\"object\":\"classifier\",\"name\":");
    buffer_json_text(out, name);
}

static void times(struct buffer *out, int64_t created, int64_t updated) {
    buffer_print(out, ",\"created\":%lld,\"updated\":%lld", (long long)created, (long long)updated);
}

void answer_classifier(struct buffer *out, const struct classifier_answer *classifier) {
    head(out, classifier->name);
    texts(out, "labels", classifier->labels, classifier->n_labels);
    texts(out, "templates", classifier->templates, classifier->n_templates);
    times(out, classifier->created, classifier->updated);
    buffer_string(out, ",\"model\":");
    buffer_json_string(out, classifier->model);
    buffer_string(out, "}");
}

void answer_classifiers_entry(struct buffer *out, size_t i, struct text name, uint64_t label_count,
                              uint64_t template_count, int64_t created, int64_t updated) {
    if (i)
        buffer_bytes(out, ",", 1);
    head(out, name);
    buffer_string(out, ",\"label_count\":");
    buffer_json_unsigned(out, label_count);
    buffer_string(out, ",\"template_count\":");
    buffer_json_unsigned(out, template_count);
    times(out, created, updated);
    buffer_string(out, "}");
}

bool classifier_refuse_unknown(struct text name, const char *param, const struct text *nearest, size_t n,
                               struct api_error *error) {
    char quoted[CLASSIFIER_NAME_BYTES + 1], list[400] = "";
    size_t used = 0;
    text_quote(name, quoted, sizeof quoted);
    for (size_t i = 0; i < n && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s\"%.*s\"", i ? ", " : "",
                                 (int)nearest[i].size, nearest[i].data);
    if (n)
        return api_fail(error, 404, "classifier_not_found", param,
                        "there is no classifier \"%s\"; the nearest: %s", quoted, list);
    return api_fail(
        error, 404, "classifier_not_found", param,
        "there is no classifier \"%s\", nor one of a similar name; GET /v1/classifiers lists them", quoted);
}
