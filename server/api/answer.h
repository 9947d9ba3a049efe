/* answer.h - results → JSON text, exactly as docs/api.md shows it.
 *
 * The server and the command line's --json print through these same functions. Each appends one complete JSON
 * object (no newline); memory failure is in buffer->failed. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_ANSWER_H
#define LIMOE_SERVER_API_ANSWER_H

#include "base/buffer.h"
#include "limoe.h"
#include "server/api/api_error.h"
#include "server/api/classify.h"
#include "server/api/prepare.h"
#include "server/api/request.h"

/* What is answered where there is no memory to write an answer: an error as api_fail_memory's, and a newline. */
#define ANSWER_NO_MEMORY                                                                                     \
    "{\"error\":{\"message\":\"the server is out of memory\",\"type\":\"server_error\",\"param\":null,"      \
    "\"code\":\"no_memory\"}}\n"

/* About how many bytes the functions below append, for who sets them aside: `rows` are the tokens of all
 * items. */
size_t answer_classify_size(const struct classify_request *request);
size_t answer_embeddings_size(size_t n, size_t embed, enum request_encoding encoding);
size_t answer_routing_size(const struct limoe_info *model, size_t n, size_t rows);

/* A list of what is stored, piece by piece: begin, the entries, end. `more`: others follow behind them. */
void answer_list_begin(struct buffer *out);
void answer_list_end(struct buffer *out, bool more);
/* What is stored under a name is no more; `object` says what it was. */
void answer_deleted(struct buffer *out, const char *object, struct text name);

/* {"prompt_tokens",…}: the value of "usage". */
void answer_usage(struct buffer *out, const struct usage *usage);

void answer_classify(struct buffer *out, const char *model, const struct text *labels,
                     const struct classification *rows, size_t n, const struct usage *usage);

/* The same by several adapters, piece by piece: begin, each variant, end. */
void answer_variants_begin(struct buffer *out, const char *model);
void answer_variant(struct buffer *out, size_t i, struct text adapter, const struct text *labels,
                    const struct classification *rows, size_t n);
void answer_variants_end(struct buffer *out, const struct usage *usage);

/* embeddings [n, embed]; row i answers item index[i], or item i where index is NULL. */
void answer_embeddings(struct buffer *out, const char *model, const float *embeddings, const size_t *index,
                       size_t n, size_t embed, enum request_encoding encoding, const struct usage *usage);

/* items[n] as they were embedded in one step; routing->expert and ->gate [moe_layers, rows, top_k], rows
 * being the items' tokens end to end. */
void answer_routing(struct buffer *out, const struct limoe_info *model, const struct limoe_item *items,
                    size_t n, const struct limoe_routing *routing, const struct usage *usage);

/* What /v1/models says of a running model. */
struct answer_model {
    const struct limoe_info *info;
    const struct request_models *models; /* all that are served, with their aliases */
    size_t index;                        /* which of them it is */
    bool ready;                          /* its engine answers, and the server takes requests */
    const char *dtype, *backend;         /* "bfloat16", "cpu-amx" */
    const char *fingerprint;             /* limoe_model_fingerprint: equal ones give equal vectors */
    uint32_t threads, ranks;
    const struct limoe_rank *rank; /* [ranks]: what each holds; zeros while it is being started again */
    int64_t created;               /* Unix seconds; OpenAI clients insist on one: when the model was loaded */
};
void answer_model(struct buffer *out, const struct answer_model *model);             /* one model */
void answer_models(struct buffer *out, const struct answer_model *models, size_t n); /* the list */

/* Vectors of the same items in two dtypes. */
struct answer_cosines {
    size_t items; /* 0: the model has no tower for such */
    double least, mean;
};
struct answer_comparison {
    enum limoe_dtype dtype, beside;
    size_t embed; /* numbers in a vector */
    struct answer_cosines pictures, texts;
};
/* What ranks take of their GPUs, and what a card has. */
struct answer_cards {
    const struct limoe_cards *cards;
    uint64_t card_bytes;   /* 0: not said; then nothing is said of what fits */
    uint32_t fewest_ranks; /* that fit; 0: none do */
};
/* The rank that takes most. */
uint32_t answer_fullest_card(const struct limoe_cards *cards);
/* limoe inspect --json; ranks, cards and comparison may be NULL. */
void answer_inspection(struct buffer *out, const struct limoe_inspection *inspection,
                       const struct limoe_placement *ranks, const struct answer_cards *cards,
                       const struct answer_comparison *comparison);

void answer_error(struct buffer *out, const struct api_error *error);

#endif
