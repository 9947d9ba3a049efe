/* captions.h - POST /v1/captions: pictures' captions, which a model's decoder writes, or which are taken from a bank of them.
 *
 * limoe caption --json prints by the same functions. No state, any thread.
 */
#ifndef LIMOE_SERVER_API_CAPTIONS_H
#define LIMOE_SERVER_API_CAPTIONS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "limoe_caption.h"
#include "server/api/api_error.h"
#include "server/api/describe.h"
#include "server/api/fields.h"

#define CAPTIONS_PAGE      16u               /* tokens by which the engine makes room for a text */
#define CAPTIONS_MOST_SEED 9007199254740991u /* above it numbers of JSON leave some out */

struct captions_request {
    /* The model and the pictures, and what a bank is asked for: n captions, and nothing else. It is first: calls that are
     * described by vocabularies begin with it. */
    struct describe_request describe;
    bool decoded;                         /* by the model's decoder, not from a bank */
    struct limoe_caption_options options; /* of the decoder: checked, defaults filled in */
};

extern const struct field_table captions_fields;
bool captions_read(const struct request_models *models, const char *body, size_t size, struct arena *arena,
                   struct captions_request *out, struct api_error *error);

/* How many texts the decoder keeps of one picture; for how many tokens it makes room for each, a multiple of CAPTIONS_PAGE; and
 * for how many for all of the request. */
uint32_t captions_texts(const struct limoe_caption_options *options);
uint32_t captions_room(const struct limoe_caption_options *options);
uint64_t captions_tokens(const struct captions_request *request);
/* About how many bytes an answer from the decoder has. */
size_t captions_size(const struct captions_request *request);

/* What a request has taken. */
struct captions_usage {
    uint64_t image_tokens;
    uint64_t caption_tokens; /* of the captions, their ends included */
};

/* The answer, piece by piece: begin, each picture, end. */
void captions_begin(struct buffer *out, const char *model);
/* A picture's captions [n] by the decoder; those that its search did not find are left out. Adds their tokens to *usage. text
 * [LIMOE_CAPTION_TEXT] is scratch. The errors are limoe_caption_text's. */
enum limoe_status captions_append(struct buffer *out, bool first, size_t index,
                                  const struct limoe_processor *processor,
                                  const struct limoe_caption *captions, uint32_t n, char *text,
                                  struct captions_usage *usage, struct limoe_error *err);
/* The same from a bank, whose captions are terms. */
void captions_append_bank(struct buffer *out, bool first, size_t index, const struct text *terms,
                          const struct described_words *words);
void captions_end(struct buffer *out, const struct captions_usage *usage);

#endif
