/* classifier.c - a row → one block of memory. */
#include "server/front/store/classifier.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "server/formats/json_reader.h"

#define ALIGNMENT 64 /* of the matrix: a cache line, a vector register */

static size_t aligned(size_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* A column's list of strings, and how many bytes they have. */
static bool read_list(struct text column, struct arena *arena, const struct json_value **list,
                      size_t *bytes) {
    struct json_value *value;
    struct json_error at;
    if (!json_read(column.data, column.size, arena, &value, &at) || value->type != JSON_ARRAY ||
        value->count == 0)
        return false;
    for (const struct json_value *item = value->child; item; item = item->next) {
        if (item->type != JSON_STRING)
            return false;
        *bytes += item->string.size;
    }
    *list = value;
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

static void keep_list(char **at, const struct json_value *list, struct text *out) {
    for (const struct json_value *item = list->child; item; item = item->next)
        *out++ = keep(at, item->string);
}

/* The block: entry, matrix, slices of labels and templates, their bytes. */
static enum limoe_status build(const struct classifier_row *row, const struct json_value *labels,
                               const struct json_value *templates, size_t text_bytes,
                               struct classifier_entry **out, struct limoe_error *err) {
    const size_t matrix_at = aligned(sizeof(struct classifier_entry));
    const size_t texts_at = matrix_at + aligned(row->matrix_bytes);
    const size_t bytes_at = texts_at + (labels->count + templates->count) * sizeof(struct text);
    const size_t fingerprint_size = strlen(row->fingerprint) + 1;
    const size_t size = aligned(bytes_at + row->name.size + fingerprint_size + text_bytes);
    char *block = aligned_alloc(ALIGNMENT, size);
    if (!block)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a classifier of %zu bytes", size);

    struct text *texts = (struct text *)(block + texts_at);
    char *at = block + bytes_at;
    struct classifier_entry *entry = (struct classifier_entry *)block;
    *entry = (struct classifier_entry){.id = row->id, .bytes = size};
    atomic_init(&entry->references, 1);
    entry->fingerprint = keep(&at, (struct text){.data = row->fingerprint, .size = fingerprint_size}).data;
    entry->classifier = (struct classifier){
        .name = keep(&at, row->name),
        .labels = texts,
        .n_labels = labels->count,
        .templates = texts + labels->count,
        .n_templates = templates->count,
        .created = row->created,
        .updated = row->updated,
        .embed = row->embed,
    };
    keep_list(&at, labels, texts);
    keep_list(&at, templates, texts + labels->count);
    if (row->matrix) {
        memcpy(block + matrix_at, row->matrix, row->matrix_bytes);
        entry->classifier.matrix = (const float *)(block + matrix_at);
        entry->classifier.prompt_tokens = row->prompt_tokens;
    }
    *out = entry;
    return LIMOE_OK;
}

enum limoe_status classifier_entry_new(const struct classifier_row *row, struct classifier_entry **out,
                                       struct limoe_error *err) {
    const struct json_value *labels, *templates;
    size_t text_bytes = 0;
    enum limoe_status status;
    struct arena *arena = arena_new();
    if (!arena)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a classifier");
    if (!read_list(row->labels, arena, &labels, &text_bytes) ||
        !read_list(row->templates, arena, &templates, &text_bytes))
        status =
            limoe_fail(err, LIMOE_CORRUPT,
                       "the classifier \"%.*s\" is stored damaged: its labels or templates are no list of "
                       "strings; PUT it again",
                       (int)row->name.size, row->name.data);
    else if (row->matrix && row->matrix_bytes != labels->count * row->embed * sizeof(float))
        status =
            limoe_fail(err, LIMOE_CORRUPT,
                       "the classifier \"%.*s\" is stored damaged: %zu bytes of embeddings for %zu labels "
                       "of %u floats; PUT it again",
                       (int)row->name.size, row->name.data, row->matrix_bytes, labels->count, row->embed);
    else
        status = build(row, labels, templates, text_bytes, out, err);
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
    if (atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) == 1)
        free(entry);
}
