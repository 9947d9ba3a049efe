/* limoe_caption.h - beside limoe.h: captions of pictures, by a model that has a decoder (docs/models.md).
 *
 * A decoder writes a text token by token, each from a distribution over the model's pieces that depends on the picture
 * and the tokens before it. A caption depends on the picture, the options and the seed alone: bit for bit the same
 * alone or in any batch, at any number of threads (docs/architecture.md).
 */
#ifndef LIMOE_CAPTION_H
#define LIMOE_CAPTION_H

#include "limoe.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LIMOE_CAPTION_MAX_TOKENS 256u /* of one caption, the end included */
#define LIMOE_CAPTION_MAX        64u  /* captions of one picture in a call */
#define LIMOE_CAPTION_MAX_BEAMS  16u
#define LIMOE_CAPTION_TEXT                                                                                   \
    (LIMOE_CAPTION_MAX_TOKENS * 512u + 1u) /* bytes that hold any caption, its NUL included */

/* How captions are found. What is 0 takes the default. */
struct limoe_caption_options {
    /* How many, of each picture; default 1. By search the best ones, at most `beams`; by sampling each drawn by itself, of
     * which the first are the same however many there are. */
    uint32_t n;
    /* Search: each step keeps the most probable of all texts begun, as many as are not at their end; default 1, the most
     * probable token each time. Not with top_k. */
    uint32_t beams;
    /* Sampling: each token is drawn among the top_k most probable, up to the vocabulary; 0: no sampling. */
    uint32_t top_k;
    float
        temperature; /* of sampling: probabilities to the power of 1 / temperature; 0.01 to 100, default 1 */
    uint32_t min_length,
        max_length; /* tokens before the end; default 0 and all that the model has positions for */
    uint64_t seed;  /* of sampling */
};

struct limoe_caption {
    uint32_t length; /* of tokens[], the end left out */
    bool ended;      /* false: it reached max_length and was cut there */
    /* The natural logarithm of its probability as the model has it, at temperature 1, before tokens are barred or left
     * out: of all its tokens, and of the end where it has one. */
    double logprob;
    int32_t tokens[LIMOE_CAPTION_MAX_TOKENS];
};

/* The options with defaults filled in, for a model of this description. LIMOE_UNSUPPORTED: it has no decoder; LIMOE_INVALID
 * names the option, what it is and what is accepted. */
enum limoe_status limoe_caption_check(const struct limoe_info *info,
                                      const struct limoe_caption_options *asked,
                                      struct limoe_caption_options *options, struct limoe_error *err);

/* Captions `n` pictures: captions[n, options->n], those of a search by descending logprob for a token (the end counted),
 * those of sampling in the order of their numbers. options NULL: the defaults. The pictures' items are as those of
 * limoe_model_embed, without tails and shares. Memory is bounded, whatever n is.
 * LIMOE_INVALID names the item or the option; LIMOE_UNSUPPORTED: the model has no decoder, or is on several ranks. */
enum limoe_status limoe_model_caption(struct limoe_model *model, const struct limoe_item *pictures, size_t n,
                                      const struct limoe_caption_options *options,
                                      struct limoe_caption *captions, struct limoe_error *err);

/* ---- captions in the making: for who has other work between two tokens */

/* One model's; the thread's that has the model, which outlives it. It has memory only while it has captions. */
struct limoe_captioner;
/* Those of one picture. */
struct limoe_captioning;

enum limoe_status limoe_captioner_open(struct limoe_model *model, struct limoe_captioner **out,
                                       struct limoe_error *err);
void limoe_captioner_close(struct limoe_captioner *captioner); /* ends its captions; NULL is fine */

/* Begins captions of `n` pictures, each by its own options (limoe_caption_check has filled them in), and takes the pictures
 * through their tower: out[n], which limoe_captioner_end frees. All or none. Errors are those of limoe_model_caption. */
enum limoe_status limoe_captioner_begin(struct limoe_captioner *captioner, const struct limoe_item *pictures,
                                        const struct limoe_caption_options *const *options, size_t n,
                                        struct limoe_captioning **out, struct limoe_error *err);
/* A token more for each of their texts that is not at its end: many pictures' together cost little more than one's. None
 * of captionings[n] is there twice. After an error those that were not computed are as they were. */
enum limoe_status limoe_captioner_step(struct limoe_captioner *captioner,
                                       struct limoe_captioning *const *captionings, size_t n,
                                       struct limoe_error *err);
void limoe_captioner_end(struct limoe_captioner *captioner,
                         struct limoe_captioning *captioning); /* NULL is fine */

uint32_t limoe_captioning_steps(const struct limoe_captioning *captioning); /* that it has taken */
bool limoe_captioning_done(const struct limoe_captioning *captioning);      /* all its texts are */
/* Once done: captions[options.n], as limoe_model_caption has them. */
void limoe_captioning_answer(const struct limoe_captioning *captioning, struct limoe_caption *captions);

/* The text of a caption's tokens, NUL-terminated UTF-8, to text[size]. LIMOE_INVALID: a token that is none of the model's;
 * LIMOE_TOO_LARGE: there is no room; LIMOE_UNSUPPORTED: the model takes no texts, or its tokenizer is not limoe's own. Any
 * thread may call it. */
enum limoe_status limoe_caption_text(const struct limoe_processor *processor,
                                     const struct limoe_caption *caption, char *text, size_t size,
                                     struct limoe_error *err);

#ifdef __cplusplus
}
#endif

#endif
