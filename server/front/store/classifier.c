/* classifier.c - a row → one block of memory. */
#include "server/front/store/classifier.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "limoe_shortlist.h"
#include "server/formats/json_reader.h"

#define ALIGNMENT 64 /* of the matrix: a cache line, a vector register */

static size_t aligned(size_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A column's list of strings. */
static bool read_list(struct text column, struct arena *arena, const struct text **out, size_t *n) {
    struct json_value *value;
    struct json_error at;
    if (!json_read(column.data, column.size, arena, &value, &at) || value->type != JSON_ARRAY ||
        value->count == 0)
        return false;
    struct text *texts = arena_array(arena, value->count, sizeof *texts);
    if (!texts)
        return false;
    *n = 0;
    for (const struct json_value *item = value->child; item; item = item->next) {
        if (item->type != JSON_STRING)
            return false;
        texts[(*n)++] = item->string;
    }
    *out = texts;
    return true;
}

/* Copies to *at, and moves it on. */
static struct text keep(char **at, struct text text) {
    char *copy = *at;
    if (text.size)
        memcpy(copy, text.data, text.size);
    *at += text.size;
    return (struct text){.data = copy, .size = text.size};
}

static void keep_list(char **at, const struct text *texts, size_t n, struct text *out) {
    for (size_t i = 0; i < n; i++)
        out[i] = keep(at, texts[i]);
}

static size_t bytes_of(const struct text *texts, size_t n) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += texts[i].size;
    return bytes;
}

/* The block: entry, matrix, slices of labels and templates, their bytes. */
enum limoe_status classifier_entry_make(const struct classifier_parts *parts, struct classifier_entry **out,
                                        struct limoe_error *err) {
    const size_t matrix_at = aligned(sizeof(struct classifier_entry));
    const size_t texts_at = matrix_at + aligned(parts->matrix_bytes);
    const size_t bytes_at = texts_at + (parts->n_labels + parts->n_templates) * sizeof(struct text);
    const size_t fingerprint_size = strlen(parts->fingerprint) + 1;
    const size_t size =
        aligned(bytes_at + parts->name.size + fingerprint_size + bytes_of(parts->labels, parts->n_labels) +
                bytes_of(parts->templates, parts->n_templates));
    char *block = aligned_alloc(ALIGNMENT, size);
    if (!block)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a classifier of %zu bytes", size);

    struct text *texts = (struct text *)(block + texts_at);
    char *at = block + bytes_at;
    struct classifier_entry *entry = (struct classifier_entry *)block;
    *entry = (struct classifier_entry){.id = parts->id, .bytes = size};
    atomic_init(&entry->references, 1);
    entry->fingerprint = keep(&at, (struct text){.data = parts->fingerprint, .size = fingerprint_size}).data;
    entry->matrix = parts->matrix_bytes ? (float *)(block + matrix_at) : NULL;
    entry->classifier = (struct classifier){
        .name = keep(&at, parts->name),
        .labels = texts,
        .n_labels = parts->n_labels,
        .templates = texts + parts->n_labels,
        .n_templates = parts->n_templates,
        .created = parts->created,
        .updated = parts->updated,
        .matrix = entry->matrix,
        .embed = parts->embed,
        .prompt_tokens = parts->matrix_bytes ? parts->prompt_tokens : 0,
    };
    keep_list(&at, parts->labels, parts->n_labels, texts);
    keep_list(&at, parts->templates, parts->n_templates, texts + parts->n_labels);
    *out = entry;
    return LIMOE_OK;
}

static enum limoe_status build(const struct classifier_row *row, struct classifier_parts *parts,
                               struct classifier_entry **out, struct limoe_error *err) {
    parts->matrix_bytes = row->matrix ? row->matrix_bytes : 0;
    const enum limoe_status status = classifier_entry_make(parts, out, err);
    if (status == LIMOE_OK && row->matrix && (*out)->matrix)
        memcpy((*out)->matrix, row->matrix, row->matrix_bytes);
    return status;
}

enum limoe_status classifier_entry_new(const struct classifier_row *row, struct classifier_entry **out,
                                       struct limoe_error *err) {
    struct classifier_parts parts = {.id = row->id,
                                     .created = row->created,
                                     .updated = row->updated,
                                     .name = row->name,
                                     .fingerprint = row->fingerprint,
                                     .embed = row->embed,
                                     .prompt_tokens = row->prompt_tokens};
    enum limoe_status status;
    struct arena *arena = arena_new();
    if (!arena)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a classifier");
    if (!read_list(row->labels, arena, &parts.labels, &parts.n_labels) ||
        !read_list(row->templates, arena, &parts.templates, &parts.n_templates))
        status =
            limoe_fail(err, LIMOE_CORRUPT,
                       "the classifier \"%.*s\" is stored damaged: its labels or templates are no list of "
                       "strings; PUT it again",
                       (int)row->name.size, row->name.data);
    else if (row->matrix && row->matrix_bytes != parts.n_labels * row->embed * sizeof(float))
        status =
            limoe_fail(err, LIMOE_CORRUPT,
                       "the classifier \"%.*s\" is stored damaged: %zu bytes of embeddings for %zu labels "
                       "of %u floats; PUT it again",
                       (int)row->name.size, row->name.data, row->matrix_bytes, parts.n_labels, row->embed);
    else
        status = build(row, &parts, out, err);
    arena_free(arena);
    return status;
}

const struct classifier *classifier_hold(struct classifier_entry *entry) {
    atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    return &entry->classifier;
}

struct classifier_entry *classifier_entry_of(const struct classifier *classifier) {
    return (struct classifier_entry *)((char *)classifier - offsetof(struct classifier_entry, classifier));
}

int64_t classifier_revision(const struct classifier *classifier) {
    return classifier_entry_of(classifier)->id;
}

void classifier_release(const struct classifier *classifier) {
    if (!classifier)
        return;
    struct classifier_entry *entry = classifier_entry_of(classifier);
    /* What the other holders read happened before the last of them frees it. */
    if (atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1) {
        limoe_shortlist_free(entry->shortlist);
        free(entry);
    }
}
