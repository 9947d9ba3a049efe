/* tokenizer_json.h - a tokenizer of Hugging Face's `tokenizers`, from its one file.
 *
 * Accepted is what CLIP's and Gemma's tokenizers are made of; any other component is refused by its name. */
#ifndef LIMOE_MODEL_TEXT_TOKENIZER_JSON_H
#define LIMOE_MODEL_TEXT_TOKENIZER_JSON_H

#include <stddef.h>

#include "limoe.h"
#include "model/text/folder_config.h"
#include "model/text/tokenizer.h"

#define TOKENIZER_JSON "tokenizer.json"

/* Reads bytes[size], which is written to on the way. *out is closed with tokenizer_close. */
enum limoe_status tokenizer_json_read(char *bytes, size_t size, const struct folder_config *config,
                                      struct tokenizer **out, struct limoe_error *err);

#endif
