/* lru.h - a hash table that knows in which order its nodes were used.
 *
 * Nodes are members of what is kept (lru_node first, so that a node's address is its owner's). The table
 * links them and adds up their bytes; it neither allocates nor frees them, and knows nothing of keys: the
 * caller walks lru_chain and compares. The number of buckets is fixed, so no insertion ever pays for moving
 * all the others. Not safe for two threads at once.
 */
#ifndef LIMOE_BASE_LRU_H
#define LIMOE_BASE_LRU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lru_node {
    struct lru_node *chain;         /* the next node in the bucket */
    struct lru_node *newer, *older; /* neighbours by time of use; a ring through the table's `ends` */
    uint64_t hash;
    size_t bytes; /* of all that goes when the node goes */
};

struct lru {
    struct lru_node **buckets; /* [n_buckets] */
    size_t n_buckets;          /* a power of two */
    size_t entries, bytes;     /* of the nodes */
    struct lru_node ends;      /* newer: the oldest node; older: the newest */
};

/* Room for about `expected` nodes: more make longer chains. False: no memory. */
bool lru_init(struct lru *lru, size_t expected);
/* Memory that lru_init takes for so many. */
size_t lru_table_bytes(size_t expected);
void lru_free(struct lru *lru); /* the nodes stay the caller's */

/* The first node of the hash's bucket; others follow by `chain`, and not all need have that hash. */
struct lru_node *lru_chain(const struct lru *lru, uint64_t hash);
void lru_add(struct lru *lru, struct lru_node *node, uint64_t hash, size_t bytes); /* as the newest */
void lru_touch(struct lru *lru, struct lru_node *node);                            /* makes it the newest */
void lru_remove(struct lru *lru, struct lru_node *node);
struct lru_node *lru_oldest(const struct lru *lru); /* NULL: empty */

#endif
