/* captioner.h - what limoe_captioner's users within the library see beside limoe_caption.h. */
#ifndef LIMOE_MODEL_CAPTION_CAPTIONER_H
#define LIMOE_MODEL_CAPTION_CAPTIONER_H

#include "limoe_caption.h"

enum { CAPTIONER_TEXTS = 64 }; /* of one step: past these a step's rows win little, and cost memory */

/* Whether these can be captioned; LIMOE_INVALID or LIMOE_UNSUPPORTED names the item. */
enum limoe_status captioner_check(const struct limoe_model *model, const struct limoe_item *pictures,
                                  size_t n, struct limoe_error *err);

#endif
