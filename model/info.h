/* info.h - fills struct limoe_info, the public description of a model. */
#ifndef LIMOE_MODEL_INFO_H
#define LIMOE_MODEL_INFO_H

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"

/* Fills in the shape; the rest is 0. info->name and info->moe_blocks point into *config, which must
 * outlive it. */
void info_from_config(const struct config *config, struct limoe_info *info);

/* Fills in the rest: total_parameters, active_parameters, weight_bytes and logit_scale, which is read from
 * the checkpoint and refused unless -20 <= s <= 20 (exp(s) and its softmax stay finite). */
enum limoe_status info_from_checkpoint(const struct config *config, const struct safetensors *st,
                                       struct limoe_info *info, struct limoe_error *err);

#endif
