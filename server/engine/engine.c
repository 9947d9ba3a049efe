/* engine.c - the engine's thread: open the model, then step after step.
 *
 * Who owns what: the thread alone touches the model and the step's buffers. What others may read
 * (engine_info) is written once, before the atomic flag that publishes it.
 *
 * A step that fails is computed again job by job, so that a failure stays with the job that causes it and its
 * neighbours get their answers.
 */
#include "engine/engine.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "observe/clock.h"

struct engine {
    struct engine_options options;
    pthread_t thread;
    struct limoe_model *model;
    struct engine_info info;
    enum limoe_status opened;
    struct limoe_error error;
    atomic_bool ready, settled; /* info may be read; opened and error may be read */
    struct metrics_model *counters;

    /* Buffers of one step. */
    struct queue_step step;
    size_t most_items;        /* in a step */
    uint64_t most_rows;       /* tokens in a step: the budget, or the longest single item */
    struct limoe_item *items; /* [most_items] */
    float *embeddings;        /* [most_items, embed] */
    int32_t *expert; /* [moe_layers, most_rows, top_k]; allocated when a job first asks for routing */
    float *gate;
    uint64_t *load; /* [moe_layers, LIMOE_MODALITIES, experts] */
};

/* ---- opening */

static enum limoe_status allocate(struct engine *engine, struct limoe_error *err) {
    const struct limoe_info *model = &engine->info.model;
    uint64_t longest = model->image_tokens > model->text_length ? model->image_tokens : model->text_length;
    engine->most_rows = engine->options.step_tokens > longest ? engine->options.step_tokens : longest;
    engine->most_items = engine->options.step_tokens; /* an item has at least one token */
    engine->items = calloc(engine->most_items, sizeof *engine->items);
    engine->embeddings = calloc(engine->most_items * model->embed, sizeof *engine->embeddings);
    engine->load =
        calloc((size_t)model->moe_layers * LIMOE_MODALITIES * model->experts + 1, sizeof *engine->load);
    if (!engine->items || !engine->embeddings || !engine->load ||
        !queue_step_init(&engine->step, engine->most_items))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for steps of %llu tokens",
                          (unsigned long long)engine->options.step_tokens);
    return LIMOE_OK;
}

static enum limoe_status open_model(struct engine *engine, struct limoe_error *err) {
    enum limoe_status status =
        limoe_model_open(engine->options.model, &engine->options.compute, &engine->model, err);
    if (status != LIMOE_OK)
        return status;
    engine->info = (struct engine_info){
        .model = *limoe_model_info(engine->model),
        .dtype = limoe_model_dtype(engine->model),
        .backend = limoe_model_backend(engine->model),
        .threads = limoe_model_threads(engine->model),
        .created = (int64_t)time(NULL),
    };
    return allocate(engine, err);
}

/* ---- stepping */

static bool wants_routing(const struct queue_step *step) {
    for (size_t i = 0; i < step->n_slices; i++)
        if (step->slices[i].job->expert)
            return true;
    return false;
}

static bool allocate_routing(struct engine *engine) {
    const struct limoe_info *model = &engine->info.model;
    size_t count = (size_t)model->moe_layers * engine->most_rows * model->top_k + 1;
    if (!engine->expert)
        engine->expert = malloc(count * sizeof *engine->expert);
    if (!engine->gate)
        engine->gate = malloc(count * sizeof *engine->gate);
    return engine->expert && engine->gate;
}

/* Copies a slice's rows, which begin at `row` of the step's `rows`, into its job's own arrays. */
static void copy_routing(const struct engine *engine, const struct queue_slice *slice, uint64_t row,
                         uint64_t rows) {
    const struct limoe_info *model = &engine->info.model;
    const struct job *job = slice->job;
    size_t count = slice->rows * model->top_k;
    for (uint32_t layer = 0; layer < model->moe_layers; layer++) {
        size_t from = (layer * rows + row) * model->top_k;
        size_t to = (layer * job->rows + slice->first_row) * model->top_k;
        memcpy(job->expert + to, engine->expert + from, count * sizeof *job->expert);
        memcpy(job->gate + to, engine->gate + from, count * sizeof *job->gate);
    }
}

/* Computes slices[n] as one step and copies the results to their jobs. */
static enum limoe_status compute(struct engine *engine, const struct queue_slice *slices, size_t n,
                                 bool routed, struct limoe_error *err) {
    const struct limoe_info *model = &engine->info.model;
    size_t items = 0;
    uint64_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(engine->items + items, slices[i].job->items + slices[i].first,
               slices[i].count * sizeof *engine->items);
        items += slices[i].count;
        rows += slices[i].rows;
    }

    memset(engine->load, 0,
           (size_t)model->moe_layers * LIMOE_MODALITIES * model->experts * sizeof *engine->load);
    struct limoe_routing routing = {
        .expert = routed ? engine->expert : NULL,
        .gate = routed ? engine->gate : NULL,
        .load = engine->load,
    };
    enum limoe_status status =
        limoe_model_embed(engine->model, engine->items, items, engine->embeddings, &routing, err);
    if (status != LIMOE_OK)
        return status;

    const float *from = engine->embeddings;
    uint64_t row = 0;
    for (size_t i = 0; i < n; i++) {
        const struct queue_slice *slice = &slices[i];
        memcpy(slice->job->embeddings + slice->first * model->embed, from,
               slice->count * model->embed * sizeof *from);
        if (slice->job->expert)
            copy_routing(engine, slice, row, rows);
        from += slice->count * model->embed;
        row += slice->rows;
    }
    if (!slices[0].job->probe)
        metrics_count_routing(engine->counters, &(struct metrics_routing){.load = engine->load});
    return LIMOE_OK;
}

/* The step has failed as a whole: each job's slices on their own, so that only the guilty job fails. */
static void compute_apart(struct engine *engine, bool routed) {
    struct queue_step *step = &engine->step;
    for (size_t i = 0; i < step->n_slices; i++) {
        struct queue_slice *slice = &step->slices[i];
        struct limoe_error err;
        if (compute(engine, slice, 1, routed, &err) == LIMOE_OK)
            continue;
        slice->failed = true;
        slice->job->error = err;
        log_print(engine->options.log, LOG_ERROR, NULL, "engine: items %zu to %zu of a request failed: %s",
                  slice->first, slice->first + slice->count - 1, err.message);
    }
}

static void count_step(struct engine *engine, int64_t started) {
    struct metrics_step count = {.duration_ns = clock_now() - started};
    for (size_t i = 0; i < engine->step.n_slices; i++) {
        const struct queue_slice *slice = &engine->step.slices[i];
        for (size_t k = 0; k < slice->count; k++) {
            const struct limoe_item *item = &slice->job->items[slice->first + k];
            count.items[item->modality]++;
            count.tokens[item->modality] += item->length;
        }
    }
    metrics_count_step(engine->options.metrics, &count);
}

static void run_step(struct engine *engine) {
    int64_t started = clock_now();
    bool routed = wants_routing(&engine->step);
    struct limoe_error err = {.status = LIMOE_OK};
    enum limoe_status status = LIMOE_OK;
    if (routed && !allocate_routing(engine))
        status = limoe_fail(&err, LIMOE_NO_MEMORY, "no memory for the routing of a step");
    if (status == LIMOE_OK)
        status = compute(engine, engine->step.slices, engine->step.n_slices, routed, &err);
    if (status != LIMOE_OK) {
        log_print(engine->options.log, LOG_ERROR, NULL, "engine: a step of %zu items failed: %s",
                  engine->step.items, err.message);
        compute_apart(engine, routed && engine->expert && engine->gate);
    }
    if (!engine->step.slices[0].job->probe)
        count_step(engine, started);
}

static void *engine_main(void *argument) {
    struct engine *engine = argument;
    pthread_setname_np(pthread_self(), "limoe-engine");
    engine->opened = open_model(engine, &engine->error);
    if (engine->opened == LIMOE_OK) {
        engine->counters = metrics_set_model(engine->options.metrics, &engine->info.model);
        atomic_store(&engine->ready, true);
    }
    atomic_store(&engine->settled, true);
    uint64_t one = 1;
    if (write(engine->options.opened_event, &one, sizeof one) != sizeof one)
        log_print(engine->options.log, LOG_ERROR, NULL, "engine: cannot say that the model is open");
    if (engine->opened != LIMOE_OK)
        return NULL;

    for (;;) {
        const struct queue_wish wish = {.budget = engine->options.step_tokens};
        struct pollfd event = {.fd = queue_event(engine->options.queue), .events = POLLIN};
        int64_t wake_at;
        queue_expire(engine->options.queue, clock_now());
        if (!queue_take(engine->options.queue, &wish, &engine->step, &wake_at)) {
            if (queue_exhausted(engine->options.queue))
                return NULL;
            poll(&event, 1, -1);
            continue;
        }
        run_step(engine);
        queue_give_back(engine->options.queue, &engine->step);
    }
}

/* ---- life */

static void engine_free(struct engine *engine) {
    limoe_model_close(engine->model);
    queue_step_free(&engine->step);
    free(engine->items);
    free(engine->embeddings);
    free(engine->expert);
    free(engine->gate);
    free(engine->load);
    free(engine);
}

enum limoe_status engine_start(const struct engine_options *options, struct engine **out,
                               struct limoe_error *err) {
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the engine");
    engine->options = *options;
    int code = pthread_create(&engine->thread, NULL, engine_main, engine);
    if (code) {
        engine_free(engine);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start the engine's thread: %s", strerror(code));
    }
    *out = engine;
    return LIMOE_OK;
}

void engine_stop(struct engine *engine) {
    if (!engine)
        return;
    queue_close(engine->options.queue);
    pthread_join(engine->thread, NULL);
    engine_free(engine);
}

const struct engine_info *engine_info(const struct engine *engine) {
    return engine && atomic_load(&engine->ready) ? &engine->info : NULL;
}

enum limoe_status engine_opened(const struct engine *engine, struct limoe_error *err) {
    if (!atomic_load(&engine->settled))
        return limoe_fail(err, LIMOE_INTERNAL, "the model is still being opened");
    if (err)
        *err = engine->error;
    return engine->opened;
}
