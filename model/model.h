/* model.h - opening a model on a given backend; what limoe_model_open does after choosing one. */
#ifndef LIMOE_MODEL_MODEL_H
#define LIMOE_MODEL_MODEL_H

#include "kernels/kernels.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/forward/weights.h"

/* The model owns k from here on, on failure too. Of the options, device, dtype and threads are k's. */
enum limoe_status model_open_on(const char *dir, struct kernels *k, const struct limoe_options *options,
                                struct limoe_model **out, struct limoe_error *err);

/* The dtype to ask the kernels for: AUTO is int8 on CPUs where the checkpoint is. */
enum limoe_dtype model_dtype(enum limoe_dtype asked, enum kernels_kind kind, bool int8);

/* For what stands over a model, training and captions: as long as the model. */
const struct config *model_config(const struct limoe_model *model);
struct kernels *model_kernels(struct limoe_model *model);
const struct weights *model_weights(const struct limoe_model *model);
uint32_t model_ranks(const struct limoe_model *model);
/* limoe_model_embed's check of its items. */
enum limoe_status model_check(const struct limoe_model *model, const struct limoe_item *items, size_t n,
                              struct limoe_error *err);

/* rows[the items' tokens, width], float32: the residual stream where it enters a block of the tower, counted in it, 0 to its
 * number of blocks. Items, n >= 1, are of one modality; the model is on one rank, without "moe.capacity". */
enum limoe_status model_trunk(struct limoe_model *model, const struct limoe_item *items, size_t n,
                              uint32_t block, float *rows, struct limoe_error *err);

#endif
