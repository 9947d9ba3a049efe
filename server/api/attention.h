/* attention.h - POST /v1/attention: which parts of a picture a cosine with a text comes from.
 *
 * The request's bytes → what is asked for, and its answer, as JSON or as a picture. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_ATTENTION_H
#define LIMOE_SERVER_API_ATTENTION_H

#include "base/buffer.h"
#include "limoe.h"
#include "server/api/prepare.h"
#include "server/api/request.h"

#define ATTENTION_MOST_TEXTS  1000u
#define ATTENTION_MOST_SHARES 1048576u /* texts x patches of one answer */
#define ATTENTION_MOST_BYTES                                                                                 \
    (UINT64_C(64) << 20) /* of a picture's shares, which the engine sends: patches x embedding */

struct attention_request {
    size_t model;                     /* which of the hosted models it asks for */
    const struct request_item *items; /* [1 + n]: the picture, then the texts */
    size_t n;                         /* texts: 1 … ATTENTION_MOST_TEXTS; of a picture as the answer 1 */
    bool png;                         /* the answer is a picture */
};

extern const struct field_table attention_fields;
bool attention_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
                    struct attention_request *out, struct api_error *error);
/* Whether the model's pictures can be split by patches, and that many texts be answered. Of a model that a command has
 * opened, too. */
bool attention_check(const struct limoe_info *model, size_t texts, struct api_error *error);

/* Patches of one picture, in as many rows as columns. */
uint32_t attention_side(const struct limoe_info *model);
/* Numbers of one picture's shares. */
size_t attention_shares_size(const struct limoe_info *model);

/* What an answer is made of. */
struct attention {
    const struct limoe_info *model;
    const uint8_t *pixels;   /* [image_size, image_size, 3] */
    const float *embeddings; /* [1 + n, embed]: the picture's, then the texts' */
    const float *shares;     /* as struct limoe_item has them */
    size_t n;                /* texts */
};
/* About how many bytes the answers take, with what making them takes: the shares, too. */
size_t attention_size(const struct limoe_info *model, const struct attention_request *request);
/* {"object":"attention",…}; memory failure is in out->failed. */
void attention_answer(struct buffer *out, const struct attention *attention, const struct usage *usage);
/* Text 0's cosine and shares, which sum to it; share [patches]. */
void attention_shares(const struct attention *attention, size_t text, float *cosine, float *rest,
                      float *share);
/* The picture with text 0's shares laid over it, as PNG. False: no memory. */
bool attention_draw(struct buffer *out, const struct attention *attention);

#endif
