/* An answer does not depend on the ranks: on any number of them, with experts placed contiguously or by a
 * load, with copies or without, however unevenly the items are divided, each item has the bits that one rank
 * gives it. And what the ranks exchange is the least there can be: the rows whose expert is elsewhere, there
 * and back, and counts.
 *
 * usage: mpirun -n N test_bits [MODEL_DIRECTORY...]     (beside random models made on the spot)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "tests/ranks/job.h"
#include "tests/unit/model/fixture.h"

#ifdef __SANITIZE_ADDRESS__
enum { ITEMS = 100 }; /* a sanitizer looks at how it is computed, which a tenth of them show */
#else
enum { ITEMS = 1000 };
#endif
enum { STEP_MOST = 2000 }; /* fewer rows than this are computed in one step */

/* Odd sizes on purpose: no width here is a multiple of a vector or a tile. */
#define CONFIG(experts, top_k)                                                                               \
    "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":60,\"blocks\":3,\"heads\":3,\"mlp\":76,"            \
    "\"embed\":44,\"qk_norm\":true,"                                                                         \
    "\"image\":{\"size\":24,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"                      \
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"                                        \
    "\"moe\":{\"blocks\":[0,2],\"experts\":" #experts ",\"top_k\":" #top_k ",\"renormalize\":true}}"

/* Two towers, of different widths and with experts in both. */
static const char two_towers[] =
    "{\"format\":\"limoe-2\",\"name\":\"towers\",\"embed\":44,"
    "\"image\":{\"size\":24,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"class_token\":true,"
    "\"tower\":{\"width\":60,\"blocks\":3,\"heads\":3,\"mlp\":76,\"pre_norm\":true,\"pool\":\"first\"}},"
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,"
    "\"tower\":{\"width\":36,\"blocks\":2,\"heads\":2,\"mlp\":52,\"causal\":true,\"pool\":\"last\"}},"
    "\"moe\":{\"image\":[0,2],\"text\":[1],\"experts\":5,\"top_k\":2,\"renormalize\":true}}";

static struct job job;

/* ---- placements */

enum place { CONTIGUOUS, BY_LOAD, WITH_COPIES, PLACES };
static const char *const place_name[] = {"contiguous", "by load", "with copies"};

/* A load with one hot expert and one cold one in each layer. The file is this rank's own. */
static void write_load(const struct limoe_info *info, const char *path) {
    FILE *f = fopen(path, "wb");
    job_expect(&job, f, "cannot write %s", path);
    fputs("{\"format\":\"limoe-load-1\",\"load\":[", f);
    for (uint32_t layer = 0; layer < info->moe_layers; layer++) {
        fprintf(f, "%s[", layer ? "," : "");
        for (uint32_t e = 0; e < info->experts; e++) {
            const uint32_t turn = (e + layer) % info->experts;
            fprintf(f, "%s%u", e ? "," : "", turn == 1 ? 10000 : turn == 2 ? 0 : 700 + 10 * e);
        }
        fputs("]", f);
    }
    fputs("]}", f);
    job_expect(&job, fclose(f) == 0, "cannot write %s", path);
}

/* Who holds what, and where to read the load it follows from. */
struct placed {
    char load[64];
    struct limoe_options options;
    struct limoe_placement *experts;
};

/* p->options points into *p. */
static void place(const char *dir, enum limoe_dtype dtype, enum place how, struct placed *p) {
    *p = (struct placed){.options = {.dtype = dtype, .threads = 1, .ranks = job.ranks}};
    struct limoe_rank_options asked = {.ranks = job.count, .dtype = dtype};
    struct limoe_inspection *inspection;
    struct limoe_error err;
    job_expect(&job, limoe_inspect(dir, &inspection, &err) == LIMOE_OK, "%s", err.message);
    const struct limoe_info *info = &inspection->info;
    if (how != CONTIGUOUS) {
        snprintf(p->load, sizeof p->load, "/tmp/limoe-test-load-%d.json", (int)getpid());
        write_load(info, p->load);
        asked.load = p->load;
    }
    job_expect(&job, limoe_inspect_ranks(inspection, &asked, &p->experts, &err) == LIMOE_OK, "%s",
               err.message);
    if (how == WITH_COPIES) { /* room for half as many again */
        const uint32_t even = (info->experts + job.count - 1) / job.count, room = even + (even + 1) / 2;
        asked.expert_bytes = p->experts->expert_bytes * info->moe_layers * room;
        limoe_placement_free(p->experts);
        job_expect(&job, limoe_inspect_ranks(inspection, &asked, &p->experts, &err) == LIMOE_OK, "%s",
                   err.message);
        const uint32_t cells = info->moe_layers * info->experts;
        job_expect(&job, job.count == 1 || info->experts == 1 || p->experts->first[cells] > cells,
                   "no copies were made");
    }
    p->options.load_file = asked.load;
    p->options.expert_bytes = asked.expert_bytes;
    limoe_inspection_free(inspection);
}

static void placed_free(struct placed *p) {
    if (*p->load)
        unlink(p->load);
    limoe_placement_free(p->experts);
}

/* The rule, written once more: position plus expert chooses among the copies. */
static uint32_t holder(const struct limoe_placement *p, uint32_t layer, uint32_t expert, uint32_t position) {
    const uint32_t *first = p->first + (size_t)layer * p->experts + expert;
    return p->owner[first[0] + (position + expert) % (first[1] - first[0])];
}

/* ---- items */

/* What this rank embeds, and what one rank makes of it. */
struct share {
    struct config config;
    struct limoe_item *all, *items; /* items: from all */
    size_t n, rows;
    float *want;     /* [n, embed] */
    int32_t *expert; /* [moe_layers, rows, top_k]; -1: a layer of the other tower */
};

/* Divides unevenly: with 7 ranks, 3 : 0 : 2 : 4 : 1 : 3 : 0, with `turn` from another rank on. A share of all
 * for who is alone. */
static void choose(struct share *s, uint32_t turn) {
    uint32_t total = 0, before = 0, mine = 0;
    for (uint32_t r = 0; r < job.count; r++) {
        const uint32_t weight = ((r + turn) * 7 + 3) % 5;
        before += r < job.rank ? weight : 0;
        mine = r == job.rank ? weight : mine;
        total += weight;
    }
    if (total == 0)
        total = mine = 1;
    const size_t from = ITEMS * before / total;
    s->items = s->all + from;
    s->n = ITEMS * (before + mine) / total - from;
    s->rows = 0;
    for (size_t i = 0; i < s->n; i++)
        s->rows += s->items[i].length;
}

static void embed(struct limoe_model *m, const struct limoe_item *items, size_t n, float *z,
                  const struct limoe_routing *routing) {
    struct limoe_error err;
    job_expect(&job, limoe_model_embed(m, items, n, z, routing, &err) == LIMOE_OK, "%s", err.message);
}

static void reference(struct share *s, const char *dir, enum limoe_dtype dtype, char fingerprint[40]) {
    const struct limoe_options one = {.dtype = dtype, .threads = 1};
    struct limoe_model *m = job_open(&job, dir, &one);
    const struct limoe_info *info = limoe_model_info(m);
    s->want = calloc(s->n * info->embed + 1, sizeof *s->want);
    s->expert = calloc(info->moe_layers * s->rows * info->top_k + 1, sizeof *s->expert);
    const struct limoe_routing routing = {.expert = s->expert};
    embed(m, s->items, s->n, s->want, &routing);
    size_t same = 0; /* short texts may be; if most were, equal bits would mean nothing */
    for (size_t i = 1; i < s->n; i++)
        same += memcmp(s->want, s->want + i * info->embed, info->embed * sizeof *s->want) == 0;
    job_expect(&job, same <= s->n / 8, "%zu of %zu items have the bits of the first", same, s->n);
    snprintf(fingerprint, 40, "%s", limoe_model_fingerprint(m));
    limoe_model_close(m);
}

static void expect_bits(const struct share *s, const float *z, size_t embed_size, const char *what) {
    for (size_t i = 0; i < s->n; i++)
        job_expect(&job, memcmp(z + i * embed_size, s->want + i * embed_size, embed_size * sizeof *z) == 0,
                   "%s: item %zu of %zu has other bits than on one rank", what, i, s->n);
}

/* ---- what is exchanged */

/* Whose tower an item passes. */
static enum limoe_modality tower_of(const struct share *s, const struct limoe_item *item) {
    return s->config.towers == 2 ? item->modality : LIMOE_IMAGE;
}

/* Embeds the share in calls of one step each (of two towers, one a tower), until every rank is done. Counts each
 * tower's steps. */
static void embed_in_steps(struct limoe_model *m, const struct share *s, float *z,
                           const struct limoe_routing *routing, uint64_t steps[LIMOE_MODALITIES]) {
    const uint32_t embed_size = limoe_model_info(m)->embed;
    for (size_t at = 0;;) {
        uint64_t left = s->n - at, passed[LIMOE_MODALITIES] = {0};
        job.x->ops->largest(job.x, &left, 1, NULL);
        if (left == 0)
            return;
        size_t n = 0, rows = 0;
        while (at + n < s->n && (rows += s->items[at + n].length) <= STEP_MOST)
            passed[tower_of(s, &s->items[at + n++])] = 1;
        job.x->ops->largest(job.x, passed, LIMOE_MODALITIES, NULL);
        for (int t = 0; t < LIMOE_MODALITIES; t++)
            steps[t] += passed[t];
        embed(m, s->items + at, n, z + at * embed_size, routing);
        at += n;
    }
}

/* sent [layers, ranks]: how many of this rank's assignments go to each rank. */
static uint64_t *count_sent(const struct share *s, const struct limoe_info *info,
                            const struct limoe_placement *p) {
    uint64_t *sent = calloc((size_t)info->moe_layers * job.count + 1, sizeof *sent);
    const int32_t *expert = s->expert;
    for (uint32_t layer = 0; layer < info->moe_layers; layer++)
        for (size_t i = 0; i < s->n; i++)
            for (uint32_t position = 0; position < s->items[i].length; position++)
                for (uint32_t j = 0; j < info->top_k; j++, expert++)
                    if (*expert >= 0)
                        sent[layer * job.count + holder(p, layer, (uint32_t)*expert, position)]++;
    return sent;
}

static void expect_least(const struct share *s, struct limoe_model *m, const struct limoe_placement *p,
                         const uint64_t steps[LIMOE_MODALITIES], const uint64_t *rows,
                         const uint64_t *bytes) {
    const struct limoe_info *info = limoe_model_info(m);
    const size_t cells = (size_t)info->moe_layers * job.count;
    const uint64_t value_bytes = limoe_model_dtype(m) == LIMOE_BFLOAT16 ? 2u : 4u; /* act's */
    uint64_t *sent = count_sent(s, info, p), *all = calloc(cells * job.count + 1, sizeof *all);
    job.x->ops->gather(job.x, sent, cells * sizeof *sent, all, NULL);
    for (uint32_t layer = 0; layer < info->moe_layers; layer++) {
        const enum limoe_modality tower = config_block_tower(&s->config, s->config.moe.block[layer]);
        uint64_t out = 0, in = 0, counts = 0;
        for (uint32_t r = 0; r < job.count; r++) {
            out += r == job.rank ? 0 : sent[layer * job.count + r];
            in += r == job.rank ? 0 : all[r * cells + layer * job.count + job.rank];
        }
        const uint32_t *first = p->first + (size_t)layer * p->experts;
        for (uint32_t i = first[0]; job.count > 1 && i < first[p->experts]; i++)
            counts += p->owner[i] != job.rank;
        job_expect(&job, rows[layer] == out, "layer %u: %llu rows were sent, %llu is the least", layer,
                   (unsigned long long)rows[layer], (unsigned long long)out);
        const uint64_t least =
            (out + in) * info->tower[tower].width * value_bytes + 4 * counts * steps[tower];
        job_expect(&job, bytes[layer] == least, "layer %u: %llu bytes were sent, %llu is the least", layer,
                   (unsigned long long)bytes[layer], (unsigned long long)least);
    }
    free(all);
    free(sent);
}

/* ---- the tests */

static void check_placement(const struct share *s, const char *dir, enum limoe_dtype dtype, enum place how,
                            const char *fingerprint) {
    struct placed placed;
    place(dir, dtype, how, &placed);
    struct limoe_model *m = job_open(&job, dir, &placed.options);
    const struct limoe_info *info = limoe_model_info(m);
    const struct limoe_rank *expected = &placed.experts->rank[job.rank];
    uint64_t dense, experts, total = 0;
    uint32_t held;
    limoe_model_memory(m, &dense, &experts, &held);
    job_expect(&job,
               dense == expected->dense_bytes && experts == expected->expert_bytes &&
                   held == expected->experts,
               "%u experts in %llu bytes, %u in %llu expected", held, (unsigned long long)experts,
               expected->experts, (unsigned long long)expected->expert_bytes);
    job_expect(&job, strcmp(fingerprint, limoe_model_fingerprint(m)) == 0, "fingerprint %s, %s on one rank",
               limoe_model_fingerprint(m), fingerprint);

    float *z = calloc(s->n * info->embed + 1, sizeof *z);
    embed(m, s->items, s->n, z, NULL);
    expect_bits(s, z, info->embed, "in one call");
    memset(z, 0, s->n * info->embed * sizeof *z);
    uint64_t *rows = calloc(info->moe_layers, sizeof *rows), *bytes = calloc(info->moe_layers, sizeof *bytes);
    const struct limoe_routing routing = {.rows_sent = rows, .bytes_sent = bytes};
    uint64_t steps[LIMOE_MODALITIES] = {0};
    embed_in_steps(m, s, z, &routing, steps);
    expect_bits(s, z, info->embed, "in steps");
    expect_least(s, m, placed.experts, steps, rows, bytes);
    for (uint32_t layer = 0; layer < info->moe_layers; layer++)
        total += rows[layer];
    job.x->ops->largest(job.x, &total, 1, NULL);
    job_expect(&job, (total > 0) == (job.count > 1 && info->experts > 1), "rows exchanged: %llu",
               (unsigned long long)total);
    if (job.rank == 0)
        printf("# %s, %s, %u ranks, %s: %zu items on rank 0, same bits; at most %llu rows sent\n", info->name,
               limoe_dtype_name(dtype), job.count, place_name[how], s->n, (unsigned long long)total);
    free(bytes);
    free(rows);
    free(z);
    limoe_model_close(m);
    placed_free(&placed);
}

static void check_model(const char *dir, enum limoe_dtype dtype) {
    struct limoe_error err;
    struct share s = {0};
    char fingerprint[40];
    struct limoe_inspection *inspection;
    job_expect(&job, config_load(dir, &s.config, NULL, &err) == LIMOE_OK, "%s", err.message);
    job_expect(&job, limoe_inspect(dir, &inspection, &err) == LIMOE_OK, "%s", err.message);
    const uint32_t shortest = s.config.text.pad == CONFIG_ATTEND ? s.config.text.length : 1;
    s.all = fixture_items(&inspection->info, shortest, ITEMS, 31);
    for (uint32_t how = 0; how < PLACES; how++) {
        choose(&s, how + (dtype == LIMOE_BFLOAT16));
        reference(&s, dir, dtype, fingerprint);
        check_placement(&s, dir, dtype, how, fingerprint);
        free(s.expert);
        free(s.want);
    }
    fixture_items_free(s.all, ITEMS);
    limoe_inspection_free(inspection);
}

/* Each rank writes a model of its own, with the same content. */
static void check_random(const char *config, uint64_t seed) {
    struct fixture fixture;
    fixture_create(&fixture, config, seed, NULL, 0);
    check_model(fixture.dir, LIMOE_FLOAT32);
    check_model(fixture.dir, LIMOE_BFLOAT16);
    check_model(fixture.dir, LIMOE_INT8);
    fixture_remove(&fixture);
}

static void top_1(void **state) {
    (void)state;
    check_random(CONFIG(6, 1), 41);
}

static void top_2(void **state) {
    (void)state;
    check_random(CONFIG(5, 2), 42);
}

static void towers(void **state) {
    (void)state;
    check_random(two_towers, 43);
}

static void named_models(void **state) {
    for (char **dir = *state; *dir; dir++) {
        check_model(*dir, LIMOE_FLOAT32);
        check_model(*dir, LIMOE_BFLOAT16);
    }
}

int main(int argc, char **argv) {
    (void)argc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(top_1),
        cmocka_unit_test(top_2),
        cmocka_unit_test(towers),
        cmocka_unit_test_prestate(named_models, argv + 1),
    };
    job = job_join();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    job_leave(&job);
    return failed;
}
