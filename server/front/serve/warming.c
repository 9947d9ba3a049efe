/* warming.c - one thread: classifier after classifier, jobs of a few hundred prompts.
 *
 * The thread owns a job from its return by the engine on; while it is the queue's, the thread sleeps.
 * warming_stop cancels the job, so that it does not sleep for longer than a step.
 */
#include "server/front/serve/warming.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/event.h"
#include "server/api/classifier.h"
#include "server/api/classify.h"
#include "server/api/prepare.h"

#define PART 512u /* prompts of one job */

struct warming {
    struct generation *generation;
    struct classifiers *store;
    struct log *log;
    int done_event;
    char *like; /* fingerprint whose matrices the classifiers must have; NULL: any will do */
    pthread_t thread;
    sem_t computed;       /* posted when the job has come back */
    pthread_mutex_t lock; /* guards stop, and that no job is handed over once it is set */
    bool stop;
    struct job job;
};

static void job_done(struct job *job) {
    struct warming *warming = (struct warming *)((char *)job - offsetof(struct warming, job));
    sem_post(&warming->computed);
}

static bool stopped(struct warming *warming) {
    pthread_mutex_lock(&warming->lock);
    bool stop = warming->stop;
    pthread_mutex_unlock(&warming->lock);
    return stop;
}

static bool hand_over(struct warming *warming, const struct job *job, const struct queue_load *load) {
    struct queue *queue = warming->generation->queue;
    pthread_mutex_lock(&warming->lock);
    bool pushed = false;
    if (!warming->stop) {
        warming->job = *job;
        queue_charge(queue, load);
        pushed = queue_push(queue, &warming->job);
        if (!pushed)
            queue_release(queue, load);
    }
    pthread_mutex_unlock(&warming->lock);
    return pushed;
}

/* Embeds prompts[n], at most PART: embeddings [n, embed]. Adds their tokens. */
static enum limoe_status embed_part(struct warming *warming, const struct request_item *prompts, size_t n,
                                    float *embeddings, uint64_t *tokens, struct limoe_error *err) {
    struct generation *generation = warming->generation;
    struct arena *arena = arena_new();
    struct limoe_item *items = arena ? arena_array(arena, n, sizeof *items) : NULL;
    struct usage usage = {0};
    struct api_error error;
    enum limoe_status status = LIMOE_OK;
    if (!items) {
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", n);
        goto out;
    }
    if (!prepare_items(generation->processor, prompts, n, arena, items, &usage, &error)) {
        status = limoe_fail(err, LIMOE_INVALID, "%s", error.message);
        goto out;
    }
    const struct job job = {.items = items, .n = n, .embeddings = embeddings, .done = job_done};
    const struct queue_load load = {.items = n, .tokens = usage.prompt_tokens};
    if (!hand_over(warming, &job, &load)) {
        status = limoe_fail(err, LIMOE_INTERNAL, "the model is being closed");
        goto out;
    }
    while (sem_wait(&warming->computed) != 0)
        ; /* a signal, of which this thread has none to see to */
    if (warming->job.outcome == JOB_FAILED)
        status = limoe_fail(err, LIMOE_INTERNAL, "%s", warming->job.error.message);
    else if (warming->job.outcome != JOB_DONE)
        status = limoe_fail(err, LIMOE_INTERNAL, "the model is being closed");
    *tokens += usage.prompt_tokens;
out:
    arena_free(arena);
    return status;
}

static enum limoe_status warm(struct warming *warming, const struct classifier *classifier,
                              const struct classifier_model *model, struct limoe_error *err) {
    const struct classify_request request = {
        .labels = classifier->labels,
        .n_labels = classifier->n_labels,
        .templates = classifier->templates,
        .n_templates = classifier->n_templates,
    };
    size_t n = classify_prompt_count(&request);
    uint64_t tokens = 0;
    enum limoe_status status = LIMOE_OK;
    struct arena *arena = arena_new();
    float *embeddings = calloc(n * model->embed, sizeof *embeddings);
    struct request_item *prompts = arena ? arena_array(arena, n, sizeof *prompts) : NULL;
    if (!embeddings || !prompts || !classify_prompts(&request, arena, prompts))
        status = limoe_fail(err, LIMOE_NO_MEMORY, "no memory for %zu prompts", n);
    for (size_t first = 0; status == LIMOE_OK && first < n; first += PART)
        status = embed_part(warming, prompts + first, n - first < PART ? n - first : PART,
                            embeddings + first * model->embed, &tokens, err);
    if (status == LIMOE_OK) {
        classify_labels(embeddings, request.n_labels, request.n_templates, model->embed, embeddings);
        struct store_job *job = store_job_put_matrix(classifier, model, embeddings, tokens);
        if (classifiers_wait(warming->store, &job, err) != STORE_DONE)
            status = err->status;
        store_job_free(job);
    }
    free(embeddings);
    arena_free(arena);
    return status;
}

static void *warming_main(void *argument) {
    struct warming *warming = argument;
    const struct engine_info *engine = engine_info(warming->generation->engine);
    const struct classifier_model model = {.fingerprint = engine->fingerprint, .embed = engine->model.embed};
    const bool classifies = limoe_has(&engine->model, LIMOE_IMAGE) && limoe_has(&engine->model, LIMOE_TEXT);
    char after[CLASSIFIER_NAME_BYTES + 1] = "";
    size_t made = 0;
    pthread_setname_np(pthread_self(), "limoe-warming");
    while (classifies && !stopped(warming)) {
        struct limoe_error err;
        struct store_job *job = store_job_next_without(text_of(after), &model, warming->like);
        if (classifiers_wait(warming->store, &job, &err) != STORE_DONE)
            log_print(warming->log, LOG_WARNING, NULL,
                      "classifiers: none is made ready, all will be on demand: %s", err.message);
        const struct classifier *classifier = job ? job->classifier : NULL;
        if (!classifier) {
            store_job_free(job);
            break;
        }
        memcpy(after, classifier->name.data, classifier->name.size);
        after[classifier->name.size] = '\0';
        if (warm(warming, classifier, &model, &err) == LIMOE_OK)
            made++;
        else if (!stopped(warming))
            log_print(warming->log, LOG_WARNING, NULL,
                      "classifiers: %s is not made ready for the model, it will be on demand: %s", after,
                      err.message);
        store_job_free(job);
    }
    if (made > 0)
        log_print(warming->log, LOG_INFO, NULL, "classifiers: %zu made ready for %s %s", made,
                  engine->model.name, engine->fingerprint);
    event_signal(warming->done_event);
    return NULL;
}

static void warming_free(struct warming *warming) {
    pthread_mutex_destroy(&warming->lock);
    sem_destroy(&warming->computed);
    free(warming->like);
    free(warming);
}

enum limoe_status warming_start(const struct warming_options *options, struct warming **out,
                                struct limoe_error *err) {
    const struct generation *before = options->instead_of;
    struct warming *warming = calloc(1, sizeof *warming);
    char *like = before ? strdup(engine_info(before->engine)->fingerprint) : NULL;
    if (!warming || (before && !like)) {
        free(warming);
        free(like);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to make classifiers ready");
    }
    warming->generation = options->generation;
    warming->store = options->store;
    warming->log = options->log;
    warming->done_event = options->done_event;
    warming->like = like;
    sem_init(&warming->computed, 0, 0);
    pthread_mutex_init(&warming->lock, NULL);
    generation_retain(warming->generation);
    int code = pthread_create(&warming->thread, NULL, warming_main, warming);
    if (code) {
        generation_release(warming->generation);
        warming_free(warming);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start a thread to make classifiers ready: %s",
                          strerror(code));
    }
    *out = warming;
    return LIMOE_OK;
}

void warming_stop(struct warming *warming) {
    if (!warming)
        return;
    pthread_mutex_lock(&warming->lock);
    warming->stop = true;
    queue_cancel(warming->generation->queue, &warming->job);
    pthread_mutex_unlock(&warming->lock);
    pthread_join(warming->thread, NULL);
    generation_release(warming->generation);
    warming_free(warming);
}
