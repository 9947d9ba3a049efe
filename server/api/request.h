/* request.h - bytes from a client → what they ask for.
 *
 * Each function reads one route's request in one of its forms, checks everything that can be checked without
 * the model, and either fills *out and returns true, or fills *error and returns false. Pictures stay encoded
 * and texts stay text: prepare.h turns them into items for the engine, once the request is admitted.
 *
 * Strings in *out are slices of the body or live in the arena: both must outlive *out. No state, any thread.
 *
 * Fields that no form of a route knows are refused, as OpenAI's own server does: a misspelt "tok_k" must not
 * be silently ignored. A field whose value is null counts as absent. The shape of every form is
 * docs/api.md's.
 */
#ifndef LIMOE_SERVER_API_REQUEST_H
#define LIMOE_SERVER_API_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/text.h"
#include "limoe.h"
#include "server/api/api_error.h"
#include "server/api/embedding.h"
#include "server/api/fields.h"
#include "server/api/model_names.h"

#define REQUEST_MAX_ITEMS        2048u /* inputs of one embeddings or routing request, images of one classify */
#define REQUEST_MAX_LABELS       10000u /* labels of one classify request */
#define REQUEST_MAX_TEMPLATES    100u
#define REQUEST_MAX_PROMPTS      20000u   /* labels × templates */
#define REQUEST_MAX_PROMPT_BYTES 2097152u /* of all prompts: 20,000 of 100 bytes */
#define REQUEST_MAX_LABEL_BYTES  1024u    /* also of a template */
#define REQUEST_MAX_TEXT_BYTES   65536u /* one text to embed; the model keeps its first text_length tokens */

#define REQUEST_MAX_TOP_K 1000000000u /* keeps conversions defined: more than all labels is all labels */

/* One thing to embed, as it came. */
struct request_item {
    enum limoe_modality modality;
    bool remote;          /* image: the bytes are the http: or https: URL that it is to be fetched from */
    const uint8_t *bytes; /* image: an encoded picture, already out of its base64; text: UTF-8 without NUL */
    size_t size;
    const char *param; /* where it stood in the request ("input[3].image"), for messages */
};

struct classify_request {
    size_t model;                      /* which of the hosted models it asks for */
    const struct request_item *images; /* [n_images], at least 1 */
    size_t n_images;
    const struct text *labels; /* [n_labels], at least 1; duplicates are kept, each has its own score */
    size_t n_labels;
    const struct text *templates; /* [n_templates], at least 1, each with exactly one "{}"; default "{}" */
    size_t n_templates;
    size_t top_k; /* predictions to return for each image: 1 … n_labels; default all */
    /* The name of a stored classifier; data NULL: none. With one there are no labels and templates until
     * request_use_classifier, and top_k is as it was given (0: not at all). */
    struct text classifier;
};

/* The routes of named classifiers; each uses what it needs. */
struct classifier_request {
    struct text name;                   /* in the path of PUT, GET and DELETE */
    struct classify_request definition; /* PUT: model, labels and templates, no pictures */
    size_t limit;                       /* the list: 1 … CLASSIFIER_MOST_PAGE */
    struct text after;                  /* the list: from behind this name, which need not exist; or empty */
};

/* POST /v1/embeddings and POST /v1/routing (which has no encoding: always REQUEST_FLOAT). */
struct embed_request {
    size_t model;                     /* which of the hosted models it asks for */
    const struct request_item *items; /* [n_items], 1 … REQUEST_MAX_ITEMS, in the order of the request */
    size_t n_items;
    enum request_encoding encoding;
};

/* A query held against documents: rerank, similarity. */
struct compare_request {
    size_t model; /* which of the hosted models it asks for */
    const struct request_item
        *items;   /* [1 + n]: the query, then the documents, in the order of the request */
    size_t n;     /* documents: 1 … REQUEST_MAX_ITEMS - 1 */
    size_t top_n; /* of which so many are answered with: 1 … n */
};

/* One part of a multipart body, or one argument of a query string (filename and content_type NULL). `bytes`
 * need not be NUL-terminated; only `name` must be. */
struct request_field {
    const char *name;
    const char *filename;
    const char *content_type;
    const uint8_t *bytes;
    size_t size;
};

/* What a Content-Type header says the body is; NULL or blank (no header) is REQUEST_BODY_UNTYPED. */
enum request_body {
    REQUEST_BODY_JSON,
    REQUEST_BODY_MULTIPART,
    REQUEST_BODY_IMAGE,
    REQUEST_BODY_LINES, /* newline-delimited JSON: a request a line */
    REQUEST_BODY_OTHER,
    REQUEST_BODY_UNTYPED,
};
enum request_body request_body_of(const char *content_type);
/* The same of a route that takes `bodies`, 1 << enum request_body each: application/octet-stream, bytes that nobody has
 * named, is a picture where pictures are taken as they are, and such bytes are nothing else. */
enum request_body request_body_for(const char *content_type, unsigned bodies);
/* What an untyped body is by its bytes: JSON where it begins as JSON does, or is empty; else a picture. */
enum request_body request_body_look(const char *body, size_t size);
/* The 415 for a body a route does not read; `accepted` is part of the message ("application/json"). False. */
bool request_refuse_body(const char *content_type, const char *accepted, struct api_error *error);

/* What each request may have. */
extern const struct field_table request_classify_fields, request_embeddings_fields, request_routing_fields,
    request_reload_fields;

/* `models` are the hosted ones: their names answer "model" (404 otherwise), the embed size of the one that is
 * asked for "dimensions". */
bool request_classify_json(const struct request_models *models, const char *body, size_t size,
                           struct arena *arena, struct classify_request *out, struct api_error *error);
/* Parts: image (a file, repeated for several), labels, templates (repeated, or one JSON array),
 * top_k, model. */
bool request_classify_multipart(const struct request_models *models, const struct request_field *parts,
                                size_t n, struct arena *arena, struct classify_request *out,
                                struct api_error *error);
/* The body is the picture; labels, templates, top_k and model are the query's arguments, percent-decoded. */
bool request_classify_raw(const struct request_models *models, const uint8_t *body, size_t size,
                          const struct request_field *args, size_t n, struct arena *arena,
                          struct classify_request *out, struct api_error *error);

bool request_embeddings_json(const struct request_models *models, const char *body, size_t size,
                             struct arena *arena, struct embed_request *out, struct api_error *error);
bool request_routing_json(const struct request_models *models, const char *body, size_t size,
                          struct arena *arena, struct embed_request *out, struct api_error *error);

/* Puts in the labels and templates of the classifier that the request names, which stay the caller's. */
void request_use_classifier(struct classify_request *request, const struct text *labels, size_t n_labels,
                            const struct text *templates, size_t n_templates);

/* The checks on labels and templates that every form shares; the command line's too. `top_k` 0: all. */
bool request_check_labels(struct classify_request *request, struct api_error *error);

/* Which of the models `name` asks for, an empty one for the default; or the 404 for a model that is not here. */
bool request_find_model(const struct request_models *models, struct text name, size_t *out,
                        struct api_error *error);
/* POST /v1/models/reload: *named tells whether the body, which may be empty, names a model, and *out which. */
bool request_reload_json(const struct request_models *models, const char *body, size_t size,
                         struct arena *arena, bool *named, size_t *out, struct api_error *error);

#endif
