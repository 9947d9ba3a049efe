/* folder_config.h - what the small files beside a tokenizer say: tokenizer_config.json, special_tokens_map.json,
 * open_clip_config.json's part about text, and config.json's model_type.
 *
 * Absent files say nothing. Which of two files counts follows transformers: with "added_tokens_decoder" in
 * tokenizer_config.json, special_tokens_map.json is not looked at; without, it counts for more.
 */
#ifndef LIMOE_MODEL_TEXT_FOLDER_CONFIG_H
#define LIMOE_MODEL_TEXT_FOLDER_CONFIG_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "limoe.h"
#include "model/text/clean.h"

#define TOKENIZER_CONFIG   "tokenizer_config.json"
#define SPECIAL_TOKENS_MAP "special_tokens_map.json"
#define OPEN_CLIP_CONFIG   "open_clip_config.json"
#define MODEL_CONFIG       "config.json"

struct folder_config {
    cJSON *tokenizer, *map, *model; /* NULL: no such file */

    bool open_clip;    /* the folder is OpenCLIP's; the rest is of its model_cfg.text_cfg */
    bool hugging_face; /* it names a tokenizer of Hugging Face's */
    enum clean clean;
    uint32_t context_length;
};

struct file_bytes {
    uint8_t *at; /* NULL: no such file */
    size_t size;
};

struct folder_files {
    struct file_bytes tokenizer, map, model, open_clip;
};

/* Parses what is there. With `open_clip` the folder is OpenCLIP's: its file must be there, and config.json is not
 * looked at. Free with folder_config_free, in any case. */
enum limoe_status folder_config_parse(struct folder_config *config, const struct folder_files *files,
                                      bool open_clip, struct limoe_error *err);
void folder_config_free(struct folder_config *config);

/* The text of a token: "eos_token": "</s>", or its object's "content". `missing` when no file names it; NULL text
 * when one says null. LIMOE_CORRUPT. */
enum limoe_status folder_config_token(const struct folder_config *config, const char *name,
                                      const char *missing, const char **token, struct limoe_error *err);
/* Whether a text says that a token reads as the text does after the normaliser ("normalized"). */
bool folder_config_normalized(const struct folder_config *config, const char *name);

/* A switch of tokenizer_config.json. LIMOE_CORRUPT when it is no boolean. */
enum limoe_status folder_config_switch(const struct folder_config *config, const char *name, bool missing,
                                       bool *value, struct limoe_error *err);
/* Whether a Gemma tokenizer of Hugging Face's makes small letters: Siglip2Tokenizer does, which transformers takes by
 * its name or for a model of the type "siglip2"; and any that says "do_lower_case". LIMOE_CORRUPT. */
enum limoe_status folder_config_lower(const struct folder_config *config, bool *lower,
                                      struct limoe_error *err);
/* The most tokens of a text; 0: it does not say, or says that there is no limit. LIMOE_CORRUPT. */
enum limoe_status folder_config_length(const struct folder_config *config, uint32_t *length,
                                       struct limoe_error *err);
/* "padding_side"; `missing` when there is none. LIMOE_CORRUPT. */
enum limoe_status folder_config_pad_left(const struct folder_config *config, bool missing, bool *left,
                                         struct limoe_error *err);

#endif
