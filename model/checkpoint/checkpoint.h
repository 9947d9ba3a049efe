/* checkpoint.h - the weights of a model folder, found and held against its config. */
#ifndef LIMOE_MODEL_CHECKPOINT_CHECKPOINT_H
#define LIMOE_MODEL_CHECKPOINT_CHECKPOINT_H

#include <stdbool.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"

/* Opens the folder's safetensors, under the name that the config's library gives them, and checks that they hold what
 * the config calls for (layout_check). LIMOE_NOT_FOUND where there are none; if there are weights of another kind,
 * the message says what makes safetensors of them. */
enum limoe_status checkpoint_open(const char *dir, const struct config *config, struct safetensors **out,
                                  struct limoe_error *err);

/* Whether it holds int8 weights, as limoe_quantize makes them. */
bool checkpoint_is_int8(const struct safetensors *st);

#endif
