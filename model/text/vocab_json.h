/* vocab_json.h - the two large parts of a tokenizer's files: which piece has which id, and which pairs merge. */
#ifndef LIMOE_MODEL_TEXT_VOCAB_JSON_H
#define LIMOE_MODEL_TEXT_VOCAB_JSON_H

#include <stddef.h>

#include "limoe.h"
#include "model/text/bpe.h"
#include "model/text/json_scan.h"
#include "model/text/vocab.h"

/* Merges, read or being read. Free `at` with free(). */
struct merge_list {
    struct bpe_merge *at;
    size_t n, room;
};

/* {"piece": id, …}. The texts stay in the scanned bytes. LIMOE_CORRUPT, LIMOE_TOO_LARGE or LIMOE_NO_MEMORY. */
enum limoe_status vocab_json_read(struct json_scan *scan, struct vocab *vocab);

/* ["a b", …] or [["a", "b"], …]: pairs of pieces whose texts make a third one. */
enum limoe_status vocab_json_read_merges(struct json_scan *scan, const struct vocab *vocab,
                                         struct merge_list *merges);

/* Adds a pair. `where` and `number` (from 0) are for messages. LIMOE_CORRUPT when one of the three pieces is not
 * there; LIMOE_NO_MEMORY. */
enum limoe_status vocab_json_add_merge(struct merge_list *merges, const struct vocab *vocab, struct text left,
                                       struct text right, const char *where, struct limoe_error *err);

#endif
