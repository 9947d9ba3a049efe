/* Protects: what limoe_inspect_ranks says of memory is what packing takes, every expert is on some rank, and
 * a load file from anyone is refused with the place that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/expert_load.h"
#include "tests/unit/model/support.h"

enum { BLOCKS = 3, WIDTH = 12, MLP = 20, EMBED = 8, EXPERTS = 5, VOCAB = 40, PATCH_VALUES = 48 };

static struct limoe_inspection *inspect_tiny(const char *dir, const char *dtype) {
    struct config config;
    struct limoe_error err;
    struct limoe_inspection *i = NULL;
    assert_int_equal(config_parse(tiny_config, strlen(tiny_config), "config.json", &config, &err), LIMOE_OK);
    struct bytes file = checkpoint_file(&config, dtype, NULL, NULL);
    directory_write(dir, "config.json", tiny_config, strlen(tiny_config));
    directory_write(dir, "model.safetensors", file.at, file.size);
    free(file.at);
    if (limoe_inspect(dir, &i, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return i;
}

/* Panels of 16 columns, whose bfloat16 rows come in blocks of 32, those of int8 in blocks of 64 behind a scale and a sum
 * of each column (kernels/cpu/isa/isa.h). */
static uint64_t packed(enum limoe_dtype dtype, uint64_t out, uint64_t in) {
    return (out + 15) / 16 * 16 *
           (dtype == LIMOE_INT8       ? (in + 63) / 64 * 64 + 8
            : dtype == LIMOE_BFLOAT16 ? (in + 31) / 32 * 32 * 2
                                      : in * 4);
}

static void test_bytes(void **state) {
    static const enum limoe_dtype dtypes[] = {LIMOE_FLOAT32, LIMOE_BFLOAT16, LIMOE_INT8};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        struct limoe_inspection *i = inspect_tiny(*state, "BF16");
        const enum limoe_dtype dtype = dtypes[d];
        const struct limoe_rank_options options = {.ranks = 2, .device = "cpu", .dtype = dtype};
        struct limoe_placement *ranks = NULL;
        assert_int_equal(limoe_inspect_ranks(i, &options, &ranks, NULL), LIMOE_OK);
        const uint64_t expert = packed(dtype, MLP, WIDTH) + packed(dtype, WIDTH, MLP) + 4 * (MLP + WIDTH);
        const uint64_t attention = packed(dtype, 3 * WIDTH, WIDTH) + packed(dtype, WIDTH, WIDTH) +
                                   4 * (3 * WIDTH + WIDTH + 4 * WIDTH);
        const uint64_t dense = packed(dtype, WIDTH, PATCH_VALUES) + 2 * packed(dtype, EMBED, WIDTH) +
                               4 * (WIDTH + 4 * WIDTH + 6 * WIDTH + 2 * WIDTH) + 2 * VOCAB * WIDTH +
                               BLOCKS * attention + 2 * expert + 4 * EXPERTS * WIDTH;
        assert_int_equal(ranks->ranks, 2);
        assert_int_equal(ranks->layers, 1);
        assert_int_equal(ranks->experts, EXPERTS);
        assert_int_equal(ranks->dtype, options.dtype);
        assert_null(ranks->imbalance);
        assert_int_equal(ranks->expert_bytes, expert);
        for (int r = 0; r < 2; r++) {
            assert_int_equal(ranks->rank[r].dense_bytes, dense);
            assert_int_equal(ranks->rank[r].experts, r ? 3 : 2);
            assert_int_equal(ranks->rank[r].expert_bytes, (r ? 3 : 2) * expert);
        }
        for (uint32_t e = 0; e <= EXPERTS; e++)
            assert_int_equal(ranks->first[e], e);
        for (uint32_t e = 0; e < EXPERTS; e++)
            assert_int_equal(ranks->owner[e], e >= 2);
        limoe_placement_free(ranks);
        limoe_inspection_free(i);
    }
    limoe_placement_free(NULL);
}

/* 16 rows to a block, 8 columns to another; a GPU is not needed to tell. */
static uint64_t packed_cuda(uint64_t out, uint64_t in) {
    return (out + 15) / 16 * 16 * ((in + 7) / 8 * 8) * 2;
}

static void test_bytes_on_a_gpu(void **state) {
    struct limoe_inspection *i = inspect_tiny(*state, "BF16");
    const struct limoe_rank_options options = {.ranks = 1, .device = "cuda"};
    const struct limoe_rank_options wrong = {.ranks = 1, .device = "tpu"};
    struct limoe_placement *ranks = NULL;
    struct limoe_error err;
    assert_int_equal(limoe_inspect_ranks(i, &options, &ranks, NULL), LIMOE_OK);
    assert_int_equal(ranks->dtype, LIMOE_BFLOAT16);
    assert_int_equal(ranks->expert_bytes,
                     packed_cuda(MLP, WIDTH) + packed_cuda(WIDTH, MLP) + 4 * (MLP + WIDTH));
    limoe_placement_free(ranks);
    expect_failure("device", limoe_inspect_ranks(i, &wrong, &ranks, &err), &err, LIMOE_INVALID,
                   "device \"tpu\"; accepted: auto, cpu, cuda, cuda:N");
    limoe_inspection_free(i);
}

static void test_numbers_of_ranks(void **state) {
    struct limoe_inspection *i = inspect_tiny(*state, "F32");
    struct limoe_placement *ranks = NULL;
    struct limoe_error err;
    for (uint32_t n = 1; n <= 9; n++) {
        const struct limoe_rank_options options = {.ranks = n};
        uint32_t experts = 0;
        assert_int_equal(limoe_inspect_ranks(i, &options, &ranks, NULL), LIMOE_OK);
        assert_int_not_equal(ranks->dtype, LIMOE_DTYPE_AUTO);
        for (uint32_t r = 0; r < n; r++)
            experts += ranks->rank[r].experts;
        assert_int_equal(experts, EXPERTS);
        limoe_placement_free(ranks);
    }
    const struct limoe_rank_options none = {.load = "unread"}, many = {.ranks = 1025};
    expect_failure("no ranks", limoe_inspect_ranks(i, &none, &ranks, &err), &err, LIMOE_INVALID,
                   "0 ranks; 1 to");
    assert_null(ranks);
    expect_failure("ranks", limoe_inspect_ranks(i, &many, &ranks, &err), &err, LIMOE_INVALID,
                   "1025 ranks; 1 to");
    limoe_inspection_free(i);
}

static void test_by_load(void **state) {
    static const char load[] = "{\"format\":\"limoe-load-1\",\"load\":[[0,100,10,10,0]]}";
    struct limoe_inspection *i = inspect_tiny(*state, "F32");
    struct limoe_placement *ranks = NULL;
    struct limoe_error err;
    char path[4200];
    snprintf(path, sizeof path, "%s/load.json", (const char *)*state);
    directory_write(*state, "load.json", load, strlen(load));
    struct limoe_rank_options options = {.ranks = 2, .dtype = LIMOE_FLOAT32, .load = path};
    assert_int_equal(limoe_inspect_ranks(i, &options, &ranks, NULL), LIMOE_OK);
    const uint64_t expert = ranks->expert_bytes;
    assert_int_equal(ranks->first[EXPERTS], 6); /* three slots a rank: one is left for a copy of expert 1 */
    assert_int_equal(ranks->first[2] - ranks->first[1], 2);
    assert_true(ranks->imbalance[0] >= 1 && ranks->imbalance[0] < 1.17);
    limoe_placement_free(ranks);

    options.expert_bytes = 3 * expert - 1;
    expect_failure("budget", limoe_inspect_ranks(i, &options, &ranks, &err), &err, LIMOE_INVALID,
                   "bytes of experts on a rank; 3 of 5 experts in each of 1 layers take");
    options.expert_bytes = UINT64_MAX;
    assert_int_equal(limoe_inspect_ranks(i, &options, &ranks, NULL), LIMOE_OK);
    assert_int_equal(ranks->first[EXPERTS], 6); /* a second copy evened it: no memory is spent for nothing */
    limoe_placement_free(ranks);

    options.load = "/nowhere/load.json";
    expect_failure("no file", limoe_inspect_ranks(i, &options, &ranks, &err), &err, LIMOE_NOT_FOUND,
                   "/nowhere/load.json: No such file");
    limoe_inspection_free(i);
}

static void test_hostile_load(void **state) {
    (void)state;
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "f: "},
        {"[]", "f: is an array"},
        {"{}", "\"format\" is missing; \"limoe-load-1\" is accepted"},
        {"{\"format\":1,\"load\":[]}", "\"format\" is 1"},
        {"{\"format\":\"limoe-load-2\",\"load\":[]}", "\"format\" is \"limoe-load-2\""},
        {"{\"format\":\"limoe-load-1\"}", "\"load\" is missing; an array"},
        {"{\"format\":\"limoe-load-1\",\"load\":{}}", "\"load\" is an object"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,3]]}", "\"load\" has 1 layers; the model has 2"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,3],[1,2,3],[1,2,3]]}", "\"load\" has 3 layers"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,3],7]}", "\"load\"[1] is 7; an array"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,3],[1,2]]}",
         "\"load\"[1] has 2 numbers; the model has 3"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,3,4],[1,2,3]]}", "\"load\"[0] has 4 numbers"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,-1],[1,2,3]]}",
         "\"load\"[0][2] is -1; an integer from 0"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2.5,1],[1,2,3]]}", "\"load\"[0][1] is 2.5"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,1],[1,1e300,3]]}", "\"load\"[1][1] is 1e+300"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,1],[1,null,3]]}", "\"load\"[1][1] is null"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,1],[1,2,3]],\"x\":1}", "the key \"x\" is not known"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,1],[1,2,3]],\"load\":[]}",
         "the key \"load\" is there twice"},
        {"{\"format\":\"limoe-load-1\",\"load\":[[1,2,1],[1,2,3]", "f: "},
    };
    uint64_t *load = NULL;
    struct limoe_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        load = (uint64_t *)(uintptr_t)8;
        expect_failure(cases[i].json,
                       expert_load_parse(cases[i].json, strlen(cases[i].json), "f", 2, 3, &load, &err), &err,
                       LIMOE_CORRUPT, cases[i].message);
        assert_null(load);
    }
    static const char fine[] = "{\"load\":[[1,2,9007199254740992],[0,0,0]],\"format\":\"limoe-load-1\"}";
    assert_int_equal(expert_load_parse(fine, strlen(fine), "f", 2, 3, &load, &err), LIMOE_OK);
    assert_int_equal(load[1], 2);
    assert_true(load[2] == UINT64_C(1) << 53 && load[5] == 0);
    free(load);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_bytes_on_a_gpu, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_numbers_of_ranks, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_by_load, directory_setup, directory_teardown),
        cmocka_unit_test(test_hostile_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
