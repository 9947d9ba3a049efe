/* parts.h - what the files of this folder share. Internal to it.
 *
 * `changing` is held by who adds, ends or removes a job, over what is written to the disk, and is taken first; `lock` guards what
 * is in memory, and is held for moments. A job that the thread works on (`current`) is removed by nobody else, and one that is
 * `unwritten` by who writes it alone: examples may be many, and are written under neither.
 */
#ifndef LIMOE_SERVER_FRONT_TRAINING_PARTS_H
#define LIMOE_SERVER_FRONT_TRAINING_PARTS_H

#include <pthread.h>

#include "base/process.h"
#include "server/front/training/training.h"
#include "server/protocol/trainer_wire.h"

struct training_job {
    uint64_t number; /* its folder's name; later jobs have higher ones */
    char name[CLASSIFIER_NAME_BYTES + 1], base[33];
    uint64_t bytes; /* of its examples, as long as it has not ended */
    bool unwritten; /* it is on its way to the disk, and is a job only once it is there */
    bool cancelled;
    int64_t began; /* on the clock: its trainer's first start; 0: it has none now */
    int64_t ended; /* Unix seconds; 0: it has not */
    /* Files of the store, in hexadecimal digits; "": none. */
    char before[TAIL_KEY_HEX + 1]; /* what had its name when it was asked for */
    char stored[TAIL_KEY_HEX + 1]; /* what it has come to */
    struct training_answer said;   /* its state and what its trainer says */
    struct training_job *next;
};

struct training {
    struct training_options options;
    char folder[PATH_MAX];
    pthread_t thread;
    bool started; /* the thread is */
    pthread_mutex_t changing, lock;
    pthread_cond_t change;     /* of what follows */
    struct training_job *jobs; /* the oldest first */
    uint64_t last;             /* number */
    bool begun, stopping;
    struct training_job *current;
    double seconds; /* of trainers, until `current` began */
    pid_t pid;
};

/* What a trainer needs of a job; of files.c. */
struct training_work {
    struct arena *arena; /* all below is in it */
    struct trainer_task task;
    const char **classes, **templates;
    const char **names; /* [task.n_examples]; "": it is counted within its class */
    uint32_t *of;
    uint64_t *offset, *size; /* [task.n_examples]: in the file, which is open */
    int fd;
};

/* ---- files.c: nothing of it takes a lock */

enum limoe_status training_open_folder(struct training *training, struct limoe_error *err);
/* Calls `found` for each job in the folder, as far as it can be read, in no order. False from it: no memory. */
enum limoe_status training_read_folder(struct training *training,
                                       bool (*found)(struct training *training, struct training_job *job),
                                       struct limoe_error *err);
/* The path of a job's folder, or of a file in it (NULL: itself). */
void training_path(const struct training *training, const struct training_job *job, const char *file,
                   char path[PATH_MAX]);
/* Writes the job's folder, whole or not at all. *full: there is no room. LIMOE_CORRUPT: the request's archive is damaged. */
enum limoe_status training_write(const struct training *training, struct training_job *job,
                                 const struct training_request *request, bool *full, struct limoe_error *err);
/* Opens it again. Free with training_close_work, after a failure too. */
enum limoe_status training_open_work(const struct training *training, const struct training_job *job,
                                     struct training_work *out, struct limoe_error *err);
void training_close_work(struct training_work *work);
/* What is to become of it, whatever happens next. */
bool training_write_end(const struct training *training, const struct training_job *job);
/* The same once it has; all else but what was asked for goes. */
void training_clear(const struct training *training, const struct training_job *job);
void training_remove(const struct training *training, const struct training_job *job);

/* ---- trainer.c */

enum training_end { TRAINING_DONE, TRAINING_GAVE_UP, TRAINING_UNWANTED };

/* Does the current job: TRAINING_DONE, its adapter is stored; TRAINING_GAVE_UP, why[] says why; TRAINING_UNWANTED, it was cancelled or
 * the server stops. The thread's. */
enum training_end training_do(struct training *training, struct training_job *job,
                              char why[sizeof((struct training_answer *)0)->why]);
/* Whether the current job is to go on. */
bool training_is_wanted(struct training *training, const struct training_job *job);

#endif
