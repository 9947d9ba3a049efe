/* classifiers.c - two lanes and a clock.
 *
 * The reading lane owns one connection, the writing lane the other, and each is opened by its lane. The
 * clock's thread never touches the disk: it tells those whose time is up, and sees to it that each lane is
 * asked something every second, so that trouble and its end are seen without requests.
 */
#include "server/front/store/classifiers.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "server/front/store/lane.h"
#include "server/front/store/rows.h"
#include "server/front/store/shelf.h"

#define TICK           (100 * CLOCK_MILLISECOND)
#define PROBE_INTERVAL CLOCK_SECOND

struct store_lane {
    struct lane *lane;
    struct database_options options;
    atomic_llong opening; /* until when its first opening may wait for a lock; 0: it is the lane's */
    bool good;            /* the clock's: what was logged last */
};

struct classifiers {
    struct shelf *shelf;
    struct log *log;
    atomic_int version_fd;
    struct store_lane reading, writing;
    struct row_reader reader;
    struct row_writer writer;

    pthread_t clock;
    pthread_mutex_t lock; /* guards stopping */
    pthread_cond_t stop;
    bool stopping, ticking;
};

/* ---- the lanes' threads */

static int wait_for_lock(void *context, int tries) {
    struct store_lane *lane = context;
    const int64_t opening = atomic_load(&lane->opening);
    if (clock_now() >= (opening ? opening : lane_deadline(lane->lane)))
        return 0;
    const struct timespec nap = {.tv_nsec = (tries < 10 ? 1 : 10) * CLOCK_MILLISECOND};
    nanosleep(&nap, NULL);
    return 1;
}

static void find_version(struct classifiers *store) {
    if (atomic_load(&store->version_fd) < 0)
        atomic_store(&store->version_fd, database_version_fd(store->writing.options.dir));
}

static enum limoe_status open_writer(struct classifiers *store, struct limoe_error *err) {
    const enum limoe_status status = row_writer_open(&store->writer, &store->writing.options, err);
    if (status == LIMOE_OK)
        find_version(store);
    return status;
}

static void write_job(void *context, struct store_job *job) {
    struct classifiers *store = context;
    const enum limoe_status status = open_writer(store, &job->error);
    if (status == LIMOE_OK)
        row_write(&store->writer, atomic_load(&store->version_fd), store->shelf, job);
    else
        job->outcome = row_outcome(&store->writer.database, status);
}

static void read_job(void *context, struct store_job *job) {
    struct classifiers *store = context;
    if (atomic_load(&store->version_fd) < 0) { /* before the writer has made and checked it, there is none */
        job->outcome = STORE_BUSY;
        limoe_fail(&job->error, LIMOE_IO, "%s/%s is not open yet", store->reading.options.dir, DATABASE_FILE);
        return;
    }
    const enum limoe_status status = row_reader_open(&store->reader, &store->reading.options, &job->error);
    if (status == LIMOE_OK)
        row_read(&store->reader, atomic_load(&store->version_fd), store->shelf, job);
    else
        job->outcome = row_outcome(&store->reader.database, status);
}

/* ---- the clock */

static void report(const struct classifiers *store, struct store_lane *lane, const char *what) {
    char why[400];
    const bool good = lane_explain(lane->lane, why, sizeof why);
    if (good == lane->good || !store->log)
        return;
    lane->good = good;
    if (good)
        log_print(store->log, LOG_INFO, NULL, "classifiers: %s again", what);
    else
        log_print(store->log, LOG_ERROR, NULL, "classifiers: not %s for over a second: %s", what, why);
}

static void poll_lane(struct store_lane *lane, int64_t now, bool probe, bool writing) {
    lane_expire(lane->lane, now);
    struct store_job *job = probe && lane_idle(lane->lane) ? store_job_probe(writing) : NULL;
    if (job)
        lane_ask(lane->lane, job, NULL);
}

static void *clock_main(void *argument) {
    struct classifiers *store = argument;
    int64_t probed = 0;
    pthread_setname_np(pthread_self(), "limoe-store");
    pthread_mutex_lock(&store->lock);
    while (!store->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += TICK;
        until.tv_sec += until.tv_nsec / CLOCK_SECOND;
        until.tv_nsec %= CLOCK_SECOND;
        pthread_cond_timedwait(&store->stop, &store->lock, &until);
        pthread_mutex_unlock(&store->lock);
        const int64_t now = clock_now();
        const bool probe = now - probed >= PROBE_INTERVAL;
        probed = probe ? now : probed;
        poll_lane(&store->reading, now, probe, false);
        poll_lane(&store->writing, now, probe, true);
        report(store, &store->reading, "read");
        report(store, &store->writing, "written");
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static enum limoe_status start_clock(struct classifiers *store, struct limoe_error *err) {
    const int code = pthread_create(&store->clock, NULL, clock_main, store);
    if (code)
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start a thread for the classifiers: %s",
                          strerror(code));
    store->ticking = true;
    return LIMOE_OK;
}

static void stop_clock(struct classifiers *store) {
    if (!store->ticking)
        return;
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_signal(&store->stop);
    pthread_mutex_unlock(&store->lock);
    pthread_join(store->clock, NULL);
}

/* ---- opening and closing */

/* Opens the file once before the lanes' threads are there, so that damage is found at the start. A file
 * that is locked is left to the lanes. */
static enum limoe_status open_first(struct classifiers *store, struct limoe_error *err) {
    atomic_store(&store->writing.opening, clock_now() + STORE_TIMEOUT_MS * CLOCK_MILLISECOND);
    const enum limoe_status status = open_writer(store, err);
    atomic_store(&store->writing.opening, 0);
    return row_outcome(&store->writer.database, status) == STORE_BUSY ? LIMOE_OK : status;
}

static void describe(struct store_lane *lane, const struct classifiers_options *options, uint64_t bytes) {
    lane->good = true;
    lane->options = (struct database_options){
        .dir = options->dir, .most_bytes = bytes, .busy = wait_for_lock, .context = lane};
}

enum limoe_status classifiers_open(const struct classifiers_options *options, struct classifiers **out,
                                   struct limoe_error *err) {
    struct classifiers *store = calloc(1, sizeof *store);
    if (!store)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the classifiers");
    const size_t most = options->most ? options->most : CLASSIFIERS_MOST;
    const uint64_t bytes = options->disk_bytes ? options->disk_bytes : CLASSIFIERS_DISK_BYTES;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&store->lock, NULL);
    store->log = options->log;
    store->writer.most = most;
    store->writer.most_bytes = bytes;
    atomic_init(&store->version_fd, -1);
    describe(&store->reading, options, bytes);
    describe(&store->writing, options, bytes);

    const size_t memory = options->cache_bytes ? options->cache_bytes : CLASSIFIERS_CACHE_BYTES;
    enum limoe_status status = shelf_new(memory, most, &store->shelf, err);
    if (status == LIMOE_OK)
        status = open_first(store, err);
    if (status == LIMOE_OK)
        status = lane_start("limoe-reading", read_job, store, &store->reading.lane, err);
    if (status == LIMOE_OK)
        status = lane_start("limoe-writing", write_job, store, &store->writing.lane, err);
    if (status == LIMOE_OK)
        status = start_clock(store, err);
    if (status != LIMOE_OK) {
        classifiers_close(store);
        return status;
    }
    *out = store;
    return LIMOE_OK;
}

void classifiers_close(struct classifiers *store) {
    if (!store)
        return;
    stop_clock(store);
    const bool read = lane_stop(store->reading.lane), written = lane_stop(store->writing.lane);
    if (!read || !written) {
        if (store->log)
            log_print(store->log, LOG_ERROR, NULL, "classifiers: the disk does not answer; left as it is");
        return; /* a thread is still in there: all of it stays */
    }
    row_reader_close(&store->reader);
    row_writer_close(&store->writer);
    if (atomic_load(&store->version_fd) >= 0)
        close(atomic_load(&store->version_fd));
    shelf_free(store->shelf);
    pthread_cond_destroy(&store->stop);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* ---- asking */

const struct classifier *classifiers_recall(struct classifiers *store, struct text name,
                                            const struct classifier_model *model, bool stale) {
    int64_t seen;
    const struct classifier *found = shelf_find(store->shelf, name, model, &seen);
    if (!found || stale || !lane_good(store->reading.lane))
        return found;
    const int64_t version = database_version(atomic_load(&store->version_fd), false);
    if (version != DATABASE_UNKNOWN && version == seen)
        return found;
    classifier_release(found);
    return NULL;
}

void classifiers_ask(struct classifiers *store, struct store_job *job, struct store_waiter *waiter) {
    lane_ask(job->operation >= STORE_PUT ? store->writing.lane : store->reading.lane, job, waiter);
}

struct sleeper {
    struct store_waiter waiter;
    struct store_job *job;
    sem_t told;
};

static void wake(struct store_waiter *waiter, struct store_job *job) {
    struct sleeper *sleeper = (struct sleeper *)waiter;
    sleeper->job = job;
    sem_post(&sleeper->told);
}

enum store_outcome classifiers_wait(struct classifiers *store, struct store_job **job,
                                    struct limoe_error *err) {
    struct sleeper sleeper = {.waiter.done = wake};
    if (!*job) {
        limoe_fail(err, LIMOE_NO_MEMORY, "no memory to ask for a classifier");
        return STORE_FAILED;
    }
    sem_init(&sleeper.told, 0, 0);
    classifiers_ask(store, *job, &sleeper.waiter);
    while (sem_wait(&sleeper.told) != 0)
        ; /* a signal */
    sem_destroy(&sleeper.told);
    *job = sleeper.job;
    if (!*job) {
        limoe_fail(err, LIMOE_IO, "the disk has not answered");
        return STORE_BUSY;
    }
    if ((*job)->outcome != STORE_DONE)
        *err = (*job)->error;
    return (*job)->outcome;
}

void classifiers_state(struct classifiers *store, struct classifiers_state *out) {
    char reading[300], writing[300];
    out->reading = lane_explain(store->reading.lane, reading, sizeof reading);
    out->writing = lane_explain(store->writing.lane, writing, sizeof writing);
    snprintf(out->why, sizeof out->why, "classifiers cannot be %s: %s", out->reading ? "changed" : "read",
             out->reading ? writing : reading);
    out->bytes = atomic_load(&store->writer.bytes);
    out->limit_bytes = store->writer.most_bytes;
}
