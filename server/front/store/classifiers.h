/* classifiers.h - named sets of labels with their embeddings, on disk.
 *
 * A classifier is labels and templates, and for each model that has served it a matrix: one unit vector a
 * label. What a change has answered is on the disk, and is never half there. The file may be shared by
 * several servers: each sees the others' changes with its next request.
 *
 * Only the store's own threads touch the disk: one reads, one writes. Who asks is told within
 * STORE_TIMEOUT_MS, whatever the disk does. What was read or put is kept in memory, bounded in bytes, and
 * serves without the disk for as long as the file's header says that nobody has changed it; or, while the
 * store is in trouble, as it was last seen.
 *
 * Any thread may call any function but the first and the last.
 */
#ifndef LIMOE_SERVER_FRONT_STORE_CLASSIFIERS_H
#define LIMOE_SERVER_FRONT_STORE_CLASSIFIERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/store/classifier.h"
#include "server/front/store/job.h"

#define CLASSIFIERS_MOST        10000               /* in one file */
#define CLASSIFIERS_CACHE_BYTES ((size_t)256 << 20) /* 300 of 1,000 labels by 192 floats */
#define CLASSIFIERS_DISK_BYTES  (UINT64_C(1) << 30)

struct classifiers;

struct classifiers_options {
    const char *dir;     /* made (mode 0700) where it is missing; outlives the store */
    size_t most;         /* classifiers that are accepted; 0: CLASSIFIERS_MOST */
    size_t cache_bytes;  /* of classifiers in memory; 0: CLASSIFIERS_CACHE_BYTES */
    uint64_t disk_bytes; /* of the file; 0: CLASSIFIERS_DISK_BYTES */
    size_t models;       /* that are served: so many matrices of others are kept besides a new one; 0: 1 */
    struct log *log;     /* told when trouble begins and ends; NULL: nobody is */
};

/* Errors name the file: it cannot be made, is damaged, or is not a limoe's. One that another process has
 * locked is no error: it is opened as soon as that lets go, and the store is in trouble until then. One store
 * of a directory in a process (database.h, on locks). */
enum limoe_status classifiers_open(const struct classifiers_options *options, struct classifiers **out,
                                   struct limoe_error *err);
/* What jobs gave may be released later. NULL is fine. */
void classifiers_close(struct classifiers *store);

/* The classifier where it needs no disk, with a reference for the caller; NULL: ask. With `stale` also one
 * that may have been changed since by another server: for who has asked, and got no answer. */
const struct classifier *classifiers_recall(struct classifiers *store, struct text name,
                                            const struct classifier_model *model, bool stale);

/* Takes the job; waiter->done is told. */
void classifiers_ask(struct classifiers *store, struct store_job *job, struct store_waiter *waiter);
/* The same for who may wait: *job is the caller's again, or NULL after STORE_BUSY. job may be NULL: there was
 * no memory for it. *err unless the outcome is STORE_DONE. */
enum store_outcome classifiers_wait(struct classifiers *store, struct store_job **job,
                                    struct limoe_error *err);

struct classifiers_state {
    bool reading, writing;       /* are possible */
    char why[400];               /* unless both are */
    uint64_t bytes, limit_bytes; /* of the file in use */
};
void classifiers_state(struct classifiers *store, struct classifiers_state *out);

#endif
