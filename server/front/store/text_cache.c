/* text_cache.c - shards of an LRU table each.
 *
 * A lock is held for a walk along one chain and a copy of one vector; nodes are made before it is taken and
 * freed after it is given back. Within a node the key follows the vector.
 */
#include "server/front/store/text_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/lru.h"
#include "server/front/store/keyed_hash.h"

/* A shard has room for many of the largest texts that requests bring (64 KiB). */
#define SMALLEST_SHARD  ((size_t)1 << 20)
#define MOST_SHARDS     16u /* more than threads that would meet at a lock held this briefly */
#define SHARD_BITS      4
#define TYPICAL_KEY     32 /* bytes, to guess how many entries there will be */
#define MALLOC_OVERHEAD 16 /* of one allocation: its header, and rounding up on average */

struct entry {
    struct lru_node node;
    size_t size; /* of the key */
    uint32_t tokens;
    float embedding[]; /* [embed], then the key */
};

struct shard {
    _Alignas(64) pthread_mutex_t lock; /* on a cache line that no other shard writes */
    struct lru lru;
    uint64_t hits, misses, evictions;
};

struct text_cache {
    struct hash_secret secret;
    uint32_t embed;
    size_t room;        /* bytes of entries that one shard may keep */
    size_t table_bytes; /* of this struct and all tables */
    unsigned n_shards;
    struct shard *shards; /* [n_shards] */
};

static size_t entry_bytes(const struct text_cache *cache, size_t key) {
    return sizeof(struct entry) + cache->embed * sizeof(float) + key;
}

static const char *key_of(const struct text_cache *cache, const struct entry *entry) {
    return (const char *)(entry->embedding + cache->embed);
}

enum limoe_status text_cache_new(size_t bytes, uint32_t embed, struct text_cache **out,
                                 struct limoe_error *err) {
    struct text_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a cache of text embeddings");
    cache->embed = embed;
    unsigned wanted = 1;
    while (wanted < MOST_SHARDS && bytes / (2 * wanted) >= SMALLEST_SHARD)
        wanted *= 2;

    const size_t share = bytes / wanted;
    const size_t expected = share / (entry_bytes(cache, TYPICAL_KEY) + MALLOC_OVERHEAD);
    const size_t fixed = lru_table_bytes(expected) + sizeof(struct shard);
    cache->room = share > fixed ? share - fixed : 0;
    cache->table_bytes = wanted * fixed;

    enum limoe_status status = keyed_hash_draw(&cache->secret, err);
    if (status != LIMOE_OK)
        goto fail;
    cache->shards = aligned_alloc(_Alignof(struct shard), wanted * sizeof *cache->shards);
    if (!cache->shards) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a cache of text embeddings");
        goto fail;
    }
    for (; cache->n_shards < wanted; cache->n_shards++) {
        struct shard *shard = &cache->shards[cache->n_shards];
        memset(shard, 0, sizeof *shard);
        if (!lru_init(&shard->lru, expected)) {
            status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a cache of text embeddings of %zu bytes",
                                bytes);
            goto fail;
        }
        pthread_mutex_init(&shard->lock, NULL);
    }
    *out = cache;
    return LIMOE_OK;

fail:
    text_cache_free(cache);
    return status;
}

void text_cache_free(struct text_cache *cache) {
    if (!cache)
        return;
    for (unsigned i = 0; cache->shards && i < cache->n_shards; i++) {
        struct shard *shard = &cache->shards[i];
        for (struct lru_node *node; (node = lru_oldest(&shard->lru));) {
            lru_remove(&shard->lru, node);
            free(node);
        }
        lru_free(&shard->lru);
        pthread_mutex_destroy(&shard->lock);
    }
    free(cache->shards);
    free(cache);
}

/* By the hash's high bits: the low ones choose the bucket. */
static struct shard *shard_of(struct text_cache *cache, uint64_t hash) {
    return &cache->shards[hash >> (64 - SHARD_BITS) & (cache->n_shards - 1)];
}

static struct entry *find(const struct text_cache *cache, const struct shard *shard, uint64_t hash,
                          const char *text, size_t size) {
    for (struct lru_node *node = lru_chain(&shard->lru, hash); node; node = node->chain) {
        struct entry *entry = (struct entry *)node;
        if (node->hash == hash && entry->size == size && memcmp(key_of(cache, entry), text, size) == 0)
            return entry;
    }
    return NULL;
}

bool text_cache_get(struct text_cache *cache, const char *text, size_t size, float *embedding,
                    uint32_t *tokens) {
    const uint64_t hash = keyed_hash(&cache->secret, text, size);
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    struct entry *entry = find(cache, shard, hash, text, size);
    if (entry) {
        memcpy(embedding, entry->embedding, cache->embed * sizeof *embedding);
        *tokens = entry->tokens;
        lru_touch(&shard->lru, &entry->node);
    }
    shard->hits += entry != NULL;
    shard->misses += entry == NULL;
    pthread_mutex_unlock(&shard->lock);
    return entry != NULL;
}

void text_cache_put(struct text_cache *cache, const char *text, size_t size, const float *embedding,
                    uint32_t tokens) {
    const size_t bytes = entry_bytes(cache, size) + MALLOC_OVERHEAD;
    if (size > cache->room || bytes > cache->room)
        return;
    struct entry *entry = malloc(entry_bytes(cache, size));
    if (!entry)
        return;
    entry->size = size;
    entry->tokens = tokens;
    memcpy(entry->embedding, embedding, cache->embed * sizeof *embedding);
    memcpy(entry->embedding + cache->embed, text, size);

    const uint64_t hash = keyed_hash(&cache->secret, text, size);
    struct shard *shard = shard_of(cache, hash);
    struct lru_node *gone = NULL; /* to be freed, linked by `chain` */
    pthread_mutex_lock(&shard->lock);
    struct entry *there = find(cache, shard, hash, text, size);
    if (there) {
        lru_touch(&shard->lru, &there->node);
        entry->node.chain = NULL;
        gone = &entry->node;
    } else {
        while (shard->lru.bytes + bytes > cache->room) {
            struct lru_node *oldest = lru_oldest(&shard->lru);
            lru_remove(&shard->lru, oldest);
            oldest->chain = gone;
            gone = oldest;
            shard->evictions++;
        }
        lru_add(&shard->lru, &entry->node, hash, bytes);
    }
    pthread_mutex_unlock(&shard->lock);
    while (gone) {
        struct lru_node *next = gone->chain;
        free(gone);
        gone = next;
    }
}

struct text_cache_stats text_cache_stats(struct text_cache *cache) {
    struct text_cache_stats stats = {.bytes = cache->table_bytes};
    for (unsigned i = 0; i < cache->n_shards; i++) {
        struct shard *shard = &cache->shards[i];
        pthread_mutex_lock(&shard->lock);
        stats.entries += shard->lru.entries;
        stats.bytes += shard->lru.bytes;
        stats.hits += shard->hits;
        stats.misses += shard->misses;
        stats.evictions += shard->evictions;
        pthread_mutex_unlock(&shard->lock);
    }
    return stats;
}
