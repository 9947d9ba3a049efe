/* classifiers.h - named sets of labels with their embeddings, on disk.
 *
 * A classifier is labels and templates, and for each model that has served it a matrix: one unit vector a
 * label. What a change has answered is on the disk, and is never half there. The file may be shared by
 * several servers: each sees the others' changes with its next request.
 *
 * Any thread may call any function but the first and the last. Reading and writing have a connection and a
 * lock each: a classification never waits for a write that waits for the disk. What was read is kept in
 * memory, bounded in bytes.
 */
#ifndef LIMOE_CLASSIFIERS_H
#define LIMOE_CLASSIFIERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/arena.h"
#include "limoe.h"
#include "store/classifier.h"

#define CLASSIFIERS_MOST        10000               /* in one file */
#define CLASSIFIERS_CACHE_BYTES ((size_t)256 << 20) /* 300 of 1,000 labels by 192 floats */

struct classifiers;

struct classifiers_options {
    const char *dir;    /* made (mode 0700) where it is missing */
    size_t most;        /* classifiers that are accepted; 0: CLASSIFIERS_MOST */
    size_t cache_bytes; /* of classifiers in memory; 0: CLASSIFIERS_CACHE_BYTES */
};

/* Errors name the file: it cannot be made, is damaged, or is not a limoe's. */
enum limoe_status classifiers_open(const struct classifiers_options *options, struct classifiers **out,
                                   struct limoe_error *err);
/* What classifiers_get gave may be released later. NULL is fine. */
void classifiers_close(struct classifiers *store);

/* Whose matrix: limoe's fingerprint of a model, its dtype and backend, and the width of its embeddings. */
struct classifier_model {
    const char *fingerprint;
    uint32_t embed;
};

/* A classifier to be stored; its texts have passed the checks of codec/classifier.h. */
struct classifier_draft {
    struct text name;
    const struct text *labels; /* [n_labels], 1 or more */
    size_t n_labels;
    const struct text *templates; /* [n_templates], 1 or more */
    size_t n_templates;
    const float *matrix; /* [n_labels, model's embed] */
    uint64_t prompt_tokens;
    int64_t created, updated; /* out */
};

/* Stores it in place of one of that name. LIMOE_TOO_LARGE: there are `most` already. */
enum limoe_status classifiers_put(struct classifiers *store, const struct classifier_model *model,
                                  struct classifier_draft *draft, struct limoe_error *err);
/* Adds the matrix [n_labels, embed] of another model to a classifier that classifiers_get gave. Nothing
 * happens when the classifier has been changed or deleted since. */
enum limoe_status classifiers_put_matrix(struct classifiers *store, const struct classifier *classifier,
                                         const struct classifier_model *model, const float *matrix,
                                         uint64_t prompt_tokens, struct limoe_error *err);
/* *deleted: it was there. */
enum limoe_status classifiers_delete(struct classifiers *store, struct text name, bool *deleted,
                                     struct limoe_error *err);

/* *out is the caller's to release; NULL: there is none of that name. Its matrix is NULL where this model's is
 * not stored yet. */
enum limoe_status classifiers_get(struct classifiers *store, struct text name,
                                  const struct classifier_model *model, const struct classifier **out,
                                  struct limoe_error *err);
/* The first classifier after the name `after` (empty: from the start) that has no matrix of this model; NULL:
 * no more. For a reload to make them all before it serves. */
enum limoe_status classifiers_next_without(struct classifiers *store, struct text after,
                                           const struct classifier_model *model,
                                           const struct classifier **out, struct limoe_error *err);

struct classifier_summary {
    struct text name;
    uint64_t label_count, template_count;
    int64_t created, updated;
};

/* A page of the list, by name in the order of bytes. */
struct classifier_page {
    const struct classifier_summary *summaries; /* [n], in the arena */
    size_t n;
    bool more;
};

/* At most `limit` of those after the name `after` (empty: from the start). */
enum limoe_status classifiers_list(struct classifiers *store, struct text after, size_t limit,
                                   struct arena *arena, struct classifier_page *out, struct limoe_error *err);

/* Stored names that look like `name`, the most alike first: [*n], at most `most`, in the arena. */
enum limoe_status classifiers_nearest(struct classifiers *store, struct text name, size_t most,
                                      struct arena *arena, struct text *out, size_t *n,
                                      struct limoe_error *err);

#endif
