/* vocabularies.h - the routes of vocabularies that clients bring: bytes → requests, stored vocabularies → JSON. */
#ifndef LIMOE_SERVER_API_VOCABULARIES_H
#define LIMOE_SERVER_API_VOCABULARIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "server/api/api_error.h"
#include "server/api/fields.h"
#include "server/api/request.h"

#define VOCABULARY_MOST_TERMS   100000u
#define VOCABULARY_MOST_OBJECTS 4096u     /* that terms are told of */
#define VOCABULARY_MOST_BYTES   16777216u /* of all terms: 100,000 of 167 */
#define VOCABULARY_MOST_PAGE    10000u    /* terms of one answer */

/* PUT's body, and the query of GET. */
extern const struct field_table request_vocabulary_fields, request_vocabulary_page_fields;

/* What a vocabulary is. */
struct vocabulary_definition {
    const struct text *terms; /* [n], no two alike, in the order in which they came */
    size_t n;
    struct text template; /* with one "{}" */
    bool automatic;       /* a term's own threshold, else: */
    float threshold;      /* the least cosine; either where a description says nothing of it */
};

/* The routes of one vocabulary; each uses what it needs. */
struct vocabulary_request {
    struct text name;
    struct vocabulary_definition definition; /* PUT */
    size_t offset, limit;                    /* GET: which terms are to be told; limit 0: none */
};

/* PUT /v1/vocabularies/{name}: {"terms" or "objects", "template", "threshold"}. Terms that come again are taken once. */
bool request_vocabulary_json(struct text name, const char *body, size_t size, struct arena *arena,
                             struct vocabulary_request *out, struct api_error *error);
/* The same of what has been read: of a file that was written of a definition, too. */
bool request_vocabulary_object(const struct json_value *object, struct arena *arena,
                               struct vocabulary_definition *out, struct api_error *error);
/* How much JSON a definition may be. */
extern const struct json_limits request_vocabulary_limits;
/* GET /v1/vocabularies/{name}?offset=…&limit=… */
bool request_vocabulary_page(struct text name, const struct request_field *args, size_t n,
                             struct vocabulary_request *out, struct api_error *error);
/* The name in a path of what is stored or deleted: none of the program's own, which is a 409. */
bool request_vocabulary_name(struct text name, struct api_error *error);

/* The 404 for a name that is not stored; nearest: one that looks like it, or NULL. False. */
bool vocabulary_refuse_unknown(struct text name, const char *nearest, struct api_error *error);

/* ---- what is said of one */

enum vocabulary_state {
    VOCABULARY_WAITING,   /* for those before it */
    VOCABULARY_EMBEDDING, /* its terms are being embedded */
    VOCABULARY_READY,
    VOCABULARY_FAILED,
    VOCABULARY_STATES
};
extern const char *const vocabulary_state_names[VOCABULARY_STATES];

/* How far it is with one of the models. */
struct vocabulary_progress {
    const char *model; /* static, or as long as the answer is written */
    enum vocabulary_state state;
    size_t embedded; /* terms */
    char why[300];   /* it has failed */
};

/* What is printed of a vocabulary. */
struct vocabulary_answer {
    struct text name;
    const struct vocabulary_definition *definition;
    bool own;                                 /* the program's: no times, no models */
    int64_t created, updated;                 /* Unix seconds */
    const struct vocabulary_progress *models; /* [n_models] */
    size_t n_models;
    size_t offset, limit; /* of the terms that are told; limit 0: none */
};
void answer_vocabulary(struct buffer *out, const struct vocabulary_answer *vocabulary);
/* An entry of the list: between answer.h's answer_list_begin and answer_list_end. */
void answer_vocabularies_entry(struct buffer *out, size_t i, const struct vocabulary_answer *vocabulary);

/* The definition as JSON that request_vocabulary_object reads, without its braces. */
void vocabulary_write(struct buffer *out, const struct vocabulary_definition *definition);

#endif
