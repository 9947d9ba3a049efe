/* captioning.c - the captions of one call, token by token. Its owner's thread; between tokens the engine's, in done(). */
#include "server/front/calls/captioning.h"

#include "server/front/calls/call.h"

/* To draw among so many tokens takes about as long as a row of a step. */
#define DRAWN_ROW 512u

static struct call *call_of(struct job *job) {
    struct captioning *captioning = (struct captioning *)((char *)job - offsetof(struct captioning, job));
    return (struct call *)((char *)captioning - offsetof(struct call, captioning));
}

/* ---- before */

/* Whether what the decoder writes can be told: its tokens are the tokenizer's. */
static bool has_words(const struct call *call, struct api_error *error) {
    const struct limoe_caption nothing = {.length = 0};
    struct limoe_error err;
    char text[1];
    return limoe_caption_text(call->generation->processor, &nothing, text, sizeof text, &err) == LIMOE_OK ||
           api_fail(error, 501, "captions_unsupported", "model", "%s", err.message);
}

static bool is_possible(const struct call *call, struct api_error *error) {
    const struct engine_info *engine = engine_info(call->generation->engine);
    if (engine->ranks > 1)
        return api_fail(error, 501, "captions_unsupported", "model",
                        "the model %s is on %u ranks; its decoder writes captions on 1", engine->model.name,
                        engine->ranks);
    return has_words(call, error);
}

bool captioning_choose(struct call *call, const struct captions_request *request, struct api_error *error) {
    const uint64_t most = call->server->options.queue.captions, tokens = captions_tokens(request);
    const size_t n = request->describe.n_images;
    if (!is_possible(call, error))
        return false;
    if (tokens > most)
        return api_fail(
            error, 400, "too_many_tokens", "max_tokens",
            "%zu images x %u texts x %u tokens (counted by %u) are %llu; up to %llu are accepted in "
            "one request (--queue-caption-tokens)",
            n, captions_texts(&request->options), captions_room(&request->options), CAPTIONS_PAGE,
            (unsigned long long)tokens, (unsigned long long)most);
    call->captioning =
        (struct captioning){.n = n, .texts = captions_texts(&request->options), .each = request->options};
    call->inputs = request->describe.images;
    call->n = n;
    call->scratch = captions_size(request) + LIMOE_CAPTION_TEXT +
                    n * (sizeof(struct job_caption) + request->options.n * sizeof(struct limoe_caption));
    call->slow = tokens > 1000; /* tokens to words, and words to JSON */
    return true;
}

uint64_t captioning_tokens(const struct call *call) {
    return (uint64_t)call->captioning.n * call->captioning.texts * captions_room(&call->captioning.each);
}

/* ---- token by token */

static void count(const struct call *call, enum metrics_model_event event, uint64_t n) {
    metrics_count_model(call->server->metrics, call->generation->index, event, n);
}

static void count_texts(const struct call *call, const struct limoe_caption *texts) {
    uint64_t written = 0, tokens = 0;
    for (uint32_t i = 0; i < call->captioning.each.n; i++) {
        written += texts[i].length || texts[i].ended;
        tokens += texts[i].length + texts[i].ended;
    }
    count(call, METRICS_CAPTIONS, written);
    count(call, METRICS_CAPTION_TOKENS, tokens);
}

/* What a picture's captions take of a step in which their texts read so many tokens. */
static uint32_t rows(const struct call *call, uint32_t tokens) {
    const struct captioning *captioning = &call->captioning;
    return captioning->texts * (1 + captioning->each.top_k / DRAWN_ROW) * tokens;
}

/* The same of one that is begun, perhaps anew. */
static uint32_t rows_begun(const struct call *call, uint32_t tokens) {
    return call->generation->model->image_tokens + rows(call, tokens);
}

/* Sees to what became of each caption: those that are done leave the job, the others are ready for their next token. */
static void sort_out(struct call *call) {
    struct job *job = &call->captioning.job;
    struct over *over = queue_over(call->generation->queue);
    struct limoe_item *items = call->items;
    size_t left = 0;
    for (size_t i = 0; i < job->n; i++) {
        struct job_caption *caption = &job->captions[i];
        if (caption->done) {
            count_texts(call, caption->texts);
            over_end(over, caption->id, false); /* the engine knows */
            continue;
        }
        caption->step += caption->begun;
        count(call, METRICS_CAPTION_RESTARTS, !caption->begun);
        items[left] = items[i];
        items[left].length = caption->begun ? rows(call, 1) : rows_begun(call, caption->step);
        job->captions[left++] = *caption;
    }
    job->n = left;
}

/* It is over, whatever is left undone. */
static void end(struct call *call) {
    struct job *job = &call->captioning.job;
    struct over *over = queue_over(call->generation->queue);
    const struct queue_load load = {.captions = call->held.captions};
    for (size_t i = 0; i < job->n; i++)
        over_end(over, job->captions[i].id, job->captions[i].sent);
    queue_release(call->generation->queue, &load);
    call->held.captions = 0;
    call->captioning.end(call);
}

/* The call may be anybody's once the job is pushed, so that is the last that is done. */
static void captioned(struct job *job) {
    struct call *call = call_of(job);
    if (job->outcome == JOB_DONE)
        sort_out(call);
    if (job->outcome == JOB_DONE && job->n > 0) {
        if (queue_push_more(call->generation->queue, job))
            return;
        job->outcome = JOB_ABANDONED;
    }
    end(call);
}

/* ---- begin */

/* Each picture's first step. False: no memory, and nothing is begun. */
static bool begin_all(struct call *call) {
    struct captioning *captioning = &call->captioning;
    struct over *over = queue_over(call->generation->queue);
    struct job_caption *captions = captioning->job.captions;
    for (size_t i = 0; i < captioning->n; i++) {
        captions[i] = (struct job_caption){.id = over_begin(over),
                                           .step = 1,
                                           .options = captioning->each,
                                           .texts = captioning->captions + i * captioning->each.n};
        if (!captions[i].id) {
            while (i > 0)
                over_end(over, captions[--i].id, false);
            return false;
        }
        call->items[i].length = rows_begun(call, 1);
    }
    return true;
}

bool captioning_begin(struct call *call, void (*done)(struct call *call), struct api_error *error) {
    struct captioning *captioning = &call->captioning;
    struct job *job = &captioning->job;
    struct queue *queue = call->generation->queue;
    captioning->captions =
        arena_array(call->arena, captioning->n * captioning->each.n, sizeof *captioning->captions);
    job->captions = arena_array(call->arena, captioning->n, sizeof *job->captions);
    if (!captioning->captions || !job->captions || !begin_all(call))
        return api_fail_memory(error);
    captioning->end = done;
    job->items = call->items;
    job->n = captioning->n;
    job->deadline = call->deadline;
    job->done = captioned;
    const struct queue_load load = {.items = call->held.items, .tokens = call->held.tokens};
    call->held.items = call->held.tokens = 0;
    queue_release(queue, &load); /* each token is counted when it is pushed */
    atomic_store(&call->pushed, queue);
    if (queue_push_more(queue, job))
        return true;
    for (size_t i = 0; i < captioning->n; i++)
        over_end(queue_over(queue), job->captions[i].id, false);
    return api_fail(error, 503, "draining", NULL, "the server is stopping");
}

bool captioning_fail(const struct call *call, struct api_error *error) {
    const struct limoe_error *cause = &call->captioning.job.error;
    if (cause->status == LIMOE_NO_MEMORY)
        return api_fail_memory(error);
    return api_fail(error, 500, "engine_error", NULL, "the engine could not caption this request: %s",
                    cause->message);
}
