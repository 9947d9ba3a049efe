/* The forward pass around its arithmetic, on the reference kernels: which item's answer goes where, what is
 * refused, what routing reports. The arithmetic itself is held to PyTorch by test_golden. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "router/capacity.h"
#include "tests/unit/model/fixture.h"

enum { LAYERS = 2, EXPERTS = 4, TOP_K = 2, EMBED = 12, IMAGE_TOKENS = 4, TEXT_LENGTH = 7, VOCAB = 50 };

#define CONFIG_WITH(moe)                                                                                     \
    "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":16,\"blocks\":3,\"heads\":2,\"mlp\":24,\"embed\":"  \
    "12,"                                                                                                    \
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"                       \
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0}" moe "}"
#define MOE(more) ",\"moe\":{\"blocks\":[0,2],\"experts\":4,\"top_k\":2,\"renormalize\":false" more "}"

static const char sparse[] = CONFIG_WITH(MOE(""));
static const char dense[] = CONFIG_WITH("");
static const char padded[] =
    "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":16,\"blocks\":1,\"heads\":2,\"mlp\":24,\"embed\":12,"
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0,\"pad\":\"attend\"}}";

static size_t total_rows(const struct limoe_item *items, size_t n) {
    size_t rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += items[i].length;
    return rows;
}

static void embed(struct limoe_model *m, const struct limoe_item *items, size_t n, float *z,
                  const struct limoe_routing *routing) {
    struct limoe_error err;
    if (limoe_model_embed(m, items, n, z, routing, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
}

/* ---- answers and their items */

static void expect_as_if_alone(const char *config, enum limoe_dtype dtype, size_t n) {
    struct fixture fixture;
    fixture_create(&fixture, config, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, dtype);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, n, 5);
    float *z = calloc(n, EMBED * sizeof *z), alone[EMBED];
    embed(m, items, n, z, NULL);
    for (size_t i = 0; i < n; i++) {
        double squares = 0;
        embed(m, &items[i], 1, alone, NULL);
        assert_memory_equal(alone, z + i * EMBED, sizeof alone);
        for (size_t j = 0; j < EMBED; j++)
            squares += (double)alone[j] * alone[j];
        assert_true(fabs(squares - 1) < 1e-5);
    }
    free(z);
    fixture_items_free(items, n);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

static void test_mixed_items(void **state) {
    (void)state;
    expect_as_if_alone(sparse, LIMOE_FLOAT32, 40);
    expect_as_if_alone(sparse, LIMOE_BFLOAT16, 40);
    expect_as_if_alone(dense, LIMOE_FLOAT32, 40);
}

/* 1500 items have some 6,000 tokens: three steps, the second of both modalities. */
static void test_many_steps(void **state) {
    (void)state;
    expect_as_if_alone(sparse, LIMOE_FLOAT32, 1500);
}

/* One picture of 2,116 patches is longer than a step and is a step of its own. */
static void test_item_longer_than_a_step(void **state) {
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture,
                   "{\"format\":\"limoe-1\",\"name\":\"test\",\"width\":4,\"blocks\":1,\"heads\":1,\"mlp\":4,"
                   "\"embed\":12,\"image\":{\"size\":92,\"patch\":2,\"mean\":[0.5,0.5,0.5],"
                   "\"std\":[0.5,0.5,0.5]},\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"
                   "\"moe\":{\"blocks\":[0],\"experts\":2,\"top_k\":1,\"renormalize\":false}}",
                   3, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    const struct limoe_info *info = limoe_model_info(m);
    assert_int_equal(info->image_tokens, 2116);
    enum { N = 4 };
    struct limoe_item *items = fixture_items(info, 1, N, 5); /* two of each modality at this seed */
    assert_int_equal(total_rows(items, N) > 2 * 2116, true);
    float z[N * EMBED], alone[EMBED];
    embed(m, items, N, z, NULL);
    for (size_t i = 0; i < N; i++) {
        embed(m, &items[i], 1, alone, NULL);
        assert_memory_equal(alone, z + i * EMBED, sizeof alone);
    }
    fixture_items_free(items, N);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

static void test_no_items(void **state) {
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture, sparse, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    embed(m, NULL, 0, NULL, NULL);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* ---- refusals */

static void expect_refusal(struct limoe_model *m, struct limoe_item item, const char *message) {
    const int32_t fine[1] = {3};
    const struct limoe_item items[2] = {{.modality = LIMOE_TEXT, .length = 1, .tokens = fine}, item};
    float z[2 * EMBED];
    struct limoe_error err;
    assert_int_equal(limoe_model_embed(m, items, 2, z, NULL, &err), LIMOE_INVALID);
    assert_string_equal(err.message, message);
    assert_int_equal(limoe_model_embed(m, items, 2, z, NULL, NULL), LIMOE_INVALID);
}

static void test_refused_items(void **state) {
    (void)state;
    static const int32_t low[] = {1, -1}, high[] = {1, 2, VOCAB}, fine[TEXT_LENGTH + 1] = {0};
    static const uint8_t pixels[8 * 8 * 3];
    struct fixture fixture;
    fixture_create(&fixture, sparse, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_TEXT, .length = 2, .tokens = low},
                   "item 1: token 1 is id -1, must be 0 to 49");
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_TEXT, .length = 3, .tokens = high},
                   "item 1: token 2 is id 50, must be 0 to 49");
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_TEXT, .length = 0, .tokens = fine},
                   "item 1: a text of 0 tokens, must be 1 to 7");
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_TEXT, .length = TEXT_LENGTH + 1, .tokens = fine},
                   "item 1: a text of 8 tokens, must be 1 to 7");
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_TEXT, .length = 1},
                   "item 1: a text without tokens");
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_IMAGE, .length = 3, .pixels = pixels},
                   "item 1: an image of 3 tokens, must be 4");
    expect_refusal(m, (struct limoe_item){.modality = LIMOE_IMAGE, .length = 4},
                   "item 1: an image without pixels");
    expect_refusal(m, (struct limoe_item){.modality = (enum limoe_modality)2, .length = 4, .pixels = pixels},
                   "item 1: modality 2, must be 0 (image) or 1 (text)");
    limoe_model_close(m);
    fixture_remove(&fixture);
}

static void test_padding_must_be_there(void **state) {
    (void)state;
    static const int32_t tokens[TEXT_LENGTH] = {4, 5, 1};
    struct fixture fixture;
    fixture_create(&fixture, padded, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    struct limoe_item item = {.modality = LIMOE_TEXT, .length = TEXT_LENGTH, .tokens = tokens};
    float z[EMBED];
    struct limoe_error err;
    embed(m, &item, 1, z, NULL);
    item.length = 3;
    assert_int_equal(limoe_model_embed(m, &item, 1, z, NULL, &err), LIMOE_INVALID);
    assert_string_equal(err.message,
                        "item 0: a text of 3 tokens, must be padded to 7 (this model attends to padding)");
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* A broken weight is an error that names the first item it reached, and does not outlive the call. */
static void test_nan_weights(void **state) {
    (void)state;
    static const int32_t fine[] = {7, 8}, broken[] = {9, 8};
    const struct limoe_item items[] = {{.modality = LIMOE_TEXT, .length = 2, .tokens = fine},
                                       {.modality = LIMOE_TEXT, .length = 2, .tokens = fine},
                                       {.modality = LIMOE_TEXT, .length = 2, .tokens = broken}};
    float z[3 * EMBED];
    struct fixture fixture;
    struct limoe_error err;
    fixture_create(&fixture, sparse, 11, "text.token", 9 * 16 + 5);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    assert_int_equal(limoe_model_embed(m, items, 3, z, NULL, &err), LIMOE_INTERNAL);
    assert_non_null(strstr(err.message, "item 2: its embedding is not finite"));
    embed(m, items, 2, z, NULL);
    limoe_model_close(m);
    fixture_remove(&fixture);

    fixture_create(&fixture, sparse, 11, "blocks.2.moe.router.weight", 0);
    m = fixture_open(&fixture, LIMOE_FLOAT32);
    assert_int_equal(limoe_model_embed(m, items, 3, z, NULL, &err), LIMOE_INTERNAL);
    assert_non_null(strstr(err.message, "item 0: its embedding is not finite"));
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* An open model needs its files no more: overwritten, cut short and deleted, they change no answer. */
static void test_files_may_go(void **state) {
    (void)state;
    enum { N = 8 };
    char path[128];
    struct fixture fixture;
    fixture_create(&fixture, sparse, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, N, 5);
    float z[N * EMBED], later[N * EMBED];
    embed(m, items, N, z, NULL);
    snprintf(path, sizeof path, "%s/model.safetensors", fixture.dir);
    FILE *f = fopen(path, "r+b"); /* the same file, other bytes */
    assert_non_null(f);
    for (int i = 0; i < 1 << 16; i++)
        fputc(0x55, f);
    assert_int_equal(fclose(f), 0);
    embed(m, items, N, later, NULL);
    assert_memory_equal(z, later, sizeof z);
    assert_int_equal(truncate(path, 0), 0);
    embed(m, items, N, later, NULL);
    assert_memory_equal(z, later, sizeof z);
    fixture_remove(&fixture);
    embed(m, items, N, later, NULL);
    assert_memory_equal(z, later, sizeof z);
    fixture_items_free(items, N);
    limoe_model_close(m);
}

static void test_missing_directory(void **state) {
    (void)state;
    struct limoe_model *m;
    struct limoe_error err;
    assert_int_equal(limoe_model_open("/nonexistent/model", NULL, &m, &err), LIMOE_NOT_FOUND);
    assert_null(m);
    assert_non_null(strstr(err.message, "/nonexistent/model"));
}

/* ---- routing */

struct decisions {
    int32_t *expert;
    float *gate;
    uint64_t load[LAYERS][LIMOE_MODALITIES][EXPERTS];
    double entropy[LAYERS][LIMOE_MODALITIES];
    struct limoe_routing to;
};

static void decisions_create(struct decisions *d, size_t rows) {
    *d = (struct decisions){.expert = calloc(LAYERS * rows * TOP_K, sizeof *d->expert),
                            .gate = calloc(LAYERS * rows * TOP_K, sizeof *d->gate)};
    d->to = (struct limoe_routing){
        .expert = d->expert, .gate = d->gate, .load = &d->load[0][0][0], .entropy = &d->entropy[0][0]};
}

static void decisions_free(struct decisions *d) {
    free(d->expert);
    free(d->gate);
}

/* In a batch that takes several steps, every item's decisions are those it gets alone, in item order. */
static void test_routing_in_item_order(void **state) {
    (void)state;
    enum { N = 900 };
    struct fixture fixture;
    fixture_create(&fixture, sparse, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, N, 5);
    const size_t rows = total_rows(items, N);
    float *z = calloc(N, EMBED * sizeof *z), unobserved[EMBED];
    struct decisions all;
    uint64_t load[LAYERS][LIMOE_MODALITIES][EXPERTS] = {0};
    double entropy[LAYERS][LIMOE_MODALITIES] = {{0}};
    decisions_create(&all, rows);
    embed(m, items, N, z, &all.to);
    size_t row = 0;
    for (size_t i = 0; i < N; row += items[i].length, i++) {
        struct decisions one;
        const size_t assignments = items[i].length * (size_t)TOP_K;
        decisions_create(&one, items[i].length);
        embed(m, &items[i], 1, z, &one.to);
        for (size_t layer = 0; layer < LAYERS; layer++) {
            const size_t at = (layer * rows + row) * TOP_K;
            assert_memory_equal(one.expert + layer * assignments, all.expert + at,
                                assignments * sizeof *one.expert);
            assert_memory_equal(one.gate + layer * assignments, all.gate + at,
                                assignments * sizeof *one.gate);
            for (size_t a = 0; a < assignments; a++)
                load[layer][items[i].modality][all.expert[at + a]]++;
            entropy[layer][items[i].modality] += one.entropy[layer][items[i].modality];
            assert_true(one.entropy[layer][!items[i].modality] == 0); /* the other modality has no tokens */
        }
        embed(m, &items[i], 1, unobserved, NULL); /* looking does not change the answer */
        assert_memory_equal(unobserved, z, sizeof unobserved);
        decisions_free(&one);
    }
    assert_memory_equal(load, all.load, sizeof load);
    const double most = (double)rows * log(EXPERTS);
    for (size_t layer = 0; layer < LAYERS; layer++) {
        for (int modality = 0; modality < LIMOE_MODALITIES; modality++) {
            double got = all.entropy[layer][modality];
            assert_true(got > 0 && got < most);
            assert_true(fabs(got - entropy[layer][modality]) <= 1e-9 * most);
        }
    }

    /* Load is added to what is there; pointers that are NULL are left out. */
    const struct limoe_routing only_load = {.load = &all.load[0][0][0]};
    embed(m, items, N, z, &only_load);
    /* So is entropy, and a call's is the same to the last bit each time. */
    double twice[LAYERS][LIMOE_MODALITIES] = {{0}};
    const struct limoe_routing only_entropy = {.entropy = &twice[0][0]};
    embed(m, items, N, z, &only_entropy);
    assert_memory_equal(twice, all.entropy, sizeof twice);
    embed(m, items, N, z, &only_entropy);
    for (size_t layer = 0; layer < LAYERS; layer++)
        for (int modality = 0; modality < LIMOE_MODALITIES; modality++)
            assert_true(fabs(twice[layer][modality] - 2 * all.entropy[layer][modality]) <= 1e-9 * most);
    for (size_t i = 0; i < LAYERS * LIMOE_MODALITIES * EXPERTS; i++)
        assert_int_equal((&all.load[0][0][0])[i], 2 * (&load[0][0][0])[i]);
    decisions_free(&all);
    free(z);
    fixture_items_free(items, N);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

static void test_dense_model_routes_nothing(void **state) {
    (void)state;
    struct fixture fixture;
    fixture_create(&fixture, dense, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, 4, 5);
    float z[4 * EMBED];
    const struct limoe_routing none = {0};
    embed(m, items, 4, z, &none);
    fixture_items_free(items, 4);
    limoe_model_close(m);
    fixture_remove(&fixture);
}

/* ---- capacity */

/* Block 0's gates do not depend on capacity, so the dropless model's decisions there, put through
 * capacity_apply in packed order (images first), must be what the limited model reports. */
static void expect_capacity(const char *limited_config, struct capacity capacity) {
    enum { N = 60 };
    struct fixture fixture, limited_fixture;
    fixture_create(&fixture, sparse, 11, NULL, 0);
    fixture_create(&limited_fixture, limited_config, 11, NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    struct limoe_model *limited = fixture_open(&limited_fixture, LIMOE_FLOAT32);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, N, 5);
    const size_t rows = total_rows(items, N);
    float z[N * EMBED], limited_z[N * EMBED];
    struct decisions free_choice, report;
    decisions_create(&free_choice, rows);
    decisions_create(&report, rows);
    embed(m, items, N, z, &free_choice.to);
    embed(limited, items, N, limited_z, &report.to);

    int32_t *expert = calloc(rows * TOP_K, sizeof *expert), *kept = calloc(rows * TOP_K, sizeof *kept);
    float *gate = calloc(rows * TOP_K, sizeof *gate);
    size_t packed = 0, drops = 0;
    uint64_t load[LIMOE_MODALITIES][EXPERTS] = {0};
    for (int pass = 0; pass < 2; pass++) {
        /* First in, then, after the drops, out again to compare. */
        packed = 0;
        for (enum limoe_modality modality = LIMOE_IMAGE; modality <= LIMOE_TEXT; modality++) {
            size_t row = 0;
            for (size_t i = 0; i < N; row += items[i].length, i++) {
                const size_t n = items[i].length * (size_t)TOP_K, at = row * TOP_K;
                if (items[i].modality != modality)
                    continue;
                if (pass == 0) {
                    memcpy(expert + packed, free_choice.expert + at, n * sizeof *expert);
                    memcpy(gate + packed, free_choice.gate + at, n * sizeof *gate);
                } else {
                    assert_memory_equal(expert + packed, report.expert + at, n * sizeof *expert);
                    assert_memory_equal(gate + packed, report.gate + at, n * sizeof *gate);
                    for (size_t a = 0; a < n; a++)
                        if (kept[packed + a] >= 0)
                            load[modality][kept[packed + a]]++;
                        else
                            drops++;
                }
                packed += n;
            }
        }
        if (pass == 0)
            assert_int_equal(capacity_apply(&capacity, rows, expert, gate, kept, NULL), LIMOE_OK);
    }
    assert_true(drops > 0);
    assert_memory_equal(load, report.load[0], sizeof load);
    assert_memory_not_equal(z, limited_z, sizeof z);

    free(expert);
    free(kept);
    free(gate);
    decisions_free(&free_choice);
    decisions_free(&report);
    fixture_items_free(items, N);
    limoe_model_close(m);
    limoe_model_close(limited);
    fixture_remove(&fixture);
    fixture_remove(&limited_fixture);
}

static void test_capacity(void **state) {
    (void)state;
    const struct capacity base = {.experts = EXPERTS, .top_k = TOP_K, .factor = 0.5, .priority = true};
    struct capacity c = base;
    expect_capacity(CONFIG_WITH(MOE(",\"capacity\":0.5,\"group\":32,\"priority\":true")), (c.group = 32, c));
    c = base;
    c.group = 50;
    c.priority = false;
    expect_capacity(CONFIG_WITH(MOE(",\"capacity\":0.5,\"group\":50,\"priority\":false")), c);
}

/* With room for all, the parity mode is the dropless model, bit for bit,
 * however many steps that would take. */
static void test_ample_capacity(void **state) {
    (void)state;
    enum { N = 900 };
    struct fixture fixture, ample_fixture;
    fixture_create(&fixture, sparse, 11, NULL, 0);
    fixture_create(&ample_fixture, CONFIG_WITH(MOE(",\"capacity\":4,\"group\":64,\"priority\":true")), 11,
                   NULL, 0);
    struct limoe_model *m = fixture_open(&fixture, LIMOE_FLOAT32);
    struct limoe_model *ample = fixture_open(&ample_fixture, LIMOE_FLOAT32);
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, N, 5);
    float *z = calloc(N, EMBED * sizeof *z), *ample_z = calloc(N, EMBED * sizeof *z);
    embed(m, items, N, z, NULL);
    embed(ample, items, N, ample_z, NULL);
    assert_memory_equal(z, ample_z, N * EMBED * sizeof *z);
    free(z);
    free(ample_z);
    fixture_items_free(items, N);
    limoe_model_close(m);
    limoe_model_close(ample);
    fixture_remove(&fixture);
    fixture_remove(&ample_fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mixed_items),
        cmocka_unit_test(test_many_steps),
        cmocka_unit_test(test_item_longer_than_a_step),
        cmocka_unit_test(test_no_items),
        cmocka_unit_test(test_refused_items),
        cmocka_unit_test(test_padding_must_be_there),
        cmocka_unit_test(test_nan_weights),
        cmocka_unit_test(test_files_may_go),
        cmocka_unit_test(test_missing_directory),
        cmocka_unit_test(test_routing_in_item_order),
        cmocka_unit_test(test_dense_model_routes_nothing),
        cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_ample_capacity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
