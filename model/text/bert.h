/* bert.h - transformers' BertTokenizer, which ChineseCLIP has: from vocab.txt, or tokenizer.json.
 *
 * What is done to a text is tokenizer_config.json's to say, also where tokenizer.json has a normaliser of its own:
 * "do_lower_case", "tokenize_chinese_chars" and "strip_accents". */
#ifndef LIMOE_MODEL_TEXT_BERT_H
#define LIMOE_MODEL_TEXT_BERT_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "limoe.h"
#include "model/text/folder_config.h"
#include "model/text/json_scan.h"
#include "model/text/tokenizer.h"

#define VOCAB_TXT "vocab.txt"

/* A piece a line; its number, from 0, is its id. */
enum limoe_status bert_read_lines(const char *bytes, size_t size, const struct folder_config *config,
                                  struct tokenizer **out, struct limoe_error *err);

/* Of a tokenizer.json whose model is WordPiece: `vocab` begins at its pieces, `root` is the rest. */
enum limoe_status bert_read_json(struct json_scan *vocab, const cJSON *root,
                                 const struct folder_config *config, struct tokenizer **out,
                                 struct limoe_error *err);

#endif
