/* trunk_cache.h - rows of the trunk that were computed before: of pictures and texts, where the first of an item's tails
 * begins.
 *
 * They depend on the item's pixels or ids alone, so what was computed once is right for as long as the model is open. Keys are
 * digests (SHA-256) of those and of the block, so that nobody can make two items that are taken for each other.
 *
 * Bounded in bytes, counting the table, keys and rows; what was used least recently goes first, but nothing that the step in
 * hand uses. One thread, which is the model's.
 */
#ifndef LIMOE_SERVER_ENGINE_TRUNK_CACHE_H
#define LIMOE_SERVER_ENGINE_TRUNK_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "server/protocol/frame.h"

struct trunk_cache;

/* The most bytes of it; 0: it keeps nothing. NULL: no memory. */
struct trunk_cache *trunk_cache_new(uint64_t most_bytes);
void trunk_cache_free(struct trunk_cache *cache); /* NULL is fine */

/* Gives an item of the step in hand its rows, or room to keep them in, if there is any; neither where it has no rows to keep
 * (limoe_item_fork). */
void trunk_cache_look(struct trunk_cache *cache, const struct limoe_model *model, struct limoe_item *item);
/* The step is over. computed: what was to be kept is there; else it is not. */
void trunk_cache_end_step(struct trunk_cache *cache, bool computed);

/* Sets known, known_bytes, hits and misses, of which the latter two are since the last call. */
void trunk_cache_count(struct trunk_cache *cache, struct frame_tails *out);

#endif
