/* engine_process.c - `limoe engine`: the process that holds the weights and computes.
 *
 * It opens a model, says so in a HELLO on descriptor PROCESS_FD, and from then on answers each STEP with a
 * RESULT until the socket ends or its parent does. It decides nothing: what is computed, and with what, is
 * the front's business.
 *
 * Two threads. The main thread owns the model and the step's buffers, computes, and sends. The reader
 * receives the next STEP meanwhile: a socket holds much less than a step of pictures, so without it the front
 * could not send ahead, and the processor would idle between two steps while pixels are copied. Two links
 * take turns: one step is computed from the payload of one while the other receives.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/link.h"
#include "engine/test_hooks.h"
#include "error.h"
#include "observe/clock.h"
#include "process/process.h"

#define STEP_TOKENS_DEFAULT 2048

struct engine_flags {
    const char *model;
    struct limoe_options compute;
    uint64_t step_tokens;
};

struct engine_process {
    struct limoe_model *model;
    struct frame_shape shape;

    struct link in[2]; /* in[i] is the reader's until full[i], then the main thread's until it is not */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool full[2];

    struct link out;
    struct limoe_item *items; /* [shape.items] */
    float *embeddings;        /* [shape.items, embed] */
    uint64_t *load;           /* as struct frame_result */
    double *entropy;
    int32_t *expert; /* [layers, shape.rows, top_k]; allocated when routing is first wanted */
    float *gate;
};

/* ---- the reader */

static void *read_steps(void *argument) {
    struct engine_process *engine = argument;
    const uint64_t most = frame_longest_step(&engine->shape);
    struct limoe_error err;
    pthread_setname_np(pthread_self(), "limoe-reader");
    for (unsigned turn = 0;; turn ^= 1) {
        pthread_mutex_lock(&engine->lock);
        while (engine->full[turn])
            pthread_cond_wait(&engine->changed, &engine->lock);
        pthread_mutex_unlock(&engine->lock);
        enum link_event event = link_receive(&engine->in[turn], FRAME_STEP, most, &err);
        if (event == LINK_BROKEN)
            cli_complain("engine: %s", err.message);
        if (event != LINK_DONE)
            _exit(event == LINK_ENDED ? CLI_OK
                                      : CLI_INPUT); /* also in the midst of a step nobody waits for */
        pthread_mutex_lock(&engine->lock);
        engine->full[turn] = true;
        pthread_cond_signal(&engine->changed);
        pthread_mutex_unlock(&engine->lock);
    }
    return NULL;
}

static void await_step(struct engine_process *engine, unsigned turn) {
    pthread_mutex_lock(&engine->lock);
    while (!engine->full[turn])
        pthread_cond_wait(&engine->changed, &engine->lock);
    pthread_mutex_unlock(&engine->lock);
}

static void release_step(struct engine_process *engine, unsigned turn) {
    pthread_mutex_lock(&engine->lock);
    engine->full[turn] = false;
    pthread_cond_signal(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
}

/* ---- stepping */

static bool allocate_routing(struct engine_process *engine) {
    const struct frame_shape *shape = &engine->shape;
    size_t count = shape->layers * shape->rows * shape->top_k + 1;
    if (!engine->expert)
        engine->expert = malloc(count * sizeof *engine->expert);
    if (!engine->gate)
        engine->gate = malloc(count * sizeof *engine->gate);
    return engine->expert && engine->gate;
}

static enum limoe_status compute(struct engine_process *engine, size_t n, bool routed,
                                 struct limoe_error *err) {
    const struct frame_shape *shape = &engine->shape;
    if (routed && !allocate_routing(engine))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the routing of a step");
    const struct limoe_routing routing = {
        .expert = routed ? engine->expert : NULL,
        .gate = routed ? engine->gate : NULL,
        .load = engine->load,
        .entropy = engine->entropy,
    };
    size_t rows = (size_t)shape->layers * LIMOE_MODALITIES;
    memset(engine->load, 0, rows * shape->experts * sizeof *engine->load);
    memset(engine->entropy, 0, rows * sizeof *engine->entropy);
    test_hooks_step(engine->items, n);
    return limoe_model_embed(engine->model, engine->items, n, engine->embeddings, &routing, err);
}

/* False: the front sends what cannot be, or is gone. */
static bool answer(struct engine_process *engine, const struct link *in) {
    struct limoe_error err;
    size_t n;
    uint64_t rows;
    if (frame_get_step(&engine->shape, in->payload, in->frame.length, engine->items, &n, &rows, &err) !=
        LIMOE_OK) {
        cli_complain("engine: %s", err.message);
        return false;
    }
    bool routed = in->frame.flags & FRAME_ROUTED;
    int64_t began = clock_now();
    struct frame_result result = {
        .status = compute(engine, n, routed, &err),
        .items = n,
        .rows = rows,
        .load = engine->load,
        .entropy = engine->entropy,
        .embeddings = engine->embeddings,
        .expert = routed ? engine->expert : NULL,
        .gate = routed ? engine->gate : NULL,
    };
    result.compute_ns = (uint64_t)(clock_now() - began);
    if (result.status != LIMOE_OK)
        memcpy(result.message, err.message, sizeof result.message);

    uint8_t head[FRAME_RESULT_HEAD_BYTES];
    struct iovec parts[FRAME_RESULT_PARTS];
    const struct frame_header header = {
        .type = FRAME_RESULT,
        .flags = routed && result.status == LIMOE_OK ? FRAME_ROUTED : 0,
        .length = frame_put_result(&engine->shape, &result, head, parts),
        .id = in->frame.id,
    };
    if (link_stage(&engine->out, &header, parts, FRAME_RESULT_PARTS) &&
        link_send(&engine->out, &err) == LINK_DONE)
        return true;
    cli_complain("engine: %s", link_sending(&engine->out) ? err.message : "no memory for an answer");
    return false;
}

/* ---- life */

static enum limoe_status open_model(struct engine_process *engine, const struct engine_flags *flags,
                                    struct limoe_error *err) {
    enum limoe_status status = limoe_model_open(flags->model, &flags->compute, &engine->model, err);
    if (status != LIMOE_OK)
        return status;
    const struct limoe_info *model = limoe_model_info(engine->model);
    const struct frame_shape *shape = &engine->shape;
    engine->shape = frame_shape(model, flags->step_tokens);
    size_t rows = (size_t)shape->layers * LIMOE_MODALITIES;
    engine->items = calloc(shape->items, sizeof *engine->items);
    engine->embeddings = calloc(shape->items * shape->embed, sizeof *engine->embeddings);
    engine->load = calloc(rows * shape->experts + 1, sizeof *engine->load);
    engine->entropy = calloc(rows + 1, sizeof *engine->entropy);
    if (!engine->items || !engine->embeddings || !engine->load || !engine->entropy)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for steps of %llu tokens",
                          (unsigned long long)flags->step_tokens);
    return LIMOE_OK;
}

/* Tells the front how opening went. */
static bool say_hello(struct engine_process *engine, enum limoe_status status,
                      const struct limoe_error *opened) {
    struct frame_hello hello = {.status = status};
    struct limoe_error err;
    if (status == LIMOE_OK) {
        hello.model = *limoe_model_info(engine->model);
        hello.dtype = limoe_model_dtype(engine->model);
        hello.threads = limoe_model_threads(engine->model);
        snprintf(hello.backend, sizeof hello.backend, "%s", limoe_model_backend(engine->model));
        snprintf(hello.fingerprint, sizeof hello.fingerprint, "%s", limoe_model_fingerprint(engine->model));
    } else {
        memcpy(hello.message, opened->message, sizeof hello.message);
    }
    uint8_t payload[FRAME_HELLO_BYTES];
    frame_put_hello(&hello, payload);
    const struct frame_header header = {.type = FRAME_HELLO, .length = sizeof payload};
    const struct iovec part = {payload, sizeof payload};
    return link_stage(&engine->out, &header, &part, 1) && link_send(&engine->out, &err) == LINK_DONE;
}

/* The reader ends the process when the front is done with it, so what is held here is never given back: the
 * system takes it all. */
static int run(struct engine_process *engine, const struct engine_flags *flags) {
    struct limoe_error err;
    pthread_t reader;
    enum limoe_status status = open_model(engine, flags, &err);
    if (!say_hello(engine, status, &err) || status != LIMOE_OK)
        return CLI_INPUT;
    int code = pthread_create(&reader, NULL, read_steps, engine);
    if (code) {
        cli_complain("engine: cannot start a thread: %s", strerror(code));
        return CLI_INPUT;
    }
    for (unsigned turn = 0;; turn ^= 1) {
        await_step(engine, turn);
        if (!answer(engine, &engine->in[turn]))
            _exit(CLI_INPUT); /* the reader still uses *engine */
        release_step(engine, turn);
    }
}

/* ---- the command line */

/* Flags alone: the front passes on what it was configured with, and an environment must not contradict it. */
static const struct option_row table[] = {
    {.name = "model",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct engine_flags, model),
     .metavar = "DIR",
     .help = "model directory"},
    {.name = "dtype",
     .only_flag = true,
     .kind = OPTION_CHOICE,
     .offset = offsetof(struct engine_flags, compute.dtype),
     .choices = cli_dtypes,
     .metavar = "TYPE",
     .help = "auto, float32 or bfloat16; auto is bfloat16 where the processor has it"},
    {.name = "threads",
     .only_flag = true,
     .kind = OPTION_UNSIGNED,
     .offset = offsetof(struct engine_flags, compute.threads),
     .least = 1,
     .most = 1024,
     .metavar = "N",
     .help = "compute threads",
     .fallback = "one for each processor allowed"},
    {.name = "step-tokens",
     .only_flag = true,
     .kind = OPTION_U64,
     .offset = offsetof(struct engine_flags, step_tokens),
     .least = 1,
     .most = UINT32_MAX,
     .metavar = "N",
     .help = "most tokens computed in one step"},
    CLI_HELP_ROW,
};

static const struct option_command command = {
    .name = "engine",
    .usage = "limoe engine --model DIR [options]",
    .about = "Holds a model's weights and computes embeddings for limoe serve, which starts it, watches over "
             "it and restarts it. It speaks over a socket that it is given as descriptor 3, and is of no use "
             "by hand.",
    .table = table,
    .n = sizeof table / sizeof *table,
};

/* False: exit with *status. */
static bool parse(int argc, char **argv, struct arena *arena, struct engine_flags *flags, int *status) {
    struct options options;
    if (!cli_options(&command, argc, argv, flags, arena, &options, status))
        return false;
    *status = CLI_USAGE;
    if (options.n_operands > 0)
        cli_usage("engine", "unexpected argument \"%s\"", options.operands[0]);
    else if (!flags->model)
        cli_usage("engine", "--model is missing");
    else
        return true;
    return false;
}

static int start(const struct engine_flags *flags) {
    struct limoe_error err;
    if (!process_child_setup(&err)) {
        cli_complain("engine: %s", err.message);
        return CLI_INPUT;
    }
    struct engine_process *engine = calloc(1, sizeof *engine);
    if (!engine) {
        cli_complain("engine: no memory");
        return CLI_INPUT;
    }
    pthread_mutex_init(&engine->lock, NULL);
    pthread_cond_init(&engine->changed, NULL);
    link_init(&engine->in[0], PROCESS_FD);
    link_init(&engine->in[1], PROCESS_FD);
    link_init(&engine->out, PROCESS_FD);
    int status = run(engine, flags);
    limoe_model_close(engine->model);
    free(engine->items);
    free(engine->embeddings);
    free(engine->load);
    free(engine->entropy);
    link_free(&engine->out);
    free(engine);
    return status;
}

int cli_engine(int argc, char **argv) {
    struct engine_flags flags = {.step_tokens = STEP_TOKENS_DEFAULT};
    struct arena *arena = arena_new();
    if (!arena) {
        cli_complain("engine: no memory");
        return CLI_INPUT;
    }
    int status;
    if (parse(argc, argv, arena, &flags, &status))
        status = start(&flags);
    arena_free(arena);
    return status;
}
