/* parameters.h - the tensors of a tower's tail as numbers to train: weights, gradients and the optimizer's moments, each
 * one array in which every tensor has its place.
 *
 * Tensors are the layout's (layout.h), dense float32, whatever the checkpoint keeps them in. Their order is the layout's:
 * those of the whole model, then block by block. Once loaded nothing of the checkpoint is needed. */
#ifndef LIMOE_MODEL_TUNING_PARAMETERS_H
#define LIMOE_MODEL_TUNING_PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/backward.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"

struct parameter {
    enum layout_id id;
    uint32_t block; /* counted through both towers; 0 for what is not in a block */
    struct layout_tensor tensor;
    size_t first; /* of its elements, in the arrays below */
    bool frozen;
};

struct parameters {
    struct parameter *item; /* [count] */
    uint32_t count;
    size_t elements;
    float *weight, *gradient; /* [elements] */
    float *mean, *square;     /* [elements]: AdamW's m and v */
};

/* A tail: the blocks of a tower from `first_block` on, counted in the tower, and what follows them. */
struct tail_shape {
    enum limoe_modality tower; /* of one tower for both modalities, LIMOE_IMAGE */
    uint32_t first_block; /* up to and with the tower's number of blocks: then there is only what follows */
    bool routers;         /* whether routers are trained, too */
};

/* Reads the tail of a checkpoint that layout_check has passed; gradients and moments are zero. On failure *out is empty. */
enum limoe_status parameters_load(const struct config *config, const struct safetensors *st,
                                  const struct tail_shape *shape, struct parameters *out,
                                  struct limoe_error *err);
void parameters_free(struct parameters *p); /* empty ones are fine */

/* The tensor's place; NULL: the tail has none. */
const struct parameter *parameters_find(const struct parameters *p, enum layout_id id, uint32_t block);

void parameters_clear_gradients(struct parameters *p);
/* One step of AdamW over what is not frozen; `how`'s decay is that of matrices, vectors have none. */
void parameters_step(struct kernels *k, const struct adamw *how, struct parameters *p);

#endif
