/* feeder.c - one job at a time. It is the queue's while the thread sleeps, and the thread's from its return on. */
#include "server/front/feeder.h"

#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "server/api/prepare.h"

void feeder_init(struct feeder *feeder) {
    *feeder = (struct feeder){.stop = false};
    sem_init(&feeder->computed, 0, 0);
    pthread_mutex_init(&feeder->lock, NULL);
}

void feeder_destroy(struct feeder *feeder) {
    pthread_mutex_destroy(&feeder->lock);
    sem_destroy(&feeder->computed);
}

static void job_done(struct job *job) {
    struct feeder *feeder = (struct feeder *)((char *)job - offsetof(struct feeder, job));
    sem_post(&feeder->computed);
}

static bool hand_over(struct feeder *feeder, struct queue *queue, const struct job *job,
                      const struct queue_load *load) {
    pthread_mutex_lock(&feeder->lock);
    bool pushed = false;
    if (!feeder->stop) {
        feeder->job = *job;
        queue_charge(queue, load);
        pushed = queue_push(queue, &feeder->job);
        if (!pushed)
            queue_release(queue, load);
    }
    feeder->queue = pushed ? queue : NULL;
    pthread_mutex_unlock(&feeder->lock);
    return pushed;
}

static enum limoe_status compute(struct feeder *feeder, struct queue *queue, const struct job *job,
                                 const struct queue_load *load, struct limoe_error *err) {
    if (!hand_over(feeder, queue, job, load))
        return limoe_fail(err, LIMOE_LOST, "the model is being closed");
    while (sem_wait(&feeder->computed) != 0)
        ; /* a signal, of which this thread has none to see to */
    pthread_mutex_lock(&feeder->lock);
    feeder->queue = NULL;
    pthread_mutex_unlock(&feeder->lock);
    if (feeder->job.outcome == JOB_FAILED)
        return limoe_fail(err, LIMOE_INTERNAL, "%s", feeder->job.error.message);
    return feeder->job.outcome == JOB_DONE ? LIMOE_OK
                                           : limoe_fail(err, LIMOE_LOST, "the model is being closed");
}

enum limoe_status feeder_embed(struct feeder *feeder, struct generation *generation,
                               const struct request_item *prompts, size_t n, float *embeddings,
                               uint64_t *tokens, struct limoe_error *err) {
    struct arena *arena = arena_new();
    struct limoe_item *items = arena ? arena_array(arena, n, sizeof *items) : NULL;
    struct usage usage = {0};
    struct api_error error;
    enum limoe_status status;
    if (!items) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", n);
    } else if (!prepare_items(generation->processor, prompts, n, arena, items, &usage, &error)) {
        status = limoe_fail(err, LIMOE_INVALID, "%s", error.message);
    } else {
        const struct job job = {.items = items, .n = n, .embeddings = embeddings, .done = job_done};
        const struct queue_load load = {.items = n, .tokens = usage.prompt_tokens};
        status = compute(feeder, generation->queue, &job, &load, err);
        *tokens += usage.prompt_tokens;
    }
    arena_free(arena);
    return status;
}

void feeder_stop(struct feeder *feeder) {
    pthread_mutex_lock(&feeder->lock);
    feeder->stop = true;
    if (feeder->queue)
        queue_cancel(feeder->queue, &feeder->job);
    pthread_mutex_unlock(&feeder->lock);
}

bool feeder_stopped(struct feeder *feeder) {
    pthread_mutex_lock(&feeder->lock);
    const bool stopped = feeder->stop;
    pthread_mutex_unlock(&feeder->lock);
    return stopped;
}
