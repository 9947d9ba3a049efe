/* answer_vocabulary.c - the JSON of vocabularies. Each function reads as the object it prints. */
#include "server/api/vocabularies.h"

const char *const vocabulary_state_names[VOCABULARY_STATES] = {[VOCABULARY_WAITING] = "waiting",
                                                               [VOCABULARY_EMBEDDING] = "embedding",
                                                               [VOCABULARY_READY] = "ready",
                                                               [VOCABULARY_FAILED] = "failed"};

static void write_threshold(struct buffer *out, const struct vocabulary_definition *definition) {
    buffer_string(out, ",\"threshold\":");
    if (definition->automatic)
        buffer_string(out, "\"auto\"");
    else
        buffer_json_float(out, definition->threshold);
}

static void write_terms(struct buffer *out, const struct vocabulary_definition *definition, size_t offset,
                        size_t limit) {
    const size_t first = offset < definition->n ? offset : definition->n;
    const size_t most = definition->n - first;
    const size_t end = first + (limit < most ? limit : most);
    buffer_string(out, ",\"terms\":[");
    for (size_t i = first; i < end; i++) {
        buffer_string(out, i > first ? "," : "");
        buffer_json_text(out, definition->terms[i]);
    }
    buffer_string(out, "]");
}

static void write_models(struct buffer *out, const struct vocabulary_answer *vocabulary) {
    buffer_string(out, ",\"models\":[");
    for (size_t i = 0; i < vocabulary->n_models; i++) {
        const struct vocabulary_progress *progress = &vocabulary->models[i];
        buffer_string(out, i ? ",{\"model\":" : "{\"model\":");
        buffer_json_string(out, progress->model);
        buffer_print(out, ",\"state\":\"%s\",\"embedded\":%zu,\"reason\":",
                     vocabulary_state_names[progress->state], progress->embedded);
        buffer_json_string(out, progress->state == VOCABULARY_FAILED ? progress->why : NULL);
        buffer_string(out, "}");
    }
    buffer_string(out, "]");
}

void answer_vocabulary(struct buffer *out, const struct vocabulary_answer *vocabulary) {
    const struct vocabulary_definition *definition = vocabulary->definition;
    buffer_string(out, "{\"object\":\"vocabulary\",\"name\":");
    buffer_json_text(out, vocabulary->name);
    buffer_print(out, ",\"size\":%zu,\"template\":", definition->n);
    buffer_json_text(out, definition->template);
    write_threshold(out, definition);
    buffer_print(out, ",\"shipped\":%s", vocabulary->own ? "true" : "false");
    if (!vocabulary->own) {
        buffer_print(out, ",\"created\":%lld,\"updated\":%lld", (long long)vocabulary->created,
                     (long long)vocabulary->updated);
        write_models(out, vocabulary);
    }
    if (vocabulary->limit)
        write_terms(out, definition, vocabulary->offset, vocabulary->limit);
    buffer_string(out, "}");
}

void answer_vocabularies_entry(struct buffer *out, size_t i, const struct vocabulary_answer *vocabulary) {
    buffer_string(out, i ? "," : "");
    answer_vocabulary(out, vocabulary);
}

bool vocabulary_refuse_unknown(struct text name, const char *nearest, struct api_error *error) {
    char quoted[129];
    text_quote(name, quoted, sizeof quoted);
    if (nearest)
        return api_fail(error, 404, "vocabulary_not_found", "name",
                        "there is no vocabulary \"%s\"; the nearest: \"%s\"", quoted, nearest);
    return api_fail(
        error, 404, "vocabulary_not_found", "name",
        "there is no vocabulary \"%s\", nor one of a similar name; GET /v1/vocabularies lists them", quoted);
}

void vocabulary_write(struct buffer *out, const struct vocabulary_definition *definition) {
    buffer_string(out, "\"template\":");
    buffer_json_text(out, definition->template);
    write_threshold(out, definition);
    write_terms(out, definition, 0, definition->n);
}
