/* test_engine.c - protects what the front's side of an engine and the probe of its health promise, against
 * real processes: this program is also the engine that it starts. That engine runs `limoe engine` with a
 * model that this file makes up: each item's embedding is a function of the item alone, some texts break it,
 * and the whole can be made to stand still, die or lie. Test and engines share what rules it in a file, whose
 * path is the "model directory". */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "server/engine/engine_process.h"
#include "server/front/supervisor/engine.h"
#include "server/front/supervisor/health.h"
#include "server/front/supervisor/launch.h"
#include "server/options/command.h"
#include "server/protocol/join.h"
#include "server/protocol/link.h"

#define EMBED  4
#define RANKS  3 /* where there are several */
#define LAYERS 2
#define TOP_K  2

/* First tokens of texts. */
#define POISON 666 /* the step is refused */
#define DEADLY 777 /* the process ends */
#define FATAL  888 /* the process hangs */

/* ---- what test and engines share */

enum lie { HONEST, NO_HELLO, BAD_MAGIC, HUGE_LENGTH, WRONG_ID, WRONG_ITEMS, HALF_A_RESULT, UNASKED, LIES };

/* What rank 1 says of itself that cannot be. */
enum pretence { NOTHING, ANOTHERS_RANK, NO_SUCH_RANK, ANOTHER_MODEL, NO_MODEL, PRETENCES };

/* Where the next job stands still, whose first process to get there takes it back. */
enum hang { NOWHERE, BEFORE_RANKS_COME, BEFORE_THEY_MEET, HANGS };

struct fake {
    atomic_bool held;     /* a step that is being computed stands still */
    atomic_bool broken;   /* every answer is NaN */
    atomic_bool drifting; /* every answer differs */
    atomic_bool missing;  /* the model does not open */
    atomic_bool dying;    /* the process ends while it opens the model */
    atomic_bool other;    /* it is another model */
    atomic_uint steps, largest, processes;
    atomic_int ranks[RANKS]; /* their processes */
    atomic_int session;      /* the process of mpirun's with another host */
    atomic_uint opened;      /* models, by all processes */
    atomic_bool lonely;      /* rank 1 loses the others, once, and nobody has ended */
    atomic_uint keys;        /* made so far, and by which each rank of a group has joined; 0: by none */
    atomic_uint joined[RANKS], arrived[RANKS]; /* arrived: how often it has waited for the others since */
    _Atomic(enum pretence) pretence;
    _Atomic(enum hang) hang;
    _Atomic(enum lie) lie; /* of the next process, which takes it back when it has told it */
};
static struct fake *fake;

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

static void hang(enum hang where) {
    if (atomic_compare_exchange_strong(&fake->hang, &where, NOWHERE))
        pause();
}

static bool share(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *memory = mmap(NULL, sizeof *fake, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    fake = memory == MAP_FAILED ? NULL : memory;
    return fake;
}

/* ---- the made-up model, in the engine's process */

static const uint32_t moe_blocks[LAYERS] = {1, 3};
static const struct limoe_info shape = {.name = "made-up",
                                        .blocks = 4,
                                        .embed = EMBED,
                                        .image_size = 2,
                                        .image_tokens = 4,
                                        .text_length = 8,
                                        .moe_layers = LAYERS,
                                        .experts = 4,
                                        .top_k = TOP_K,
                                        .moe_blocks = moe_blocks};

struct limoe_ranks {
    uint32_t rank, count;
};
static struct limoe_ranks the_ranks = {0, 1};

static bool pretends(enum pretence pretence) {
    return the_ranks.rank == 1 && fake->pretence == pretence;
}

enum limoe_status limoe_ranks_open(const char *kind, struct limoe_ranks **out, struct limoe_error *err) {
    if (strcmp(kind, "mpi") != 0)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "there is no %s", kind);
    the_ranks.rank = (uint32_t)atoi(getenv("MADE_UP_RANK"));
    the_ranks.count = (uint32_t)atoi(getenv("MADE_UP_RANKS"));
    fake->ranks[the_ranks.rank] = getpid();
    hang(BEFORE_THEY_MEET);
    *out = &the_ranks;
    return LIMOE_OK;
}
/* A group: ranks wait for each other by what they share, and notice nobody's end. */
static atomic_bool interrupted, grouped;

enum limoe_status limoe_ranks_open_at(const char *kind, const struct limoe_rank_identity *place,
                                      struct limoe_ranks **out, struct limoe_error *err) {
    char device[16];
    snprintf(device, sizeof device, "cuda:%u", place->rank);
    if (strcmp(kind, "nccl") != 0 || strcmp(place->device, device) != 0 || place->count != RANKS)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "there is no %s on %s", kind, place->device);
    if (fake->missing)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "no GPU is made up");
    the_ranks = (struct limoe_ranks){.rank = place->rank, .count = place->count};
    fake->joined[place->rank] = 0;
    fake->ranks[place->rank] = getpid();
    grouped = true;
    *out = &the_ranks;
    return LIMOE_OK;
}

enum limoe_status limoe_ranks_make_unique_id(struct limoe_ranks *ranks,
                                             uint8_t key[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                             struct limoe_error *err) {
    (void)err;
    const unsigned serial = ++fake->keys;
    memset(key, 0x5a, LIMOE_RANKS_UNIQUE_ID_BYTES);
    memcpy(key, &serial, sizeof serial);
    return ranks->rank == 0 ? LIMOE_OK : LIMOE_INTERNAL;
}

static bool all_there(const atomic_uint *arrived, unsigned serial, unsigned least) {
    for (uint32_t r = 0; r < RANKS; r++)
        if (fake->joined[r] != serial || arrived[r] < least)
            return false;
    return true;
}

static enum limoe_status await_others(unsigned serial, unsigned least, struct limoe_error *err) {
    while (!all_there(fake->arrived, serial, least)) {
        if (interrupted)
            return limoe_fail(err, LIMOE_LOST, "rank %u was interrupted", the_ranks.rank);
        nap();
    }
    return LIMOE_OK;
}

enum limoe_status limoe_ranks_join(struct limoe_ranks *ranks, const uint8_t key[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                   struct limoe_error *err) {
    unsigned serial;
    memcpy(&serial, key, sizeof serial);
    if (key[LIMOE_RANKS_UNIQUE_ID_BYTES - 1] != 0x5a)
        return limoe_fail(err, LIMOE_INTERNAL, "that is no key");
    fake->arrived[ranks->rank] = 0;
    fake->joined[ranks->rank] = serial;
    return await_others(serial, 0, err);
}

void limoe_ranks_interrupt(struct limoe_ranks *ranks, bool on) {
    (void)ranks;
    interrupted = on;
}

static enum limoe_status meet_others(struct limoe_error *err) {
    if (!grouped)
        return LIMOE_OK;
    const uint32_t rank = the_ranks.rank;
    bool lonely = rank == 1;
    if (lonely && atomic_compare_exchange_strong(&fake->lonely, &lonely, false))
        fake->joined[rank] = 0;
    if (!fake->joined[rank])
        return limoe_fail(err, LIMOE_LOST, "rank %u is lonely", rank);
    return await_others(fake->joined[rank], ++fake->arrived[rank], err);
}

/* ---- its model again */

uint32_t limoe_ranks_rank(const struct limoe_ranks *ranks) {
    return pretends(ANOTHERS_RANK) ? 0 : pretends(NO_SUCH_RANK) ? 7 : ranks->rank;
}
uint32_t limoe_ranks_count(const struct limoe_ranks *ranks) {
    return pretends(NO_SUCH_RANK) ? 8 : ranks->count;
}
void limoe_ranks_close(struct limoe_ranks *ranks) {
    if (ranks)
        fake->ranks[ranks->rank] = 0;
}

struct limoe_model {
    struct limoe_info info;
};
static struct limoe_model the_model;

enum limoe_status limoe_model_open(const char *dir, const struct limoe_options *options,
                                   struct limoe_model **out, struct limoe_error *err) {
    (void)dir;
    (void)options;
    if (fake->dying)
        _exit(7);
    if (pretends(NO_MODEL))
        return limoe_fail(err, LIMOE_CORRUPT, "rank 1 cannot open made-up");
    if (fake->missing)
        return limoe_fail(err, LIMOE_NOT_FOUND, "made-up is not there");
    the_model.info = shape;
    if (fake->other)
        the_model.info.scoring.scale = 1;
    *out = &the_model;
    fake->opened++;
    return meet_others(err);
}
enum limoe_status limoe_model_rejoin(struct limoe_model *model, struct limoe_error *err) {
    (void)model;
    return meet_others(err);
}
void limoe_model_close(struct limoe_model *model) {
    (void)model;
}
const struct limoe_info *limoe_model_info(const struct limoe_model *model) {
    return &model->info;
}
enum limoe_dtype limoe_model_dtype(const struct limoe_model *model) {
    (void)model;
    return LIMOE_FLOAT32;
}
const char *limoe_dtype_name(enum limoe_dtype dtype) {
    return dtype == LIMOE_FLOAT32 ? "float32" : "bfloat16";
}
const char *limoe_model_backend(const struct limoe_model *model) {
    (void)model;
    return "made-up";
}
const char *limoe_model_fingerprint(const struct limoe_model *model) {
    (void)model;
    return pretends(ANOTHER_MODEL) ? "0123456789abcdef7777777777777777" : "0123456789abcdef0123456789abcdef";
}
void limoe_model_memory(const struct limoe_model *model, uint64_t *dense_bytes, uint64_t *expert_bytes,
                        uint32_t *experts_held) {
    (void)model;
    *dense_bytes = 1000;
    *expert_bytes = 100 + the_ranks.rank;
    *experts_held = 10 + the_ranks.rank;
}
uint32_t limoe_model_step_tokens(const struct limoe_model *model) {
    (void)model;
    return 2048;
}

uint32_t limoe_model_threads(const struct limoe_model *model) {
    (void)model;
    return 1;
}

/* A unit vector at an angle that depends on the item's first token or pixel. */
static void embed_item(const struct limoe_item *item, float *out) {
    double angle = item->modality == LIMOE_TEXT ? item->tokens[0] * 0.01 : item->pixels[0] * 0.01 + 3;
    memset(out, 0, EMBED * sizeof *out);
    out[0] = (float)cos(angle);
    out[1] = (float)sin(angle);
    if (fake->broken)
        out[2] = NAN;
    if (fake->drifting)
        out[3] = 1e-5F;
}

enum limoe_status limoe_model_embed(struct limoe_model *model, const struct limoe_item *items, size_t n,
                                    float *embeddings, const struct limoe_routing *routing,
                                    struct limoe_error *err) {
    (void)model;
    fake->steps++;
    while (fake->held && !interrupted)
        nap();
    if (n > fake->largest)
        fake->largest = (unsigned)n;
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        int32_t first = items[i].modality == LIMOE_TEXT ? items[i].tokens[0] : 0;
        if (first == DEADLY)
            _exit(9);
        while (first == FATAL)
            nap();
        if (first == POISON)
            return limoe_fail(err, LIMOE_INTERNAL, "item %zu is poison", i);
        rows += items[i].length;
    }
    enum limoe_status status = meet_others(err);
    if (status != LIMOE_OK)
        return status;
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        routing->rows_sent[layer] += rows * (layer + 1);
        routing->bytes_sent[layer] += 1;
        routing->exchange_ns[layer] += 1;
    }
    for (size_t i = 0, row = 0; i < n; row += items[i].length, i++) {
        embed_item(&items[i], embeddings + i * EMBED);
        for (uint32_t layer = 0; layer < LAYERS && routing->expert; layer++)
            for (uint32_t token = 0; token < items[i].length; token++)
                for (uint32_t k = 0; k < TOP_K; k++) {
                    size_t at = (layer * rows + row + token) * TOP_K + k;
                    routing->expert[at] =
                        (int32_t)(items[i].tokens[0] * 1000 + (int32_t)(layer * 100 + token * 10 + k));
                    routing->gate[at] = (float)routing->expert[at] / 2;
                }
    }
    return LIMOE_OK;
}

/* The probe's processor. */
const struct limoe_info *limoe_processor_info(const struct limoe_processor *processor) {
    (void)processor;
    return &shape;
}
enum limoe_status limoe_process_text(const struct limoe_processor *processor, const char *text, size_t size,
                                     int32_t *tokens, uint32_t *length, struct limoe_error *err) {
    (void)processor;
    (void)text;
    (void)size;
    (void)err;
    tokens[0] = 7;
    *length = 1;
    return LIMOE_OK;
}

/* ---- the engine's process: an honest one is the real one */

static void send_all(const void *bytes, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t n = write(PROCESS_FD, (const char *)bytes + sent, size - sent);
        if (n <= 0)
            _exit(1);
        sent += (size_t)n;
    }
}

static void send_hello(void) {
    struct frame_hello hello = {.model = shape,
                                .dtype = LIMOE_FLOAT32,
                                .threads = 1,
                                .step_tokens = 1024,
                                .ranks = 1,
                                .backend = "made-up",
                                .fingerprint = "0123456789abcdef0123456789abcdef"};
    uint8_t bytes[FRAME_HEADER_BYTES + FRAME_HELLO_BYTES];
    frame_put_header(&(struct frame_header){.type = FRAME_HELLO, .length = FRAME_HELLO_BYTES}, bytes);
    frame_put_hello(&hello, bytes + FRAME_HEADER_BYTES);
    send_all(bytes, sizeof bytes);
}

/* Waits for a STEP where the lie is an answer to one, and tells it. */
static int lie_once(enum lie lie) {
    static uint64_t zeros[4096];
    const struct frame_shape bounds = frame_shape(&shape, 1024);
    uint8_t head[FRAME_HEADER_BYTES], payload[FRAME_RESULT_HEAD_BYTES];
    struct iovec parts[FRAME_RESULT_PARTS];
    struct limoe_error err;
    struct link link;
    link_init(&link, PROCESS_FD);
    if (lie == NO_HELLO) {
        send_all("HTTP/1.1 400 Bad Request\r\n\r\n    ", FRAME_HEADER_BYTES);
        pause();
    }
    send_hello();
    if (lie != UNASKED && link_receive(&link, FRAME_STEP, UINT64_MAX / 2, &err) != LINK_DONE)
        return 1;
    uint32_t items;
    memcpy(&items, lie == UNASKED ? (const uint8_t *)zeros : link.payload, sizeof items);
    struct frame_result result = {.items = items + (lie == WRONG_ITEMS),
                                  .load = zeros,
                                  .rows_sent = zeros,
                                  .bytes_sent = zeros,
                                  .exchange_ns = zeros,
                                  .entropy = (const double *)zeros,
                                  .embeddings = (const float *)zeros};
    struct frame_header header = {.type = FRAME_RESULT, .id = link.frame.id + (lie == WRONG_ID)};
    header.length = frame_put_result(&bounds, &result, payload, parts);
    if (lie == HUGE_LENGTH)
        header.length = UINT64_MAX;
    frame_put_header(&header, head);
    if (lie == BAD_MAGIC)
        head[0] ^= 1;
    send_all(head, sizeof head);
    for (size_t i = 0; i < (lie == HALF_A_RESULT ? 1 : FRAME_RESULT_PARTS); i++)
        send_all(parts[i].iov_base, parts[i].iov_len);
    if (lie != HALF_A_RESULT)
        pause();
    link_free(&link);
    return 0;
}

static int honest_or_not(int argc, char **argv) {
    if (argc < 3 || !share(argv[2]))
        return 2;
    fake->processes++;
    enum lie lie = atomic_exchange(&fake->lie, HONEST);
    return lie == HONEST ? engine_main(argc, argv) : lie_once(lie);
}

/* ---- mpirun: as much of it as the front uses */

/* Someone who has found the socket, and does not know the token. */
static void visit(const char *address) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    uint8_t bytes[FRAME_HEADER_BYTES + FRAME_JOIN_BYTES];
    char answer;
    snprintf(to.sun_path, sizeof to.sun_path, "%s", address + strlen("unix:"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        _exit(3);
    frame_put_header(&(struct frame_header){.type = FRAME_JOIN, .length = FRAME_JOIN_BYTES}, bytes);
    memcpy(bytes + FRAME_HEADER_BYTES, getenv(JOIN_TOKEN), FRAME_JOIN_BYTES);
    bytes[sizeof bytes - 1] ^= 1;
    if (write(fd, bytes, sizeof bytes) != sizeof bytes || read(fd, &answer, 1) > 0)
        _exit(4); /* it must be turned away */
    close(fd);
}

/* What a killed mpirun leaves behind: files, and a session with another host. */
static void keep_things(void) {
    char name[128];
    const pid_t session = fork();
    if (session == 0) {
        alarm(60); /* nobody finds it when the test itself kills mpirun */
        _exit(pause());
    }
    fake->session = session;
    snprintf(name, sizeof name, "%s/ompi.host.0", getenv("TMPDIR"));
    if (mkdir(name, 0700) != 0 || symlink("/etc/passwd", strcat(name, "/file")) != 0)
        _exit(5);
}

static int mpirun_main(int argc, char **argv) {
    int ranks = atoi(argv[2]), program = 0;
    bool visited = false;
    while (program + 1 < argc && strcmp(argv[program + 1], "engine") != 0)
        visited = strcmp(argv[program++], "--visited") == 0 || visited;
    if (visited)
        visit(argv[argc - 1]);
    if (!share(argv[program + 3])) /* … engine --model FILE */
        return 6;
    keep_things();
    hang(BEFORE_RANKS_COME);
    pid_t pids[16];
    for (int r = 0; r < ranks; r++) {
        char text[16];
        snprintf(text, sizeof text, "%d", r);
        setenv("MADE_UP_RANK", text, 1);
        setenv("MADE_UP_RANKS", argv[2], 1);
        pids[r] = fork();
        if (pids[r] == 0)
            _exit(execv(argv[program], argv + program));
    }
    int status = 0;
    for (int left = ranks; left > 0 && status == 0; left--)
        wait(&status);
    for (int r = 0; r < ranks && status != 0; r++)
        kill(pids[r], SIGKILL);
    kill(fake->session, SIGKILL);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- jobs */

struct text_job {
    struct job job;
    int32_t token[200];
    struct limoe_item items[200];
    float embeddings[200 * EMBED];
    int32_t expert[LAYERS * 200 * 8 * TOP_K];
    float gate[LAYERS * 200 * 8 * TOP_K];
    int ended; /* event */
};

static void text_job_done(struct job *job) {
    struct text_job *text = (struct text_job *)job;
    uint64_t one = 1;
    assert_int_equal(write(text->ended, &one, sizeof one), sizeof one);
}

/* n texts of 1 + i % 8 tokens, their first tokens `token`, token + 1 … */
static struct text_job *make(size_t n, int32_t token) {
    struct text_job *text = calloc(1, sizeof *text);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) {
        text->token[i] = token + (int32_t)i;
        text->items[i] = (struct limoe_item){LIMOE_TEXT, (uint32_t)(1 + i % 8), NULL, &text->token[i]};
    }
    text->job =
        (struct job){.items = text->items, .n = n, .embeddings = text->embeddings, .done = text_job_done};
    text->ended = eventfd(0, EFD_CLOEXEC);
    return text;
}

static void wait_for(struct text_job *text) {
    uint64_t count;
    assert_int_equal(read(text->ended, &count, sizeof count), sizeof count);
    assert_int_equal(count, 1);
}

static void text_job_free(struct text_job *text) {
    close(text->ended);
    free(text);
}

static void assert_embedded(const struct text_job *text) {
    assert_int_equal(text->job.outcome, JOB_DONE);
    for (size_t i = 0; i < text->job.n; i++) {
        float expected[EMBED];
        embed_item(&text->items[i], expected);
        assert_memory_equal(&text->embeddings[i * EMBED], expected, sizeof expected);
    }
}

static void assert_routed(const struct text_job *text) {
    uint64_t row = 0;
    for (size_t item = 0; item < text->job.n; item++)
        for (uint32_t token = 0; token < text->items[item].length; token++, row++)
            for (uint32_t layer = 0; layer < LAYERS; layer++)
                for (uint32_t k = 0; k < TOP_K; k++) {
                    size_t at = (layer * text->job.rows + row) * TOP_K + k;
                    int32_t expected = text->token[item] * 1000 + (int32_t)(layer * 100 + token * 10 + k);
                    assert_int_equal(text->expert[at], expected);
                    assert_true(text->gate[at] == (float)expected / 2);
                }
}

/* ---- the fixture */

static const char *const routes[] = {"/"};

struct fixture {
    struct queue *queue;
    struct metrics *metrics;
    struct log *log;
    struct engine *engine;
    int opened;
};

static void push(struct fixture *fixture, struct text_job *text) {
    struct queue_load load = {.items = text->job.n};
    for (size_t i = 0; i < text->job.n; i++)
        load.tokens += text->items[i].length;
    queue_charge(fixture->queue, &load);
    assert_true(queue_push(fixture->queue, &text->job));
}

static char path[] = "/tmp/limoe-test-engine-XXXXXX";

static struct fixture start_with(struct engine_options options) {
    const struct queue_load limits = {1000000, 1000000, 1000000, 1000000};
    struct fixture fixture = {.queue = queue_new(&limits),
                              .metrics = metrics_new(routes, 1, 1),
                              .log = log_new(STDERR_FILENO, LOG_TEXT, LOG_ERROR),
                              .opened = eventfd(0, EFD_CLOEXEC)};
    options.model = path;
    options.queue = fixture.queue;
    options.metrics = fixture.metrics;
    options.log = fixture.log;
    options.opened_event = fixture.opened;
    uint64_t count;
    fake->steps = fake->largest = fake->processes = fake->opened = 0;
    assert_int_equal(engine_start(&options, &fixture.engine, NULL), LIMOE_OK);
    assert_int_equal(read(fixture.opened, &count, sizeof count), sizeof count);
    return fixture;
}

static struct fixture start(uint64_t step_tokens) {
    return start_with((struct engine_options){.step_tokens = step_tokens});
}

static void stop(struct fixture *fixture) {
    engine_stop(fixture->engine);
    assert_int_equal(queue_depth(fixture->queue).items, 0);
    assert_int_equal(queue_depth(fixture->queue).tokens, 0);
    close(fixture->opened);
    queue_free(fixture->queue);
    metrics_free(fixture->metrics);
    log_free(fixture->log);
}

/* The steps that the engine has begun. */
static void await_steps(unsigned steps) {
    while (fake->steps < steps)
        nap();
}

static double metric(struct fixture *fixture, const char *name) {
    struct buffer page = {0};
    struct metrics_gauges gauges = {0};
    char line[128];
    metrics_write(fixture->metrics, &gauges, &page);
    buffer_string(&page, "");
    char *text = strndup(page.data, page.size);
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(text, line);
    assert_non_null(found);
    double value = strtod(found + strlen(line), NULL);
    free(text);
    buffer_free(&page);
    return value;
}

/* ---- steps */

static void test_many_jobs_each_get_their_own(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *jobs[20];
    fake->held = true; /* so that they pile up and share steps */
    for (int i = 0; i < 20; i++) {
        jobs[i] = make(1 + (size_t)i * 10, 1000 * (i + 1));
        if (i % 3 == 0) {
            jobs[i]->job.expert = jobs[i]->expert;
            jobs[i]->job.gate = jobs[i]->gate;
        }
        push(&fixture, jobs[i]);
    }
    fake->held = false;
    for (int i = 0; i < 20; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        if (i % 3 == 0)
            assert_routed(jobs[i]);
        text_job_free(jobs[i]);
    }
    assert_true(fake->largest > 8);
    assert_int_equal(fake->processes, 1);
    stop(&fixture);
}

/* Twelve jobs of five items, the last of the seventh job's bad; all in one step. */
static struct text_job *jobs12[12];

static void push12(struct fixture *fixture, int32_t bad) {
    fake->held = true;
    struct text_job *first = make(1, 1);
    push(fixture, first);
    await_steps(1);
    for (int i = 0; i < 12; i++) {
        jobs12[i] = make(5, i == 6 ? bad - 4 : 1000 * (i + 1));
        push(fixture, jobs12[i]);
    }
    fake->held = false;
    wait_for(first);
    text_job_free(first);
}

static void assert_only_the_seventh_failed(const char *message) {
    for (int i = 0; i < 12; i++) {
        wait_for(jobs12[i]);
        if (i != 6) {
            assert_embedded(jobs12[i]);
        } else {
            assert_int_equal(jobs12[i]->job.outcome, JOB_FAILED);
            assert_non_null(strstr(jobs12[i]->job.error.message, message));
        }
    }
    for (int i = 0; i < 12; i++)
        text_job_free(jobs12[i]);
}

static void test_a_refused_item_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start(1024);
    push12(&fixture, POISON);
    assert_only_the_seventh_failed("poison");
    assert_int_equal(fake->processes, 1);
    stop(&fixture);
}

static void test_an_item_that_kills_the_engine_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start(1024);
    push12(&fixture, DEADLY);
    assert_only_the_seventh_failed(
        "lost twice while it computed item 4, the last time alone: exited with status 9");
    assert_true(fake->processes >= 3);
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == fake->processes - 1);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= 3);
    char why[700];
    assert_true(
        engine_running(fixture.engine, why, sizeof why)); /* it is the item's fault, not the engine's */
    stop(&fixture);
}

static void test_an_item_that_hangs_the_engine_fails_alone(void **state) {
    (void)state;
    struct fixture fixture = start_with((struct engine_options){.step_tokens = 64, .step_seconds = 1});
    struct text_job *hanging = make(1, FATAL), *neighbour = make(1, 5);
    push(&fixture, hanging);
    push(&fixture, neighbour);
    wait_for(hanging);
    wait_for(neighbour);
    assert_embedded(neighbour);
    assert_int_equal(hanging->job.outcome, JOB_FAILED);
    assert_non_null(strstr(hanging->job.error.message, "did not answer a step for 1 s"));
    text_job_free(hanging);
    text_job_free(neighbour);
    stop(&fixture);
}

static void test_a_passed_deadline_is_not_computed(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *first = make(1, 1), *late = make(1, 2);
    fake->held = true;
    push(&fixture, first);
    await_steps(1);
    late->job.deadline = clock_now() + CLOCK_MILLISECOND;
    push(&fixture, late);
    while (clock_now() < late->job.deadline)
        nap();
    fake->held = false;
    wait_for(first);
    wait_for(late);
    assert_int_equal(late->job.outcome, JOB_EXPIRED);
    assert_int_equal(late->job.started, 0);
    assert_int_equal(fake->steps, 1);
    text_job_free(first);
    text_job_free(late);
    stop(&fixture);
}

static void test_stopping_computes_what_waits(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *text = make(200, 1000);
    push(&fixture, text);
    stop(&fixture);
    assert_embedded(text);
    text_job_free(text);
}

/* ---- losses */

static void lose(struct fixture *fixture, int signal_number) {
    pid_t pid;
    while ((pid = engine_pid(fixture->engine)) == 0)
        nap();
    kill(pid, signal_number);
}

static void test_a_killed_engines_work_is_done_again(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    for (int round = 0; round < 5; round++) {
        struct text_job *jobs[8];
        unsigned before = fake->steps;
        fake->held = true;
        for (int i = 0; i < 8; i++) {
            jobs[i] = make(100, 1000 * (i + 1));
            push(&fixture, jobs[i]);
        }
        await_steps(before + 1);
        lose(&fixture, SIGKILL);
        fake->held = false;
        for (int i = 0; i < 8; i++) {
            wait_for(jobs[i]);
            assert_embedded(jobs[i]);
            text_job_free(jobs[i]);
        }
    }
    assert_int_equal(fake->processes, 6);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= 5);
    stop(&fixture);
}

static void test_an_engine_that_stands_still_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_with((struct engine_options){.step_tokens = 64, .step_seconds = 1});
    struct text_job *text = make(100, 1000);
    lose(&fixture, SIGSTOP);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, 2);
    text_job_free(text);
    stop(&fixture);
}

static void test_an_idle_engine_that_dies_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    lose(&fixture, SIGKILL);
    while (fake->processes < 2)
        nap();
    struct text_job *text = make(1, 1000);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    text_job_free(text);
    stop(&fixture);
}

/* Whatever an engine says that cannot be, the front replaces it, and nothing that it said counts. */
static void test_a_liar_is_replaced(void **state) {
    (void)state;
    for (enum lie lie = BAD_MAGIC; lie < LIES; lie++) {
        fake->lie = lie;
        struct fixture fixture = start(1024);
        struct text_job *text = make(100, 1000);
        push(&fixture, text);
        wait_for(text);
        assert_embedded(text);
        assert_int_equal(fake->processes, 2);
        text_job_free(text);
        stop(&fixture);
    }
}

/* ---- several ranks */

/* Where a step's time is not the matter it is long: on a busy machine a sound one may take seconds. */
enum { IMPATIENT = 4 };

static struct fixture start_ranks_with(uint64_t step_tokens, const char *arguments, unsigned step_seconds) {
    return start_with((struct engine_options){
        .step_tokens = step_tokens,
        .step_seconds = step_seconds,
        .launch = {.ranks = RANKS, .mpirun = "/proc/self/exe", .arguments = arguments},
    });
}

static struct fixture start_ranks(uint64_t step_tokens, const char *arguments) {
    return start_ranks_with(step_tokens, arguments, 0);
}

static void lose_rank(uint32_t rank, int signal_number) {
    int pid;
    while ((pid = fake->ranks[rank]) == 0)
        nap();
    kill(pid, signal_number);
}

static double metric_of(struct fixture *fixture, const char *name, uint32_t block) {
    char full[128];
    snprintf(full, sizeof full, "%s{model=\"made-up\",layer=\"%u\"}", name, block);
    return metric(fixture, full);
}

static void test_ranks_share_steps(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, NULL);
    struct text_job *jobs[8], *alone = make(1, 7);
    double tokens = alone->items[0].length;
    push(&fixture, alone); /* two ranks have nothing to do */
    wait_for(alone);
    assert_embedded(alone);
    for (int i = 0; i < 8; i++) {
        jobs[i] = make(20 + (size_t)i, 1000 * (i + 1));
        if (i % 2) {
            jobs[i]->job.expert = jobs[i]->expert;
            jobs[i]->job.gate = jobs[i]->gate;
        }
        for (size_t k = 0; k < jobs[i]->job.n; k++)
            tokens += jobs[i]->items[k].length;
        push(&fixture, jobs[i]);
    }
    for (int i = 0; i < 8; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        if (jobs[i]->job.expert)
            assert_routed(jobs[i]);
    }
    assert_int_equal(fake->processes, RANKS);
    assert_int_equal(fake->steps % RANKS, 0);
    assert_true(metric_of(&fixture, "limoe_exchange_rows_total", 1) == tokens);
    assert_true(metric_of(&fixture, "limoe_exchange_rows_total", 3) == 2 * tokens);
    assert_true(metric_of(&fixture, "limoe_exchange_bytes_total", 3) == fake->steps);
    struct engine_rank ranks[RANKS];
    assert_int_equal(engine_ranks(fixture.engine, ranks, RANKS), RANKS);
    assert_int_equal(engine_info(fixture.engine)->ranks, RANKS);
    for (uint32_t r = 0; r < RANKS; r++) {
        assert_int_equal(ranks[r].pid, fake->ranks[r]);
        assert_int_equal(ranks[r].experts, 10 + r);
        assert_int_equal(ranks[r].dense_bytes, 1000);
        assert_int_equal(ranks[r].expert_bytes, 100 + r);
    }
    for (int i = 0; i < 8; i++)
        text_job_free(jobs[i]);
    text_job_free(alone);
    stop(&fixture);
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(fake->ranks[r], 0); /* they took leave */
}

static void test_a_lost_rank_is_a_lost_job(void **state) {
    (void)state;
    struct fixture fixture = start_ranks_with(64, NULL, IMPATIENT);
    const int signals[RANKS] = {SIGKILL, SIGSTOP, SIGABRT}; /* a stopped one is found by its step's time */
    for (uint32_t victim = 0; victim < RANKS; victim++) {
        struct text_job *jobs[4];
        unsigned before = fake->steps;
        fake->held = true;
        for (int i = 0; i < 4; i++) {
            jobs[i] = make(100, 1000 * (i + 1));
            push(&fixture, jobs[i]);
        }
        await_steps(before + 1);
        lose_rank(victim, signals[victim]);
        if (signals[victim] != SIGSTOP)
            while (fake->processes < RANKS * (victim + 2))
                nap();
        fake->held = false;
        for (int i = 0; i < 4; i++) {
            wait_for(jobs[i]);
            assert_embedded(jobs[i]);
            text_job_free(jobs[i]);
        }
    }
    assert_int_equal(fake->processes, RANKS * (RANKS + 1));
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == RANKS);
    stop(&fixture);
}

static void test_a_lost_idle_rank_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, NULL);
    char files[64];
    lose_rank(2, SIGKILL);
    while (fake->processes < 2 * RANKS)
        nap();
    snprintf(files, sizeof files, "/tmp/limoe-job-%d", engine_pid(fixture.engine));
    assert_int_equal(access(files, F_OK), 0);
    lose(&fixture, SIGKILL); /* mpirun */
    while (fake->processes < 3 * RANKS)
        nap();
    assert_int_not_equal(access(files, F_OK), 0);
    struct text_job *text = make(100, 1000);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    text_job_free(text);
    stop(&fixture);
}

/* False also of one that has ended and that nobody has reaped. */
static bool runs(pid_t pid) {
    char link[32], program[8];
    snprintf(link, sizeof link, "/proc/%d/exe", pid);
    return readlink(link, program, sizeof program) > 0;
}

/* Hosts out of reach make a job stand still: mpirun waits for one, or ranks wait for each other. It is not
 * waited for as long as a model may take to be opened. */
static void test_a_job_that_does_not_come_together_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, NULL);
    for (enum hang where = BEFORE_RANKS_COME; where < HANGS; where++) {
        struct text_job *first = make(1, 7), *text = make(100, 1000);
        push(&fixture, first);
        wait_for(first);
        fake->hang = where;
        const int64_t lost = clock_now();
        lose_rank(1, SIGKILL);
        while (fake->hang == where)
            nap();
        const pid_t session = fake->session;
        push(&fixture, text);
        wait_for(text);
        assert_embedded(text);
        assert_int_equal(fake->hang, NOWHERE);
        assert_int_not_equal(fake->session, session);
        assert_false(runs(session));
        assert_true(clock_now() - lost < 30 * CLOCK_SECOND);
        text_job_free(first);
        text_job_free(text);
    }
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == 4);
    stop(&fixture);
}

static void test_items_that_break_a_rank_fail_alone(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(1024, NULL);
    push12(&fixture, POISON);
    assert_only_the_seventh_failed("is poison");
    push12(&fixture, DEADLY);
    assert_only_the_seventh_failed("lost twice while it computed item 4, the last time alone");
    stop(&fixture);
}

static void test_only_who_has_the_token_joins(void **state) {
    (void)state;
    struct fixture fixture = start_ranks(64, "--visited  --twice");
    assert_int_equal(engine_opened(fixture.engine, NULL), LIMOE_OK);
    struct text_job *text = make(100, 1000);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, RANKS);
    text_job_free(text);
    stop(&fixture);
}

static void test_ranks_that_do_not_agree_are_refused(void **state) {
    (void)state;
    static const char *const reasons[PRETENCES] = {
        [ANOTHERS_RANK] = "two ranks say that they are rank 0",
        [NO_SUCH_RANK] = "rank 7 of 8, in a job of 3",
        [ANOTHER_MODEL] =
            "rank 1 does not compute as rank 0 does: it has made-up 0123456789abcdef7777777777777777",
        [NO_MODEL] = "rank 1 cannot open made-up",
    };
    for (enum pretence pretence = ANOTHERS_RANK; pretence < PRETENCES; pretence++) {
        struct limoe_error err;
        fake->pretence = pretence;
        struct fixture fixture = start_ranks(64, NULL);
        assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_CORRUPT);
        assert_non_null(strstr(err.message, reasons[pretence]));
        fake->pretence = NOTHING;
        stop(&fixture);
    }
}

static void test_a_job_that_cannot_start_says_why(void **state) {
    (void)state;
    const struct {
        struct launch_options launch;
        const char *reason;
    } cases[] = {
        {{.ranks = 2, .mpirun = "/nowhere/mpirun"},
         "cannot start \"/nowhere/mpirun\": No such file or directory"},
        {{.ranks = 2, .mpirun = "/bin/false"}, "mpirun exited with status 1"},
        {{.ranks = 2, .mpirun = "/bin/true", .address = "no.such.host.invalid"}, "is no address for ranks"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct limoe_error err;
        struct fixture fixture =
            start_with((struct engine_options){.step_tokens = 64, .launch = cases[i].launch});
        assert_int_not_equal(engine_opened(fixture.engine, &err), LIMOE_OK);
        assert_non_null(strstr(err.message, cases[i].reason));
        stop(&fixture);
    }
}

/* ---- a group */

static struct fixture start_group_with(uint64_t step_tokens, unsigned step_seconds) {
    return start_with((struct engine_options){
        .step_tokens = step_tokens,
        .step_seconds = step_seconds,
        .compute = {.device = "cuda"},
        .launch = {.ranks = RANKS},
    });
}

static struct fixture start_group(uint64_t step_tokens) {
    return start_group_with(step_tokens, 0);
}

static void get_pids(struct fixture *fixture, pid_t pids[RANKS]) {
    struct engine_rank ranks[RANKS];
    assert_int_equal(engine_ranks(fixture->engine, ranks, RANKS), RANKS);
    for (uint32_t r = 0; r < RANKS; r++)
        pids[r] = ranks[r].pid;
}

/* Work enough for several steps, and somebody is lost while it is computed. */
static void embed_while(struct fixture *fixture, void (*lose_some)(uint32_t), uint32_t victim) {
    struct text_job *jobs[4];
    unsigned before = fake->steps;
    fake->held = true;
    for (int i = 0; i < 4; i++) {
        jobs[i] = make(100, 1000 * (i + 1));
        push(fixture, jobs[i]);
    }
    await_steps(before + 1);
    lose_some(victim);
    fake->held = false;
    for (int i = 0; i < 4; i++) {
        wait_for(jobs[i]);
        assert_embedded(jobs[i]);
        text_job_free(jobs[i]);
    }
}

static void lose_one(uint32_t victim) {
    lose_rank(victim, SIGKILL);
}

static void lose_two(uint32_t victim) {
    lose_rank(victim, SIGKILL);
    lose_rank((victim + 1) % RANKS, SIGKILL);
}

static void test_a_group_shares_steps(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    struct text_job *text = make(200, 1000);
    pid_t pids[RANKS];
    text->job.expert = text->expert;
    text->job.gate = text->gate;
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_routed(text);
    get_pids(&fixture, pids);
    for (uint32_t r = 0; r < RANKS; r++)
        assert_int_equal(pids[r], fake->ranks[r]);
    assert_int_equal(engine_pid(fixture.engine), pids[0]);
    assert_int_equal(engine_info(fixture.engine)->ranks, RANKS);
    assert_int_equal(fake->processes, RANKS);
    assert_int_equal(fake->steps % RANKS, 0);
    text_job_free(text);
    stop(&fixture);
}

/* The others keep their processes and their models, and nothing fails. */
static void test_a_lost_rank_of_a_group_alone_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    for (uint32_t victim = 0; victim < RANKS; victim++) {
        pid_t before[RANKS], after[RANKS];
        get_pids(&fixture, before);
        embed_while(&fixture, lose_one, victim);
        get_pids(&fixture, after);
        for (uint32_t r = 0; r < RANKS; r++)
            assert_true((before[r] == after[r]) == (r != victim));
        assert_int_equal(fake->processes, RANKS + victim + 1);
        assert_int_equal(fake->opened, RANKS + victim + 1);
    }
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == RANKS);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= RANKS);
    stop(&fixture);
}

static void test_two_ranks_of_a_group_are_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    pid_t before[RANKS], after[RANKS];
    get_pids(&fixture, before);
    embed_while(&fixture, lose_two, 2); /* and 0 */
    get_pids(&fixture, after);
    assert_int_not_equal(before[0], after[0]);
    assert_int_equal(before[1], after[1]);
    assert_int_not_equal(before[2], after[2]);
    assert_int_equal(fake->processes, RANKS + 2);
    stop(&fixture);
}

static void test_an_idle_rank_of_a_group_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    struct text_job *text = make(100, 1000);
    lose_one(1);
    while (fake->processes < RANKS + 1)
        nap();
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, RANKS + 1);
    text_job_free(text);
    stop(&fixture);
}

/* Whose fault it is, nobody knows. */
static void test_a_group_that_stands_still_is_replaced(void **state) {
    (void)state;
    struct fixture fixture = start_group_with(64, IMPATIENT);
    struct text_job *text = make(100, 1000);
    lose_rank(1, SIGSTOP);
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_int_equal(fake->processes, 2 * RANKS);
    text_job_free(text);
    stop(&fixture);
}

/* No process has ended, and none is replaced. */
static void test_ranks_that_lose_each_other_join_again(void **state) {
    (void)state;
    struct fixture fixture = start_group(64);
    struct text_job *text = make(200, 1000);
    fake->lonely = true;
    push(&fixture, text);
    wait_for(text);
    assert_embedded(text);
    assert_false(fake->lonely);
    assert_int_equal(fake->processes, RANKS);
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == 0);
    assert_true(metric(&fixture, "limoe_steps_replayed_total") >= 1);
    text_job_free(text);
    stop(&fixture);
}

static void test_items_that_break_a_rank_of_a_group_fail_alone(void **state) {
    (void)state;
    struct fixture fixture = start_group(1024);
    push12(&fixture, DEADLY);
    assert_only_the_seventh_failed(
        "lost twice while it computed item 4, the last time alone: exited with status 9");
    assert_true(metric(&fixture, "limoe_engine_restarts_total") == fake->processes - RANKS);
    stop(&fixture);
}

static void test_a_group_that_cannot_start_says_why(void **state) {
    (void)state;
    struct limoe_error err;
    fake->missing = true;
    struct fixture fixture = start_group(64);
    fake->missing = false;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_UNSUPPORTED);
    assert_string_equal(err.message, "no GPU is made up");
    stop(&fixture);
    fake->pretence = ANOTHERS_RANK;
    fixture = start_group(64);
    fake->pretence = NOTHING;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_CORRUPT);
    assert_string_equal(err.message, "rank 1 says that it is rank 0");
    stop(&fixture);
}

/* ---- starts that fail */

static void test_a_model_that_does_not_open(void **state) {
    (void)state;
    fake->missing = true;
    struct fixture fixture = start(64);
    fake->missing = false;
    struct limoe_error err;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_NOT_FOUND);
    assert_string_equal(err.message, "made-up is not there");
    assert_null(engine_info(fixture.engine));
    assert_int_equal(fake->processes, 1); /* it would not help to try again */
    stop(&fixture);
}

static void test_an_engine_that_never_gets_to_open_the_model(void **state) {
    (void)state;
    fake->dying = true;
    struct fixture fixture = start(64);
    fake->dying = false;
    struct limoe_error err;
    assert_int_equal(engine_opened(fixture.engine, &err), LIMOE_INTERNAL);
    assert_non_null(strstr(err.message, "exited with status 7"));
    assert_int_equal(fake->processes, 3);
    stop(&fixture);
}

static void test_what_is_no_engine_is_not_believed(void **state) {
    (void)state;
    fake->lie = NO_HELLO;
    struct fixture fixture = start(64); /* the second process is honest */
    assert_int_equal(engine_opened(fixture.engine, NULL), LIMOE_OK);
    assert_int_equal(fake->processes, 2);
    stop(&fixture);
}

/* The engine dies, and those after it are of no use, for the reason given, until that is taken away. */
static void check_outage(atomic_bool *cause, const char *reason) {
    struct fixture fixture = start(64);
    struct text_job *first = make(1, 1), *waiting = make(100, 1000);
    char why[700];
    push(&fixture, first);
    wait_for(first);
    *cause = true;
    lose(&fixture, SIGKILL);
    push(&fixture, waiting);
    while (engine_running(fixture.engine, why, sizeof why))
        nap();
    assert_non_null(strstr(why, reason));
    assert_int_equal(queue_depth(fixture.queue).items, waiting->job.n); /* it waits, within its deadline */
    *cause = false;
    wait_for(waiting);
    assert_embedded(waiting);
    assert_true(engine_running(fixture.engine, why, sizeof why));
    assert_string_equal(engine_info(fixture.engine)->fingerprint, "0123456789abcdef0123456789abcdef");
    text_job_free(first);
    text_job_free(waiting);
    stop(&fixture);
}

static void test_outages_have_reasons_and_ends(void **state) {
    (void)state;
    check_outage(&fake->dying, "exited with status 7");
    check_outage(&fake->missing, "made-up is not there");
    check_outage(&fake->other, "not the model any more");
}

static void test_too_much_memory_is_a_loss(void **state) {
    (void)state;
    struct fixture fixture = start_with((struct engine_options){.step_tokens = 64, .memory_bytes = 4096});
    char why[700];
    while (engine_running(fixture.engine, why, sizeof why))
        nap();
    assert_non_null(strstr(why, "resident memory, more than the 4096 it may have"));
    stop(&fixture);
}

static void test_stopping_without_an_engine_gives_up(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct text_job *in_hand = make(1, 1), *waiting = make(1, 2);
    fake->held = true;
    push(&fixture, in_hand);
    await_steps(1);
    push(&fixture, waiting);
    fake->dying = true;
    lose(&fixture, SIGKILL);
    char why[700];
    while (engine_running(fixture.engine, why, sizeof why))
        nap();
    stop(&fixture);
    wait_for(in_hand);
    wait_for(waiting);
    assert_int_equal(in_hand->job.outcome, JOB_FAILED);
    assert_int_equal(waiting->job.outcome, JOB_ABANDONED);
    fake->held = fake->dying = false;
    text_job_free(in_hand);
    text_job_free(waiting);
}

/* ---- health */

static void await_answer(int event) {
    uint64_t count;
    assert_int_equal(read(event, &count, sizeof count), sizeof count);
}

static void test_health_follows_the_engines_answers(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct health *health;
    char why[700];
    int answered = eventfd(0, EFD_CLOEXEC);
    const int64_t limit = 3600 * CLOCK_SECOND;
    assert_int_equal(health_new(NULL, fixture.queue, limit, answered, &health, NULL), LIMOE_OK);
    health_watch(health, fixture.engine);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "first probe"));

    int64_t now = clock_now();
    health_probe(health, now);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));

    fake->broken = true;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "length"));
    fake->broken = false;

    fake->drifting = true;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_false(health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "otherwise than at start"));
    fake->drifting = false;

    lose(&fixture, SIGKILL);
    health_probe(health, now += 2 * CLOCK_SECOND); /* answered by the next engine, with the same bits */
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));

    fake->dying = true;
    lose(&fixture, SIGKILL);
    while (health_good(health, why, sizeof why))
        nap();
    assert_non_null(strstr(why, "exited with status 7"));
    fake->dying = false;
    health_probe(health, now += 2 * CLOCK_SECOND);
    await_answer(answered);
    assert_true(health_good(health, why, sizeof why));
    stop(&fixture);
    health_free(health);
    close(answered);
}

static void test_health_sees_an_engine_that_stands_still(void **state) {
    (void)state;
    struct fixture fixture = start(64);
    struct health *health;
    char why[700];
    int answered = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(health_new(NULL, fixture.queue, CLOCK_MILLISECOND, answered, &health, NULL), LIMOE_OK);
    int64_t now = clock_now();
    health_probe(health, now);
    await_answer(answered);
    fake->held = true;
    health_probe(health, now + 2 * CLOCK_SECOND);
    do
        nap();
    while (health_good(health, why, sizeof why));
    assert_non_null(strstr(why, "has not answered a probe for"));
    fake->held = false;
    stop(&fixture);
    health_free(health);
    close(answered);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "engine") == 0)
        return honest_or_not(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "launch") == 0)
        return launch_main(argc - 1, argv + 1);
    if (argc > 2 && strcmp(argv[1], "-n") == 0)
        return mpirun_main(argc, argv);
    unsetenv("TMPDIR"); /* so that it is known where mpirun's files are */
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, sizeof *fake) != 0 || !share(path))
        return 2;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_jobs_each_get_their_own),
        cmocka_unit_test(test_a_refused_item_fails_alone),
        cmocka_unit_test(test_an_item_that_kills_the_engine_fails_alone),
        cmocka_unit_test(test_an_item_that_hangs_the_engine_fails_alone),
        cmocka_unit_test(test_a_passed_deadline_is_not_computed),
        cmocka_unit_test(test_stopping_computes_what_waits),
        cmocka_unit_test(test_a_killed_engines_work_is_done_again),
        cmocka_unit_test(test_an_engine_that_stands_still_is_replaced),
        cmocka_unit_test(test_an_idle_engine_that_dies_is_replaced),
        cmocka_unit_test(test_a_liar_is_replaced),
        cmocka_unit_test(test_ranks_share_steps),
        cmocka_unit_test(test_a_lost_rank_is_a_lost_job),
        cmocka_unit_test(test_a_lost_idle_rank_is_replaced),
        cmocka_unit_test(test_a_job_that_does_not_come_together_is_replaced),
        cmocka_unit_test(test_items_that_break_a_rank_fail_alone),
        cmocka_unit_test(test_only_who_has_the_token_joins),
        cmocka_unit_test(test_ranks_that_do_not_agree_are_refused),
        cmocka_unit_test(test_a_job_that_cannot_start_says_why),
        cmocka_unit_test(test_a_group_shares_steps),
        cmocka_unit_test(test_a_lost_rank_of_a_group_alone_is_replaced),
        cmocka_unit_test(test_two_ranks_of_a_group_are_replaced),
        cmocka_unit_test(test_an_idle_rank_of_a_group_is_replaced),
        cmocka_unit_test(test_a_group_that_stands_still_is_replaced),
        cmocka_unit_test(test_ranks_that_lose_each_other_join_again),
        cmocka_unit_test(test_items_that_break_a_rank_of_a_group_fail_alone),
        cmocka_unit_test(test_a_group_that_cannot_start_says_why),
        cmocka_unit_test(test_a_model_that_does_not_open),
        cmocka_unit_test(test_an_engine_that_never_gets_to_open_the_model),
        cmocka_unit_test(test_what_is_no_engine_is_not_believed),
        cmocka_unit_test(test_outages_have_reasons_and_ends),
        cmocka_unit_test(test_too_much_memory_is_a_loss),
        cmocka_unit_test(test_stopping_without_an_engine_gives_up),
        cmocka_unit_test(test_health_follows_the_engines_answers),
        cmocka_unit_test(test_health_sees_an_engine_that_stands_still),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
