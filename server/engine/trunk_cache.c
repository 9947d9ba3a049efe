/* trunk_cache.c - an LRU table of rows by digest. An entry is made before its rows are, and is found once they are there. */
#include "server/engine/trunk_cache.h"

#include <gnutls/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/lru.h"

#define DIGEST          32
#define TYPICAL_BYTES   ((uint64_t)16 << 10) /* of an entry, to guess how many there will be */
#define MALLOC_OVERHEAD 16

struct entry {
    struct lru_node node;
    uint8_t digest[DIGEST];
    uint64_t step;         /* that used it last */
    struct entry *pending; /* another that the step in hand has made */
    bool filled;
    _Alignas(16) char rows[];
};

struct trunk_cache {
    struct lru lru;
    uint64_t room, table_bytes; /* bytes of entries; of all else */
    uint64_t step;              /* the one in hand */
    struct entry *pending;      /* made by it */
    uint64_t hits, misses;      /* not told yet */
};

struct trunk_cache *trunk_cache_new(uint64_t most_bytes) {
    const size_t expected = (size_t)(most_bytes / TYPICAL_BYTES);
    struct trunk_cache *cache = malloc(sizeof *cache);
    if (!cache)
        return NULL;
    *cache = (struct trunk_cache){.table_bytes = sizeof *cache + lru_table_bytes(expected)};
    if (most_bytes > cache->table_bytes)
        cache->room = most_bytes - cache->table_bytes;
    if (!lru_init(&cache->lru, expected)) {
        free(cache);
        return NULL;
    }
    return cache;
}

static void drop(struct trunk_cache *cache, struct entry *entry) {
    lru_remove(&cache->lru, &entry->node);
    free(entry);
}

void trunk_cache_free(struct trunk_cache *cache) {
    if (!cache)
        return;
    for (struct lru_node *node; (node = lru_oldest(&cache->lru));)
        drop(cache, (struct entry *)node);
    lru_free(&cache->lru);
    free(cache);
}

/* What the item's rows at the block depend on. False: it cannot be had. */
static bool digest(const struct limoe_model *model, const struct limoe_item *item, uint32_t block,
                   uint8_t out[DIGEST]) {
    const uint32_t size = limoe_model_info(model)->image_size;
    const uint32_t head[] = {(uint32_t)item->modality, item->length, block};
    const bool image = item->modality == LIMOE_IMAGE;
    const void *content = image ? (const void *)item->pixels : item->tokens;
    const size_t bytes = image ? (size_t)size * size * 3 : item->length * sizeof *item->tokens;
    gnutls_hash_hd_t hash;
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) != 0)
        return false;
    const bool good = gnutls_hash(hash, head, sizeof head) == 0 && gnutls_hash(hash, content, bytes) == 0;
    gnutls_hash_deinit(hash, out);
    return good;
}

static uint64_t hash_of(const uint8_t key[DIGEST]) {
    uint64_t hash;
    memcpy(&hash, key, sizeof hash);
    return hash;
}

static struct entry *find(const struct trunk_cache *cache, const uint8_t key[DIGEST]) {
    for (struct lru_node *node = lru_chain(&cache->lru, hash_of(key)); node; node = node->chain) {
        struct entry *entry = (struct entry *)node;
        if (memcmp(entry->digest, key, DIGEST) == 0)
            return entry;
    }
    return NULL;
}

/* Drops what was used least recently. False: the step in hand uses all that would have to go. */
static bool make_room(struct trunk_cache *cache, uint64_t bytes) {
    if (bytes > cache->room)
        return false;
    while (cache->lru.bytes + bytes > cache->room) {
        struct entry *oldest = (struct entry *)lru_oldest(&cache->lru);
        if (oldest->step == cache->step)
            return false;
        drop(cache, oldest);
    }
    return true;
}

/* Room for rows that the step in hand makes, or NULL. */
static struct entry *add(struct trunk_cache *cache, const uint8_t key[DIGEST], uint64_t rows_bytes) {
    const uint64_t bytes = sizeof(struct entry) + rows_bytes;
    struct entry *entry = make_room(cache, bytes + MALLOC_OVERHEAD) ? malloc(bytes) : NULL;
    if (!entry)
        return NULL;
    *entry = (struct entry){.step = cache->step, .pending = cache->pending};
    memcpy(entry->digest, key, DIGEST);
    cache->pending = entry;
    lru_add(&cache->lru, &entry->node, hash_of(key), bytes + MALLOC_OVERHEAD);
    return entry;
}

void trunk_cache_look(struct trunk_cache *cache, const struct limoe_model *model, struct limoe_item *item) {
    const uint32_t block = limoe_item_fork(item);
    uint8_t key[DIGEST];
    if (!cache->room || block == 0 || block == UINT32_MAX || !digest(model, item, block, key))
        return;
    struct entry *entry = find(cache, key);
    if (!entry || !entry->filled) {
        cache->misses++;
        if (!entry && (entry = add(cache, key, limoe_model_trunk_bytes(model, item))))
            item->keep = entry->rows;
        return;
    }
    cache->hits++;
    entry->step = cache->step;
    lru_touch(&cache->lru, &entry->node);
    item->trunk = entry->rows;
}

void trunk_cache_end_step(struct trunk_cache *cache, bool computed) {
    for (struct entry *entry; (entry = cache->pending);) {
        cache->pending = entry->pending;
        entry->filled = computed;
        if (!computed)
            drop(cache, entry);
    }
    cache->step++;
}

void trunk_cache_count(struct trunk_cache *cache, struct frame_tails *out) {
    out->known = cache->lru.entries;
    out->known_bytes = cache->table_bytes + cache->lru.bytes;
    out->hits = cache->hits;
    out->misses = cache->misses;
    cache->hits = cache->misses = 0;
}
