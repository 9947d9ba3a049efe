/* queue.c - admission by load, and steps taken from the waiting jobs in turns.
 *
 * Who owns what: the queue owns a job from queue_push until it calls done(). Jobs with items still to take
 * are in one doubly linked list; a job whose items are all in a step is in none, the step's slices point to
 * it.
 *
 * A job ends once no item of it is being computed (taken == finished) and either all are finished or it was
 * given up (its outcome says why). Ended jobs are collected under the lock and delivered after it, since
 * done() takes locks of its own.
 */
#include "schedule/queue.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "observe/clock.h"

/* How long the drain rate remembers. Long enough to smooth over single steps, short enough to follow a
 * change. */
#define DRAIN_MEMORY_SECONDS 5.0
#define DRAIN_LONGEST_ANSWER 3600.0

/* A turn takes at most this part of a step, so that at least so many jobs share it. */
#define TURNS_PER_STEP 8

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t arrival;         /* a job to take, or the queue closed */
    struct queue_load limits, load; /* load: let in, and not computed or released yet */
    struct job *head, *tail;        /* waiting jobs; the next turn is the head's */
    bool closed;
    double drained, busy; /* tokens computed, seconds in which there was work: both decay alike */
    int64_t mark;         /* until when `busy` has been counted */
};

/* ---- ended jobs */

/* Jobs to deliver once the lock is released, linked by next. */
struct ended {
    struct job *first, **last;
};

static void ended_init(struct ended *ended) {
    ended->first = NULL;
    ended->last = &ended->first;
}

static void ended_add(struct ended *ended, struct job *job) {
    job->next = NULL;
    *ended->last = job;
    ended->last = &job->next;
}

static void ended_deliver(struct ended *ended) {
    for (struct job *job = ended->first, *next; job; job = next) {
        next = job->next; /* done() may free the job */
        job->done(job);
    }
}

/* ---- the list of waiting jobs; the lock is held */

static void link_last(struct queue *queue, struct job *job) {
    job->next = NULL;
    job->previous = queue->tail;
    *(queue->tail ? &queue->tail->next : &queue->head) = job;
    queue->tail = job;
    job->waiting = true;
}

static void link_first(struct queue *queue, struct job *job) {
    job->previous = NULL;
    job->next = queue->head;
    *(queue->head ? &queue->head->previous : &queue->tail) = job;
    queue->head = job;
    job->waiting = true;
}

static void unlink_job(struct queue *queue, struct job *job) {
    *(job->previous ? &job->previous->next : &queue->head) = job->next;
    *(job->next ? &job->next->previous : &queue->tail) = job->previous;
    job->next = job->previous = NULL;
    job->waiting = false;
}

/* ---- load; the lock is held */

static void add_load(struct queue *queue, const struct queue_load *more) {
    if (queue->load.tokens == 0 && more->tokens > 0)
        queue->mark = clock_now(); /* idle time is no part of the drain rate */
    queue->load.items += more->items;
    queue->load.tokens += more->tokens;
    queue->load.bytes += more->bytes;
}

static void subtract_load(struct queue *queue, const struct queue_load *less) {
    queue->load.items -= less->items;
    queue->load.tokens -= less->tokens;
    queue->load.bytes -= less->bytes;
}

static void measure_drain(struct queue *queue, uint64_t tokens, int64_t now) {
    double elapsed = (double)(now - queue->mark) / (double)CLOCK_SECOND;
    double decay = exp(-elapsed / DRAIN_MEMORY_SECONDS);
    queue->drained = queue->drained * decay + (double)tokens;
    queue->busy = queue->busy * decay + elapsed;
    queue->mark = now;
}

/* Takes the job out of the list; its items that no step holds leave the load. It ends now, or with the step.
 */
static void give_up(struct queue *queue, struct job *job, enum job_outcome outcome, struct ended *ended) {
    job->outcome = outcome;
    if (job->waiting)
        unlink_job(queue, job);
    if (!job->probe)
        subtract_load(queue, &(struct queue_load){job->n - job->taken, job->rows - job->taken_rows, 0});
    if (job->taken == job->finished)
        ended_add(ended, job);
}

/* ---- life */

struct queue *queue_new(const struct queue_load *limits) {
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->arrival, NULL);
    queue->limits = *limits;
    return queue;
}

void queue_free(struct queue *queue) {
    if (!queue)
        return;
    pthread_cond_destroy(&queue->arrival);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

bool queue_step_init(struct queue_step *step, size_t capacity) {
    memset(step, 0, sizeof *step);
    step->slices = calloc(capacity, sizeof *step->slices);
    step->capacity = capacity;
    return step->slices != NULL;
}

void queue_step_free(struct queue_step *step) {
    free(step->slices);
    memset(step, 0, sizeof *step);
}

/* ---- admission */

bool queue_admit(struct queue *queue, const struct queue_load *more, const struct queue_load *held) {
    pthread_mutex_lock(&queue->lock);
    const struct queue_load *load = &queue->load, *limits = &queue->limits;
    bool room = load->items - held->items < limits->items && load->tokens - held->tokens < limits->tokens &&
                load->bytes - held->bytes < limits->bytes;
    if (room)
        add_load(queue, more);
    pthread_mutex_unlock(&queue->lock);
    return room;
}

void queue_charge(struct queue *queue, const struct queue_load *more) {
    pthread_mutex_lock(&queue->lock);
    add_load(queue, more);
    pthread_mutex_unlock(&queue->lock);
}

void queue_release(struct queue *queue, const struct queue_load *less) {
    pthread_mutex_lock(&queue->lock);
    subtract_load(queue, less);
    pthread_mutex_unlock(&queue->lock);
}

struct queue_load queue_depth(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    struct queue_load load = queue->load;
    pthread_mutex_unlock(&queue->lock);
    return load;
}

unsigned queue_drain_seconds(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    /* Counting the time since the last step too, an engine that stands still is soon seen to be slow. */
    double idle = queue->load.tokens > 0 ? (double)(clock_now() - queue->mark) / (double)CLOCK_SECOND : 0;
    double seconds =
        queue->drained > 0 ? (double)queue->load.tokens * (queue->busy + idle) / queue->drained : 1;
    pthread_mutex_unlock(&queue->lock);
    return (unsigned)ceil(fmin(fmax(seconds, 1), DRAIN_LONGEST_ANSWER));
}

/* ---- jobs */

static bool push(struct queue *queue, struct job *job, bool first) {
    job->outcome = JOB_PENDING;
    job->started = job->ended = 0;
    job->taken = job->finished = 0;
    job->rows = job->taken_rows = 0;
    for (size_t i = 0; i < job->n; i++)
        job->rows += job->items[i].length;
    job->probe = first;

    pthread_mutex_lock(&queue->lock);
    bool open = !queue->closed;
    if (open) {
        job->pushed = clock_now();
        if (first)
            link_first(queue, job);
        else
            link_last(queue, job);
        pthread_cond_signal(&queue->arrival);
    }
    pthread_mutex_unlock(&queue->lock);
    return open;
}

bool queue_push(struct queue *queue, struct job *job) {
    return push(queue, job, false);
}

bool queue_push_first(struct queue *queue, struct job *job) {
    return push(queue, job, true);
}

/* One turn: items of `job` until the quantum is used up or the step is full. At least one item, unless the
 * step has some already and it does not fit. False: the step is full. */
static bool take_turn(struct job *job, uint64_t budget, uint64_t quantum, struct queue_step *step,
                      int64_t now) {
    struct queue_slice slice = {.job = job, .first = job->taken, .first_row = job->taken_rows};
    bool room = true;
    while (job->taken < job->n && slice.rows < quantum) {
        uint64_t length = job->items[job->taken].length;
        room = step->rows == 0 || step->rows + length <= budget;
        if (!room)
            break;
        job->taken++;
        job->taken_rows += length;
        slice.count++;
        slice.rows += length;
        step->items++;
        step->rows += length;
    }
    if (slice.count > 0) {
        step->slices[step->n_slices++] = slice;
        if (!job->started)
            job->started = now;
    }
    return room && step->n_slices < step->capacity;
}

bool queue_take(struct queue *queue, uint64_t tokens, struct queue_step *step) {
    uint64_t quantum = tokens > TURNS_PER_STEP ? tokens / TURNS_PER_STEP : 1;
    step->n_slices = step->items = 0;
    step->rows = 0;

    pthread_mutex_lock(&queue->lock);
    while (!queue->head && !queue->closed)
        pthread_cond_wait(&queue->arrival, &queue->lock);
    int64_t now = clock_now();
    for (bool room = true; room && queue->head;) {
        struct job *job = queue->head;
        room = job->probe ? take_turn(job, UINT64_MAX, UINT64_MAX, step, now)
                          : take_turn(job, tokens, quantum, step, now);
        if (job->taken == job->n) {
            unlink_job(queue, job);
            room = room && !job->probe;
        } else if (room) { /* its turn is over; the others first, then again */
            unlink_job(queue, job);
            link_last(queue, job);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    return step->n_slices > 0;
}

void queue_give_back(struct queue *queue, struct queue_step *step) {
    struct ended ended;
    ended_init(&ended);
    int64_t now = clock_now();

    pthread_mutex_lock(&queue->lock);
    struct queue_load computed = {0};
    for (size_t i = 0; i < step->n_slices; i++) {
        struct queue_slice *slice = &step->slices[i];
        struct job *job = slice->job;
        job->finished += slice->count;
        job->ended = now;
        if (!job->probe) {
            computed.items += slice->count;
            computed.tokens += slice->rows;
        }
        if (slice->failed && job->outcome == JOB_PENDING)
            give_up(queue, job, JOB_FAILED, &ended);
        else if (job->outcome != JOB_PENDING && job->taken == job->finished)
            ended_add(&ended, job);
        else if (job->outcome == JOB_PENDING && job->finished == job->n) {
            job->outcome = JOB_DONE;
            ended_add(&ended, job);
        }
    }
    if (computed.tokens > 0) {
        measure_drain(queue, computed.tokens, now);
        subtract_load(queue, &computed);
    }
    pthread_mutex_unlock(&queue->lock);
    step->n_slices = step->items = 0;
    step->rows = 0;
    ended_deliver(&ended);
}

void queue_expire(struct queue *queue, int64_t now) {
    struct ended ended;
    ended_init(&ended);
    pthread_mutex_lock(&queue->lock);
    for (struct job *job = queue->head, *next; job; job = next) {
        next = job->next;
        if (job->deadline && job->deadline <= now && job->taken == job->finished)
            give_up(queue, job, JOB_EXPIRED, &ended);
    }
    pthread_mutex_unlock(&queue->lock);
    ended_deliver(&ended);
}

void queue_close(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->arrival);
    pthread_mutex_unlock(&queue->lock);
}

void queue_abandon(struct queue *queue) {
    struct ended ended;
    ended_init(&ended);
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    while (queue->head)
        give_up(queue, queue->head, JOB_ABANDONED, &ended);
    pthread_cond_broadcast(&queue->arrival);
    pthread_mutex_unlock(&queue->lock);
    ended_deliver(&ended);
}
