/* classifier.h - the routes of named classifiers: bytes → requests, stored classifiers → JSON.
 *
 * A classifier is read into a classify_request without pictures, so that its prompts are made and ensembled
 * by the same code as those of a classification.
 */
#ifndef LIMOE_SERVER_API_CLASSIFIER_H
#define LIMOE_SERVER_API_CLASSIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "server/api/api_error.h"
#include "server/api/fields.h"
#include "server/api/request.h"

#define CLASSIFIER_NAME_BYTES 128u
#define CLASSIFIER_PAGE       100   /* classifiers of a list that names no limit */
#define CLASSIFIER_MOST_PAGE  1000u /* the largest limit */
/* What classifier_check_name accepts, as a JSON schema. */
#define CLASSIFIER_NAME_SCHEMA "{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$\"}"

/* PUT's body, and the query of the list. */
extern const struct field_table request_classifier_fields, request_classifiers_fields;

/* 1 to CLASSIFIER_NAME_BYTES of A-Z a-z 0-9 . _ -, the first neither . nor -: safe in URLs, file names and
 * shells. `param` is the field at fault. */
bool classifier_check_name(struct text name, const char *param, struct api_error *error);

/* PUT /v1/classifiers/{name}: {"labels", "templates", "model"}. */
bool request_classifier_json(const struct request_models *models, struct text name, const char *body,
                             size_t size, struct arena *arena, struct classifier_request *out,
                             struct api_error *error);
/* GET and DELETE /v1/classifiers/{name}. */
bool request_classifier_name(struct text name, struct classifier_request *out, struct api_error *error);
/* GET /v1/classifiers?limit=…&after=…: which part of the list. */
bool request_classifier_list(const struct request_field *args, size_t n, struct classifier_request *out,
                             struct api_error *error);

/* The 404 for a name that is not stored; nearest[n] are stored ones that look like it. False. */
bool classifier_refuse_unknown(struct text name, const char *param, const struct text *nearest, size_t n,
                               struct api_error *error);

/* What is printed of a classifier. */
struct classifier_answer {
    struct text name;
    const struct text *labels; /* [n_labels] */
    size_t n_labels;
    const struct text *templates; /* [n_templates] */
    size_t n_templates;
    int64_t created, updated; /* Unix seconds */
    const char *model;
};
void answer_classifier(struct buffer *out, const struct classifier_answer *classifier);

/* An entry of the list: between answer.h's answer_list_begin and answer_list_end. */
void answer_classifiers_entry(struct buffer *out, size_t i, struct text name, uint64_t label_count,
                              uint64_t template_count, int64_t created, int64_t updated);

#endif
