/* made_up.c - the model: it stands in for limoe_model and limoe_ranks, which must not be linked beside it. */
#include "tests/unit/server/front/supervisor/made_up.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

struct fake *fake;

void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void hang(enum hang where) {
    if (atomic_compare_exchange_strong(&fake->hang, &where, NOWHERE))
        pause();
}

bool made_up_share(const char *path) {
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *memory = mmap(NULL, sizeof *fake, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    fake = memory == MAP_FAILED ? NULL : memory;
    return fake;
}

/* ---- ranks */

static const uint32_t moe_blocks[LAYERS] = {1, 3};
const struct limoe_info shape = {.name = "made-up",
                                 .architecture = "limoe",
                                 .towers = 1,
                                 .tower = {{8, 4, 2, 16}, {8, 4, 2, 16}},
                                 .blocks = 4,
                                 .embed = EMBED,
                                 .image_size = 2,
                                 .patch = 1,
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

enum limoe_status limoe_ranks_open_at(const char *kind, const struct limoe_rank_identity *identity,
                                      struct limoe_ranks **out, struct limoe_error *err) {
    if (strcmp(kind, "nccl") != 0 || strncmp(identity->device, "cuda:", 5) != 0 || identity->count != RANKS)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "there is no %s on %s", kind, identity->device);
    if (fake->missing)
        return limoe_fail(err, LIMOE_UNSUPPORTED, "no GPU is made up");
    the_ranks = (struct limoe_ranks){.rank = identity->rank, .count = identity->count};
    fake->joined[identity->rank] = 0;
    fake->ranks[identity->rank] = getpid();
    grouped = true;
    *out = &the_ranks;
    return LIMOE_OK;
}

enum limoe_status limoe_ranks_make_unique_id(struct limoe_ranks *ranks,
                                             uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                             struct limoe_error *err) {
    (void)err;
    const unsigned serial = ++fake->unique_ids;
    memset(unique_id, 0x5a, LIMOE_RANKS_UNIQUE_ID_BYTES);
    memcpy(unique_id, &serial, sizeof serial);
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

enum limoe_status limoe_ranks_join(struct limoe_ranks *ranks,
                                   const uint8_t unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES],
                                   struct limoe_error *err) {
    unsigned serial;
    memcpy(&serial, unique_id, sizeof serial);
    if (unique_id[LIMOE_RANKS_UNIQUE_ID_BYTES - 1] != 0x5a)
        return limoe_fail(err, LIMOE_INTERNAL, "that is no unique id");
    fake->arrived[ranks->rank] = 0;
    fake->joined[ranks->rank] = serial;
    return await_others(serial, 0, err);
}

void limoe_ranks_interrupt(struct limoe_ranks *ranks, bool on) {
    (void)ranks;
    fake->parted += on;
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

/* ---- the model */

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
    const enum limoe_status status = meet_others(err);
    *out = status == LIMOE_OK ? &the_model : NULL;
    fake->opened += status == LIMOE_OK;
    return status;
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

bool limoe_model_device_memory(const struct limoe_model *model, uint64_t *used, uint64_t *total) {
    (void)model;
    *used = 10 + the_ranks.rank;
    *total = 50;
    return true;
}

uint32_t limoe_model_step_tokens(const struct limoe_model *model) {
    (void)model;
    return 2048;
}

uint32_t limoe_model_threads(const struct limoe_model *model) {
    (void)model;
    return 1;
}

void embed_item(const struct limoe_item *item, float *out) {
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

/* A rank's that comes from another host, which shows by it what model it reads. */
enum limoe_status limoe_processor_open(const char *dir, const struct limoe_image_limits *limits,
                                       struct limoe_processor **out, struct limoe_error *err) {
    (void)dir;
    (void)limits;
    (void)err;
    *out = NULL;
    return LIMOE_OK;
}
const char *limoe_processor_fingerprint(const struct limoe_processor *processor) {
    (void)processor;
    return fake->pretence == ANOTHER_CONFIG ? "fedcba9876543210" : "0123456789abcdef";
}
void limoe_processor_close(struct limoe_processor *processor) {
    (void)processor;
}

/* The probe's processor. */
const struct limoe_info *limoe_processor_info(const struct limoe_processor *processor) {
    (void)processor;
    return &shape;
}
bool limoe_has(const struct limoe_info *info, enum limoe_modality modality) {
    return info->tower[modality].blocks > 0;
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

/* ---- adapters: there are none */

const char *limoe_model_base(const struct limoe_model *model) {
    (void)model;
    return "00000000000000000000000000000000";
}

enum limoe_status limoe_adapter_open(const char *path, struct limoe_adapter **out, struct limoe_error *err) {
    (void)out;
    return limoe_fail(err, LIMOE_NOT_FOUND, "%s is not made up", path);
}

void limoe_adapter_close(struct limoe_adapter *adapter) {
    (void)adapter;
}

enum limoe_status limoe_model_adapt(struct limoe_model *model, const struct limoe_adapter *adapter,
                                    float strength, struct limoe_tail **tail, struct limoe_error *err) {
    (void)model, (void)adapter, (void)strength, (void)tail;
    return limoe_fail(err, LIMOE_UNSUPPORTED, "no adapter is made up");
}

enum limoe_status limoe_model_adapt_bytes(const struct limoe_model *model,
                                          const struct limoe_adapter *adapter, float strength,
                                          uint64_t *bytes, struct limoe_error *err) {
    (void)model, (void)adapter, (void)strength, (void)bytes;
    return limoe_fail(err, LIMOE_UNSUPPORTED, "no adapter is made up");
}

uint32_t limoe_item_fork(const struct limoe_item *item) {
    (void)item;
    return UINT32_MAX;
}

uint64_t limoe_model_trunk_bytes(const struct limoe_model *model, const struct limoe_item *item) {
    (void)model, (void)item;
    return 0;
}

void limoe_tail_release(struct limoe_tail *tail) {
    (void)tail;
}

uint32_t limoe_tail_start(const struct limoe_tail *tail, enum limoe_modality modality) {
    (void)tail, (void)modality;
    return 0;
}
