/* engine_process.c - `limoe engine`: the process that holds the weights and computes.
 *
 * It opens a model, says so in a HELLO on descriptor PROCESS_FD, and from then on answers each STEP with a
 * RESULT until the socket ends or its parent does. It decides nothing: what is computed, and with what, is
 * the front's business.
 *
 * With --connect it is one of several ranks, which mpirun has started: it goes to the front by itself and
 * says in its HELLO which rank it is. All ranks get the same steps in the same order, each with its own
 * items, and compute them together.
 *
 * Two threads. The main thread owns the model and the step's buffers, computes, and sends. The reader
 * receives the next STEP meanwhile: a socket holds much less than a step of pictures, so without it the front
 * could not send ahead, and the processor would idle between two steps while pixels are copied. Two links
 * take turns: one step is computed from the payload of one while the other receives.
 *
 * A rank has a third, which waits for the socket's end alone. A rank may be waiting for others, in MPI, when
 * the front gives the job up; nothing but the end of the process leads out of there.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "engine/link.h"
#include "engine/meeting.h"
#include "engine/test_hooks.h"
#include "error.h"
#include "observe/clock.h"
#include "process/process.h"

#define STEP_TOKENS_DEFAULT 2048
#define RANKS_KIND          "mpi"
#define PARTING_MS          2000 /* for ranks to take leave of each other */

struct engine_flags {
    const char *model;
    struct limoe_options compute;
    uint64_t step_tokens;
    const char *connect; /* NULL: PROCESS_FD is the front */
};

struct engine_process {
    int fd;                    /* the front */
    struct limoe_ranks *ranks; /* NULL: one */
    struct limoe_model *model;
    struct frame_shape shape;

    struct link in[2]; /* in[i] is the reader's until full[i], then the main thread's until it is not */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool full[2], ended; /* ended: the front wants no more */
    atomic_bool busy;    /* a step is being computed, or the model opened */

    struct link out;
    struct limoe_item *items; /* [shape.items] */
    float *embeddings;        /* [shape.items, embed] */
    uint64_t *load;           /* as struct frame_result */
    uint64_t *rows_sent, *bytes_sent, *exchange_ns;
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
        if (event != LINK_DONE && engine->ranks && event == LINK_ENDED)
            return NULL; /* await_end sees to it */
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

/* A rank's. With nothing in hand it takes leave of the others, so that mpirun does not take its end for a
 * failure; while it computes there may be nobody left to take leave of. */
static void *await_end(void *argument) {
    struct engine_process *engine = argument;
    struct pollfd end = {.fd = engine->fd, .events = POLLRDHUP};
    pthread_setname_np(pthread_self(), "limoe-end");
    while (poll(&end, 1, -1) <= 0)
        ;
    if (atomic_load(&engine->busy))
        _exit(CLI_INPUT);
    pthread_mutex_lock(&engine->lock);
    engine->ended = true;
    pthread_cond_signal(&engine->changed);
    pthread_mutex_unlock(&engine->lock);
    poll(NULL, 0, PARTING_MS);
    _exit(CLI_INPUT);
}

/* False: there will be none. */
static bool await_step(struct engine_process *engine, unsigned turn) {
    pthread_mutex_lock(&engine->lock);
    while (!engine->full[turn] && !engine->ended)
        pthread_cond_wait(&engine->changed, &engine->lock);
    bool full = engine->full[turn] && !engine->ended;
    atomic_store(&engine->busy, full);
    pthread_mutex_unlock(&engine->lock);
    return full;
}

static void release_step(struct engine_process *engine, unsigned turn) {
    pthread_mutex_lock(&engine->lock);
    atomic_store(&engine->busy, false);
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
        .rows_sent = engine->rows_sent,
        .bytes_sent = engine->bytes_sent,
        .exchange_ns = engine->exchange_ns,
    };
    size_t rows = (size_t)shape->layers * LIMOE_MODALITIES;
    memset(engine->load, 0, rows * shape->experts * sizeof *engine->load);
    memset(engine->entropy, 0, rows * sizeof *engine->entropy);
    memset(engine->rows_sent, 0, shape->layers * sizeof *engine->rows_sent);
    memset(engine->bytes_sent, 0, shape->layers * sizeof *engine->bytes_sent);
    memset(engine->exchange_ns, 0, shape->layers * sizeof *engine->exchange_ns);
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
        .rows_sent = engine->rows_sent,
        .bytes_sent = engine->bytes_sent,
        .exchange_ns = engine->exchange_ns,
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

/* Ranks on one host share its processors. Open MPI says how many there are. */
static uint32_t own_threads(void) {
    const char *text = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    unsigned long ranks = text ? strtoul(text, NULL, 10) : 1;
    cpu_set_t allowed;
    if (ranks <= 1 || sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return 0;
    unsigned long threads = (unsigned long)CPU_COUNT(&allowed) / ranks;
    return threads > 0 ? (uint32_t)threads : 1;
}

/* Tells the front that this rank has found the others, or that it is in vain. What cannot be sent is seen
 * with the HELLO. */
static void say_met(struct engine_process *engine) {
    const struct frame_header header = {.type = FRAME_MET};
    struct limoe_error err;
    if (link_stage(&engine->out, &header, NULL, 0))
        link_send(&engine->out, &err);
}

static enum limoe_status open_model(struct engine_process *engine, const struct engine_flags *flags,
                                    struct limoe_error *err) {
    struct limoe_options options = flags->compute;
    enum limoe_status status = LIMOE_OK;
    if (flags->connect) {
        status = limoe_ranks_open(RANKS_KIND, &engine->ranks, err);
        say_met(engine);
    }
    options.ranks = engine->ranks;
    if (engine->ranks && !options.threads)
        options.threads = own_threads();
    if (status == LIMOE_OK)
        status = limoe_model_open(flags->model, &options, &engine->model, err);
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
    engine->rows_sent = calloc(shape->layers + 1, sizeof *engine->rows_sent);
    engine->bytes_sent = calloc(shape->layers + 1, sizeof *engine->bytes_sent);
    engine->exchange_ns = calloc(shape->layers + 1, sizeof *engine->exchange_ns);
    if (!engine->items || !engine->embeddings || !engine->load || !engine->entropy || !engine->rows_sent ||
        !engine->bytes_sent || !engine->exchange_ns)
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
        hello.rank = engine->ranks ? limoe_ranks_rank(engine->ranks) : 0;
        hello.ranks = engine->ranks ? limoe_ranks_count(engine->ranks) : 1;
        limoe_model_memory(engine->model, &hello.dense_bytes, &hello.expert_bytes, &hello.experts);
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
    pthread_t reader, ending;
    atomic_store(&engine->busy, true);
    int code = flags->connect ? pthread_create(&ending, NULL, await_end, engine) : 0;
    if (!code) {
        enum limoe_status status = open_model(engine, flags, &err);
        if (!say_hello(engine, status, &err) || status != LIMOE_OK)
            return CLI_INPUT;
        code = pthread_create(&reader, NULL, read_steps, engine);
    }
    if (code) {
        cli_complain("engine: cannot start a thread: %s", strerror(code));
        return CLI_INPUT;
    }
    for (unsigned turn = 0;; turn ^= 1) {
        if (!await_step(engine, turn)) {
            limoe_model_close(engine->model);
            limoe_ranks_close(engine->ranks);
            _exit(CLI_OK); /* other threads still use *engine */
        }
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
    {.name = "load",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct engine_flags, compute.load_file),
     .metavar = "FILE",
     .help = "measured load to place experts by"},
    {.name = "expert-bytes",
     .only_flag = true,
     .kind = OPTION_BYTES,
     .offset = offsetof(struct engine_flags, compute.expert_bytes),
     .most = UINT64_C(1) << 50,
     .metavar = "N",
     .help = "with --load: memory for experts and copies of them"},
    {.name = "connect",
     .only_flag = true,
     .kind = OPTION_STRING,
     .offset = offsetof(struct engine_flags, connect),
     .metavar = "ADDRESS",
     .help = "the front, of which this is one of several ranks: unix:PATH or tcp:HOST:PORT",
     .fallback = "the socket that it was given"},
    CLI_HELP_ROW,
};

static const struct option_command command = {
    .name = "engine",
    .usage = "limoe engine --model DIR [options]",
    .about =
        "Holds a model's weights and computes embeddings for limoe serve, which starts it, watches over "
        "it and restarts it. It speaks over a socket that it is given as descriptor 3, or goes to the front "
        "as one of several ranks that mpirun has started, and is of no use by hand.",
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

/* Signals that stop a whole group or unit are the front's to heed; mpirun unblocks them. */
static void block_stops(void) {
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGHUP);
    sigprocmask(SIG_BLOCK, &stops, NULL);
}

static int start(const struct engine_flags *flags) {
    struct limoe_error err;
    int fd = PROCESS_FD;
    if (flags->connect) {
        block_stops();
        fd = meeting_join(flags->connect, &err);
    }
    if (fd < 0 || (!flags->connect && !process_child_setup(&err))) {
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
    engine->fd = fd;
    link_init(&engine->in[0], fd);
    link_init(&engine->in[1], fd);
    link_init(&engine->out, fd);
    int status = run(engine, flags);
    if (flags->connect)
        _exit(status); /* await_end still uses *engine */
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
