/* lru.c - chained buckets, and a ring by time of use. */
#include "base/lru.h"

#include <stdlib.h>

#define MOST_BUCKETS ((size_t)1 << 30)

static size_t buckets_for(size_t expected) {
    size_t n = 1;
    while (n < expected && n < MOST_BUCKETS)
        n *= 2;
    return n;
}

size_t lru_table_bytes(size_t expected) {
    return buckets_for(expected) * sizeof(struct lru_node *);
}

bool lru_init(struct lru *lru, size_t expected) {
    *lru = (struct lru){.n_buckets = buckets_for(expected)};
    /* Zeroed by the system page by page as buckets are used: a table that stays empty takes no memory. */
    lru->buckets = calloc(lru->n_buckets, sizeof(struct lru_node *));
    lru->ends.newer = lru->ends.older = &lru->ends;
    return lru->buckets != NULL;
}

void lru_free(struct lru *lru) {
    free(lru->buckets);
    lru->buckets = NULL;
}

static struct lru_node **bucket(const struct lru *lru, uint64_t hash) {
    return &lru->buckets[hash & (lru->n_buckets - 1)];
}

struct lru_node *lru_chain(const struct lru *lru, uint64_t hash) {
    return *bucket(lru, hash);
}

static void link_newest(struct lru *lru, struct lru_node *node) {
    node->newer = &lru->ends;
    node->older = lru->ends.older;
    node->older->newer = node;
    lru->ends.older = node;
}

static void unlink_order(struct lru_node *node) {
    node->newer->older = node->older;
    node->older->newer = node->newer;
}

void lru_add(struct lru *lru, struct lru_node *node, uint64_t hash, size_t bytes) {
    struct lru_node **first = bucket(lru, hash);
    node->hash = hash;
    node->bytes = bytes;
    node->chain = *first;
    *first = node;
    link_newest(lru, node);
    lru->entries++;
    lru->bytes += bytes;
}

void lru_touch(struct lru *lru, struct lru_node *node) {
    unlink_order(node);
    link_newest(lru, node);
}

void lru_remove(struct lru *lru, struct lru_node *node) {
    struct lru_node **link = bucket(lru, node->hash);
    while (*link != node)
        link = &(*link)->chain;
    *link = node->chain;
    unlink_order(node);
    lru->entries--;
    lru->bytes -= node->bytes;
}

struct lru_node *lru_oldest(const struct lru *lru) {
    return lru->entries ? lru->ends.newer : NULL;
}
