/* Protects: an answer with a tail has the bits of the model with that adapter merged in: alone, in batches of mixed
 * modality and mixed tails, with several tails of one item, at any strength, and so has its routing; from rows that a call
 * before has kept; a model without a tail, or with one at strength 0, has its own.
 *
 * usage: test_tails [MODEL_DIRECTORY...]     (beside random models made on the spot)
 *
 * LIMOE_TEST_DEVICE names another device than the CPU ("cuda"), LIMOE_TEST_BATCHES how many batches.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "tests/unit/files.h"
#include "tests/unit/model/adapter_file.h"
#include "tests/unit/model/fixture.h"

enum { ITEMS = 12, BATCHES = 20, MOST_IN_BATCH = 9, TAILS = 6, BLOCKS = 64 };

static char folder[FOLDER_SIZE];

/* On an emulated device a step takes a second. */
static bool on_device(void) {
    return getenv("LIMOE_TEST_DEVICE") != NULL;
}

static size_t n_items(void) {
    return on_device() ? 3 : ITEMS;
}

/* Even, so that with the model itself steps of 1 and 2 meet none of them twice. */
static uint32_t n_tails(void) {
    return on_device() ? 2 : TAILS;
}

static int batches(void) {
    const char *text = getenv("LIMOE_TEST_BATCHES");
    return text ? atoi(text) : BATCHES;
}

/* Odd sizes on purpose, and blocks of both kinds before and behind where tails begin. */
static const char one_tower[] =
    "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":60,\"blocks\":4,\"heads\":3,\"mlp\":76,\"embed\":44,"
    "\"qk_norm\":true,\"image\":{\"size\":24,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"
    "\"moe\":{\"blocks\":[0,2,3],\"experts\":5,\"top_k\":2,\"renormalize\":true}}";

static int make_folder(void **state) {
    (void)state;
    folder_make(folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}

static const char *in_folder(char path[FOLDER_SIZE + 64], const char *name, int i) {
    snprintf(path, FOLDER_SIZE + 64, "%s/%s-%d", folder, name, i);
    return path;
}

static struct limoe_model *open_with(const char *dir, enum limoe_dtype dtype) {
    struct limoe_error err;
    struct limoe_model *m;
    const struct limoe_options options = {
        .device = getenv("LIMOE_TEST_DEVICE"), .dtype = dtype, .threads = 2};
    if (limoe_model_open(dir, &options, &m, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return m;
}

/* ---- what is asked, and what must come */

/* A model under test, its tails, and by tail [0: none] what its merged model says of each item alone. */
struct subject {
    const char *dir;
    struct limoe_model *model;
    const struct limoe_info *info;
    struct limoe_item *items; /* [ITEMS] */
    const struct limoe_tail *tail[1 + TAILS];
    float *want[1 + TAILS];     /* [ITEMS, embed] */
    int32_t *expert[1 + TAILS]; /* [ITEMS, layers, length of the longest, top_k] */
    size_t decisions;           /* of one item */
    void *kept[ITEMS][BLOCKS];  /* an item's rows at a block, once a call has kept them */
    size_t brought;             /* times that a call was given such rows */
};

static void embed(struct limoe_model *m, const struct limoe_item *items, size_t n, float *z,
                  const struct limoe_routing *routing) {
    struct limoe_error err;
    if (limoe_model_embed(m, items, n, z, routing, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

/* What a model says of each item by itself. */
static void ask_alone(struct subject *s, int t, struct limoe_model *m) {
    s->want[t] = calloc(ITEMS * s->info->embed, sizeof(float));
    s->expert[t] = calloc(ITEMS * s->decisions + 1, sizeof(int32_t));
    for (size_t i = 0; i < n_items(); i++) {
        const struct limoe_routing routing = {.expert = s->expert[t] + i * s->decisions};
        embed(m, &s->items[i], 1, s->want[t] + i * s->info->embed, &routing);
    }
}

/* ---- batches */

/* Items of a batch, each with tails of its own; and what each embedding is of. */
struct batch {
    struct limoe_item item[MOST_IN_BATCH];
    const struct limoe_tail *list[MOST_IN_BATCH][1 + TAILS];
    size_t n, embeddings, rows;
    size_t which[MOST_IN_BATCH]; /* of the subject's items */
    struct {
        size_t item;
        int tail;
    } of[MOST_IN_BATCH * (1 + TAILS)];
};

static void choose(const struct subject *s, uint64_t *random, struct batch *b) {
    *b = (struct batch){.n = 1 + fixture_random(random, MOST_IN_BATCH)};
    for (size_t i = 0; i < b->n; i++) {
        const size_t which = fixture_random(random, (uint32_t)n_items());
        const uint32_t first = fixture_random(random, 1 + n_tails()), step = 1 + fixture_random(random, 2);
        uint32_t n = fixture_random(random, 4);
        struct limoe_item *item = &b->item[i];
        *item = s->items[which];
        b->which[i] = which;
        item->tails = b->list[i];
        item->n_tails = n;
        if (n == 0)
            b->of[b->embeddings++].item = which;
        for (uint32_t t = 0; t < n; t++) {
            const int tail = (int)((first + t * step) % (1 + n_tails()));
            b->list[i][t] = s->tail[tail];
            b->of[b->embeddings].item = which;
            b->of[b->embeddings++].tail = tail;
        }
        b->rows += (size_t)item->length * limoe_item_embeddings(item);
    }
}

/* Where items of the batch leave the trunk, rows that are known are brought, and others kept. */
static void bring_and_keep(struct subject *s, struct batch *b) {
    for (size_t i = 0; i < b->n; i++) {
        struct limoe_item *item = &b->item[i];
        const uint32_t fork = limoe_item_fork(item);
        assert_true(fork == UINT32_MAX || fork < BLOCKS);
        if (fork == UINT32_MAX || fork == 0)
            continue;
        item->trunk = s->kept[b->which[i]][fork];
        s->brought += item->trunk != NULL;
        if (!item->trunk)
            item->keep = malloc(limoe_model_trunk_bytes(s->model, item));
    }
}

/* Of an item that was in the batch twice, the second rows take the place of the first. */
static void take_kept(struct subject *s, const struct batch *b) {
    for (size_t i = 0; i < b->n; i++)
        if (b->item[i].keep) {
            void **at = &s->kept[b->which[i]][limoe_item_fork(&b->item[i])];
            free(*at);
            *at = b->item[i].keep;
        }
}

static void expect_routing(const struct subject *s, const struct batch *b, const int32_t *expert) {
    const size_t top_k = s->info->top_k;
    for (uint32_t layer = 0; layer < s->info->moe_layers; layer++) {
        size_t row = 0;
        for (size_t e = 0; e < b->embeddings; e++) {
            const size_t length = s->items[b->of[e].item].length;
            const int32_t *want =
                s->expert[b->of[e].tail] + b->of[e].item * s->decisions + layer * length * top_k;
            if (memcmp(expert + (layer * b->rows + row) * top_k, want, length * top_k * sizeof *want) != 0)
                fail_msg("%s: layer %u of embedding %zu, item %zu with tail %d, is routed otherwise", s->dir,
                         layer, e, b->of[e].item, b->of[e].tail);
            row += length;
        }
    }
}

static void expect_in_batches(struct subject *s) {
    const size_t width = s->info->embed;
    uint64_t random = 5, before = 0;
    for (int i = 0; i < batches(); i++) {
        struct batch b;
        if (i % 4 == 0)
            before = random;
        uint64_t again = before; /* what batch 0 has kept is brought by batch 2 */
        choose(s, i % 4 == 2 ? &again : &random, &b);
        if (i % 2 == 0)
            bring_and_keep(s, &b);
        float *z = calloc(b.embeddings * width, sizeof *z);
        int32_t *expert = calloc(s->info->moe_layers * b.rows * s->info->top_k + 1, sizeof *expert);
        const struct limoe_routing routing = {.expert = expert};
        embed(s->model, b.item, b.n, z, i % 2 ? &routing : NULL);
        for (size_t e = 0; e < b.embeddings; e++)
            if (memcmp(z + e * width, s->want[b.of[e].tail] + b.of[e].item * width, width * sizeof *z) != 0)
                fail_msg("%s, %s %s: item %zu with tail %d has other bits in batch %d", s->dir,
                         limoe_model_backend(s->model), limoe_dtype_name(limoe_model_dtype(s->model)),
                         b.of[e].item, b.of[e].tail, i);
        if (i % 2)
            expect_routing(s, &b, expert);
        take_kept(s, &b);
        free(expert);
        free(z);
    }
    assert_true(s->brought > 0);
}

/* ---- a model */

static void adapt(struct subject *s, int t, enum limoe_dtype dtype, uint32_t start, bool some,
                  float strength) {
    char file[FOLDER_SIZE + 64], merged[FOLDER_SIZE + 64];
    struct limoe_adapter *adapter;
    struct limoe_tail *tail;
    struct limoe_error err;
    uint64_t bytes = 0;
    adapter_file_tail(s->dir, start, some, 40 + (uint64_t)t, in_folder(file, "adapter", t));
    if (limoe_adapter_open(file, &adapter, &err) != LIMOE_OK ||
        limoe_model_adapt_bytes(s->model, adapter, strength, &bytes, &err) != LIMOE_OK ||
        limoe_model_adapt(s->model, adapter, strength, &tail, &err) != LIMOE_OK ||
        limoe_merge(s->dir, adapter, strength, in_folder(merged, "merged", t), NULL, NULL, &err) != LIMOE_OK)
        fail_msg("%s: %s", s->dir, err.message);
    assert_int_equal(limoe_tail_bytes(tail), bytes);
    assert_true(strength == 0 ? bytes == 0 : bytes > 0);
    struct limoe_model *m = open_with(merged, dtype);
    ask_alone(s, t, m);
    limoe_model_close(m);
    limoe_adapter_close(adapter); /* a tail needs its file no more */
    assert_int_equal(folder_remove(merged), 0);
    s->tail[t] = tail;
    const size_t size = ITEMS * s->info->embed * sizeof(float);
    if ((memcmp(s->want[0], s->want[t], size) == 0) != (strength == 0))
        fail_msg("%s: at strength %g the tail from block %u on answers %s", s->dir, (double)strength, start,
                 strength == 0 ? "otherwise" : "as without it");
}

static void expect_merged_bits(const char *dir, enum limoe_dtype dtype) {
    struct config config;
    struct limoe_error err;
    char base[33];
    struct subject s = {.dir = dir, .model = open_with(dir, dtype)};
    if (config_load(dir, &config, NULL, &err) || limoe_base(dir, base, &err))
        fail_msg("%s", err.message);
    assert_string_equal(limoe_model_base(s.model), base);
    s.info = limoe_model_info(s.model);
    const uint32_t longest =
        s.info->text_length > s.info->image_tokens ? s.info->text_length : s.info->image_tokens;
    s.decisions = (size_t)s.info->moe_layers * longest * s.info->top_k;
    s.items = fixture_items(s.info, config.text.pad == CONFIG_ATTEND ? config.text.length : 1, ITEMS, 21);
    ask_alone(&s, 0, s.model);
    const uint32_t least =
        config_has(&config, LIMOE_TEXT) && config.tower[LIMOE_TEXT].blocks < s.info->tower[0].blocks
            ? config.tower[LIMOE_TEXT].blocks
            : s.info->tower[0].blocks;
    const struct {
        uint32_t start;
        bool some;
        float strength;
    } others[TAILS - 2] = {{0, true, 0.5f}, {least / 2, true, 1}, {least / 2, false, 0}, {1, false, 0.75f}};
    adapt(&s, 1, dtype, least / 2, false, 1);
    adapt(&s, 2, dtype, least - 1, false, 0.3f);
    for (uint32_t t = 3; t <= n_tails(); t++)
        adapt(&s, (int)t, dtype, others[t - 3].start, others[t - 3].some, others[t - 3].strength);
    expect_in_batches(&s);
    for (int t = 0; t <= TAILS; t++) {
        limoe_tail_release((struct limoe_tail *)(uintptr_t)s.tail[t]);
        free(s.want[t]);
        free(s.expert[t]);
    }
    for (size_t i = 0; i < ITEMS * BLOCKS; i++)
        free(s.kept[i / BLOCKS][i % BLOCKS]);
    fixture_items_free(s.items, ITEMS);
    limoe_model_close(s.model);
}

static void a_random_model(void **state) {
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture, one_tower, 17, NULL, 0);
    expect_merged_bits(fixture.dir, LIMOE_BFLOAT16);
    if (!on_device()) {
        expect_merged_bits(fixture.dir, LIMOE_FLOAT32);
        expect_merged_bits(fixture.dir, LIMOE_INT8);
    }
    fixture_remove(&fixture);
}

/* Products of integers are the CPU's alone. */
static void an_int8_model(void **state) {
    (void)state;
    struct fixture fixture;
    char small[FOLDER_SIZE + 64];
    fixture_create(&fixture, one_tower, 17, NULL, 0);
    assert_int_equal(limoe_quantize(fixture.dir, in_folder(small, "small", 0), NULL, NULL, NULL), LIMOE_OK);
    expect_merged_bits(small, LIMOE_INT8);
    expect_merged_bits(small, LIMOE_FLOAT32);
    assert_int_equal(folder_remove(small), 0);
    fixture_remove(&fixture);
}

static void named_models(void **state) {
    for (char **dir = *state; *dir; dir++) {
        expect_merged_bits(*dir, LIMOE_FLOAT32);
        expect_merged_bits(*dir, LIMOE_BFLOAT16);
        printf("# %s: same bits\n", *dir);
    }
}

/* Rows are kept where the first tail begins, and passed on from there: of the layers before, load counts none. */
static void known_rows_pass_no_block_again(void **state) {
    (void)state;
    struct fixture fixture;
    struct limoe_adapter *adapter;
    struct limoe_tail *tail;
    struct limoe_error err;
    char file[FOLDER_SIZE + 64];
    fixture_create(&fixture, one_tower, 17, NULL, 0);
    struct limoe_model *m = open_with(fixture.dir, LIMOE_FLOAT32);
    const struct limoe_info *info = limoe_model_info(m);
    struct limoe_item *items = fixture_items(info, 1, 1, 3);
    adapter_file_tail(fixture.dir, 2, false, 70, in_folder(file, "known", 0));
    assert_int_equal(limoe_adapter_open(file, &adapter, &err), LIMOE_OK);
    assert_int_equal(limoe_model_adapt(m, adapter, 1, &tail, &err), LIMOE_OK);
    const struct limoe_tail *tails[2] = {NULL, tail};
    float first[2 * 44], again[2 * 44];
    int32_t expert[3 * 2 * 9 * 2];
    uint64_t load[3 * LIMOE_MODALITIES * 5] = {0};
    assert_int_equal(limoe_item_fork(items), UINT32_MAX);
    items[0].tails = tails;
    items[0].n_tails = 2;
    assert_int_equal(limoe_item_fork(items), 2);
    assert_int_equal(limoe_model_trunk_bytes(m, items), items[0].length * info->tower[0].width * 4);
    void *rows = malloc(limoe_model_trunk_bytes(m, items));
    items[0].keep = rows;
    embed(m, items, 1, first, NULL);
    items[0].keep = NULL;
    items[0].trunk = rows;
    const struct limoe_routing routing = {.load = load};
    embed(m, items, 1, again, &routing);
    assert_memory_equal(again, first, sizeof again);
    for (size_t i = 0; i < (size_t)LIMOE_MODALITIES * 5; i++)
        assert_int_equal(load[i], 0); /* block 0 */
    const struct limoe_routing routed = {.expert = expert};
    expect_outcome(limoe_model_embed(m, items, 1, again, &routed, &err), &err, LIMOE_INVALID, "routing");
    items[0].n_tails = 1; /* the model as it is */
    expect_outcome(limoe_model_embed(m, items, 1, again, NULL, &err), &err, LIMOE_INVALID, "no tail");
    free(rows);
    fixture_items_free(items, 1);
    limoe_tail_release(tail);
    limoe_adapter_close(adapter);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* Rows that tails share are passed once: of the layers before a tail, load counts them once for all. */
static void the_trunk_is_passed_once(void **state) {
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture, one_tower, 17, NULL, 0);
    struct limoe_model *m = open_with(fixture.dir, LIMOE_FLOAT32);
    const struct limoe_info *info = limoe_model_info(m);
    struct limoe_item *items = fixture_items(info, 1, 1, 3);
    const struct limoe_tail *tails[3] = {NULL};
    char file[FOLDER_SIZE + 64];
    struct limoe_error err;
    for (int t = 0; t < 3; t++) {
        struct limoe_adapter *adapter;
        struct limoe_tail *tail;
        adapter_file_tail(fixture.dir, 2, false, 70 + (uint64_t)t, in_folder(file, "once", t));
        assert_int_equal(limoe_adapter_open(file, &adapter, &err), LIMOE_OK);
        assert_int_equal(limoe_model_adapt(m, adapter, 1, &tail, &err), LIMOE_OK);
        assert_int_equal(limoe_tail_start(tail, LIMOE_IMAGE), 2);
        limoe_adapter_close(adapter);
        tails[t] = tail;
    }
    items[0].tails = tails;
    items[0].n_tails = 3;
    float z[3 * 44];
    uint64_t load[3 * LIMOE_MODALITIES * 5] = {0}, sum[3] = {0};
    const struct limoe_routing routing = {.load = load};
    embed(m, items, 1, z, &routing);
    for (size_t i = 0; i < sizeof load / sizeof *load; i++)
        sum[i / (LIMOE_MODALITIES * 5)] += load[i];
    assert_int_equal(sum[0], items[0].length * 2);     /* block 0, the trunk's, top 2 */
    assert_int_equal(sum[1], items[0].length * 2 * 3); /* blocks 2 and 3, each tail's own */
    assert_int_equal(sum[2], items[0].length * 2 * 3);
    for (int t = 0; t < 3; t++)
        limoe_tail_release((struct limoe_tail *)(uintptr_t)tails[t]);
    fixture_items_free(items, 1);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* Shares of patches are of a step as it is: beside items with tails they are what they are alone. */
static void shares_keep_their_bits(void **state) {
    (void)state;
    struct fixture fixture;
    struct limoe_adapter *adapter;
    struct limoe_tail *tail;
    struct limoe_error err;
    char file[FOLDER_SIZE + 64];
    float alone[10 * 44], beside[10 * 44] = {0}, z[5 * 44];
    fixture_create(&fixture, one_tower, 17, NULL, 0);
    struct limoe_model *m = open_with(fixture.dir, LIMOE_FLOAT32);
    adapter_file_tail(fixture.dir, 2, false, 70, in_folder(file, "shares", 0));
    assert_int_equal(limoe_adapter_open(file, &adapter, &err), LIMOE_OK);
    assert_int_equal(limoe_model_adapt(m, adapter, 1, &tail, &err), LIMOE_OK);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, 40, 3), chosen[3];
    const struct limoe_tail *tails[2] = {tail, NULL};
    size_t n = 0;
    for (size_t i = 0; i < 40 && n < 3; i++)
        if (items[i].modality == LIMOE_IMAGE)
            chosen[n++] = items[i];
    assert_int_equal(n, 3);
    chosen[1].shares = alone;
    embed(m, &chosen[1], 1, z, NULL);
    chosen[1].shares = beside;
    chosen[0].tails = chosen[2].tails = tails;
    chosen[0].n_tails = chosen[2].n_tails = 2;
    embed(m, chosen, 3, z, NULL);
    assert_memory_equal(beside, alone, sizeof alone);
    chosen[0].shares = alone;
    assert_int_equal(limoe_model_embed(m, chosen, 1, z, NULL, &err), LIMOE_UNSUPPORTED);
    assert_non_null(strstr(err.message, "item 0: shares of patches, which there are none of with tails"));
    fixture_items_free(items, 40);
    limoe_tail_release(tail);
    limoe_adapter_close(adapter);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

int main(int argc, char **argv) {
    (void)argc;
    const struct CMUnitTest anywhere[] = {
        cmocka_unit_test(a_random_model),
        cmocka_unit_test(known_rows_pass_no_block_again),
        cmocka_unit_test(the_trunk_is_passed_once),
        cmocka_unit_test(shares_keep_their_bits),
        cmocka_unit_test_prestate(named_models, argv + 1),
    };
    const struct CMUnitTest on_cpus[] = {
        cmocka_unit_test(a_random_model),
        cmocka_unit_test(an_int8_model),
        cmocka_unit_test(known_rows_pass_no_block_again),
        cmocka_unit_test(the_trunk_is_passed_once),
        cmocka_unit_test(shares_keep_their_bits),
        cmocka_unit_test_prestate(named_models, argv + 1),
    };
    return on_device() ? cmocka_run_group_tests(anywhere, make_folder, remove_folder)
                       : cmocka_run_group_tests(on_cpus, make_folder, remove_folder);
}
