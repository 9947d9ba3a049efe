/* training.c - the list of jobs, and the thread that does one after the other. */
#include "server/front/training/training.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "server/front/training/parts.h"

#define RETRY_SECONDS 30u /* where as many jobs wait as may */

static bool has_ended(const struct training_job *job) {
    return job->said.state >= TRAINING_READY;
}

static bool is_waiting(const struct training_job *job) {
    return !has_ended(job) && !job->cancelled && !job->unwritten;
}

/* ---- the list; the lock is held */

/* The last job of a name, which is on the disk; NULL: there is none. */
static struct training_job *find(const struct training *training, struct text name) {
    struct training_job *found = NULL;
    for (struct training_job *job = training->jobs; job; job = job->next)
        if (!job->unwritten && text_is(name, job->name))
            found = job;
    return found;
}

/* By number. */
static void put_in(struct training *training, struct training_job *job) {
    struct training_job **at = &training->jobs;
    while (*at && (*at)->number < job->number)
        at = &(*at)->next;
    job->next = *at;
    *at = job;
    training->last = job->number > training->last ? job->number : training->last;
}

static void take_out(struct training *training, struct training_job *job) {
    struct training_job **at = &training->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
}

static double seconds_of(const struct training_job *job) {
    return job->began ? (double)(clock_now() - job->began) / (double)CLOCK_SECOND : job->said.seconds;
}

/* ---- jobs that have ended; `changing` is held */

static void forget(struct training *training, struct training_job *job) {
    pthread_mutex_lock(&training->lock);
    take_out(training, job);
    pthread_mutex_unlock(&training->lock);
    training_remove(training, job);
    free(job);
}

/* One of those that are too many: of a name that a later job has, or the oldest beyond TRAINING_KEPT. The lock is held. */
static struct training_job *find_outdated(struct training *training) {
    struct training_job *oldest = NULL;
    size_t ended = 0;
    for (struct training_job *job = training->jobs; job; job = job->next) {
        if (!has_ended(job))
            continue;
        if (find(training, text_of(job->name)) != job)
            return job;
        oldest = oldest ? oldest : job;
        ended++;
    }
    return ended > TRAINING_KEPT ? oldest : NULL;
}

/* What is found stays: only who holds `changing` takes jobs out. */
static void forget_outdated(struct training *training) {
    struct training_job *job;
    do {
        pthread_mutex_lock(&training->lock);
        job = find_outdated(training);
        pthread_mutex_unlock(&training->lock);
        if (job)
            forget(training, job);
    } while (job);
}

/* The job as it will be told of. */
static struct training_job as_ended(struct training *training, const struct training_job *job,
                                    enum training_state state, const char *why) {
    pthread_mutex_lock(&training->lock);
    struct training_job end = *job;
    end.said.seconds = seconds_of(job);
    pthread_mutex_unlock(&training->lock);
    end.said.state = state;
    end.said.progress = state == TRAINING_READY ? 1 : end.said.progress;
    snprintf(end.said.why, sizeof end.said.why, "%s", why);
    end.ended = (int64_t)time(NULL);
    return end;
}

/* Told of as ended once nothing is left of its examples. */
static void end_job(struct training *training, struct training_job *job, enum training_state state,
                    const char *why) {
    static const enum metrics_event events[TRAINING_STATES] = {[TRAINING_READY] = METRICS_JOBS_READY,
                                                               [TRAINING_FAILED] = METRICS_JOBS_FAILED,
                                                               [TRAINING_CANCELLED] = METRICS_JOBS_CANCELLED};
    const struct training_job end = as_ended(training, job, state, why);
    training_clear(training, &end);
    pthread_mutex_lock(&training->lock);
    training->seconds += job->began ? end.said.seconds : 0;
    job->began = 0;
    job->said = end.said;
    job->ended = end.ended;
    job->bytes = 0;
    if (training->current == job)
        training->current = NULL;
    pthread_mutex_unlock(&training->lock);
    metrics_count(training->options.metrics, events[state], 1);
    log_print(training->options.log, state == TRAINING_FAILED ? LOG_WARNING : LOG_INFO, NULL,
              "adapter %s: %s%s%s", job->name, training_state_names[state], *why ? ": " : "", why);
    forget_outdated(training);
}

/* ---- the thread */

bool training_is_wanted(struct training *training, const struct training_job *job) {
    pthread_mutex_lock(&training->lock);
    const bool wanted = !job->cancelled && !training->stopping;
    pthread_mutex_unlock(&training->lock);
    return wanted;
}

/* The next job, as the current one; NULL: the server stops. */
static struct training_job *next_job(struct training *training) {
    struct training_job *job = NULL;
    pthread_mutex_lock(&training->lock);
    while (!training->stopping && !job) {
        for (job = training->begun ? training->jobs : NULL; job && !is_waiting(job); job = job->next)
            ;
        if (!job)
            pthread_cond_wait(&training->change, &training->lock);
    }
    if (training->stopping)
        job = NULL;
    if (job) {
        training->current = job;
        job->said.state = TRAINING_RUNNING;
        job->began = clock_now();
    }
    pthread_mutex_unlock(&training->lock);
    return job;
}

static void *run(void *context) {
    struct training *training = context;
    struct training_job *job;
    while ((job = next_job(training))) {
        char why[sizeof job->said.why] = "";
        log_print(training->options.log, LOG_INFO, NULL, "adapter %s: training begins", job->name);
        const enum training_end end = training_do(training, job, why);
        pthread_mutex_lock(&training->changing);
        if (job->cancelled)
            end_job(training, job, TRAINING_CANCELLED, "");
        else if (end != TRAINING_UNWANTED)
            end_job(training, job, end == TRAINING_DONE ? TRAINING_READY : TRAINING_FAILED,
                    end == TRAINING_DONE ? "" : why);
        pthread_mutex_unlock(&training->changing);
    }
    return NULL;
}

/* ---- life */

static bool take_found(struct training *training, struct training_job *job) {
    put_in(training, job);
    return true;
}

static void free_training(struct training *training) {
    while (training->jobs) {
        struct training_job *job = training->jobs;
        take_out(training, job);
        free(job);
    }
    pthread_cond_destroy(&training->change);
    pthread_mutex_destroy(&training->lock);
    pthread_mutex_destroy(&training->changing);
    free(training);
}

enum limoe_status training_start(const struct training_options *options, struct training **out,
                                 struct limoe_error *err) {
    struct training *training = calloc(1, sizeof *training);
    if (!training)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for training");
    training->options = *options;
    pthread_mutex_init(&training->changing, NULL);
    pthread_mutex_init(&training->lock, NULL);
    pthread_cond_init(&training->change, NULL);
    enum limoe_status status = training_open_folder(training, err);
    if (!status)
        status = training_read_folder(training, take_found, err);
    if (!status) {
        forget_outdated(training);
        const int code = pthread_create(&training->thread, NULL, run, training);
        if (code)
            status = limoe_fail(err, LIMOE_INTERNAL, "cannot start the thread of jobs: %s", strerror(code));
    }
    if (status) {
        free_training(training);
        return status;
    }
    pthread_setname_np(training->thread, "limoe-training");
    *out = training;
    return LIMOE_OK;
}

static void wake(struct training *training, bool *what) {
    pthread_mutex_lock(&training->lock);
    *what = true;
    pthread_cond_broadcast(&training->change);
    pthread_mutex_unlock(&training->lock);
}

void training_begin(struct training *training) {
    wake(training, &training->begun);
}

void training_stop(struct training *training) {
    if (!training)
        return;
    wake(training, &training->stopping);
    pthread_join(training->thread, NULL);
    free_training(training);
}

/* ---- added */

static uint64_t bytes_of(const struct training_request *request) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < request->n; i++)
        bytes += request->examples[i].size;
    return bytes;
}

/* What stands beside a job that is to be added. */
struct beside {
    unsigned active; /* jobs that have not ended */
    uint64_t bytes;  /* of their examples */
    bool same;       /* one of them is to learn what this one is */
};

static struct beside look_beside(struct training *training, const char *name) {
    struct beside found = {0};
    pthread_mutex_lock(&training->lock);
    for (const struct training_job *job = training->jobs; job; job = job->next) {
        found.same |= !has_ended(job) && !job->cancelled && strcmp(job->name, name) == 0;
        found.active += !has_ended(job);
        found.bytes += job->bytes;
    }
    pthread_mutex_unlock(&training->lock);
    return found;
}

/* Whether there is room for one more; `changing` is held. */
static bool check_room(struct training *training, const char *name, uint64_t bytes, unsigned *retry_after,
                       struct api_error *error) {
    const struct training_options *o = &training->options;
    const struct beside beside = look_beside(training, name);
    if (!o->jobs)
        return api_fail(error, 403, "training_disabled", NULL,
                        "this server teaches no adapters (its option --adapter-jobs is 0)");
    if (beside.same)
        return api_fail(error, 409, "adapter_training", "name",
                        "a job for \"%s\" has not ended; wait for it, or DELETE /v1/adapters/%s", name, name);
    if (beside.active >= o->jobs) {
        *retry_after = RETRY_SECONDS;
        return api_fail(error, 429, "too_many_jobs", NULL,
                        "%u jobs have not ended; up to %u are accepted (the server's option --adapter-jobs); "
                        "try again in %u s",
                        beside.active, o->jobs, RETRY_SECONDS);
    }
    if (bytes > o->bytes || beside.bytes > o->bytes - bytes)
        return api_fail(error, 507, "store_full", "examples",
                        "the examples have %llu bytes and those of other jobs %llu; up to %llu are accepted "
                        "(the server's option --adapter-job-bytes)",
                        (unsigned long long)bytes, (unsigned long long)beside.bytes,
                        (unsigned long long)o->bytes);
    return true;
}

static bool fail_write(const struct training *training, enum limoe_status status, bool full,
                       const struct limoe_error *cause, struct api_error *error) {
    if (status == LIMOE_NO_MEMORY)
        return api_fail_memory(error);
    if (status != LIMOE_IO)
        return api_fail(error, 400, "invalid_archive", "archive", "%s", cause->message);
    if (full)
        return api_fail(error, 507, "store_full", "examples",
                        "there is no room for the examples: the disk is full");
    log_print(training->options.log, LOG_ERROR, NULL, "training: %s", cause->message);
    return api_fail(error, 500, "store_error", NULL,
                    "the job could not be written to the disk; the server's log says why");
}

static struct training_job *new_job(const struct training *training, const char *name, const char *model,
                                    const char *base, uint64_t bytes) {
    struct training_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->number = training->last + 1;
    job->bytes = bytes;
    job->unwritten = true;
    job->said.created = (int64_t)time(NULL);
    snprintf(job->name, sizeof job->name, "%s", name);
    snprintf(job->base, sizeof job->base, "%s", base);
    snprintf(job->said.model, sizeof job->said.model, "%s", model);
    const struct adapter *before = adapters_find(training->options.adapters, text_of(name));
    if (before)
        tail_key_hex(before->sha256, job->before);
    adapter_release(before);
    return job;
}

/* Takes its place among the jobs, where it counts from now on. NULL: *error says why. */
static struct training_job *reserve(struct training *training, const char *name, const char *model,
                                    const char *base, uint64_t bytes, unsigned *retry_after,
                                    struct api_error *error) {
    struct training_job *job = NULL;
    pthread_mutex_lock(&training->changing);
    if (check_room(training, name, bytes, retry_after, error)) {
        job = new_job(training, name, model, base, bytes);
        if (!job)
            api_fail_memory(error);
    }
    if (job) {
        pthread_mutex_lock(&training->lock);
        put_in(training, job);
        pthread_mutex_unlock(&training->lock);
    }
    pthread_mutex_unlock(&training->changing);
    return job;
}

/* What was reserved is on the disk, or is given up. */
static void settle(struct training *training, struct training_job *job, bool written) {
    pthread_mutex_lock(&training->changing);
    pthread_mutex_lock(&training->lock);
    job->unwritten = false;
    if (written)
        pthread_cond_broadcast(&training->change);
    else
        take_out(training, job);
    pthread_mutex_unlock(&training->lock);
    if (written)
        forget_outdated(training);
    else
        free(job);
    pthread_mutex_unlock(&training->changing);
}

bool training_add(struct training *training, const char *name, const struct training_request *request,
                  const char *model, const char *base, int64_t *created, unsigned *retry_after,
                  struct api_error *error) {
    struct limoe_error cause;
    bool full;
    *retry_after = 0;
    struct training_job *job = reserve(training, name, model, base, bytes_of(request), retry_after, error);
    if (!job)
        return false;
    *created = job->said.created;
    const enum limoe_status status = training_write(training, job, request, &full, &cause);
    if (!status)
        log_print(training->options.log, LOG_INFO, NULL, "adapter %s: queued, %zu examples of %zu labels",
                  name, request->n, request->definition.n_labels);
    settle(training, job, !status);
    return !status || fail_write(training, status, full, &cause, error);
}

/* ---- asked for, dropped */

/* Whether it was put after this job, which has ended. */
static bool is_later(const struct training_job *job, const struct adapter *adapter) {
    char hex[TAIL_KEY_HEX + 1];
    tail_key_hex(adapter->sha256, hex);
    return has_ended(job) && strcmp(hex, job->before) != 0 && strcmp(hex, job->stored) != 0;
}

bool training_look(struct training *training, struct text name, const struct adapter *adapter,
                   struct training_answer *out) {
    pthread_mutex_lock(&training->lock);
    const struct training_job *job = find(training, name);
    /* A job that was ready has no say once its adapter is gone. */
    const bool known = job && (adapter ? !is_later(job, adapter) : job->said.state != TRAINING_READY);
    if (known) {
        *out = job->said;
        out->seconds = seconds_of(job);
        out->state = job->cancelled ? TRAINING_CANCELLED : job->said.state;
    }
    pthread_mutex_unlock(&training->lock);
    return known;
}

/* The last job of the first name behind this one; NULL: there is none. The lock is held. */
static const struct training_job *find_next(const struct training *training, const char *after) {
    const char *first = NULL;
    for (const struct training_job *job = training->jobs; job; job = job->next)
        if (!job->unwritten && strcmp(job->name, after) > 0 && (!first || strcmp(job->name, first) < 0))
            first = job->name;
    return first ? find(training, text_of(first)) : NULL;
}

bool training_next(struct training *training, struct text after, char name[CLASSIFIER_NAME_BYTES + 1]) {
    char behind[CLASSIFIER_NAME_BYTES + 1];
    snprintf(behind, sizeof behind, "%.*s", (int)after.size, after.data ? after.data : "");
    pthread_mutex_lock(&training->lock);
    const struct training_job *job = find_next(training, behind);
    while (job &&
           (job->said.state == TRAINING_READY || job->said.state == TRAINING_CANCELLED || job->cancelled))
        job = find_next(training, job->name);
    snprintf(name, CLASSIFIER_NAME_BYTES + 1, "%s", job ? job->name : "");
    pthread_mutex_unlock(&training->lock);
    return job;
}

/* So that it does not go on should the server be lost before the thread has seen it. */
static void write_cancelled(struct training *training, const struct training_job *job) {
    const struct training_job end = as_ended(training, job, TRAINING_CANCELLED, "");
    training_write_end(training, &end);
}

bool training_drop(struct training *training, struct text name) {
    bool found;
    pthread_mutex_lock(&training->changing);
    pthread_mutex_lock(&training->lock);
    struct training_job *job = find(training, name);
    found = job != NULL;
    const bool gone = job && has_ended(job), ended = gone || (job && job->cancelled),
               running = job && job == training->current;
    if (job && !ended)
        job->cancelled = true;
    const bool queued = job && !ended && !running;
    pthread_mutex_unlock(&training->lock);
    if (queued)
        end_job(training, job, TRAINING_CANCELLED, "");
    else if (running && !ended)
        write_cancelled(training, job);
    else if (gone)
        forget(training, job);
    pthread_mutex_unlock(&training->changing);
    return found;
}

struct training_counts training_count(struct training *training) {
    pthread_mutex_lock(&training->lock);
    struct training_counts counts = {.seconds = training->seconds, .pid = training->pid};
    for (const struct training_job *job = training->jobs; job; job = job->next) {
        counts.queued += job->said.state == TRAINING_QUEUED && !job->unwritten;
        counts.running += job->said.state == TRAINING_RUNNING;
        counts.bytes += job->bytes;
        counts.seconds += job->began ? seconds_of(job) : 0;
    }
    pthread_mutex_unlock(&training->lock);
    return counts;
}
