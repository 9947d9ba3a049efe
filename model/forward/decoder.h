/* decoder.h - the forward pass of the text decoder: pictures' rows and the tokens so far to the next token's logits.
 *
 * Many texts, about several pictures, take a step at once, a token each. A text's keys and values are rows that each of its
 * steps has left; it names those that it sees, so that texts which began alike share what they have in common, and
 * none is copied. The bits of a text's logits depend on its picture and its tokens alone.
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

/* What it has room for. */
struct decoder_room {
    size_t pictures; /* that are looked at, all together */
    size_t texts;    /* of one step */
    size_t rows;     /* of all steps: one for each text of each */
};

/* Borrows all but err; they must outlive it. One thread at a time. */
enum limoe_status decoder_create(const struct config *config, struct kernels *k,
                                 const struct weights_decoder *weights, const struct decoder_room *room,
                                 struct decoder **out, struct limoe_error *err);
void decoder_destroy(struct decoder *decoder); /* NULL is fine */

/* Keeps keys and values of one picture more, the first is number 0. rows [image tokens, image width], float32 of the host: what
 * its tower's last block has left (encoder_trunk). */
void decoder_look(struct decoder *decoder, const float *rows);

/* A token each of n texts. All of it is the host's. */
struct decoder_step {
    size_t n;
    const int32_t *token;     /* [n] */
    const uint32_t *position; /* [n]: tokens before it */
    const uint32_t *picture;  /* [n] */
    const uint32_t *start;    /* [n + 1] */
    /* [start[n]]: text i sees the rows seen[start[i]] .. seen[start[i + 1] - 1], those of its tokens in their order, the last its own:
     * text i's of this step is decoder_rows() + i. */
    const uint32_t *seen;
};

/* How many rows all steps have left so far. */
uint32_t decoder_rows(const struct decoder *decoder);

/* logits [n, vocab] of the host. LIMOE_INTERNAL: they are not finite. */
enum limoe_status decoder_step(struct decoder *decoder, const struct decoder_step *step, float *logits,
                               struct limoe_error *err);

#endif
