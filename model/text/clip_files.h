/* clip_files.h - CLIP's tokenizer from files that are older than tokenizer.json. */
#ifndef LIMOE_MODEL_TEXT_CLIP_FILES_H
#define LIMOE_MODEL_TEXT_CLIP_FILES_H

#include <stddef.h>

#include "limoe.h"
#include "model/text/folder_config.h"
#include "model/text/tokenizer.h"

#define VOCAB_JSON  "vocab.json"
#define MERGES_TXT  "merges.txt"
#define SIMPLE_BPE  "bpe_simple_vocab_16e6.txt"
#define SIMPLE_GZIP "bpe_simple_vocab_16e6.txt.gz"

/* transformers' CLIPTokenizer from vocab.json and merges.txt. The first bytes are written to on the way. */
enum limoe_status clip_files_read(char *vocab, size_t vocab_size, const char *merges, size_t merges_size,
                                  const struct folder_config *config, struct tokenizer **out,
                                  struct limoe_error *err);

/* open_clip's SimpleTokenizer from its merges alone, a line each after the first: its vocabulary is the bytes, the
 * bytes that end a word, what the first 48894 merges make, <start_of_text> and <end_of_text>. `name`, the file's,
 * begins messages. */
enum limoe_status clip_files_read_simple(const char *bytes, size_t size, const char *name,
                                         const struct folder_config *config, struct tokenizer **out,
                                         struct limoe_error *err);

#endif
