/* text_cache.h - embeddings of texts that were computed before.
 *
 * A text's embedding depends on the text alone, so what was computed once is right for as long as the model
 * stays: each loaded model has a cache of its own, and a reload brings an empty one. Keys are the texts'
 * exact bytes, compared whole: two texts never share an embedding.
 *
 * Bounded in bytes, counting tables, nodes, keys and vectors; what was used least recently goes first.
 * Divided into shards, each with its lock and its share of the bytes, so that threads rarely meet. Any
 * thread.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_TEXT_CACHE_H
#define LIMOE_SERVER_FRONT_STORE_TEXT_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct text_cache;

/* Embeddings of `embed` floats, in at most `bytes`. 0 bytes: a cache that keeps nothing. */
enum limoe_status text_cache_new(size_t bytes, uint32_t embed, struct text_cache **out,
                                 struct limoe_error *err);
void text_cache_free(struct text_cache *cache); /* no thread uses it any more; NULL is fine */

/* True: embedding[embed] and *tokens (that the text has, its end token included) are filled. */
bool text_cache_get(struct text_cache *cache, const char *text, size_t size, float *embedding,
                    uint32_t *tokens);
/* Keeps a copy. One that is there already stays; one that is larger than a shard, or finds no memory, is not
 * kept. */
void text_cache_put(struct text_cache *cache, const char *text, size_t size, const float *embedding,
                    uint32_t tokens);

struct text_cache_stats {
    uint64_t entries, bytes; /* now */
    uint64_t hits, misses, evictions;
};
struct text_cache_stats text_cache_stats(struct text_cache *cache);

#endif
