/* engine_process.c - `limoe engine`: the process that holds the weights and computes.
 *
 * It opens a model, says so in a HELLO on descriptor PROCESS_FD, and from then on answers each STEP with a
 * RESULT until the socket ends or its parent does. It decides nothing: what is computed, and with what, is
 * the front's business.
 *
 * It may be one of several ranks. All ranks get the same steps in the same order, each with its own items,
 * and compute them together. There are two kinds:
 *
 * With --connect it is one of those that mpirun has started: it goes to the front by itself and says in its
 * HELLO which rank it is.
 *
 * With --rank it is one of those that the front brings together: ranks on GPUs. On the front's host the front has
 * started it; on another, --connect says where it finds the front. It joins the others when a GROUP says so, then
 * opens the model, or keeps the one that it has, and says HELLO. A rank that is lost costs the others a step: they
 * are told, and join anew.
 *
 * Two threads. The main thread owns the model and the step's buffers, computes, and sends. The reader
 * receives (inbox.h). A rank of mpirun's has a third thread, which does nothing but wait for the socket's
 * end: when the front gives the job up, the main thread may be waiting for other ranks inside MPI, and only
 * the end of the process interrupts that.
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

#include "base/clock.h"
#include "base/device_name.h"
#include "base/error.h"
#include "base/process.h"
#include "server/engine/adapted.h"
#include "server/engine/captions.h"
#include "server/engine/engine_flags.h"
#include "server/engine/engine_process.h"
#include "server/engine/inbox.h"
#include "server/engine/test_hooks.h"
#include "server/options/command.h"
#include "server/protocol/join.h"
#include "server/protocol/link.h"

#define PARTING_MS 2000 /* for ranks to take leave of each other */

struct engine_process {
    int fd;                    /* the front */
    struct limoe_ranks *ranks; /* NULL: one */
    struct limoe_model *model;
    uint64_t step_tokens;
    struct frame_shape shape;
    uint64_t gpu_used, gpu_total; /* bytes, as measured_at; 0: the model is on no GPU */
    int64_t measured_at;          /* clock_now(); 0: not yet */

    struct inbox inbox;

    struct link out;
    struct frame_room room; /* of a step's items */
    struct adapted adapted;
    struct frame_captions_room asked; /* of a step's captions; NULL: the model has no decoder */
    struct captions captions;
    struct frame_tails tails; /* what the step in hand took of them */
    float *shares;            /* theirs, while a step is in hand that wants some; or NULL */
    float *embeddings;        /* [shape.items, embed] */
    uint64_t *load;           /* as struct frame_result */
    uint64_t *rows_sent, *bytes_sent, *exchange_ns;
    double *entropy;
    int32_t *expert; /* [layers, shape.rows, top_k]; allocated when routing is first wanted */
    float *gate;
};

/* ---- a rank of mpirun's */

/* Ends the process once the front has closed the socket. With nothing in hand the rank leaves MPI first,
 * so that mpirun does not take its end for a failure. While it computes it does not, since the other ranks
 * may be gone. */
static void *await_end(void *argument) {
    struct engine_process *engine = argument;
    struct pollfd end = {.fd = engine->fd, .events = POLLRDHUP};
    pthread_setname_np(pthread_self(), "limoe-end");
    while (poll(&end, 1, -1) <= 0)
        ;
    if (inbox_end(&engine->inbox))
        poll(NULL, 0, PARTING_MS);
    _exit(COMMAND_INPUT);
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

static size_t count_asking(const struct frame_step *step) {
    size_t split = 0;
    for (size_t i = 0; i < step->n; i++)
        split += step->wants[i].shares;
    return split;
}

/* Room for the shares of those of the step's items that ask, `split` of them. */
static bool allocate_shares(struct engine_process *engine, size_t n, size_t split) {
    const size_t size = frame_shares_size(&engine->shape);
    engine->shares = split ? malloc(split * size * sizeof *engine->shares) : NULL;
    float *at = engine->shares;
    for (size_t i = 0; at && i < n; i++)
        if (engine->room.wants[i].shares) {
            engine->room.items[i].shares = at;
            at += size;
        }
    return !split || engine->shares;
}

static enum limoe_status embed(struct engine_process *engine, const struct frame_step *step, size_t split,
                               bool routed, struct limoe_error *err) {
    const struct frame_shape *shape = &engine->shape;
    if (!allocate_shares(engine, step->n, split))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for the shares of a step's patches");
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
    engine->tails = (struct frame_tails){0};
    test_hooks_step(step->items, step->n);
    enum limoe_status status = adapted_embed(&engine->adapted, engine->model, step, engine->embeddings,
                                             &routing, &engine->tails, err);
    adapted_count(&engine->adapted, &engine->tails);
    return status;
}

/* A STEP as it was received. */
struct received {
    struct frame_captions captions; /* none: empty */
    struct frame_step step;
};

static enum limoe_status read_step(struct engine_process *engine, const struct link *in, struct received *out,
                                   struct limoe_error *err) {
    const struct frame_shape *shape = &engine->shape;
    const uint8_t *payload = in->payload;
    uint64_t length = in->frame.length;
    *out = (struct received){.captions = {.n = 0}};
    if (in->frame.flags & FRAME_CAPTIONS) {
        if (!engine->asked.captions)
            return limoe_fail(err, LIMOE_CORRUPT, "a STEP with captions, of a model that has no decoder");
        const enum limoe_status status =
            frame_get_captions(shape, payload, length, &engine->asked, &out->captions, err);
        if (status)
            return status;
        const size_t head = frame_captions_head_bytes(&out->captions);
        payload += head;
        length -= head + frame_captions_pixel_bytes(shape, &out->captions);
    }
    return frame_get_step(shape, payload, length, &engine->room, &out->step, err);
}

/* All that the step asks for. */
static enum limoe_status compute(struct engine_process *engine, const struct received *received, size_t split,
                                 bool routed, struct limoe_error *err) {
    enum limoe_status status = embed(engine, &received->step, split, routed, err);
    if (!status)
        status = captions_step(&engine->captions, engine->model, &received->captions, err);
    return status;
}

/* Computed: the section of captions in front of the RESULT's payload, to be freed. NULL: no memory. */
static uint8_t *write_captioned(const struct engine_process *engine, size_t n, size_t *bytes) {
    const struct captions *captions = &engine->captions;
    *bytes = frame_captioned_bytes(n, captions->n_texts);
    uint8_t *section = malloc(*bytes);
    if (section)
        frame_put_captioned(captions->written, n, captions->texts, captions->n_texts, section);
    return section;
}

/* Asks once a second at most, since the driver may take its time over it. */
static void measure_gpu(struct engine_process *engine) {
    const int64_t now = clock_now();
    if (engine->measured_at && now - engine->measured_at < CLOCK_SECOND)
        return;
    engine->measured_at = now;
    if (!limoe_model_device_memory(engine->model, &engine->gpu_used, &engine->gpu_total))
        engine->gpu_used = engine->gpu_total = 0;
}

/* Sends the RESULT of a step with so many captions. */
static bool send_result(struct engine_process *engine, const struct frame_result *result, uint64_t id,
                        size_t captions) {
    struct limoe_error err = {.message = "no memory for an answer"};
    uint8_t head[FRAME_RESULT_HEAD_BYTES];
    struct iovec parts[1 + FRAME_RESULT_PARTS];
    const bool captioned = captions && result->status == LIMOE_OK;
    size_t section = 0;
    uint8_t *written = captioned ? write_captioned(engine, captions, &section) : NULL;
    parts[0] = (struct iovec){written, section};
    const struct frame_header header = {
        .type = FRAME_RESULT,
        .flags = (result->expert && result->status == LIMOE_OK ? FRAME_ROUTED : 0) |
                 (captioned ? FRAME_CAPTIONS : 0),
        .length = section + frame_put_result(&engine->shape, result, head, parts + 1),
        .id = id,
    };
    const bool sent = (written || !captioned) &&
                      link_stage(&engine->out, &header, parts, 1 + FRAME_RESULT_PARTS) &&
                      link_send(&engine->out, &err) == LINK_DONE;
    free(written);
    if (!sent)
        command_complain("engine: %s", err.message);
    return sent;
}

/* Computes a step and sends the RESULT. False if the front sends what cannot be, or is gone. */
static bool answer(struct engine_process *engine, const struct link *in) {
    struct limoe_error err;
    struct received received;
    if (read_step(engine, in, &received, &err) != LIMOE_OK) {
        command_complain("engine: %s", err.message);
        return false;
    }
    const struct frame_step *step = &received.step;
    const bool routed = in->frame.flags & FRAME_ROUTED;
    const size_t split = count_asking(step);
    int64_t began = clock_now();
    struct frame_result result = {
        .status = compute(engine, &received, split, routed, &err),
        .items = step->n,
        .rows = step->rows,
        .load = engine->load,
        .rows_sent = engine->rows_sent,
        .bytes_sent = engine->bytes_sent,
        .exchange_ns = engine->exchange_ns,
        .entropy = engine->entropy,
        .split = split,
        .embeddings = engine->embeddings,
        .shares = engine->shares,
        .expert = routed ? engine->expert : NULL,
        .gate = routed ? engine->gate : NULL,
    };
    result.compute_ns = (uint64_t)(clock_now() - began);
    measure_gpu(engine);
    result.gpu_used = engine->gpu_used;
    result.gpu_total = engine->gpu_total;
    result.tails = engine->tails;
    if (result.status == LIMOE_BROKEN) { /* the front starts another, and sends the step again */
        command_complain("engine: %s", err.message);
        return false;
    }
    if (result.status != LIMOE_OK)
        memcpy(result.message, err.message, sizeof result.message);
    return send_result(engine, &result, in->frame.id, received.captions.n);
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

/* Tells the front that this rank has found the others, or cannot. A failure to send shows again with the
 * HELLO. */
static void say_connected(struct engine_process *engine) {
    const struct frame_header header = {.type = FRAME_CONNECTED};
    struct limoe_error err;
    if (link_stage(&engine->out, &header, NULL, 0))
        link_send(&engine->out, &err);
}

static bool allocate_captions(struct engine_process *engine) {
    engine->asked.captions = calloc(engine->shape.items, sizeof *engine->asked.captions);
    engine->asked.over = calloc(FRAME_MOST_OVER, sizeof *engine->asked.over);
    return engine->asked.captions && engine->asked.over;
}

static enum limoe_status open_model(struct engine_process *engine, const struct engine_flags *flags,
                                    struct limoe_error *err) {
    struct limoe_options options = flags->compute;
    options.ranks = engine->ranks;
    if (flags->connect && !options.threads)
        options.threads = own_threads();
    enum limoe_status status = limoe_model_open(flags->model, &options, &engine->model, err);
    if (status != LIMOE_OK)
        return status;
    const struct limoe_info *model = limoe_model_info(engine->model);
    const struct frame_shape *shape = &engine->shape;
    engine->step_tokens = flags->step_tokens ? flags->step_tokens : limoe_model_step_tokens(engine->model);
    engine->shape = frame_shape(model, engine->step_tokens);
    size_t rows = (size_t)shape->layers * LIMOE_MODALITIES;
    struct frame_room *room = &engine->room;
    room->items = calloc(shape->items, sizeof *room->items);
    room->wants = calloc(shape->items, sizeof *room->wants);
    room->tails = calloc(shape->items, sizeof *room->tails);
    engine->embeddings = calloc(shape->items * shape->embed, sizeof *engine->embeddings);
    engine->load = calloc(rows * shape->experts + 1, sizeof *engine->load);
    engine->entropy = calloc(rows + 1, sizeof *engine->entropy);
    engine->rows_sent = calloc(shape->layers + 1, sizeof *engine->rows_sent);
    engine->bytes_sent = calloc(shape->layers + 1, sizeof *engine->bytes_sent);
    engine->exchange_ns = calloc(shape->layers + 1, sizeof *engine->exchange_ns);
    if (!room->items || !room->wants || !room->tails || !engine->embeddings || !engine->load ||
        !engine->entropy || !engine->rows_sent || !engine->bytes_sent || !engine->exchange_ns)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for steps of %llu tokens",
                          (unsigned long long)engine->step_tokens);
    if (model->decoder.blocks && !allocate_captions(engine))
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for captions");
    inbox_expect(&engine->inbox,
                 frame_longest_step(shape) + (model->decoder.blocks ? frame_longest_captions(shape) : 0));
    return adapted_init(&engine->adapted, &flags->adapters, shape->items, err);
}

/* Writes why the CPU computes, if the choice of the device was left to this process. */
static void note_device(const char *device, char note[FRAME_NOTE_BYTES]) {
    char why[FRAME_NOTE_BYTES - 64];
    enum device_kind kind;
    uint32_t index;
    if (device_name_parse(device, &kind, &index) && kind == DEVICE_AUTO && limoe_gpus(why, sizeof why) == 0)
        snprintf(note, FRAME_NOTE_BYTES, "no GPU was found (%s), computing on the CPU", why);
}

/* Tells the front how opening went, in a generation of ranks that it brings together (else 0). */
static bool say_hello(struct engine_process *engine, const struct engine_flags *flags, uint64_t generation,
                      enum limoe_status status, const struct limoe_error *opened) {
    struct frame_hello hello = {.status = status};
    struct limoe_error err;
    if (status == LIMOE_OK) {
        hello.model = *limoe_model_info(engine->model);
        hello.dtype = limoe_model_dtype(engine->model);
        hello.threads = limoe_model_threads(engine->model);
        hello.step_tokens = engine->step_tokens;
        hello.rank = engine->ranks ? limoe_ranks_rank(engine->ranks) : 0;
        hello.ranks = engine->ranks ? limoe_ranks_count(engine->ranks) : 1;
        limoe_model_memory(engine->model, &hello.dense_bytes, &hello.expert_bytes, &hello.experts);
        note_device(flags->compute.device, hello.note);
        snprintf(hello.backend, sizeof hello.backend, "%s", limoe_model_backend(engine->model));
        snprintf(hello.fingerprint, sizeof hello.fingerprint, "%s", limoe_model_fingerprint(engine->model));
        snprintf(hello.base, sizeof hello.base, "%s", limoe_model_base(engine->model));
    } else {
        memcpy(hello.message, opened->message, sizeof hello.message);
    }
    uint8_t payload[FRAME_HELLO_BYTES];
    frame_put_hello(&hello, payload);
    const struct frame_header header = {.type = FRAME_HELLO, .length = sizeof payload, .id = generation};
    const struct iovec part = {payload, sizeof payload};
    return link_stage(&engine->out, &header, &part, 1) && link_send(&engine->out, &err) == LINK_DONE;
}

static bool answer_step(struct engine_process *engine) {
    const bool answered = answer(engine, inbox_step(&engine->inbox));
    free(engine->shares);
    engine->shares = NULL;
    captions_end_step(&engine->captions);
    inbox_release(&engine->inbox);
    return answered;
}

/* Ends the process without freeing anything: other threads still use *engine. */
__attribute__((noreturn)) static void leave(struct engine_process *engine) {
    adapted_free(&engine->adapted);
    captions_free(&engine->captions);
    limoe_model_close(engine->model);
    limoe_ranks_close(engine->ranks);
    _exit(COMMAND_OK);
}

/* Of an engine of one rank, or of mpirun's ranks: opens the model, and computes. */
static int run(struct engine_process *engine, const struct engine_flags *flags) {
    struct limoe_error err;
    pthread_t ending;
    enum limoe_status status = LIMOE_OK;
    engine->inbox.ending = flags->connect;
    int code = flags->connect ? pthread_create(&ending, NULL, await_end, engine) : 0;
    if (!code) {
        if (flags->connect) {
            status = limoe_ranks_open("mpi", &engine->ranks, &err);
            say_connected(engine);
        }
        if (status == LIMOE_OK)
            status = open_model(engine, flags, &err);
        if (!say_hello(engine, flags, 0, status, &err) || status != LIMOE_OK)
            return COMMAND_INPUT;
        code = inbox_start(&engine->inbox);
    }
    if (code) {
        command_complain("engine: cannot start a thread: %s", strerror(code));
        return COMMAND_INPUT;
    }
    while (inbox_wait(&engine->inbox) == INBOX_STEP)
        if (!answer_step(engine))
            return COMMAND_INPUT;
    leave(engine);
}

/* ---- ranks that the front brings together */

/* Answers an ASK: makes the unique id of a generation. */
static bool answer_ask(struct engine_process *engine, const struct engine_flags *flags) {
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES];
    struct limoe_error err;
    const struct frame_header header = {
        .type = FRAME_UNIQUE_ID, .length = sizeof unique_id, .id = inbox_take_ask(&engine->inbox)};
    const struct iovec part = {unique_id, sizeof unique_id};
    if (!header.id)
        return true;
    enum limoe_status status = limoe_ranks_make_unique_id(engine->ranks, unique_id, &err);
    if (status != LIMOE_OK) {
        say_hello(engine, flags, header.id, status, &err);
        return false;
    }
    return link_stage(&engine->out, &header, &part, 1) && link_send(&engine->out, &err) == LINK_DONE;
}

/* Answers a GROUP: joins the others, and opens the model together with those that have not. After LIMOE_LOST
 * there will be another generation, and what is open stays open; so it does if another rank cannot open it. */
static bool answer_group(struct engine_process *engine, const struct engine_flags *flags) {
    uint8_t unique_id[FRAME_UNIQUE_ID_BYTES];
    struct limoe_error err;
    const uint64_t generation = inbox_take_group(&engine->inbox, unique_id);
    if (!generation)
        return true;
    enum limoe_status status = limoe_ranks_join(engine->ranks, unique_id, &err);
    if (status == LIMOE_OK)
        status = engine->model ? limoe_model_rejoin(engine->model, &err) : open_model(engine, flags, &err);
    return say_hello(engine, flags, generation, status, &err) && (engine->model || status == LIMOE_LOST);
}

static int run_grouped(struct engine_process *engine, const struct engine_flags *flags) {
    const struct limoe_rank_identity identity = {
        .rank = flags->rank, .count = flags->ranks, .device = flags->compute.device};
    struct limoe_error err;
    enum limoe_status status = limoe_ranks_open_at("nccl", &identity, &engine->ranks, &err);
    if (status != LIMOE_OK) {
        say_hello(engine, flags, 0, status, &err);
        return COMMAND_INPUT;
    }
    engine->inbox.ranks = engine->ranks;
    int code = inbox_start(&engine->inbox);
    if (code) {
        command_complain("engine: cannot start a thread: %s", strerror(code));
        return COMMAND_INPUT;
    }
    for (bool good = true; good;) {
        switch (inbox_wait(&engine->inbox)) {
        case INBOX_ASK:
            good = answer_ask(engine, flags);
            break;
        case INBOX_GROUP:
            good = answer_group(engine, flags);
            break;
        case INBOX_STEP:
            good = answer_step(engine);
            break;
        case INBOX_END: /* the reader ends the process */
            good = false;
        }
    }
    return COMMAND_INPUT;
}

/* ---- start */

/* Blocks the signals that stop a whole process group or unit, which the front handles. mpirun unblocks
 * them. */
static void block_stops(void) {
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGHUP);
    sigprocmask(SIG_BLOCK, &stops, NULL);
}

/* What the model is by its config and tokenizer, "" if they cannot be read: opening it will say why. */
static void set_digest(const char *model, char digest[FRAME_WORD_BYTES]) {
    struct limoe_processor *processor = NULL;
    struct limoe_error ignored;
    if (limoe_processor_open(model, NULL, &processor, &ignored) == LIMOE_OK)
        snprintf(digest, FRAME_WORD_BYTES, "%s", limoe_processor_fingerprint(processor));
    limoe_processor_close(processor);
}

/* The socket to the front, or -1. */
static int go_to_front(const struct engine_flags *flags, struct limoe_error *err) {
    struct frame_join join = {.rank = flags->ranks ? flags->rank : FRAME_NO_RANK};
    block_stops();
    if (gethostname(join.host, sizeof join.host - 1) != 0)
        snprintf(join.host, sizeof join.host, "unknown");
    if (flags->ranks) {
        snprintf(join.device, sizeof join.device, "%s", flags->compute.device);
        set_digest(flags->model, join.digest);
    }
    return join_front(flags->connect, &join, err);
}

static int start(const struct engine_flags *flags) {
    struct limoe_error err;
    int fd = flags->connect ? go_to_front(flags, &err) : PROCESS_FD;
    if (fd < 0 || (!flags->connect && !process_child_setup(&err))) {
        command_complain("engine: %s", err.message);
        return COMMAND_INPUT;
    }
    struct engine_process *engine = calloc(1, sizeof *engine);
    if (!engine) {
        command_complain("engine: no memory");
        return COMMAND_INPUT;
    }
    engine->fd = fd;
    inbox_init(&engine->inbox, fd);
    link_init(&engine->out, fd);
    _exit(flags->ranks ? run_grouped(engine, flags)
                       : run(engine, flags)); /* other threads still use *engine */
}

int engine_main(int argc, char **argv) {
    struct engine_flags flags = {0};
    struct arena *arena = arena_new();
    if (!arena) {
        command_complain("engine: no memory");
        return COMMAND_INPUT;
    }
    int status;
    if (engine_flags_parse(argc, argv, arena, &flags, &status))
        status = start(&flags);
    arena_free(arena);
    return status;
}
