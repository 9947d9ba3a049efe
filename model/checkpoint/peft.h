/* peft.h - folders as the library PEFT saves a LoRA: adapter_config.json beside adapter_model.safetensors. */
#ifndef LIMOE_MODEL_CHECKPOINT_PEFT_H
#define LIMOE_MODEL_CHECKPOINT_PEFT_H

#include <stdbool.h>

#include "limoe.h"
#include "model/checkpoint/adapter.h"

#define PEFT_CONFIG  "adapter_config.json"
#define PEFT_WEIGHTS "adapter_model.safetensors"
#define PEFT_PREFIX  "base_model.model." /* of its tensors' names */

/* Reads the config of the folder into the adapter: rank, alpha, scale. What asks for something that is not done here
 * (DoRA, biases, other ranks for some modules) is LIMOE_UNSUPPORTED. */
enum limoe_status peft_read(const char *dir, struct limoe_adapter *a, struct limoe_error *err);

#endif
