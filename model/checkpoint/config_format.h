/* config_format.h - the readers of a model's description, one for each way of writing it, and what they share. */
#ifndef LIMOE_MODEL_CHECKPOINT_CONFIG_FORMAT_H
#define LIMOE_MODEL_CHECKPOINT_CONFIG_FORMAT_H

#include "model/checkpoint/config.h"
#include "model/checkpoint/fields.h"

/* Each fills a config of zeros from the document, or fails. What holds for all models is checked afterwards
 * (config.c): sizes that must divide each other, names, tokens. */
void config_read_limoe(struct fields *f, const cJSON *root, struct config *config);
/* transformers': "model_type" is "clip", or "siglip" or "siglip2". */
void config_read_clip(struct fields *f, const cJSON *root, struct config *config);
void config_read_siglip(struct fields *f, const cJSON *root, struct config *config);
void config_read_open_clip(struct fields *f, const cJSON *root, struct config *config);

#endif
