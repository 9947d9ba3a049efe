/* Ranks on GPUs, over NCCL: any number of them gives the bits that one gives; one that is killed in the midst
 * of a step costs the others that step and nothing else; what waits for ranks that do not come can be told to
 * stop.
 *
 * The GPUs and NCCL are emulated (tests/emulator). This program starts the ranks, as the front does, and tells
 * them what to do through memory that they share.
 *
 * usage: LIMOE_MODULES=… test_gpus
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/model/fixture.h"

enum { RANKS = 3, ITEMS = 20, EMBED = 44, ROWS = 24, ALL = RANKS };
#define TIMEOUT 60.0 /* s */

/* Odd sizes on purpose: no width here is a multiple of a tile. */
#define CONFIG CONFIG_OF("2", "true")
/* Each row to one expert, on one rank. */
#define CONFIG_TOP_1 CONFIG_OF("1", "false")
#define CONFIG_OF(top_k, renormalize)                                                                        \
    "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":60,\"blocks\":3,\"heads\":3,\"mlp\":76,"            \
    "\"embed\":44,\"qk_norm\":true,"                                                                         \
    "\"image\":{\"size\":24,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"                      \
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"                                        \
    "\"moe\":{\"blocks\":[0,2],\"experts\":5,\"top_k\":" top_k ",\"renormalize\":" renormalize "}}"

/* ---- what this program and the ranks share */

enum order { REST, MAKE_UNIQUE_ID, JOIN, OPEN, REJOIN, EMBED_SHARE, EMBED_FOR_EVER, EMBED_ROWS };

struct rank {
    _Atomic(enum order) order; /* REST: it is done, and this is how: */
    enum limoe_status status;
    char message[512];
    char fingerprint[40];
    atomic_bool interrupted; /* what it waits for is over */
    atomic_uint calls;       /* embeddings that it has begun */
    uint64_t used;           /* bytes of its GPU, at the end of the last order */
    float z[ITEMS][EMBED];
};

static struct shared {
    struct fixture fixture;
    enum limoe_dtype dtype;
    const char *device; /* NULL: the rank's own GPU */
    uint32_t ranks;     /* 1: alone, without an exchange */
    uint32_t busy;      /* EMBED_ROWS: which rank has items */
    uint8_t key[LIMOE_RANKS_UNIQUE_ID_BYTES];
    struct rank rank[RANKS];
} * shared;

static pid_t pids[RANKS];

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- a rank */

struct child {
    uint32_t index;
    struct rank *self;
    struct limoe_ranks *ranks;
    struct limoe_model *model;
    struct limoe_item *items;
};

/* Beside the thread that uses the ranks, as an engine's reader. */
static void *interrupt(void *argument) {
    const struct child *c = argument;
    for (bool on = false;; nap())
        if (atomic_load(&c->self->interrupted) != on)
            limoe_ranks_interrupt(c->ranks, on = !on);
    return NULL;
}

/* Of the items, unevenly: with three ranks 1 : 0 : 4; the first is the last's neighbour. */
static bool is_mine(const struct child *c, size_t item) {
    return shared->ranks == 1 || (shared->ranks == 2 ? item % 3 > 0 : item % 5 > 0 ? 2 : 0) == c->index;
}

static enum limoe_status embed_share(struct child *c, struct limoe_error *err) {
    struct limoe_item items[ITEMS];
    float z[ITEMS][EMBED];
    size_t n = 0;
    for (size_t i = 0; i < ITEMS; i++)
        if (is_mine(c, i))
            items[n++] = c->items[i];
    c->self->calls++;
    enum limoe_status status = limoe_model_embed(c->model, items, n, z[0], NULL, err);
    n = 0;
    for (size_t i = 0; !status && i < ITEMS; i++)
        if (is_mine(c, i))
            memcpy(c->self->z[i], z[n++], sizeof z[0]);
    return status;
}

/* ROWS texts of one token, all the same, by one rank. */
static enum limoe_status embed_rows(struct child *c, struct limoe_error *err) {
    static const int32_t token = 3;
    struct limoe_item items[ROWS];
    float(*z)[EMBED] = malloc(ROWS * sizeof *z);
    for (size_t i = 0; i < ROWS; i++)
        items[i] = (struct limoe_item){.modality = LIMOE_TEXT, .length = 1, .tokens = &token};
    enum limoe_status status =
        limoe_model_embed(c->model, items, c->index == shared->busy ? ROWS : 0, z[0], NULL, err);
    free(z);
    return status;
}

static enum limoe_status open_model(struct child *c, struct limoe_error *err) {
    char device[16];
    const struct limoe_options options = {.device = shared->device ? shared->device : device,
                                          .dtype = shared->dtype,
                                          .threads = 1,
                                          .ranks = c->ranks};
    snprintf(device, sizeof device, "cuda:%u", c->index);
    enum limoe_status status = limoe_model_open(shared->fixture.dir, &options, &c->model, err);
    if (status)
        return status;
    if (!c->items)
        c->items = fixture_items(limoe_model_info(c->model), 1, ITEMS, 31);
    snprintf(c->self->fingerprint, sizeof c->self->fingerprint, "%s", limoe_model_fingerprint(c->model));
    return LIMOE_OK;
}

static enum limoe_status follow(struct child *c, enum order order, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    switch (order) {
    case MAKE_UNIQUE_ID:
        return limoe_ranks_make_unique_id(c->ranks, shared->key, err);
    case JOIN:
        return limoe_ranks_join(c->ranks, shared->key, err);
    case OPEN:
        return open_model(c, err);
    case REJOIN:
        return limoe_model_rejoin(c->model, err);
    case EMBED_SHARE:
        return embed_share(c, err);
    case EMBED_FOR_EVER:
        while (!status)
            status = embed_share(c, err);
        return status;
    case EMBED_ROWS:
        return embed_rows(c, err);
    case REST:
        break;
    }
    return LIMOE_INTERNAL;
}

static int run_rank(uint32_t index) {
    char device[16];
    struct child c = {.index = index, .self = &shared->rank[index]};
    struct limoe_error err = {.message = ""};
    pthread_t thread;
    snprintf(device, sizeof device, "cuda:%u", index);
    const struct limoe_rank_identity identity = {.rank = index, .count = shared->ranks, .device = device};
    if (shared->ranks > 1 && (limoe_ranks_open_at("nccl", &identity, &c.ranks, &err) ||
                              pthread_create(&thread, NULL, interrupt, &c))) {
        fprintf(stderr, "rank %u: %s\n", index, err.message);
        return 1;
    }
    for (;;) {
        enum order order = atomic_load(&c.self->order);
        if (order == REST) {
            nap();
            continue;
        }
        err.message[0] = '\0';
        c.self->status = follow(&c, order, &err);
        memcpy(c.self->message, err.message, sizeof c.self->message);
        uint64_t total;
        if (c.model && !limoe_model_device_memory(c.model, &c.self->used, &total))
            return 1;
        atomic_store(&c.self->order, REST);
    }
}

/* ---- giving orders */

static void start(uint32_t index) {
    shared->rank[index].order = REST;
    shared->rank[index].interrupted = false;
    pids[index] = fork();
    if (pids[index] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(run_rank(index));
    }
}

static void start_all(uint32_t ranks) {
    shared->ranks = ranks;
    for (uint32_t r = 0; r < ranks; r++)
        start(r);
}

static void kill_rank(uint32_t index) {
    kill(pids[index], SIGKILL);
    waitpid(pids[index], NULL, 0);
    pids[index] = 0;
}

static int end_all(void **state) {
    (void)state;
    for (uint32_t r = 0; r < RANKS; r++)
        if (pids[r] > 0)
            kill_rank(r);
    return 0;
}

static void order(uint32_t which, enum order what) {
    for (uint32_t r = 0; r < shared->ranks; r++)
        if (which == ALL || which == r)
            atomic_store(&shared->rank[r].order, what);
}

static void await(uint32_t index, enum limoe_status expected, const char *message) {
    struct rank *rank = &shared->rank[index];
    const double until = now() + TIMEOUT;
    while (atomic_load(&rank->order) != REST) {
        if (waitpid(pids[index], NULL, WNOHANG) != 0)
            fail_msg("rank %u has ended", index);
        if (now() > until)
            fail_msg("rank %u waits for ever", index);
        nap();
    }
    if (rank->status != expected || !strstr(rank->message, message))
        fail_msg("rank %u: %s: %s", index, limoe_status_name(rank->status), rank->message);
}

static void do_all(enum order what) {
    order(ALL, what);
    for (uint32_t r = 0; r < shared->ranks; r++)
        await(r, LIMOE_OK, "");
}

static void join_all(void) {
    order(0, MAKE_UNIQUE_ID);
    await(0, LIMOE_OK, "");
    do_all(JOIN);
}

/* ---- bits */

static float want[ITEMS][EMBED];

static void embed_alone(enum limoe_dtype dtype) {
    shared->dtype = dtype;
    start_all(1);
    do_all(OPEN);
    do_all(EMBED_SHARE);
    memcpy(want, shared->rank[0].z, sizeof want);
    size_t same = 0; /* if most were, equal bits would mean nothing */
    for (size_t i = 1; i < ITEMS; i++)
        same += memcmp(want[0], want[i], sizeof *want) == 0;
    assert_true(same < ITEMS / 4);
    end_all(NULL);
}

static void expect_bits(void) {
    for (size_t i = 0; i < ITEMS; i++) {
        bool found = false;
        for (uint32_t r = 0; r < shared->ranks; r++)
            found = found || memcmp(shared->rank[r].z[i], want[i], sizeof *want) == 0;
        if (!found)
            fail_msg("item %zu has other bits on %u ranks than on one", i, shared->ranks);
    }
}

static void forget_bits(void) {
    for (uint32_t r = 0; r < RANKS; r++)
        memset(shared->rank[r].z, 0, sizeof shared->rank[r].z);
}

/* Embeds by all ranks and compares. */
static void check_bits(void) {
    forget_bits();
    do_all(EMBED_SHARE);
    expect_bits();
}

static void same_bits(enum limoe_dtype dtype) {
    char fingerprint[40];
    embed_alone(dtype);
    memcpy(fingerprint, shared->rank[0].fingerprint, sizeof fingerprint);
    for (uint32_t ranks = 2; ranks <= RANKS; ranks++) {
        start_all(ranks);
        join_all();
        do_all(OPEN);
        check_bits();
        check_bits();
        for (uint32_t r = 0; r < ranks; r++)
            assert_string_equal(shared->rank[r].fingerprint, fingerprint);
        end_all(NULL);
    }
}

static void same_bits_float32(void **state) {
    (void)state;
    same_bits(LIMOE_FLOAT32);
}

static void same_bits_bfloat16(void **state) {
    (void)state;
    same_bits(LIMOE_BFLOAT16);
}

/* ---- memory */

/* What is said of each rank's GPU without one. */
static struct limoe_cards *foretell(uint32_t ranks, enum limoe_dtype dtype) {
    const struct limoe_rank_options options = {.ranks = ranks, .device = "cuda", .dtype = dtype};
    struct limoe_inspection *inspection = NULL;
    struct limoe_placement *placement = NULL;
    struct limoe_cards *cards = NULL;
    struct limoe_error err;
    if (limoe_inspect(shared->fixture.dir, &inspection, &err) ||
        limoe_inspect_ranks(inspection, &options, &placement, &err) ||
        limoe_inspect_cards(inspection, placement, ROWS, &cards, &err))
        fail_msg("%s", err.message);
    limoe_placement_free(placement);
    limoe_inspection_free(inspection);
    return cards;
}

/* Of the ranks, those that have taken all that was foretold, when `busy` has all items of the largest step. No rank takes
 * more, or before the first step less than what is reserved when a model is opened. */
static uint32_t count_full(uint32_t ranks, uint32_t busy, enum limoe_dtype dtype) {
    struct limoe_cards *cards = foretell(ranks, dtype);
    uint32_t full = 0;
    shared->dtype = dtype;
    shared->busy = busy;
    start_all(ranks);
    if (ranks > 1)
        join_all();
    do_all(OPEN);
    for (uint32_t r = 0; r < ranks; r++) {
        const struct limoe_card *card = &cards->card[r];
        assert_true(shared->rank[r].used >= card->dense_bytes + card->expert_bytes + card->workspace_bytes);
    }
    do_all(EMBED_ROWS);
    for (uint32_t r = 0; r < ranks; r++) {
        const uint64_t foretold = cards->card[r].bytes - cards->card[r].set_aside_bytes,
                       used = shared->rank[r].used;
        if (used > foretold)
            fail_msg("rank %u of %u uses %llu bytes, %llu were foretold", r, ranks, (unsigned long long)used,
                     (unsigned long long)foretold);
        full += used == foretold;
    }
    limoe_cards_free(cards);
    end_all(NULL);
    return full;
}

/* To the byte. Of two ranks the one whose expert gets all rows of the first layer takes it all, if the rows are its own. */
static void memory_is_what_was_foretold(void **state) {
    (void)state;
    const struct fixture first = shared->fixture;
    fixture_create(&shared->fixture, CONFIG_TOP_1, 3, NULL, 0);
    assert_int_equal(count_full(1, 0, LIMOE_FLOAT32), 1);
    assert_int_equal(count_full(1, 0, LIMOE_BFLOAT16), 1);
    assert_true(count_full(2, 0, LIMOE_BFLOAT16) + count_full(2, 1, LIMOE_BFLOAT16) > 0);
    fixture_remove(&shared->fixture);
    shared->fixture = first;
}

/* ---- losses */

/* Rank `victim` is killed while all compute; the others are told, or find it out. */
static void lose(uint32_t victim, bool told) {
    const unsigned before = shared->rank[victim].calls;
    order(ALL, EMBED_FOR_EVER);
    while (shared->rank[victim].calls < before + 3)
        nap();
    kill_rank(victim);
    for (uint32_t r = 0; r < RANKS; r++)
        shared->rank[r].interrupted = told;
    for (uint32_t r = 0; r < RANKS; r++)
        if (r != victim)
            await(r, LIMOE_LOST, "has lost the others");
    for (uint32_t r = 0; r < RANKS; r++)
        shared->rank[r].interrupted = false;
    nap();
    nap(); /* for the ranks' other threads to see that */
}

/* The one that is new opens the model, beside the others, which have it. */
static void come_together(uint32_t newcomer) {
    start(newcomer);
    join_all();
    order(ALL, REJOIN);
    order(newcomer, OPEN);
    for (uint32_t r = 0; r < RANKS; r++)
        await(r, LIMOE_OK, "");
}

static void lose_each(bool told) {
    embed_alone(LIMOE_BFLOAT16);
    start_all(RANKS);
    join_all();
    do_all(OPEN);
    for (uint32_t victim = 0; victim < RANKS; victim++) {
        lose(victim, told);
        /* Nothing can be computed until they have joined. */
        const uint32_t other = (victim + 1) % RANKS;
        order(other, EMBED_SHARE);
        await(other, LIMOE_LOST, "has not joined the others");
        come_together(victim);
        check_bits();
    }
}

static void a_lost_rank_is_found_out(void **state) {
    (void)state;
    assert_int_equal(unsetenv("LIMOE_TEST_EMULATED_NCCL_LOSS"), 0);
    lose_each(false);
}

/* NCCL need not notice: rows in shared memory just never come. */
static void a_lost_rank_is_told_of(void **state) {
    (void)state;
    assert_int_equal(setenv("LIMOE_TEST_EMULATED_NCCL_LOSS", "hang", 1), 0);
    lose_each(true);
    assert_int_equal(unsetenv("LIMOE_TEST_EMULATED_NCCL_LOSS"), 0);
}

/* Another is lost before they have come together. */
static void a_loss_while_joining(void **state) {
    (void)state;
    embed_alone(LIMOE_BFLOAT16);
    start_all(RANKS);
    join_all();
    do_all(OPEN);
    lose(2, true);
    order(0, MAKE_UNIQUE_ID);
    await(0, LIMOE_OK, "");
    order(0, JOIN);
    order(1, JOIN); /* and rank 2 never comes */
    poll(NULL, 0, 50);
    shared->rank[0].interrupted = shared->rank[1].interrupted = true;
    await(0, LIMOE_LOST, "told to stop waiting");
    await(1, LIMOE_LOST, "told to stop waiting");
    shared->rank[0].interrupted = shared->rank[1].interrupted = false;
    poll(NULL, 0, 5);
    come_together(2);
    check_bits();
}

/* ---- what cannot be */

static void cpus_do_not_compute_for_gpus(void **state) {
    (void)state;
    shared->device = "cpu";
    start_all(2);
    join_all();
    order(ALL, OPEN);
    for (uint32_t r = 0; r < 2; r++)
        await(r, LIMOE_UNSUPPORTED, "computes, and these ranks carry rows between GPUs; \"mpi\" is for CPUs");
    shared->device = NULL;
}

static void another_model_does_not_join(void **state) {
    (void)state;
    struct fixture first = shared->fixture, other;
    start_all(2);
    join_all();
    do_all(OPEN);
    kill_rank(1);
    fixture_create(&other, CONFIG, 4, NULL, 0);
    shared->rank[0].interrupted = true;
    poll(NULL, 0, 5);
    shared->rank[0].interrupted = false;
    poll(NULL, 0, 5);
    shared->fixture = other;
    start(1);
    join_all();
    order(0, REJOIN);
    order(1, OPEN);
    for (uint32_t r = 0; r < 2; r++)
        await(r, LIMOE_INVALID, "is not the same as another rank's");
    shared->fixture = first;
    fixture_remove(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(same_bits_float32, end_all),
        cmocka_unit_test_teardown(same_bits_bfloat16, end_all),
        cmocka_unit_test_teardown(memory_is_what_was_foretold, end_all),
        cmocka_unit_test_teardown(a_lost_rank_is_found_out, end_all),
        cmocka_unit_test_teardown(a_lost_rank_is_told_of, end_all),
        cmocka_unit_test_teardown(a_loss_while_joining, end_all),
        cmocka_unit_test_teardown(cpus_do_not_compute_for_gpus, end_all),
        cmocka_unit_test_teardown(another_model_does_not_join, end_all),
    };
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    fixture_create(&shared->fixture, CONFIG, 3, NULL, 0);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fixture_remove(&shared->fixture);
    return failed;
}
