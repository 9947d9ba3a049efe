/* job.h - what the store is asked, and what it answers. A job is filled before classifiers_ask, and read
 * after it.
 *
 * A job owns all that its pointers name, in its arena: whoever has asked may be gone when the disk answers.
 * It belongs to the store from classifiers_ask on, and to the asker again when `done` gives it back.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_JOB_H
#define LIMOE_SERVER_FRONT_STORE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/text.h"
#include "limoe.h"
#include "server/front/store/classifier.h"

#define STORE_NEAREST 3u /* names that a name not found is like */

/* Whose matrix: limoe's fingerprint of a model, its dtype and backend, and the width of its embeddings. */
struct classifier_model {
    const char *fingerprint;
    uint32_t embed;
};

/* A classifier to be stored; its texts have passed the checks of server/api/classifier.h. */
struct classifier_draft {
    struct text name;
    const struct text *labels; /* [n_labels], 1 or more */
    size_t n_labels;
    const struct text *templates; /* [n_templates], 1 or more */
    size_t n_templates;
    const float *matrix; /* [n_labels, model's embed] */
    uint64_t prompt_tokens;
};

struct classifier_summary {
    struct text name;
    uint64_t label_count, template_count;
    int64_t created, updated;
};

/* A page of the list, by name in the order of bytes. */
struct classifier_page {
    const struct classifier_summary *summaries; /* [n], in the job's arena */
    size_t n;
    bool more;
};

enum store_operation {
    STORE_GET,
    STORE_NEXT_WITHOUT,
    STORE_LIST,
    STORE_PROBE_READING,
    STORE_PUT, /* this one and those after it write */
    STORE_PUT_MATRIX,
    STORE_DELETE,
    STORE_PROBE_WRITING,
};

enum store_outcome {
    STORE_DONE,
    STORE_BUSY,     /* not within STORE_TIMEOUT_MS: try again later */
    STORE_FULL,     /* no room for it, by the limit or on the disk */
    STORE_TOO_MANY, /* classifiers */
    STORE_FAILED,
};

struct store_job;

/* Who waits for a job. */
struct store_waiter {
    /* Called once, on a thread of the store's; must not block. job is NULL if the disk is still at work on
     * it after STORE_TIMEOUT_MS: what was to be written may be written yet. */
    void (*done)(struct store_waiter *waiter, struct store_job *job);
};

struct store_job {
    enum store_operation operation;
    struct arena *arena;

    /* What is asked. */
    struct text name;
    struct classifier_model model;
    struct text labels, templates; /* JSON lists */
    size_t n_labels, n_templates;
    const float *matrix; /* [n_labels, model.embed] */
    uint64_t prompt_tokens;
    int64_t revision; /* of STORE_PUT_MATRIX */
    size_t limit;     /* of STORE_LIST */

    /* What is answered. */
    enum store_outcome outcome;
    struct limoe_error error;            /* unless DONE */
    bool found;                          /* GET, NEXT_WITHOUT, DELETE */
    const struct classifier *classifier; /* GET, NEXT_WITHOUT: with a reference of the job's; NULL: none */
    struct text nearest[STORE_NEAREST]; /* GET, DELETE: stored names that look like it, where there is none */
    size_t n_nearest;
    struct classifier_page page; /* LIST */
    int64_t created, updated;    /* PUT: Unix seconds of the name's first PUT and of this one */

    /* For the lane alone. */
    struct store_job *next;
    struct store_waiter *waiter;
    int64_t deadline; /* clock_now() */
    bool abandoned;   /* the waiter has been told */
};

/* Each copies what it is given, and returns NULL if there is no memory. */

/* A classifier by name. Its matrix is NULL where this model's is not stored yet. */
struct store_job *store_job_get(struct text name, const struct classifier_model *model);
/* The first classifier after the name `after` (empty: from the start) that has no matrix of this model: for a
 * reload to make them all before it serves. */
struct store_job *store_job_next_without(struct text after, const struct classifier_model *model);
/* At most `limit` of those after the name `after` (empty: from the start). */
struct store_job *store_job_list(struct text after, size_t limit);
/* Stores it in place of one of that name. */
struct store_job *store_job_put(const struct classifier_draft *draft, const struct classifier_model *model);
/* Adds the matrix [n_labels, embed] of another model. Nothing happens when the classifier has been changed or
 * deleted since. */
struct store_job *store_job_put_matrix(const struct classifier *classifier,
                                       const struct classifier_model *model, const float *matrix,
                                       uint64_t prompt_tokens);
struct store_job *store_job_delete(struct text name);
struct store_job *store_job_probe(bool writing);

/* NULL is fine. */
void store_job_free(struct store_job *job);

#endif
