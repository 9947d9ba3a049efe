/* dialect.h - what clients of other servers say, over the requests that this one has.
 *
 * A dialect is three sides of one thing: readers (bytes → struct dialect_request), writers (embeddings or
 * scores → its JSON) and a writer of errors. Nothing below it changes: what is embedded is admitted, batched,
 * cached and computed as for any route, so that a text or a picture has the same bits in every dialect.
 *
 * A reader sets the kind, fills the request of that kind and names its writer; what the writer must know
 * besides lies in the arena behind `notes`. No HTTP, no state, any thread.
 */
#ifndef LIMOE_SERVER_API_DIALECTS_DIALECT_H
#define LIMOE_SERVER_API_DIALECTS_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/text.h"
#include "limoe.h"
#include "server/api/answer.h"
#include "server/api/api_error.h"
#include "server/api/classify.h"
#include "server/api/prepare.h"
#include "server/api/request.h"

/* ---- a dialect as a whole */

/* The bits of a set of dialects. Append new ones: dialects.c lists them in this order. */
enum dialect_bit {
    DIALECT_HF,
    DIALECT_RERANK,
    DIALECT_NIM,
    DIALECT_SAGEMAKER,
    DIALECT_VERTEX,
    DIALECT_TITAN,
    DIALECT_IMMICH,
    DIALECT_OLLAMA,
    DIALECT_COHERE,
    DIALECT_VOYAGE,
    DIALECT_WEAVIATE,
    DIALECT_ROBOFLOW,
    DIALECT_OIP,
    DIALECTS
};

struct dialect {
    const char *name; /* as --dialects has it */
    enum dialect_bit bit;
    /* Paths below which all is this dialect's, also what no route answers ("/hf"); ends with NULL. */
    const char *const *prefixes;
    /* Appends the error as the dialect's clients read it, a complete JSON value. */
    void (*write_error)(struct buffer *out, const struct api_error *error);
    /* The status that such an error has for them; NULL: error->status. */
    int (*status)(const struct api_error *error);
};
extern const struct dialect dialect_hf, dialect_rerank;
extern const struct dialect dialect_nim, dialect_sagemaker, dialect_vertex, dialect_titan, dialect_immich,
    dialect_oip;
extern const struct dialect dialect_ollama, dialect_cohere, dialect_voyage, dialect_weaviate,
    dialect_roboflow;

/* A list as --dialects has it ("all", "none", "hf,rerank") → the set of those named, 1 << enum dialect_bit
 * each. */
enum limoe_status dialects_parse(const char *list, uint32_t *out, struct limoe_error *err);
/* Whether the set has the dialect; NULL, which is this server's own language, is in every set. */
bool dialects_have(uint32_t set, const struct dialect *dialect);
/* The dialect of the set that owns what is below a path; NULL: none does. */
const struct dialect *dialects_at(uint32_t set, const char *path);

/* ---- requests */

enum dialect_kind {
    DIALECT_EMBED,    /* items → a vector each */
    DIALECT_CLASSIFY, /* pictures × labels → ranked labels for each picture */
    DIALECT_COMPARE,  /* a query × documents → ranked documents */
};

/* What came in, as the front has it. */
struct dialect_input {
    const struct request_models *models;
    const char *body; /* [size], not NULL */
    size_t size;
    const struct json_value
        *object;              /* what the body is, where it has been read to see whose it is; or NULL */
    const char *content_type; /* or NULL */
    struct text below;  /* of the path, what is below the route's: "pictograms" of /hf/pictograms; or empty */
    struct text header; /* of the header that the route names; data NULL: it was not sent */
    const struct request_field *args; /* [n_args] of the query */
    size_t n_args;
    struct arena *arena;
};

struct dialect_request;

/* What was computed. The request's kind says which of the two is there. */
struct dialect_result {
    const struct limoe_info *model;
    const float *embeddings; /* EMBED: [n_items, embed] */
    /* CLASSIFY: [n_images], labels by descending score. COMPARE: one, whose predictions' labels are indices of
     * documents, by descending cosine. */
    const struct classification *rows;
    struct usage usage;
    int64_t ns; /* since the request's first byte */
};

/* What goes out: the writer appends to `body`, and may say more of it. */
struct dialect_answer {
    struct buffer *body;
    const char *type;        /* media type; NULL: application/json */
    int status;              /* 0: 200 */
    const char *header_name; /* one header more, static; or NULL */
    char header_value[64];
};

typedef bool dialect_reader(const struct dialect_input *in, struct dialect_request *out,
                            struct api_error *error);
typedef void dialect_writer(const struct dialect_request *request, const struct dialect_result *result,
                            struct dialect_answer *out);

struct dialect_request {
    enum dialect_kind kind;
    /* One of these, by the kind. A classification has labels (no stored classifier) and its top_k, which
     * request_check_labels sees to. */
    struct embed_request embed;
    struct classify_request classify;
    struct compare_request compare;
    dialect_writer *write;
    const void *notes; /* the writer's own, in the arena */
    size_t scratch;    /* bytes that the answer takes besides its numbers: texts that it repeats */
};

/* ---- what is told without a body: lists of models, "ready" */

/* What was done how often, and how long it took in all. */
struct dialect_sum {
    uint64_t count, ns;
};

/* What was done for a model since the server's start. */
struct dialect_statistics {
    uint64_t items, steps;         /* embedded; computed together */
    uint64_t last_ms;              /* the last step's end, in Unix milliseconds; 0: there was none */
    struct dialect_sum ok, failed; /* requests for it, by their answers */
    struct dialect_sum queue, input, inference; /* stages of those that an engine has computed */
};

struct dialect_about {
    const struct answer_model *models; /* [n]; none while the server starts */
    size_t n;
    const struct request_models *names; /* by which one is found among them; NULL while the server starts */
    const struct dialect_statistics *statistics; /* [n] */
    bool ready;                                  /* every model answers */
    const char *why;                             /* it is not ready, or "" */
    struct text below;
    size_t most_requests, most_body_bytes; /* --queue-items, --max-body-bytes */
};
typedef bool dialect_teller(const struct dialect_about *about, struct dialect_answer *out,
                            struct api_error *error);

/* Whether every model answers. False: *error is the 503; these dialects show its reason, and no code. */
bool dialect_check_ready(const struct dialect_about *about, struct api_error *error);
/* The 503 that a teller of models answers with before there are any. False. */
bool dialect_fail_starting(struct api_error *error);

/* ---- what several dialects share */

/* The JSON object that the body is; if it is none, the 400 (request_read_object). */
bool dialect_read_object(const struct dialect_input *in, const struct json_value **object,
                         struct api_error *error);

/* {"error":"the message"}, the most common form; {"message":…}; {"detail":…}, FastAPI's. */
void dialect_error_string(struct buffer *out, const struct api_error *error);
void dialect_error_message(struct buffer *out, const struct api_error *error);
void dialect_error_detail(struct buffer *out, const struct api_error *error);

size_t dialect_count_images(const struct embed_request *request);

/* The 400 for "dimensions" that are not the model's. */
bool dialect_check_dimensions(const struct limoe_info *model, const struct json_value *field,
                              struct api_error *error);

/* "[0.5,…]": a vector of n numbers. */
void dialect_write_vector(struct buffer *out, const float *row, size_t n);
/* "[0.5,…]": the cosines of ranked documents in the documents' own order; room [ranked->count]. */
void dialect_write_cosines(struct buffer *out, const struct classification *ranked, float *room);
/* "[[…],…]": all of them. */
void dialect_write_vectors(struct buffer *out, const float *rows, size_t n, size_t embed);

#endif
