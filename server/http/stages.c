/* stages.c - parse, admit, prepare, embed, answer.
 *
 * Each stage has the call to itself and hands it to the next as its last act. Preparing many items is cut
 * into slices of a few milliseconds, between which the call goes behind the other calls that wait for a
 * worker: a request of 2,048 pictures delays another's single picture by a slice.
 *
 * Texts that the cache knows are not prepared: their rows of call->embeddings are filled at once, and the job
 * is made of the rest.
 */
#include "http/stages.h"

#include <stdlib.h>
#include <string.h>

#include "http/guard.h"
#include "observe/clock.h"

#define SLICE_NS (4 * CLOCK_MILLISECOND)

static void prepare(struct task *task);
static void write_answer(struct task *task);
static void stored(struct task *task);

static struct call *call_of_task(struct task *task) {
    return (struct call *)((char *)task - offsetof(struct call, task));
}

static struct call *call_of_job(struct job *job) {
    return (struct call *)((char *)job - offsetof(struct call, job));
}

void stages_finish(struct call *call) {
    struct server *server = call->server;
    guard_unwatch(server->guard, call->guarded);
    call_trim(call);
    loop_resume(call->loop, call->connection);
    atomic_fetch_sub(&server->handed, 1);
}

static void finish_failed(struct call *call, const struct api_error *error) {
    call_fail(call, error);
    stages_finish(call);
}

static void finish_full(struct call *call) {
    call_refuse_full(call);
    stages_finish(call);
}

static bool fail_cancelled(struct api_error *error) {
    return api_fail(error, 499, "client_gone", NULL, "the client hung up before its request was computed");
}

/* Worth going on with: somebody still waits for the answer, and may get it in time. */
static bool wanted(struct call *call, struct api_error *error) {
    if (atomic_load(&call->gone)) {
        metrics_count(call->server->metrics, METRICS_CANCELLED, 1);
        return fail_cancelled(error);
    }
    if (!call->deadline || clock_now() < call->deadline)
        return true;
    return api_fail(error, 504, "deadline_exceeded", "X-Request-Timeout-Ms",
                    "the request's deadline passed before it was computed");
}

void stages_gone(struct call *call) {
    atomic_store(&call->gone, true);
    queue_cancel(call->generation->queue, &call->job);
}

/* ---- the store, which has threads of its own: no worker waits for a disk */

bool stages_ask(struct call *call, struct store_job *job, struct api_error *error) {
    store_job_free(call->asked);
    call->asked = job;
    call->asking = job != NULL;
    return job || api_fail_memory(error);
}

static void store_answered(struct store_waiter *waiter, struct store_job *job) {
    struct call *call = (struct call *)((char *)waiter - offsetof(struct call, waiting));
    call->asked = job;
    call->task.run = stored;
    workers_push_early(call->server->workers, &call->task);
}

static void ask(struct call *call) {
    call->asking = false;
    call->paused = clock_now();
    call->waiting.done = store_answered;
    classifiers_ask(call->server->classifiers, call->asked, &call->waiting);
}

/* ---- answer */

static bool check_outcome(struct call *call, struct api_error *error) {
    const struct job *job = &call->job;
    switch (job->outcome) {
    case JOB_DONE:
        return true;
    case JOB_EXPIRED:
        return api_fail(error, 504, "deadline_exceeded", "X-Request-Timeout-Ms",
                        "the request's deadline passed before it was computed");
    case JOB_CANCELLED:
        metrics_count(call->server->metrics, METRICS_CANCELLED, 1);
        return fail_cancelled(error);
    case JOB_ABANDONED:
        return api_fail(error, 503, "draining", NULL, "the server stopped before the request was computed");
    default:
        return api_fail(error, 500, "engine_error", NULL, "the engine could not compute this request: %s",
                        job->error.message);
    }
}

/* Puts the job's rows where they belong among the cached ones, and texts that are new into the cache. */
static void collect(struct call *call) {
    struct text_cache *cache = call->generation->cache;
    size_t embed = call->generation->model->embed;
    for (size_t i = 0; i < call->job.n; i++) {
        const struct request_item *input = &call->inputs[call->input_of[i]];
        const float *row = call->job.embeddings + i * embed;
        if (call->job.embeddings != call->embeddings)
            memcpy(call->embeddings + call->input_of[i] * embed, row, embed * sizeof *row);
        if (cache && input->modality == LIMOE_TEXT)
            text_cache_put(cache, (const char *)input->bytes, input->size, row, call->items[i].length);
    }
}

/* The route has written its answer, unless it asks the store first. */
static void answered(struct call *call, bool good, struct api_error *error) {
    if (good && call->asking) {
        ask(call);
        return;
    }
    buffer_string(&call->answer, "\n");
    if (good && call->answer.failed)
        good = api_fail_memory(error);
    if (good)
        call_succeed(call, "application/json");
    else
        call_fail(call, error);
    stages_finish(call);
}

static void write_answer(struct task *task) {
    struct call *call = call_of_task(task);
    const struct job *job = &call->job;
    struct api_error error;
    if (job->started) {
        call->queue_ns += job->started - job->pushed;
        call->inference_ns = job->ended - job->started;
    }
    call->answering = true;
    bool good = job->n == 0 || check_outcome(call, &error);
    if (good) {
        collect(call);
        good = call->route->answer(call, &error);
    }
    answered(call, good, &error);
}

/* ---- embed */

static void embedded(struct job *job) {
    struct call *call = call_of_job(job);
    call->task.run = write_answer;
    workers_push_early(call->server->workers, &call->task);
}

static void embed(struct call *call) {
    call->job.items = call->items;
    call->job.deadline = call->deadline;
    call->job.done = embedded;
    const struct queue_load load = call->held;
    call->held.items = call->held.tokens = 0; /* the queue's to take back from here on */
    if (!queue_push(call->generation->queue, &call->job)) {
        struct api_error error;
        call->held = load;
        api_fail(&error, 503, "draining", NULL, "the server is stopping");
        finish_failed(call, &error);
    }
}

/* ---- prepare */

/* The cache's embedding of inputs[i], if it is a text that the cache has. */
static bool recall(struct call *call, size_t i) {
    const struct request_item *input = &call->inputs[i];
    struct text_cache *cache = call->generation->cache;
    uint32_t tokens;
    if (!cache || call->route->routing || input->modality != LIMOE_TEXT)
        return false;
    bool found = text_cache_get(cache, (const char *)input->bytes, input->size,
                                call->embeddings + i * call->generation->model->embed, &tokens);
    metrics_count(call->server->metrics, found ? METRICS_CACHE_HITS : METRICS_CACHE_MISSES, 1);
    if (found)
        call->usage.prompt_tokens += tokens;
    return found;
}

/* Decodes a picture in a process of its own kind: pictures come from anyone. */
static bool decode(struct call *call, const struct request_item *input, struct limoe_item *out,
                   struct api_error *error) {
    const struct limoe_info *model = call->generation->model;
    uint8_t *pixels = arena_array(call->arena, (size_t)model->image_size * model->image_size, 3);
    struct limoe_error cause;
    if (!pixels)
        return api_fail_memory(error);
    if (decoders_decode(call->generation->decoders, input->bytes, input->size, pixels, &cause) != LIMOE_OK)
        return api_fail_from(error, input->param, &cause);
    *out = (struct limoe_item){.modality = LIMOE_IMAGE, .length = model->image_tokens, .pixels = pixels};
    call->usage.image_tokens += model->image_tokens;
    return true;
}

static bool prepare_next(struct call *call, struct api_error *error) {
    size_t i = call->prepared;
    const struct request_item *input = &call->inputs[i];
    if (!recall(call, i)) {
        struct limoe_item *item = &call->items[call->job.n];
        bool good = input->modality == LIMOE_IMAGE ? decode(call, input, item, error)
                                                   : prepare_item(call->generation->processor, input,
                                                                  call->arena, item, &call->usage, error);
        if (!good)
            return false;
        call->input_of[call->job.n++] = i;
    }
    call->prepared++;
    return true;
}

/* Admission took every input for work, and each text at its longest; what is to be computed in truth is known
 * now. */
static void release_surplus(struct call *call) {
    uint64_t tokens = 0;
    for (size_t i = 0; i < call->job.n; i++)
        tokens += call->items[i].length;
    const struct queue_load surplus = {.items = call->held.items - call->job.n,
                                       .tokens = call->held.tokens - tokens};
    queue_release(call->generation->queue, &surplus);
    call->held.items = call->job.n;
    call->held.tokens = tokens;
}

/* Where the engine writes: straight into call->embeddings, unless cached rows stand between. */
static bool place_results(struct call *call) {
    call->job.embeddings = call->embeddings;
    if (call->job.n < call->n)
        call->job.embeddings =
            arena_array(call->arena, call->job.n * call->generation->model->embed, sizeof(float));
    return call->job.embeddings != NULL;
}

static void prepare(struct task *task) {
    struct call *call = call_of_task(task);
    struct server *server = call->server;
    struct api_error error;
    int64_t began = clock_now(), now = began;
    if (call->paused)
        call->queue_ns += began - call->paused;
    bool good = wanted(call, &error);
    while (good && call->prepared < call->n) {
        good = prepare_next(call, &error);
        now = clock_now();
        if (good && now - began > SLICE_NS && call->prepared < call->n && workers_wanted(server->workers)) {
            call->preprocess_ns += now - began;
            call->paused = now;
            workers_push(server->workers, task);
            return;
        }
    }
    call->preprocess_ns += now - began;
    if (good) {
        release_surplus(call);
        good = call->job.n == 0 || place_results(call) || api_fail_memory(&error);
    }
    if (!good)
        finish_failed(call, &error);
    else if (call->job.n == 0)
        write_answer(task);
    else
        embed(call);
}

/* ---- admit */

/* What the call will hold, from what its body asks for. One item of it is counted since its headers came. */
static struct queue_load measure(const struct call *call) {
    const struct limoe_info *model = call->generation->model;
    struct queue_load load = {.items = call->n - 1};
    bool cached = call->generation->cache && !call->route->routing;
    for (size_t i = 0; i < call->n; i++) {
        bool image = call->inputs[i].modality == LIMOE_IMAGE;
        load.tokens += image ? model->image_tokens : model->text_length;
        load.bytes += image ? (uint64_t)model->image_size * model->image_size * 3
                            : model->text_length * sizeof(int32_t);
    }
    load.bytes += call->scratch + call->n * (sizeof *call->items + sizeof *call->input_of +
                                             (cached ? 2 : 1) * model->embed * sizeof(float));
    if (call->route->routing)
        load.bytes += load.tokens * model->moe_layers * model->top_k * (sizeof(int32_t) + sizeof(float));
    return load;
}

static bool allocate(struct call *call, const struct queue_load *load) {
    const struct limoe_info *model = call->generation->model;
    call->items = arena_array(call->arena, call->n, sizeof *call->items);
    call->input_of = arena_array(call->arena, call->n, sizeof *call->input_of);
    call->embeddings = arena_array(call->arena, call->n * model->embed, sizeof(float));
    if (call->route->routing) {
        size_t rows = load->tokens * model->moe_layers; /* an upper bound: texts may be shorter */
        call->job.expert = arena_array(call->arena, rows * model->top_k + 1, sizeof *call->job.expert);
        call->job.gate = arena_array(call->arena, rows * model->top_k + 1, sizeof *call->job.gate);
    }
    return call->items && call->input_of && call->embeddings &&
           (!call->route->routing || (call->job.expert && call->job.gate));
}

static void admit(struct call *call) {
    const struct queue_load load = measure(call);
    struct api_error error;
    if (!queue_admit(call->generation->queue, &load, &call->held)) {
        finish_full(call);
        return;
    }
    call->held.items += load.items;
    call->held.tokens += load.tokens;
    call->held.bytes += load.bytes;
    if (!allocate(call, &load)) {
        api_fail_memory(&error);
        finish_failed(call, &error);
        return;
    }
    prepare(&call->task);
}

/* ---- parse */

/* The route has read the body, unless it asks the store first. */
static void parsed(struct call *call, bool good, struct api_error *error) {
    call->task.run = prepare; /* should it be pushed again */
    call_meter(call, false);
    if (!good && call->over)
        finish_full(call);
    else if (!good)
        finish_failed(call, error);
    else if (call->asking)
        ask(call);
    else if (call->n == 0)
        write_answer(&call->task);
    else
        admit(call);
}

static void parse(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error;
    int64_t began = clock_now();
    call->queue_ns += began - call->body_complete;
    if (call->route->begin) {
        call->route->begin(call);
        return;
    }
    call_meter(call, true);
    bool good = wanted(call, &error) && call_settle_form(call, &error) && call->route->parse(call, &error);
    call->preprocess_ns += clock_now() - began;
    parsed(call, good, &error);
}

/* The call goes on where it has asked the store: in its parsing, or in its answer. */
static void stored(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error;
    call->queue_ns += clock_now() - call->paused;
    call->paused = 0;
    call_meter(call, !call->answering);
    bool good = (call->answering || wanted(call, &error)) && call->route->stored(call, &error);
    if (call->answering)
        answered(call, good, &error);
    else
        parsed(call, good, &error);
}

void stages_begin(struct call *call) {
    call->stage = CALL_WORKING;
    call->task.run = parse;
    workers_push(call->server->workers, &call->task);
}
