/* stages.c - parse, fetch (remote.h), admit, prepare texts, prepare pictures, embed, answer.
 *
 * Each stage has the call to itself and hands it to the next as its last act. Pictures are prepared on
 * workers of their own, which sleep while a decoder computes; all else on workers that wait for nobody, so
 * that no number of pictures holds a text up. A request whose pictures are many or large goes to a lane of
 * its own kind, with workers and decoders that the others do not need. Preparing many items is cut into
 * slices of a few milliseconds, between which the call goes behind the others that wait for such a worker: a
 * request of 2,048 pictures delays another's single picture by a slice.
 *
 * Before each item, and every few milliseconds of a picture's decoding, a call is asked whether it is still
 * wanted (want.h). While it waits for a worker, somebody else asks (waiting.h).
 *
 * A route may have a language model asked before it writes its answer (upstream.h); no worker waits for that either.
 *
 * Texts that the cache knows are not prepared: their rows of call->embeddings are filled, the job has the rest.
 */
#include "server/front/calls/stages.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/front/calls/admission.h"
#include "server/front/calls/bulk.h"
#include "server/front/calls/quotas.h"
#include "server/front/calls/remote.h"
#include "server/front/calls/upstream.h"
#include "server/front/calls/waiting.h"
#include "server/front/calls/want.h"
#include "server/front/http/loop.h"
#include "server/front/http/timeouts.h"

#define SLICE_NS (4 * CLOCK_MILLISECOND)

/* Bodies of more bytes are parsed, and answers from more numbers written, by workers of their own: either
 * takes a slice and more. */
#define LARGE_BODY   ((size_t)1 << 20)
#define LARGE_ANSWER ((size_t)1 << 15)

static void write_answer(struct task *task);
static void stored(struct task *task);
static void relay(struct call *call);

static struct call *call_of_job(struct job *job) {
    return (struct call *)((char *)job - offsetof(struct call, job));
}

void stages_finish(struct call *call) {
    struct server *server = call->server;
    if (call->line) {
        quotas_settle(call);
        bulk_line_done(call);
        return;
    }
    timeouts_unwatch(server->timeouts, call->from->timed);
    quotas_settle(call);
    call_trim(call);
    loop_resume(call->from->loop, call->connection);
    atomic_fetch_sub(&server->handed, 1);
}

static void finish_failed(struct call *call, const struct api_error *error) {
    call_fail(call, error);
    stages_finish(call);
}

/* Where others hold too much, that is why. */
static void finish_refused(struct call *call, const struct api_error *error) {
    if (call->over)
        call_refuse_full(call);
    else
        call_fail(call, error);
    stages_finish(call);
}

bool stages_reader_left(struct call *call, struct api_error *error) {
    return atomic_load(&call->gone) && !want_fail(call, WANT_GONE, error);
}

void stages_gone(struct call *call) {
    atomic_store(&call->gone, true);
    struct queue *queue = atomic_load(&call->pushed);
    if (queue)
        queue_cancel(queue, call->captioning.n ? &call->captioning.job : &call->job);
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

/* What is asked before the request is computed is apart from what is asked for its answer. */
static struct span_times *store_part(struct call *call) {
    return &call->parts[call->answering ? SPAN_STORE_AFTER : SPAN_STORE_BEFORE];
}

static void ask(struct call *call) {
    call->asking = false;
    call->paused = clock_now();
    if (!store_part(call)->began)
        store_part(call)->began = call->paused;
    call->waiting.done = store_answered;
    classifiers_ask(call->server->classifiers, call->asked, &call->waiting);
}

/* ---- answer */

/* An answer that has been computed is given also after the deadline, but not if the client has gone. */
static bool check_outcome(struct call *call, struct api_error *error) {
    switch (call_job(call)->outcome) {
    case JOB_DONE:
        return true;
    case JOB_EXPIRED:
        return want_fail(call, WANT_LATE, error);
    case JOB_CANCELLED:
        return want_fail(call, WANT_GONE, error);
    case JOB_ABANDONED:
        return want_fail(call, WANT_STOPPED, error);
    default:
        return call->captioning.n ? captioning_fail(call, error) : adapting_fail(call, error);
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
        if (cache && input->modality == LIMOE_TEXT) {
            const struct text name =
                adapting_cached_name(call, input, call->job.tails ? call->job.tails[i] : NULL);
            if (name.data)
                text_cache_put(cache, name.data, name.size, row, call->items[i].length);
        }
    }
}

/* Goes on after a route's answer: it has been written, unless the route asks the store or a language model first. */
static void answered(struct call *call, bool good, struct api_error *error) {
    if (good && call->asking) {
        ask(call);
        return;
    }
    if (good && call->relaying) {
        relay(call);
        return;
    }
    if (good && !call->answer_type)
        buffer_string(&call->answer, "\n");
    if (good && call->answer.failed)
        good = api_fail_memory(error);
    if (good)
        call_succeed(call, call->answer_type ? call->answer_type : "application/json");
    else
        call_fail(call, error);
    if (good && call->route->success)
        call->status = call->route->success;
    stages_finish(call);
}

static void write_answer(struct task *task) {
    struct call *call = call_of_task(task);
    const struct job *job = call_job(call);
    const bool computed = call->job.n > 0 || call->captioning.n > 0;
    struct api_error error;
    if (job->pushed) {
        const int64_t now = clock_now(); /* when it was given up, if it never started */
        call->parts[SPAN_QUEUE] = (struct span_times){job->pushed, job->started ? job->started : now};
        call->parts[SPAN_STEP] = (struct span_times){job->started, job->ended};
    }
    if (job->started) {
        call->queue_ns += job->started - job->pushed;
        call->inference_ns = job->ended - job->started;
    }
    call->answering = true;
    bool good = (!computed || check_outcome(call, &error)) && !stages_reader_left(call, &error);
    if (good) {
        collect(call);
        good = call->route->answer(call, &error);
    }
    answered(call, good, &error);
}

/* The language model has answered, or will not. Reading that takes memory that nobody has admitted. */
static void relayed(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error = {0}; /* over: there is none */
    call_meter(call, true);
    const bool good = want_check(call, &error) && call->route->relayed(call, &error);
    call_meter(call, false);
    if (call->over)
        finish_refused(call, &error);
    else
        answered(call, good, &error);
}

/* A stream has begun: the rest is between the relaying and the HTTP thread. */
static void streaming(struct task *task) {
    struct call *call = call_of_task(task);
    call->streaming = true;
    call_succeed(call, "text/event-stream");
    stages_finish(call);
}

static void relay(struct call *call) {
    static const struct upstream_steps steps = {
        .wanted = want_ask, .relayed = relayed, .streaming = streaming};
    struct api_error error;
    if (!upstream_send(call, &steps, &error))
        finish_failed(call, &error);
}

static bool has_large_answer(const struct call *call) {
    return call->shares || call->slow || call->n * call->generation->model->embed > LARGE_ANSWER;
}

/* ---- embed */

static void embedded(struct job *job) {
    struct call *call = call_of_job(job);
    call->task.run = write_answer;
    workers_push_early(has_large_answer(call) ? call->server->bulk : call->server->workers, &call->task);
}

static void embed(struct call *call) {
    call->job.items = call->items;
    call->job.tails = call->adapting.of;
    call->job.deadline = call->deadline;
    call->job.done = embedded;
    const struct queue_load load = call->held;
    call->held.items = call->held.tokens = 0; /* the queue's to take back from here on */
    atomic_store(&call->pushed, call->generation->queue);
    if (!queue_push(call->generation->queue, &call->job)) {
        struct api_error error;
        call->held = load;
        api_fail(&error, 503, "draining", NULL, "the server is stopping");
        finish_failed(call, &error);
    }
}

/* ---- prepared: what is to be computed is known */

/* Items lie where their inputs do until all are prepared; those that the cache had are left out now. */
static void close_ranks(struct call *call) {
    for (size_t i = 0; i < call->n; i++)
        if (call->items[i].length > 0) {
            call->items[call->job.n] = call->items[i];
            if (call->adapting.of)
                call->adapting.of[call->job.n] = call->adapting.of[i];
            call->input_of[call->job.n++] = i;
        }
}

/* Gives back what admission counted too much: it took every input for work, and each text for as long as
 * may be. What is really to be computed is known now. */
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
static bool room_for_results(struct call *call) {
    call->job.embeddings = call->embeddings;
    if (call->job.n < call->n)
        call->job.embeddings =
            arena_array(call->arena, call->job.n * call->generation->model->embed, sizeof(float));
    return call->job.embeddings != NULL;
}

static void captioned(struct call *call) {
    call->task.run = write_answer;
    workers_push_early(has_large_answer(call) ? call->server->bulk : call->server->workers, &call->task);
}

static void caption(struct call *call) {
    struct api_error error;
    call->job.n = 0; /* nothing is embedded */
    if (!captioning_begin(call, captioned, &error))
        finish_failed(call, &error);
}

static void end_preparing(struct call *call) {
    struct api_error error;
    close_ranks(call);
    release_surplus(call);
    if (call->captioning.n > 0) {
        caption(call);
    } else if (call->job.n == 0 && has_large_answer(call)) {
        embedded(&call->job); /* the cache had all */
    } else if (call->job.n == 0) {
        write_answer(&call->task);
    } else if (room_for_results(call)) {
        embed(call);
    } else {
        api_fail_memory(&error);
        finish_failed(call, &error);
    }
}

/* ---- prepare */

/* Takes the embedding of inputs[i] from the cache, if it is a text that the cache has. */
static bool recall(struct call *call, size_t i) {
    const struct request_item *input = &call->inputs[i];
    struct text_cache *cache = call->generation->cache;
    uint32_t tokens;
    if (!cache || call->route->routing)
        return false;
    const struct text name =
        adapting_cached_name(call, input, call->adapting.of ? call->adapting.of[i] : NULL);
    bool found = name.data && text_cache_get(cache, name.data, name.size,
                                             call->embeddings + i * call->generation->model->embed, &tokens);
    metrics_count_model(call->server->metrics, call->generation->index,
                        found ? METRICS_CACHE_HITS : METRICS_CACHE_MISSES, 1);
    if (found)
        call->usage.prompt_tokens += tokens;
    return found;
}

static bool tokenise(struct call *call, size_t i, struct api_error *error) {
    if (recall(call, i))
        return true;
    if (admission_again(call, i) && call->items[i - 1].length > 0) {
        call->items[i] = call->items[i - 1];
        call->usage.prompt_tokens += call->items[i].length;
        return true;
    }
    return prepare_item(call->generation->processor, &call->inputs[i], call->arena, &call->items[i],
                        &call->usage, error);
}

/* Decodes a picture in a decoder's process, since pictures come from anyone. */
static bool decode(struct call *call, size_t i, struct api_error *error) {
    const struct limoe_info *model = call->generation->model;
    const struct request_item *input = &call->inputs[i];
    if (admission_again(call, i)) {
        call->items[i] = call->items[i - 1];
        call->usage.image_tokens += model->image_tokens;
        return true;
    }
    uint8_t *pixels = arena_array(call->arena, (size_t)model->image_size * model->image_size, 3);
    const struct decoders_picture picture = {
        .bytes = input->bytes,
        .size = input->size,
        .settings = &call->generation->image,
        .served = call->generation->index,
        .most_pixels = admission_pixels(call, input),
        .wanted = want_ask,
        .arg = call,
    };
    struct limoe_error cause;
    if (!pixels)
        return api_fail_memory(error);
    const enum limoe_status status =
        decoders_decode(call->server->decoders[call->lane], &picture, pixels, &cause);
    if (status == LIMOE_LOST && !want_check(call, error))
        return false;
    if (status != LIMOE_OK)
        return api_fail_from(error, input->param, &cause);
    queue_decoded(call->generation->queue, picture.most_pixels);
    call->held.pixels -= picture.most_pixels;
    call->items[i] = (struct limoe_item){
        .modality = LIMOE_IMAGE, .length = model->image_tokens, .pixels = pixels, .shares = call->shares};
    call->usage.image_tokens += model->image_tokens;
    return true;
}

/* The way that inputs of one modality are prepared. */
struct preparing {
    enum limoe_modality modality;
    enum span_part part;
    struct workers *workers;
    bool (*one)(struct call *call, size_t i, struct api_error *error);
    void (*done)(struct call *call);
};

/* Pauses the call: it is pushed to these workers, behind what waits for them already. */
static void pause_for(struct call *call, struct workers *workers) {
    call->paused = clock_now();
    waiting_push(call, workers);
}

/* Prepares a slice of the items. The call is not to be touched afterwards. */
static void prepare(struct call *call, const struct preparing *way) {
    struct api_error error;
    int64_t began = clock_now(), now = began;
    if (call->paused)
        call->queue_ns += began - call->paused;
    call->paused = 0;
    if (!call->parts[way->part].began)
        call->parts[way->part].began = began;
    bool good = want_check(call, &error);
    for (; good && call->prepared < call->n; call->prepared++) {
        if (call->inputs[call->prepared].modality != way->modality)
            continue;
        if (now - began > SLICE_NS && workers_wanted(way->workers)) {
            call->preprocess_ns += now - began;
            pause_for(call, way->workers);
            return;
        }
        good = want_check(call, &error) && way->one(call, call->prepared, &error);
        now = clock_now();
    }
    call->preprocess_ns += now - began;
    call->parts[way->part].ended = now;
    if (good)
        way->done(call);
    else
        finish_failed(call, &error);
}

static struct workers *decoding_of(const struct call *call) {
    return call->server->decoding[call->lane];
}

static void prepare_pictures(struct task *task) {
    struct call *call = call_of_task(task);
    prepare(call,
            &(const struct preparing){LIMOE_IMAGE, SPAN_DECODE, decoding_of(call), decode, end_preparing});
}

static void end_texts(struct call *call) {
    if (!quotas_charge(call)) {
        stages_finish(call);
        return;
    }
    if (call->pictures == 0) {
        end_preparing(call);
        return;
    }
    call->prepared = 0;
    call->task.run = prepare_pictures;
    pause_for(call, decoding_of(call));
}

static void prepare_texts(struct task *task) {
    struct call *call = call_of_task(task);
    prepare(call,
            &(const struct preparing){LIMOE_TEXT, SPAN_TOKENIZE, call->server->workers, tokenise, end_texts});
}

/* ---- admit */

static void admit(struct call *call) {
    const struct queue_load load = admission_measure(call);
    struct api_error error;
    const bool good = admission_check(call, &load, &error);
    call->over = good && !queue_admit(call->generation->queue, &load, &call->held);
    if (!good || call->over) {
        finish_refused(call, &error);
        return;
    }
    call->held.items += load.items;
    call->held.tokens += load.tokens;
    call->held.bytes += load.bytes;
    call->held.pixels += load.pixels;
    call->held.captions += load.captions;
    if (!admission_allocate(call, &load)) {
        api_fail_memory(&error);
        finish_failed(call, &error);
        return;
    }
    prepare_texts(&call->task);
}

/* ---- pictures that are named by URLs */

static void fetched(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error = {0}; /* over: there is none */
    call->task.run = prepare_texts;
    call->queue_ns += clock_now() - call->paused;
    call->paused = 0;
    if (!call->over && want_check(call, &error) && remote_take(call, &error))
        admit(call);
    else
        finish_refused(call, &error);
}

static void fetch(struct call *call) {
    struct api_error error;
    call->paused = clock_now();
    if (!remote_fetch(call, want_ask, fetched, &error))
        finish_refused(call, &error);
}

/* ---- parse */

/* Goes on after a route's parse: it has read the body, unless it asks the store first. */
static void parsed(struct call *call, bool good, struct api_error *error) {
    call->task.run = prepare_texts; /* should it be pushed again */
    call_meter(call, false);
    if (!good)
        finish_refused(call, error);
    else if (call->asking)
        ask(call);
    else if (call->n == 0 && call->slow)
        embedded(&call->job); /* by workers that have the time */
    else if (call->n == 0)
        write_answer(&call->task);
    else if (remote_count(call))
        fetch(call);
    else
        admit(call);
}

static void parse(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error;
    int64_t began = clock_now();
    call->queue_ns += began - call->body_complete;
    if (!call->generation)
        call->roster = server_roster(call->server);
    if (call->route->begin) {
        call->route->begin(call);
        return;
    }
    call_meter(call, true);
    bool good =
        want_check(call, &error) && call_settle_form(call, &error) && call->route->parse(call, &error);
    call->preprocess_ns += clock_now() - began;
    parsed(call, good, &error);
}

/* Goes on where the call has asked the store: in its parsing, or in its answer. */
static void stored(struct task *task) {
    struct call *call = call_of_task(task);
    struct api_error error;
    const int64_t now = clock_now();
    call->queue_ns += now - call->paused;
    store_part(call)->ended = now;
    call->paused = 0;
    call_meter(call, !call->answering);
    bool good = (call->answering || want_check(call, &error)) && call->route->stored(call, &error);
    if (call->answering)
        answered(call, good, &error);
    else
        parsed(call, good, &error);
}

void stages_begin(struct call *call) {
    call->stage = CALL_WORKING;
    call->task.run = parse;
    waiting_push(call, call->body.size > LARGE_BODY ? call->server->bulk : call->server->workers);
}
