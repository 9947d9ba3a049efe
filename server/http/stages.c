/* stages.c - parse, admit, prepare, embed, answer.
 *
 * Each stage has the call to itself and hands it to the next as its last act. Preparing many items is cut
 * into slices of a few milliseconds, between which the call goes behind the other calls that wait for a
 * worker: a request of 2,048 pictures delays another's single picture by a slice.
 */
#include "http/stages.h"

#include <stdlib.h>

#include "observe/clock.h"

#define SLICE_NS (4 * CLOCK_MILLISECOND)

static void prepare(struct task *task);
static void write_answer(struct task *task);

static struct call *call_of_task(struct task *task) {
    return (struct call *)((char *)task - offsetof(struct call, task));
}

static struct call *call_of_job(struct job *job) {
    return (struct call *)((char *)job - offsetof(struct call, job));
}

/* Gives the answered call back to its HTTP thread. */
static void give_back(struct call *call) {
    struct server *server = call->server;
    const struct queue_load answer = {.bytes = call->answer.capacity};
    queue_charge(server->queue, &answer); /* a slow reader holds it for as long as it likes */
    call->held.bytes += answer.bytes;
    MHD_resume_connection(call->connection);
    atomic_fetch_sub(&server->handed, 1);
}

static void give_back_failed(struct call *call, const struct api_error *error) {
    call_fail(call, error);
    give_back(call);
}

static bool in_time(const struct call *call, struct api_error *error) {
    if (!call->deadline || clock_now() < call->deadline)
        return true;
    return api_fail(error, 504, "deadline_exceeded", "X-Request-Timeout-Ms",
                    "the request's deadline passed before it was computed");
}

/* ---- embed */

static void embedded(struct job *job) {
    struct call *call = call_of_job(job);
    call->task.run = write_answer;
    workers_push_early(call->server->workers, &call->task);
}

static void embed(struct call *call) {
    call->job.items = call->items;
    call->job.n = call->n;
    call->job.deadline = call->deadline;
    call->job.done = embedded;
    const struct queue_load load = call->held;
    call->held.items = call->held.tokens = 0; /* the queue's to take back from here on */
    if (!queue_push(call->server->queue, &call->job)) {
        struct api_error error;
        call->held = load;
        api_fail(&error, 503, "draining", NULL, "the server is stopping");
        give_back_failed(call, &error);
    }
}

/* ---- prepare */

static void prepare(struct task *task) {
    struct call *call = call_of_task(task);
    struct server *server = call->server;
    struct api_error error;
    int64_t began = clock_now(), now = began;
    if (call->paused)
        call->queue_ns += began - call->paused;
    bool good = in_time(call, &error);
    while (good && call->prepared < call->n) {
        good = prepare_item(server->processor, &call->inputs[call->prepared], call->arena,
                            &call->items[call->prepared], &call->usage, &error);
        call->prepared += good;
        now = clock_now();
        if (now - began > SLICE_NS && call->prepared < call->n && workers_wanted(server->workers)) {
            call->preprocess_ns += now - began;
            call->paused = now;
            workers_push(server->workers, task);
            return;
        }
    }
    call->preprocess_ns += now - began;
    if (!good) {
        give_back_failed(call, &error);
        return;
    }
    /* Admission took each text at its longest; what it has in truth is known now. */
    uint64_t tokens = call->usage.prompt_tokens + call->usage.image_tokens;
    const struct queue_load surplus = {.tokens = call->held.tokens - tokens};
    queue_release(server->queue, &surplus);
    call->held.tokens = tokens;
    embed(call);
}

/* ---- admit */

/* What the call will hold, from what its body asks for. One item of it is counted since its headers came. */
static struct queue_load measure(const struct call *call) {
    const struct limoe_info *model = call->server->model;
    struct queue_load load = {.items = call->n - 1};
    for (size_t i = 0; i < call->n; i++) {
        bool image = call->inputs[i].modality == LIMOE_IMAGE;
        load.tokens += image ? model->image_tokens : model->text_length;
        load.bytes += image ? (uint64_t)model->image_size * model->image_size * 3
                            : model->text_length * sizeof(int32_t);
    }
    load.bytes += call->scratch + call->n * (sizeof(struct limoe_item) + model->embed * sizeof(float));
    if (call->route->routing)
        load.bytes += load.tokens * model->moe_layers * model->top_k * (sizeof(int32_t) + sizeof(float));
    return load;
}

static bool allocate_job(struct call *call, const struct queue_load *load) {
    const struct limoe_info *model = call->server->model;
    call->items = arena_array(call->arena, call->n, sizeof *call->items);
    call->job.embeddings = arena_array(call->arena, call->n * model->embed, sizeof(float));
    if (call->route->routing) {
        size_t rows = load->tokens * model->moe_layers; /* an upper bound: texts may be shorter */
        call->job.expert = arena_array(call->arena, rows * model->top_k + 1, sizeof *call->job.expert);
        call->job.gate = arena_array(call->arena, rows * model->top_k + 1, sizeof *call->job.gate);
    }
    return call->items && call->job.embeddings &&
           (!call->route->routing || (call->job.expert && call->job.gate));
}

static void admit(struct call *call) {
    const struct queue_load load = measure(call);
    struct api_error error;
    if (!queue_admit(call->server->queue, &load, &call->held)) {
        call_refuse_full(call);
        give_back(call);
        return;
    }
    call->held.items += load.items;
    call->held.tokens += load.tokens;
    call->held.bytes += load.bytes;
    if (!allocate_job(call, &load)) {
        api_fail_memory(&error);
        give_back_failed(call, &error);
        return;
    }
    prepare(&call->task);
}

/* ---- parse */

static void parse(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error;
    int64_t began = clock_now();
    call->task.run = prepare; /* should it be pushed again */
    call->queue_ns += began - call->body_complete;
    bool good = in_time(call, &error) && call->route->parse(call, &error);
    call->preprocess_ns += clock_now() - began;
    if (good)
        admit(call);
    else
        give_back_failed(call, &error);
}

void stages_begin(struct call *call) {
    call->stage = CALL_WORKING;
    call->task.run = parse;
    workers_push(call->server->workers, &call->task);
}

/* ---- answer */

static bool check_outcome(const struct job *job, struct api_error *error) {
    switch (job->outcome) {
    case JOB_DONE:
        return true;
    case JOB_EXPIRED:
        return api_fail(error, 504, "deadline_exceeded", "X-Request-Timeout-Ms",
                        "the request's deadline passed before it was computed");
    case JOB_ABANDONED:
        return api_fail(error, 503, "draining", NULL, "the server stopped before the request was computed");
    default:
        return api_fail(error, 500, "engine_error", NULL, "the engine could not compute this request: %s",
                        job->error.message);
    }
}

static void write_answer(struct task *task) {
    struct call *call = call_of_task(task);
    const struct job *job = &call->job;
    struct api_error error;
    if (job->started) {
        call->queue_ns += job->started - job->pushed;
        call->inference_ns = job->ended - job->started;
    }
    bool good = check_outcome(job, &error) && call->route->answer(call, &error);
    buffer_string(&call->answer, "\n");
    if (good && call->answer.failed)
        good = api_fail_memory(&error);
    if (good)
        call_succeed(call, "application/json");
    else
        call_fail(call, &error);
    give_back(call);
}
