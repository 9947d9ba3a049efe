/* classifier.h - a named classifier in memory: immutable, shared by reference count, freed with its last
 * holder. Any thread.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_CLASSIFIER_H
#define LIMOE_SERVER_FRONT_STORE_CLASSIFIER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lru.h"
#include "base/text.h"
#include "limoe.h"

struct limoe_shortlist;

struct classifier {
    struct text name;
    const struct text *labels; /* [n_labels] */
    size_t n_labels;
    const struct text *templates; /* [n_templates] */
    size_t n_templates;
    int64_t created, updated; /* Unix seconds of the name's first PUT and of its last */
    const float *matrix;      /* [n_labels, embed] unit vectors; NULL: the model's are not stored */
    const struct limoe_shortlist *shortlist; /* of the matrix; NULL: there is none */
    uint32_t embed;
    uint64_t prompt_tokens; /* of all its prompts, end tokens included; 0 without a matrix */
};

/* Gives up a reference. NULL is fine. */
void classifier_release(const struct classifier *classifier);

/* ---- the store's own */

/* A classifier as the store keeps it: one allocation, with all that its pointers name. */
struct classifier_entry {
    struct lru_node node;
    atomic_uint references;
    int64_t id;              /* of its row */
    int64_t seen;            /* the shelf's: the file's version in which the row was found as it is here */
    const char *fingerprint; /* whose matrix it has, or lacks */
    size_t bytes;            /* of the allocation */
    float *matrix;           /* the classifier's, for who fills it before anybody else sees it */
    struct limoe_shortlist *shortlist; /* likewise; the entry's */
    struct classifier classifier;
};

/* What an entry is made of; everything is copied. */
struct classifier_parts {
    int64_t id, created, updated;
    struct text name;
    const struct text *labels, *templates; /* [n_labels], [n_templates] */
    size_t n_labels, n_templates;
    const char *fingerprint;
    size_t matrix_bytes; /* room for [n_labels, embed], which the maker is to fill; or 0 */
    uint32_t embed;
    uint64_t prompt_tokens;
};
/* Makes an entry with one reference. */
enum limoe_status classifier_entry_make(const struct classifier_parts *parts, struct classifier_entry **out,
                                        struct limoe_error *err);

/* What a row holds; everything is copied. */
struct classifier_row {
    int64_t id, created, updated;
    struct text name, labels, templates; /* the latter two JSON lists of strings */
    const char *fingerprint;
    const float *matrix; /* [as many as there are labels, embed], or NULL */
    size_t matrix_bytes;
    uint32_t embed;
    uint64_t prompt_tokens;
};

/* Makes an entry of a row. LIMOE_CORRUPT if the row contradicts itself. */
enum limoe_status classifier_entry_new(const struct classifier_row *row, struct classifier_entry **out,
                                       struct limoe_error *err);
const struct classifier *classifier_hold(struct classifier_entry *entry);
struct classifier_entry *classifier_entry_of(const struct classifier *classifier);
int64_t classifier_revision(const struct classifier *classifier); /* the id of the row it was read from */

#endif
