/* decoder.h - the forward pass of the text decoder: pictures' rows and the tokens so far to the next token's logits.
 *
 * Many texts, about several pictures, take a step at once, a token each. Keys and values are rows of a pool: each token's
 * lie where whoever drives the decoder says, and a text names those that it sees. So texts which began alike share what they
 * have in common, texts come and go, and none is copied. The bits of a text's logits depend on its picture and its tokens
 * alone, not on where their rows lie.
 */
#ifndef LIMOE_MODEL_FORWARD_DECODER_H
#define LIMOE_MODEL_FORWARD_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/weights.h"

struct decoder;

/* With room for so many texts in one step, and no rows. Borrows all but err; they must outlive it. One thread at a time. */
enum limoe_status decoder_create(const struct config *config, struct kernels *k,
                                 const struct weights_decoder *weights, size_t texts, struct decoder **out,
                                 struct limoe_error *err);
void decoder_destroy(struct decoder *decoder); /* NULL is fine */

/* Makes the pools at least so large, in pictures and in rows of tokens. What they hold stays. LIMOE_NO_MEMORY: they are as
 * they were. */
enum limoe_status decoder_reserve(struct decoder *decoder, size_t pictures, size_t rows,
                                  struct limoe_error *err);

/* Keeps keys and values of one picture, in the place of the picture that was there. rows [image tokens, image width], float32
 * of the host: what its tower's last block has left (encoder_trunk). */
void decoder_look(struct decoder *decoder, size_t picture, const float *rows);

/* A token each of n texts. All of it is the host's. */
struct decoder_step {
    size_t n;
    const int32_t *token;     /* [n] */
    const uint32_t *position; /* [n]: tokens before it */
    const uint32_t *picture;  /* [n] */
    const uint32_t *row;      /* [n]: where its keys and values go */
    const uint32_t *start;    /* [n + 1] */
    /* [start[n]]: text i sees the rows seen[start[i]] .. seen[start[i + 1] - 1], those of its tokens in their order, the last
     * row[i]. */
    const uint32_t *seen;
};

/* logits [n, vocab] of the host. LIMOE_INTERNAL: they are not finite. */
enum limoe_status decoder_step(struct decoder *decoder, const struct decoder_step *step, float *logits,
                               struct limoe_error *err);

#endif
