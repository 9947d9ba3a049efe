/* An answer depends on its input alone: each item embedded by itself, in random batches of mixed modality and
 * random order, with 1, 2 and 3 threads (fewer where the affinity mask allows no more), and after the model
 * was opened again has the same bits.
 *
 * usage: test_bits [MODEL_DIRECTORY...]     (beside a random model made on the spot)
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

#include "model/checkpoint/config.h"
#include "tests/unit/model/fixture.h"

enum { ITEMS = 64, BATCHES = 50, MOST_IN_BATCH = 24, MOST_THREADS = 3 };

static int batches(void) {
    const char *text = getenv("LIMOE_TEST_BATCHES");
    return text ? atoi(text) : BATCHES;
}

/* Odd sizes on purpose: no width here is a multiple of a vector or a tile. */
static const char config_json[] =
    "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":60,\"blocks\":3,\"heads\":3,\"mlp\":76,\"embed\":44,"
    "\"qk_norm\":true,\"image\":{\"size\":24,\"patch\":8,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"
    "\"moe\":{\"blocks\":[0,2],\"experts\":5,\"top_k\":2,\"renormalize\":true}}";

static struct limoe_model *open_with(const char *dir, enum limoe_dtype dtype, uint32_t threads) {
    struct limoe_error err;
    struct limoe_model *m;
    const struct limoe_options options = {
        .device = getenv("LIMOE_TEST_DEVICE"), .dtype = dtype, .threads = threads};
    if (limoe_model_open(dir, &options, &m, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return m;
}

static void embed(struct limoe_model *m, const struct limoe_item *items, size_t n, float *z) {
    struct limoe_error err;
    if (limoe_model_embed(m, items, n, z, NULL, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

/* want [ITEMS, embed]: each item's bits. */
static void expect_in_batches(struct limoe_model *m, const struct limoe_item *items, const float *want,
                              uint64_t *random) {
    const size_t embed_size = limoe_model_info(m)->embed;
    float *z = calloc(MOST_IN_BATCH * embed_size, sizeof *z);
    for (int batch = 0; batch < batches(); batch++) {
        struct limoe_item chosen[MOST_IN_BATCH];
        size_t which[MOST_IN_BATCH];
        const size_t n = 1 + fixture_random(random, MOST_IN_BATCH);
        for (size_t i = 0; i < n; i++) {
            which[i] = fixture_random(random, ITEMS);
            chosen[i] = items[which[i]];
        }
        embed(m, chosen, n, z);
        for (size_t i = 0; i < n; i++) {
            if (memcmp(z + i * embed_size, want + which[i] * embed_size, embed_size * sizeof *z) != 0)
                fail_msg("%s %s, %u threads: item %zu has other bits in batch %d, at %zu of %zu",
                         limoe_model_backend(m), limoe_dtype_name(limoe_model_dtype(m)),
                         limoe_model_threads(m), which[i], batch, i, n);
        }
    }
    free(z);
}

static void expect_same_bits(const char *dir, enum limoe_dtype dtype) {
    struct config config;
    struct limoe_error err;
    if (config_load(dir, &config, NULL, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    struct limoe_model *m = open_with(dir, dtype, 1);
    const struct limoe_info *info = limoe_model_info(m);
    const uint32_t shortest = config.text.pad == CONFIG_ATTEND ? config.text.length : 1;
    struct limoe_item *items = fixture_items(info, shortest, ITEMS, 21);
    const size_t embed_size = info->embed;
    float *want = calloc(ITEMS * embed_size, sizeof *want);
    uint64_t random = 99;
    for (size_t i = 0; i < ITEMS; i++)
        embed(m, &items[i], 1, want + i * embed_size);
    /* Items differ, else equal bits would mean nothing. */
    for (size_t i = 1; i < ITEMS; i++)
        assert_memory_not_equal(want, want + i * embed_size, embed_size * sizeof *want);
    for (uint32_t threads = 1; threads <= MOST_THREADS; threads++) {
        limoe_model_close(m);
        m = open_with(dir, dtype, threads);
        expect_in_batches(m, items, want, &random);
    }
    limoe_model_close(m);
    free(want);
    fixture_items_free(items, ITEMS);
}

static void test_random_model(void **state) {
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture, config_json, 17, NULL, 0);
    expect_same_bits(fixture.dir, LIMOE_FLOAT32);
    expect_same_bits(fixture.dir, LIMOE_BFLOAT16);
    fixture_remove(&fixture);
}

static void test_named_models(void **state) {
    for (char **dir = *state; *dir; dir++) {
        expect_same_bits(*dir, LIMOE_FLOAT32);
        expect_same_bits(*dir, LIMOE_BFLOAT16);
        printf("# %s: same bits\n", *dir);
    }
}

int main(int argc, char **argv) {
    (void)argc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_model),
        cmocka_unit_test_prestate(test_named_models, argv + 1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
