/* config_format.h - the readers of a model's description, one for each way of writing it. Internal to
 * model/checkpoint/. */
#ifndef LIMOE_MODEL_CHECKPOINT_CONFIG_FORMAT_H
#define LIMOE_MODEL_CHECKPOINT_CONFIG_FORMAT_H

#include "model/checkpoint/config.h"
#include "model/checkpoint/fields.h"

/* Each fills a config of zeros from the document's root, or fails. What holds for all models is checked afterwards
 * (config.c). */
void config_read_limoe(const struct fields *root, struct config *config);
void config_read_transformers(const struct fields *root, struct config *config); /* by its "model_type" */
void config_read_open_clip(const struct fields *root, struct config *config);

#endif
