/* classifiers.h - named sets of labels with their embeddings, on disk.
 *
 * A classifier is labels and templates, and for each model that has served it a matrix: one unit vector a
 * label. What a change has answered is on the disk, and is never half there. The file may be shared by
 * several servers: each sees the others' changes with its next request.
 *
 * Only the store's own threads touch the disk: one reads, one writes. Whoever asks is told within
 * STORE_TIMEOUT_MS, whatever the disk does. What was read or put is kept in memory, bounded in bytes, and
 * serves without the disk for as long as the file's header says that nobody has changed it. While the store
 * is in trouble it serves as it was last seen.
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
    struct log *log;     /* told when trouble begins and ends; NULL: nobody is */
};

/* Errors name the file, which cannot be made, is damaged, or was not written by limoe. A file that another
 * process has locked is no error: it is opened as soon as the lock is gone, and the store is in trouble
 * until then. A process may have only one store of a directory (database.h, on locks). */
enum limoe_status classifiers_open(const struct classifiers_options *options, struct classifiers **out,
                                   struct limoe_error *err);
/* Closes the store. What its jobs gave may be released later. NULL is fine. */
void classifiers_close(struct classifiers *store);

/* The classifier, if memory has it, with a reference for the caller; NULL: ask for it. With `stale` also
 * one that another server may have changed since, for a caller that has asked and got no answer. */
const struct classifier *classifiers_recall(struct classifiers *store, struct text name,
                                            const struct classifier_model *model, bool stale);

/* Takes the job; waiter->done is told. */
void classifiers_ask(struct classifiers *store, struct store_job *job, struct store_waiter *waiter);
/* The same for a caller that may wait. *job belongs to the caller again, or is NULL after STORE_BUSY. It
 * may be NULL beforehand, if there was no memory for it. *err is set unless the outcome is STORE_DONE. */
enum store_outcome classifiers_wait(struct classifiers *store, struct store_job **job,
                                    struct limoe_error *err);

struct classifiers_state {
    bool reading, writing;       /* are possible */
    char why[400];               /* unless both are */
    uint64_t bytes, limit_bytes; /* of the file in use */
};
void classifiers_state(struct classifiers *store, struct classifiers_state *out);

#endif
