/* siglip.h - SigLIP's tokenizer: SentencePiece behind a clean-up of its own. */
#ifndef LIMOE_MODEL_TEXT_SIGLIP_H
#define LIMOE_MODEL_TEXT_SIGLIP_H

#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "model/text/folder_config.h"
#include "model/text/tokenizer.h"

#define SPIECE_MODEL "spiece.model"

/* transformers' SiglipTokenizer. */
enum limoe_status siglip_read(const uint8_t *bytes, size_t size, const struct folder_config *config,
                              struct tokenizer **out, struct limoe_error *err);

#endif
