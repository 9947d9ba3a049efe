/* unigram.h - a text cut into the pieces whose scores have the largest sum, as `tokenizers`' Unigram does: what an
 * OpenCLIP folder of SigLIP holds.
 *
 * SentencePiece (pieces.h) does the same but for details: `tokenizers` sums in double precision, normalises by grapheme
 * cluster, and encodes each word by itself.
 */
#ifndef LIMOE_MODEL_TEXT_UNIGRAM_H
#define LIMOE_MODEL_TEXT_UNIGRAM_H

#include <cjson/cJSON.h>

#include "limoe.h"
#include "model/text/folder_config.h"
#include "model/text/json_scan.h"
#include "model/text/tokenizer.h"

/* Reads a tokenizer.json whose model is Unigram: `vocab` begins at its pieces, [["a", -2.5], …], `root` is the rest.
 * Only with open_clip's cleaning "canonicalize", which leaves nothing in a text that could be an added token.
 * LIMOE_UNSUPPORTED names what is not known; LIMOE_CORRUPT, LIMOE_TOO_LARGE, LIMOE_NO_MEMORY. */
enum limoe_status unigram_read(struct json_scan *vocab, const cJSON *root, const struct folder_config *config,
                               struct tokenizer **out, struct limoe_error *err);

#endif
