/* tails.c - a list of tails, the one that was used last first. */
#include "server/engine/tails.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

struct entry {
    struct tail_key key;
    struct limoe_tail *tail;
    uint64_t bytes;
    bool held; /* by the step in hand */
    struct entry *next;
};

struct tails {
    const char *dir;
    uint64_t most, bytes;
    size_t n;
    struct entry *first;
    uint64_t reads, drops; /* not told yet */
};

struct tails *tails_new(const char *dir, uint64_t most_bytes) {
    struct tails *tails = malloc(sizeof *tails);
    if (tails)
        *tails = (struct tails){.dir = dir, .most = most_bytes};
    return tails;
}

/* Takes out what *link points to. */
static void drop(struct tails *tails, struct entry **link) {
    struct entry *entry = *link;
    *link = entry->next;
    tails->bytes -= entry->bytes;
    tails->n--;
    limoe_tail_release(entry->tail);
    free(entry);
}

void tails_free(struct tails *tails) {
    if (!tails)
        return;
    while (tails->first)
        drop(tails, &tails->first);
    free(tails);
}

/* Where the pointer to the last one lies that no step uses; NULL: there is none. */
static struct entry **oldest(struct tails *tails) {
    struct entry **found = NULL;
    for (struct entry **link = &tails->first; *link; link = &(*link)->next)
        if (!(*link)->held)
            found = link;
    return found;
}

/* Drops tails until there is room for one more of so many bytes. False: those that are held take too much. */
static bool make_room(struct tails *tails, uint64_t bytes) {
    while (tails->bytes + bytes > tails->most || tails->n == TAILS_MOST) {
        struct entry **last = oldest(tails);
        if (!last)
            return false;
        drop(tails, last);
        tails->drops++;
    }
    return true;
}

/* Opens a file with this digest, whatever stands before it in its name; of several, one that is good. */
static enum limoe_status open_file(const struct tails *tails, const struct tail_key *key,
                                   struct limoe_adapter **out, struct limoe_error *err) {
    char hex[TAIL_KEY_HEX + 1], end[TAIL_KEY_END + 1], path[PATH_MAX];
    DIR *dir = opendir(tails->dir);
    tail_key_hex(key->sha256, hex);
    snprintf(end, sizeof end, "@%s%s", hex, TAIL_KEY_SUFFIX);
    if (!dir)
        return limoe_fail(err, LIMOE_IO, "cannot open %s: %s", tails->dir, strerror(errno));
    enum limoe_status status =
        limoe_fail(err, LIMOE_NOT_FOUND, "the adapter's file is not there any more (%.8s…)", hex);
    for (const struct dirent *file; status && (file = readdir(dir));) {
        const size_t size = strlen(file->d_name);
        if (size > TAIL_KEY_END && strcmp(file->d_name + size - TAIL_KEY_END, end) == 0 &&
            snprintf(path, PATH_MAX, "%s/%s", tails->dir, file->d_name) < PATH_MAX)
            status = limoe_adapter_open(path, out, err);
    }
    closedir(dir);
    return status;
}

static enum limoe_status adapt(struct tails *tails, struct limoe_model *model,
                               const struct limoe_adapter *adapter, const struct tail_key *key,
                               struct entry *entry, bool *held, struct limoe_error *err) {
    enum limoe_status status = limoe_model_adapt_bytes(model, adapter, key->strength, &entry->bytes, err);
    if (status)
        return status;
    *held = entry->bytes <= tails->most;
    if (!*held || !make_room(tails, entry->bytes))
        return limoe_fail(
            err, LIMOE_TOO_LARGE, "the adapter takes %llu bytes of memory; up to %llu are accepted%s",
            (unsigned long long)entry->bytes, (unsigned long long)tails->most, *held ? " at once" : "");
    *held = false;
    entry->key = *key;
    return limoe_model_adapt(model, adapter, key->strength, &entry->tail, err);
}

static enum limoe_status read_tail(struct tails *tails, struct limoe_model *model, const struct tail_key *key,
                                   struct entry **out, bool *held, struct limoe_error *err) {
    struct limoe_adapter *adapter = NULL;
    struct entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for an adapter");
    enum limoe_status status = open_file(tails, key, &adapter, err);
    if (!status)
        status = adapt(tails, model, adapter, key, entry, held, err);
    limoe_adapter_close(adapter);
    if (status) {
        free(entry);
        return status;
    }
    tails->reads++;
    tails->bytes += entry->bytes;
    tails->n++;
    *out = entry;
    return LIMOE_OK;
}

/* Takes the entry of the key out of the list; NULL: it has none. */
static struct entry *take(struct tails *tails, const struct tail_key *key) {
    struct entry **link = &tails->first;
    while (*link && !tail_key_equal(&(*link)->key, key))
        link = &(*link)->next;
    struct entry *entry = *link;
    if (entry)
        *link = entry->next;
    return entry;
}

enum limoe_status tails_hold(struct tails *tails, struct limoe_model *model, const struct tail_key *key,
                             const struct limoe_tail **out, bool *held, struct limoe_error *err) {
    struct entry *entry = take(tails, key);
    *held = false;
    if (!entry) {
        const enum limoe_status status = read_tail(tails, model, key, &entry, held, err);
        if (!entry)
            return status;
    }
    entry->held = true;
    entry->next = tails->first;
    tails->first = entry;
    *out = entry->tail;
    return LIMOE_OK;
}

void tails_let_go(struct tails *tails) {
    for (struct entry *entry = tails->first; entry; entry = entry->next)
        entry->held = false;
}

void tails_count(struct tails *tails, struct frame_tails *out) {
    out->held = tails->n;
    out->bytes = tails->bytes;
    out->reads = tails->reads;
    out->drops = tails->drops;
    tails->reads = tails->drops = 0;
}
