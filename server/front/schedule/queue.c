/* queue.c - admission by load, and steps taken from the waiting jobs in turns.
 *
 * Who owns what: the queue owns a job from queue_push until it calls done(). Jobs with items still to take
 * are in one doubly linked list; a job whose items are all in a step is in none, the step's slices point to
 * it.
 *
 * A job ends once no item of it is being computed (taken == finished) and either all are finished or it was
 * given up (its outcome says why). Ended jobs are collected under the lock and delivered after it, since
 * done() takes locks of its own.
 *
 * The taker sleeps in poll, so it is woken by a descriptor. A write to it is a system call, which a push must
 * not pay when the taker is busy: queue_take says when it leaves with nothing, and from how many waiting
 * tokens on it wants to be woken (`wanted`); only then does a push write, and once.
 */
#include "server/front/schedule/queue.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"

/* How long the drain rate remembers. Long enough to smooth over single steps, short enough to follow a
 * change. */
#define DRAIN_MEMORY_SECONDS 5.0
#define DRAIN_LONGEST_ANSWER 3600.0

/* A turn takes this part of a step, the last of a job twice as much: at least half as many jobs share it. */
#define TURNS_PER_STEP 8

#define LATER   INT64_MAX
#define NOTHING UINT64_MAX

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
    job->queued = false;
    job->next = NULL;
    *ended->last = job;
    ended->last = &job->next;
}

/* Moves them all. */
static void ended_take(struct ended *to, struct ended *from) {
    ended_init(to);
    if (from->first) {
        *to = *from;
        ended_init(from);
    }
}

static void ended_deliver(struct ended *ended) {
    for (struct job *job = ended->first, *next; job; job = next) {
        next = job->next; /* done() may free the job */
        job->done(job);
    }
}

/* How fast work of one kind is done. */
struct pace {
    double drained, busy; /* what was done, seconds in which there was work: both decay alike */
    int64_t mark;         /* until when `busy` has been counted */
};

struct queue {
    pthread_mutex_t lock;
    struct queue_load limits, load; /* load: let in, and not computed or released yet */
    struct job *head, *tail;        /* waiting jobs; the next turn is the head's */
    uint64_t waiting;               /* their tokens that nobody has taken; the probe's are in no count */
    int64_t earliest;               /* no waiting job's deadline is before; LATER: none has one */
    struct ended cancelled;         /* ended by queue_cancel, not delivered yet */
    bool closed, abandoned;

    int event;       /* eventfd, readable when `signalled` */
    uint64_t wanted; /* waiting tokens that the taker sleeps for; NOTHING: it does not sleep */
    bool signalled;

    struct pace computing, decoding; /* of tokens; of pixels */
    struct over over;
};

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

/* ---- waking the taker; the lock is held */

static void signal_taker(struct queue *queue) {
    queue->wanted = NOTHING;
    if (!queue->signalled)
        queue->signalled = event_signal(queue->event);
}

static void quiet_taker(struct queue *queue) {
    queue->wanted = NOTHING;
    if (queue->signalled)
        queue->signalled = !event_take(queue->event);
}

/* ---- load; the lock is held */

static void add_load(struct queue *queue, const struct queue_load *more) {
    if (queue->load.tokens == 0 && more->tokens > 0)
        queue->computing.mark = clock_now(); /* idle time is no part of the drain rate */
    if (queue->load.pixels == 0 && more->pixels > 0)
        queue->decoding.mark = clock_now();
    queue->load.items += more->items;
    queue->load.tokens += more->tokens;
    queue->load.bytes += more->bytes;
    queue->load.pixels += more->pixels;
    queue->load.captions += more->captions;
}

static void subtract_load(struct queue *queue, const struct queue_load *less) {
    queue->load.items -= less->items;
    queue->load.tokens -= less->tokens;
    queue->load.bytes -= less->bytes;
    queue->load.pixels -= less->pixels;
    queue->load.captions -= less->captions;
}

static void measure_drain(struct pace *pace, uint64_t done, int64_t now) {
    double elapsed = (double)(now - pace->mark) / (double)CLOCK_SECOND;
    double decay = exp(-elapsed / DRAIN_MEMORY_SECONDS);
    pace->drained = pace->drained * decay + (double)done;
    pace->busy = pace->busy * decay + elapsed;
    pace->mark = now;
}

/* Seconds that `waiting` will take. Counting the time since something was done last too, what stands still is
 * soon seen to be slow. */
static double drain_seconds(const struct pace *pace, uint64_t waiting, int64_t now) {
    double idle = waiting > 0 ? (double)(now - pace->mark) / (double)CLOCK_SECOND : 0;
    return pace->drained > 0 ? (double)waiting * (pace->busy + idle) / pace->drained : 1;
}

/* Takes the job out of the list; its items that no step holds leave the load. It ends now,
 * or with the step. */
static void give_up(struct queue *queue, struct job *job, enum job_outcome outcome, struct ended *ended) {
    job->outcome = outcome;
    if (job->waiting)
        unlink_job(queue, job);
    if (!job->probe) {
        subtract_load(
            queue, &(struct queue_load){.items = job->n - job->taken, .tokens = job->rows - job->taken_rows});
        queue->waiting -= job->rows - job->taken_rows;
    }
    if (job->taken == job->finished)
        ended_add(ended, job);
}

/* ---- life */

struct queue *queue_new(const struct queue_load *limits) {
    struct queue *queue = calloc(1, sizeof *queue);
    if (!queue)
        return NULL;
    queue->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->event < 0) {
        free(queue);
        return NULL;
    }
    pthread_mutex_init(&queue->lock, NULL);
    queue->limits = *limits;
    queue->earliest = LATER;
    queue->wanted = NOTHING;
    ended_init(&queue->cancelled);
    over_init(&queue->over);
    return queue;
}

void queue_free(struct queue *queue) {
    if (!queue)
        return;
    over_free(&queue->over);
    close(queue->event);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

/* ---- admission */

/* What is kept free of a request that would hold so many bytes, for those that hold less. */
static uint64_t reserve(const struct queue *queue, uint64_t bytes) {
    const uint64_t half = queue->limits.bytes / 2;
    return bytes < half / QUEUE_RESERVE ? bytes * QUEUE_RESERVE : half;
}

bool queue_admit(struct queue *queue, const struct queue_load *more, const struct queue_load *held) {
    pthread_mutex_lock(&queue->lock);
    const struct queue_load *load = &queue->load, *limits = &queue->limits;
    const uint64_t most_bytes = limits->bytes - reserve(queue, held->bytes + more->bytes);
    bool room = load->items - held->items < limits->items && load->tokens - held->tokens < limits->tokens &&
                load->bytes - held->bytes < most_bytes &&
                (more->pixels == 0 || load->pixels - held->pixels < limits->pixels) &&
                (more->captions == 0 || load->captions - held->captions < limits->captions);
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

void queue_decoded(struct queue *queue, uint64_t pixels) {
    pthread_mutex_lock(&queue->lock);
    measure_drain(&queue->decoding, pixels, clock_now());
    queue->load.pixels -= pixels;
    pthread_mutex_unlock(&queue->lock);
}

struct queue_load queue_depth(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    struct queue_load load = queue->load;
    pthread_mutex_unlock(&queue->lock);
    return load;
}

bool queue_pressed(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool pressed = queue->load.bytes >= queue->limits.bytes / 2;
    pthread_mutex_unlock(&queue->lock);
    return pressed;
}

unsigned queue_drain_seconds(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    const int64_t now = clock_now();
    const double seconds = fmax(drain_seconds(&queue->computing, queue->load.tokens, now),
                                drain_seconds(&queue->decoding, queue->load.pixels, now));
    pthread_mutex_unlock(&queue->lock);
    return (unsigned)ceil(fmin(fmax(seconds, 1), DRAIN_LONGEST_ANSWER));
}

/* ---- jobs */

enum pushing { PUSH_NEW, PUSH_MORE, PUSH_FIRST };

/* Ends a job that was cancelled before it was pushed again; whoever delivers such is woken. The lock is held. */
static void end_unwanted(struct queue *queue, struct job *job) {
    job->outcome = JOB_CANCELLED;
    ended_add(&queue->cancelled, job);
    if (queue->wanted != NOTHING)
        signal_taker(queue);
}

static bool push(struct queue *queue, struct job *job, enum pushing how) {
    const bool first = how == PUSH_FIRST, more = how == PUSH_MORE;
    uint64_t rows = 0;
    for (size_t i = 0; i < job->n; i++)
        rows += job->items[i].length;

    pthread_mutex_lock(&queue->lock);
    bool open = !queue->closed;
    job->unwanted = more && job->unwanted;
    if (open && job->unwanted) {
        end_unwanted(queue, job);
    } else if (open) {
        job->outcome = JOB_PENDING;
        if (!more || !job->pushed) {
            job->pushed = clock_now();
            job->started = job->ended = 0;
        }
        if (more)
            add_load(queue, &(struct queue_load){.items = job->n, .tokens = rows});
        job->taken = job->finished = 0;
        job->rows = rows;
        job->taken_rows = 0;
        job->probe = first;
        job->queued = true;
        if (first) {
            link_first(queue, job);
        } else {
            link_last(queue, job);
            queue->waiting += rows;
        }
        if (job->deadline && job->deadline < queue->earliest)
            queue->earliest = job->deadline;
        if (queue->wanted != NOTHING && (first || queue->waiting >= queue->wanted))
            signal_taker(queue);
    }
    pthread_mutex_unlock(&queue->lock);
    return open;
}

bool queue_push(struct queue *queue, struct job *job) {
    return push(queue, job, PUSH_NEW);
}

bool queue_push_more(struct queue *queue, struct job *job) {
    return push(queue, job, PUSH_MORE);
}

bool queue_push_first(struct queue *queue, struct job *job) {
    return push(queue, job, PUSH_FIRST);
}

/* One turn: takes items of `job` until the quantum is used up or the step is full. A job that is done with
 * twice the quantum gets that: among many jobs of a little more than a quantum, each would else wait for
 * all the others once more. It takes at least one item, unless the step has some already and it does not
 * fit. False if the step is full. */
static bool take_turn(struct job *job, uint64_t budget, uint64_t quantum, struct queue_step *step,
                      int64_t now) {
    struct queue_slice slice = {.job = job, .first = job->taken, .first_row = job->taken_rows};
    uint64_t rest = job->rows - job->taken_rows;
    uint64_t turn = rest <= 2 * quantum ? rest : quantum;
    bool room = true;
    while (job->taken < job->n && slice.rows < turn) {
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

/* When the oldest of the waiting jobs has waited for `delay`. Fewer tokens wait than fill a step, so few jobs
 * do. */
static int64_t oldest_deadline(const struct queue *queue, int64_t delay) {
    int64_t oldest = LATER - delay;
    for (const struct job *job = queue->head; job; job = job->next)
        if (job->pushed < oldest)
            oldest = job->pushed;
    return oldest + delay;
}

/* Whether there is a step to be taken; if not, sets what the taker is woken by, and when. The lock is
 * held. */
static bool demand_met(struct queue *queue, const struct queue_demand *demand, int64_t now,
                       int64_t *wake_at) {
    *wake_at = 0;
    if (!queue->head) {
        queue->wanted = demand->least > 0 ? demand->least : 1;
        return false;
    }
    if (queue->head->probe || queue->closed || queue->waiting >= demand->budget)
        return true;
    if (queue->waiting < demand->least) {
        queue->wanted = demand->least;
        return false;
    }
    if (demand->delay == 0)
        return true;
    int64_t deadline = oldest_deadline(queue, demand->delay);
    if (deadline <= now)
        return true;
    queue->wanted = demand->budget;
    *wake_at = deadline;
    return false;
}

bool queue_take(struct queue *queue, const struct queue_demand *demand, struct queue_step *step,
                int64_t *wake_at) {
    uint64_t quantum = demand->budget > TURNS_PER_STEP ? demand->budget / TURNS_PER_STEP : 1;
    step->n_slices = step->items = 0;
    step->rows = 0;

    pthread_mutex_lock(&queue->lock);
    int64_t now = clock_now();
    quiet_taker(queue);
    bool met = demand_met(queue, demand, now, wake_at);
    for (bool room = met; room && queue->head;) {
        struct job *job = queue->head;
        uint64_t before = job->taken_rows;
        if (job->probe) {
            take_turn(job, UINT64_MAX, UINT64_MAX, step, now);
            unlink_job(queue, job);
            break;
        }
        room = take_turn(job, demand->budget, quantum, step, now);
        queue->waiting -= job->taken_rows - before;
        if (job->taken == job->n) {
            unlink_job(queue, job);
        } else if (room) { /* its turn is over; the others first, then again */
            unlink_job(queue, job);
            link_last(queue, job);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    return met;
}

int queue_event(const struct queue *queue) {
    return queue->event;
}

void queue_rest(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    quiet_taker(queue);
    pthread_mutex_unlock(&queue->lock);
}

bool queue_closed(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    pthread_mutex_unlock(&queue->lock);
    return closed;
}

bool queue_exhausted(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool exhausted = queue->closed && !queue->head;
    pthread_mutex_unlock(&queue->lock);
    return exhausted;
}

bool queue_cancel(struct queue *queue, struct job *job) {
    pthread_mutex_lock(&queue->lock);
    bool pending = job->queued && job->outcome == JOB_PENDING;
    job->unwanted = true;
    if (pending)
        give_up(queue, job, JOB_CANCELLED, &queue->cancelled);
    if (queue->cancelled.first && queue->wanted != NOTHING)
        signal_taker(queue); /* who sleeps, and will deliver it */
    pthread_mutex_unlock(&queue->lock);
    return pending;
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
        measure_drain(&queue->computing, computed.tokens, now);
        subtract_load(queue, &computed);
    }
    pthread_mutex_unlock(&queue->lock);
    step->n_slices = step->items = 0;
    step->rows = 0;
    ended_deliver(&ended);
}

void queue_expire(struct queue *queue, int64_t now) {
    pthread_mutex_lock(&queue->lock);
    struct ended ended;
    ended_take(&ended, &queue->cancelled);
    if (queue->earliest <= now) {
        queue->earliest = LATER;
        for (struct job *job = queue->head, *next; job; job = next) {
            next = job->next;
            if (job->deadline && job->deadline <= now && job->taken == job->finished)
                give_up(queue, job, JOB_EXPIRED, &ended);
            else if (job->deadline && job->deadline < queue->earliest)
                queue->earliest = job->deadline;
        }
    }
    pthread_mutex_unlock(&queue->lock);
    ended_deliver(&ended);
}

/* ---- the end */

void queue_close(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    signal_taker(queue);
    pthread_mutex_unlock(&queue->lock);
}

void queue_abandon(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    struct ended ended;
    ended_take(&ended, &queue->cancelled);
    queue->closed = queue->abandoned = true;
    while (queue->head)
        give_up(queue, queue->head, JOB_ABANDONED, &ended);
    signal_taker(queue);
    pthread_mutex_unlock(&queue->lock);
    ended_deliver(&ended);
}

bool queue_abandoned(struct queue *queue) {
    pthread_mutex_lock(&queue->lock);
    bool abandoned = queue->abandoned;
    pthread_mutex_unlock(&queue->lock);
    return abandoned;
}

struct over *queue_over(struct queue *queue) {
    return &queue->over;
}
