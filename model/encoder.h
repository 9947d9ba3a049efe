/* encoder.h - the forward pass: items to unit vectors. */
#ifndef LIMOE_ENCODER_H
#define LIMOE_ENCODER_H

#include <stddef.h>

#include "config.h"
#include "kernels.h"
#include "limoe.h"
#include "weights.h"

struct encoder;

/* Borrows config, k and weights, which must outlive the encoder. */
enum limoe_status encoder_create(const struct config *config, struct kernels *k,
                                 const struct weights *weights, struct encoder **out,
                                 struct limoe_error *err);
void encoder_destroy(struct encoder *encoder); /* NULL is fine */

/* limoe_model_embed on items that have been checked. Memory grows with the longest item, not with n; but with
 * "moe.capacity" all items are one step, since the groups that share expert buffers run through the whole
 * call: consecutive rows, images first, then texts, each in item order. */
enum limoe_status encoder_embed(struct encoder *encoder, const struct limoe_item *items, size_t n,
                                float *embeddings, const struct limoe_routing *routing,
                                struct limoe_error *err);

#endif
