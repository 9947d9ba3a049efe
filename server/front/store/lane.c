/* lane.c - a list of jobs under a mutex, which is never held over the work. */
#include "server/front/store/lane.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

/* The work gives up this much before the waiter is told, so that it can say itself why. */
#define MARGIN     (100 * CLOCK_MILLISECOND)
#define STOP_GRACE 3 /* seconds for a thread in the disk to come back, when the lane is stopped */

struct lane {
    lane_work work;
    void *context;
    pthread_t thread;
    atomic_llong deadline; /* of the job in hand */
    atomic_bool bad;       /* trouble; written with the lock held */

    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t arrival; /* of a job, or of the end */
    struct store_job *head, **last;
    struct store_job *running; /* NULL: the thread is idle */
    bool stopping;
    char why[sizeof((struct limoe_error *)0)->message];
};

/* ---- all with the lock held */

static void note(struct lane *lane, bool good, const char *why) {
    snprintf(lane->why, sizeof lane->why, "%s", good ? "" : why);
    atomic_store(&lane->bad, !good);
}

static struct store_job *take(struct lane *lane) {
    struct store_job *job = lane->head;
    if (job) {
        lane->head = job->next;
        if (!lane->head)
            lane->last = &lane->head;
    }
    return job;
}

/* ---- */

static void give_back(struct store_job *job, struct store_waiter *waiter) {
    if (waiter)
        waiter->done(waiter, job);
    else
        store_job_free(job);
}

static void give_up(struct store_job *job) {
    job->outcome = STORE_BUSY;
    limoe_fail(&job->error, LIMOE_IO, "the disk has not answered");
    give_back(job, job->waiter);
}

/* Does the job. False if it has waited for so long behind others that it is not begun. */
static bool do_job(struct lane *lane, struct store_job *job) {
    const int64_t deadline = job->deadline - MARGIN;
    atomic_store(&lane->deadline, deadline);
    if (clock_now() < deadline) {
        lane->work(lane->context, job);
        return true;
    }
    job->outcome = STORE_BUSY;
    limoe_fail(&job->error, LIMOE_IO, "the disk has more to do than it does in time");
    return false;
}

static void *lane_main(void *argument) {
    struct lane *lane = argument;
    pthread_mutex_lock(&lane->lock);
    for (;;) {
        while (!lane->head && !lane->stopping)
            pthread_cond_wait(&lane->arrival, &lane->lock);
        if (lane->stopping)
            break;
        struct store_job *job = lane->running = take(lane);
        pthread_mutex_unlock(&lane->lock);
        const bool begun = do_job(lane, job);
        pthread_mutex_lock(&lane->lock);
        lane->running = NULL;
        const bool abandoned = job->abandoned;
        if (begun)
            note(lane, job->outcome != STORE_BUSY, job->error.message);
        pthread_mutex_unlock(&lane->lock);
        give_back(job, abandoned ? NULL : job->waiter);
        pthread_mutex_lock(&lane->lock);
    }
    pthread_mutex_unlock(&lane->lock);
    return NULL;
}

enum limoe_status lane_start(const char *name, lane_work work, void *context, struct lane **out,
                             struct limoe_error *err) {
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the classifiers");
    lane->work = work;
    lane->context = context;
    lane->last = &lane->head;
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->arrival, NULL);
    const int code = pthread_create(&lane->thread, NULL, lane_main, lane);
    if (code) {
        pthread_cond_destroy(&lane->arrival);
        pthread_mutex_destroy(&lane->lock);
        free(lane);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start a thread for the classifiers: %s",
                          strerror(code));
    }
    pthread_setname_np(lane->thread, name);
    *out = lane;
    return LIMOE_OK;
}

bool lane_stop(struct lane *lane) {
    struct timespec until;
    if (!lane)
        return true;
    pthread_mutex_lock(&lane->lock);
    lane->stopping = true;
    pthread_cond_signal(&lane->arrival);
    pthread_mutex_unlock(&lane->lock);
    atomic_store(&lane->deadline, 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_GRACE;
    if (pthread_timedjoin_np(lane->thread, NULL, &until) != 0)
        return false;
    for (struct store_job *job; (job = take(lane));)
        give_up(job);
    pthread_cond_destroy(&lane->arrival);
    pthread_mutex_destroy(&lane->lock);
    free(lane);
    return true;
}

void lane_ask(struct lane *lane, struct store_job *job, struct store_waiter *waiter) {
    job->next = NULL;
    job->waiter = waiter;
    job->abandoned = false;
    job->deadline = clock_now() + STORE_TIMEOUT_MS * CLOCK_MILLISECOND;
    pthread_mutex_lock(&lane->lock);
    *lane->last = job;
    lane->last = &job->next;
    pthread_cond_signal(&lane->arrival);
    pthread_mutex_unlock(&lane->lock);
}

void lane_expire(struct lane *lane, int64_t now) {
    struct store_job *late = NULL, **end = &late, *running = NULL;
    struct store_waiter *waiter = NULL;
    pthread_mutex_lock(&lane->lock);
    while (lane->head && lane->head->deadline <= now) { /* all have as long: the first is the oldest */
        *end = take(lane);
        end = &(*end)->next;
    }
    *end = NULL;
    if (lane->running && lane->running->deadline <= now && !lane->running->abandoned) {
        running = lane->running;
        waiter = running->waiter;
        running->abandoned = true;
        note(lane, false, "the disk has not answered");
    }
    pthread_mutex_unlock(&lane->lock);
    if (waiter)
        waiter->done(waiter, NULL);
    while (late) {
        struct store_job *next = late->next;
        give_up(late);
        late = next;
    }
}

bool lane_idle(struct lane *lane) {
    pthread_mutex_lock(&lane->lock);
    const bool idle = !lane->running && !lane->head;
    pthread_mutex_unlock(&lane->lock);
    return idle;
}

int64_t lane_deadline(struct lane *lane) {
    return atomic_load(&lane->deadline);
}

bool lane_good(struct lane *lane) {
    return !atomic_load(&lane->bad);
}

bool lane_explain(struct lane *lane, char *why, size_t size) {
    pthread_mutex_lock(&lane->lock);
    const bool good = !atomic_load(&lane->bad);
    snprintf(why, size, "%s", lane->why);
    pthread_mutex_unlock(&lane->lock);
    return good;
}
