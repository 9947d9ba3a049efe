/* tail.h - the tail of a tower in training: its blocks from one on, the final norm, pooling, projection.
 *
 *     z = normalize(projection(pool(LN(blocks(x)))))     for rows x of the residual stream, as the trunk leaves them
 *
 * Forward is the encoder's (model/forward/encoder.c) in float32, and its bits are the same; it keeps what the gradient
 * needs, and backward works through it in reverse. Weights are the parameters' (float32 masters), packed anew when told.
 *
 * Not for post_norm (BERT's blocks) nor for experts of limited capacity: LIMOE_UNSUPPORTED.
 *
 * Memory. Beside 16 bytes a parameter, and 4 packed: a batch keeps of each block and row 6 width + mlp floats; where it
 * has experts 6 width + top_k (mlp + width + 4) + experts. Norms, activations and dispatched rows are computed again.
 *
 * Owns its parameters, packed weights and activations; config and kernels are borrowed, kernels' threads used. One caller
 * at a time. The same bits at any number of threads. */
#ifndef LIMOE_MODEL_TUNING_TAIL_H
#define LIMOE_MODEL_TUNING_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"
#include "model/tuning/parameters.h"

struct tail;

/* Packed end to end as a step is: pictures' sequences first, then texts'. */
struct tail_batch {
    const float *rows; /* [start[images + texts], width]: what enters the first block */
    const uint32_t
        *start; /* [images + texts + 1], from 0 on; no sequence is empty. Stays until backward is done */
    size_t images, texts; /* not both 0; of a tower of one modality, its own alone */
};

/* k: an instance in float32 that has gradients. st: a checkpoint that layout_check has passed. */
enum limoe_status tail_create(const struct config *config, const struct safetensors *st, struct kernels *k,
                              const struct tail_shape *shape, struct tail **out, struct limoe_error *err);
void tail_destroy(struct tail *t); /* NULL is fine */

/* To be changed as the caller likes; weights take effect with tail_repack, gradients are summed up until cleared. */
struct parameters *tail_parameters(struct tail *t);
void tail_repack(struct tail *t);

/* z [images + texts, embed], unit vectors. LIMOE_NO_MEMORY leaves the tail fit for a smaller batch. */
enum limoe_status tail_forward(struct tail *t, const struct tail_batch *batch, float *z,
                               struct limoe_error *err);
/* Adds to the gradients those of the last forward, dz [images + texts, embed]. Once for each forward. */
enum limoe_status tail_backward(struct tail *t, const float *dz, struct limoe_error *err);

#endif
