/* encoder.h - the forward pass: items to unit vectors. */
#ifndef LIMOE_MODEL_FORWARD_ENCODER_H
#define LIMOE_MODEL_FORWARD_ENCODER_H

#include <stddef.h>

#include "experts/exchange.h"
#include "experts/placement.h"
#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/weights.h"

struct encoder;

/* Borrows all but err; they must outlive the encoder. The weights are those that the placement gives to this
 * rank. */
enum limoe_status encoder_create(const struct config *config, struct kernels *k,
                                 const struct weights *weights, const struct exchange *ranks,
                                 const struct placement *placement, struct encoder **out,
                                 struct limoe_error *err);
void encoder_destroy(struct encoder *encoder); /* NULL is fine */

/* limoe_model_embed on items that have been checked. Memory grows with the longest item, not with n; but with
 * "moe.capacity" all items are one step, since the groups that share expert buffers run through the whole
 * call: consecutive rows, images first, then texts, each in item order.
 *
 * Collective over the ranks: each takes part in as many steps as the one that has the most. A failure on one
 * rank that the others could not step around ends its process; LIMOE_LOST is a step that the ranks have lost.
 */
enum limoe_status encoder_embed(struct encoder *encoder, const struct limoe_item *items, size_t n,
                                float *embeddings, const struct limoe_routing *routing,
                                struct limoe_error *err);

/* rows[the items' tokens, width]: the residual stream of checked items, n >= 1 of one modality, where it enters a block of
 * their tower, counted in it. Of one rank, without "moe.capacity". */
enum limoe_status encoder_trunk(struct encoder *encoder, const struct limoe_item *items, size_t n,
                                uint32_t block, float *rows, struct limoe_error *err);

#endif
