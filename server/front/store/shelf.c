/* shelf.c - an LRU table of classifiers, by the hash of their names, under one lock. */
#include "server/front/store/shelf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/lru.h"
#include "server/front/store/keyed_hash.h"

struct shelf {
    size_t most; /* bytes */
    struct hash_secret secret;
    pthread_mutex_t lock;
    struct lru lru; /* of struct classifier_entry */
};

enum limoe_status shelf_new(size_t bytes, size_t expected, struct shelf **out, struct limoe_error *err) {
    struct shelf *shelf = calloc(1, sizeof *shelf);
    if (!shelf)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the classifiers");
    shelf->most = bytes;
    pthread_mutex_init(&shelf->lock, NULL);
    enum limoe_status status = keyed_hash_draw(&shelf->secret, err);
    if (status == LIMOE_OK && !lru_init(&shelf->lru, expected))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the classifiers");
    if (status == LIMOE_OK) {
        *out = shelf;
    } else {
        pthread_mutex_destroy(&shelf->lock);
        free(shelf);
    }
    return status;
}

/* ---- with the lock held */

static void drop(struct shelf *shelf, struct classifier_entry *entry) {
    lru_remove(&shelf->lru, &entry->node);
    classifier_release(&entry->classifier);
}

/* model NULL: of any. */
static struct classifier_entry *find(const struct shelf *shelf, struct text name,
                                     const struct classifier_model *model) {
    const uint64_t hash = keyed_hash(&shelf->secret, name.data, name.size);
    for (struct lru_node *node = lru_chain(&shelf->lru, hash); node; node = node->chain) {
        struct classifier_entry *entry = (struct classifier_entry *)node;
        if (node->hash == hash && text_equal(entry->classifier.name, name) &&
            (!model || (entry->classifier.embed == model->embed &&
                        strcmp(entry->fingerprint, model->fingerprint) == 0)))
            return entry;
    }
    return NULL;
}

static void forget(struct shelf *shelf, struct text name) {
    for (struct classifier_entry *entry; (entry = find(shelf, name, NULL));)
        drop(shelf, entry);
}

/* ---- */

void shelf_free(struct shelf *shelf) {
    if (!shelf)
        return;
    for (struct lru_node *node; (node = lru_oldest(&shelf->lru));)
        drop(shelf, (struct classifier_entry *)node);
    lru_free(&shelf->lru);
    pthread_mutex_destroy(&shelf->lock);
    free(shelf);
}

const struct classifier *shelf_find(struct shelf *shelf, struct text name,
                                    const struct classifier_model *model, int64_t *version) {
    const struct classifier *found = NULL;
    pthread_mutex_lock(&shelf->lock);
    struct classifier_entry *entry = find(shelf, name, model);
    if (entry) {
        lru_touch(&shelf->lru, &entry->node);
        *version = entry->seen;
        found = classifier_hold(entry);
    }
    pthread_mutex_unlock(&shelf->lock);
    return found;
}

void shelf_keep(struct shelf *shelf, const struct classifier *classifier, int64_t version) {
    struct classifier_entry *entry = classifier_entry_of(classifier);
    const struct text name = classifier->name;
    if (entry->bytes > shelf->most)
        return;
    pthread_mutex_lock(&shelf->lock);
    const struct classifier_model model = {.fingerprint = entry->fingerprint, .embed = classifier->embed};
    struct classifier_entry *old = find(shelf, name, &model);
    if (old)
        drop(shelf, old);
    while (shelf->lru.bytes + entry->bytes > shelf->most)
        drop(shelf, (struct classifier_entry *)lru_oldest(&shelf->lru));
    entry->seen = version;
    classifier_hold(entry);
    lru_add(&shelf->lru, &entry->node, keyed_hash(&shelf->secret, name.data, name.size), entry->bytes);
    pthread_mutex_unlock(&shelf->lock);
}

void shelf_confirm(struct shelf *shelf, const struct classifier *classifier, int64_t version) {
    pthread_mutex_lock(&shelf->lock);
    classifier_entry_of(classifier)->seen = version;
    pthread_mutex_unlock(&shelf->lock);
}

void shelf_forget(struct shelf *shelf, struct text name) {
    pthread_mutex_lock(&shelf->lock);
    forget(shelf, name);
    pthread_mutex_unlock(&shelf->lock);
}

void shelf_changed(struct shelf *shelf, struct text name, int64_t version) {
    pthread_mutex_lock(&shelf->lock);
    forget(shelf, name);
    for (struct lru_node *node = shelf->lru.ends.newer; node != &shelf->lru.ends; node = node->newer) {
        struct classifier_entry *entry = (struct classifier_entry *)node;
        if (entry->seen == version)
            entry->seen = version + 1;
    }
    pthread_mutex_unlock(&shelf->lock);
}
