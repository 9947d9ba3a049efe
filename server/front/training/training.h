/* training.h - jobs that learn adapters from examples: queued on the disk, done one at a time by a `limoe trainer`.
 *
 * STATE/training has a folder for each job, which is whole before POST is answered: what is asked for, the examples, and later the
 * trainer's state. So a job outlives both: a server that is started again goes on with those that have not ended, and a trainer that
 * is lost is started again, from its last epoch, to the same bytes. When a job ends, all of it but what became of it is removed.
 *
 * A thread of its own owns the child, waits for it, and stops it by turns while there are requests (pace.h); pictures are decoded on it, by the server's decoders. What is learnt goes
 * to the store of adapters, the probe of a job of both kinds as soon as it is there. Any thread asks, adds and cancels.
 */
#ifndef LIMOE_SERVER_FRONT_TRAINING_TRAINING_H
#define LIMOE_SERVER_FRONT_TRAINING_TRAINING_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/api/classifier.h"
#include "server/api/training.h"
#include "server/front/decoders/decoders.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/store/adapters.h"

#define TRAINING_JOBS       16u /* queued and in training, unless an option says another number */
#define TRAINING_MOST_JOBS  1000u
#define TRAINING_DISK_BYTES (UINT64_C(1) << 30) /* of their examples */
#define TRAINING_KEPT       100u                /* jobs that have ended, of which it is still told */

struct training;

/* A model as it is served now. */
struct training_model {
    char dir[PATH_MAX]; /* absolute */
    char base[33];
    size_t index; /* among those that are served */
};
/* False: no model of this name is served. */
typedef bool training_find_model(void *context, const char *name, struct training_model *out);
/* Whether there are requests, for which a trainer stands back. Asked often. */
typedef bool training_has_requests(void *context);

/* All outlive the training. */
struct training_options {
    const char *state_dir; /* there, or made */
    unsigned jobs;         /* that may be queued and in training together; 0: none is taken */
    uint64_t bytes;        /* of their examples */
    unsigned threads;      /* of a trainer, as struct limoe_options has it */
    struct adapters *adapters;
    struct decoders *decoders;
    training_find_model *find;
    training_has_requests *has_requests;
    void *context;
    struct metrics *metrics;
    struct log *log;
};

/* Reads what earlier servers have left, and starts the thread, which begins once training_begin says that models are there. */
enum limoe_status training_start(const struct training_options *options, struct training **out,
                                 struct limoe_error *err);
void training_begin(struct training *training);
/* Ends the trainer, whose state is kept. Nobody asks any more. NULL is fine. */
void training_stop(struct training *training);

/* Queues a job for the model of this name and base. False: it is not there, for the reason in *error; *retry_after is then seconds
 * until another try is worth it, or 0. *created is Unix seconds. */
bool training_add(struct training *training, const char *name, const struct training_request *request,
                  const char *model, const char *base, int64_t *created, unsigned *retry_after,
                  struct api_error *error);

/* What is known of the last job of this name. `adapter` (NULL: there is none) is what has that name in the store: a job that ended
 * before it was put says nothing of it. False: nothing is. */
bool training_look(struct training *training, struct text name, const struct adapter *adapter,
                   struct training_answer *out);
/* The first name behind `after`, in the order of bytes, whose last job waits, is in training or has failed. There may be an adapter
 * of that name nevertheless. False: there is none. */
bool training_next(struct training *training, struct text after, char name[CLASSIFIER_NAME_BYTES + 1]);
/* A job that has not ended is cancelled, and what is known of one that has is forgotten. False: there was none. Adapters are left to
 * the caller. */
bool training_drop(struct training *training, struct text name);

struct training_counts {
    uint64_t queued, running, bytes;
    double seconds; /* of trainers, of all jobs */
    pid_t pid;      /* 0: no trainer runs */
};
struct training_counts training_count(struct training *training);

#endif
