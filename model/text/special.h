/* special.h - start, end, padding and added tokens: by the folder's files, into a tokenizer. */
#ifndef LIMOE_MODEL_TEXT_SPECIAL_H
#define LIMOE_MODEL_TEXT_SPECIAL_H

#include "limoe.h"
#include "model/text/bpe_text.h"
#include "model/text/folder_config.h"
#include "model/text/vocab.h"

/* What a kind of tokenizer says where the files say nothing: its tokens; NULL: none. */
struct special_names {
    const char *start, *end, *unknown, *pad, *mask;
    const char *start_name, *end_name; /* NULL: "bos_token" and "eos_token" */
};

/* Adds the added tokens to the tokenizer, and those which are no pieces yet to the vocabulary: of
 * "added_tokens_decoder", else of `listed` ("added_tokens" of tokenizer.json, or NULL), and those above. */
enum limoe_status special_add(struct bpe_text *t, struct vocab *vocab, const struct folder_config *config,
                              const cJSON *listed, const struct special_names *missing,
                              struct limoe_error *err);

/* The id of the token that the files, or `missing`, give this name ("eos_token"); -1: there is none. LIMOE_CORRUPT
 * when it is no piece. */
enum limoe_status special_id(const struct vocab *vocab, const struct folder_config *config, const char *name,
                             const char *missing, int32_t *id, struct limoe_error *err);

#endif
