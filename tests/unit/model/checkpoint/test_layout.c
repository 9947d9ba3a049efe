/* Protects: a checkpoint is what its config says, tensor for tensor; and parameters are counted as the paper
 * counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "model/info.h"
#include "tests/unit/model/support.h"

static struct config parse(const char *json) {
    struct config c;
    struct limoe_error err;
    if (config_parse(json, strlen(json), "config.json", &c, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return c;
}

/* arXiv 2206.02770: H/14 with 32 experts in 12 MoE layers, one expert a token, is 5.6 B parameters of which
 * 675 M serve a token. Both figures count everything outside the experts in full. */
static void test_h14(void **state) {
    (void)state;
    struct config c = parse(
        "{\"format\":\"limoe-1\",\"name\":\"h14\",\"width\":1280,\"blocks\":32,\"heads\":16,\"mlp\":5120,"
        "\"embed\":1280,\"image\":{\"size\":224,\"patch\":14,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
        "\"text\":{\"vocab\":32000,\"length\":16,\"eos_id\":1},"
        "\"moe\":{\"blocks\":[9,11,13,15,17,19,21,23,25,27,29,31],\"experts\":32,\"top_k\":1}}");
    uint64_t total, active;
    layout_count(&c, &total, &active);
    assert_in_range(total, 5545000000u, 5555000000u);
    assert_in_range(active, 674325000u, 675675000u); /* within 0.1 %: the paper does not say every size */

    /* To the last one: a tower block; the experts beyond one; the routers; both modalities' own weights. */
    uint64_t d = 1280, m = 5120, expert = 2 * d * m + m + d, block = 4 * d * d + 4 * d + 4 * d + expert;
    uint64_t dense =
        32 * block + 12 * 32 * d + 14 * 14 * 3 * d + d + 256 * d + 32000 * d + 16 * d + 2 * d * d + 2 * d + 1;
    assert_int_equal(active, dense);
    assert_int_equal(total, dense + 12 * 31 * expert);
}

static void test_counts(void **state) {
    (void)state;
    struct config c = parse(tiny_config);
    uint64_t total, active, d = 12, m = 20, expert = 2 * d * m + m + d;
    uint64_t outside = 48 * d + d + 4 * d + 8 * d + 40 * d + 6 * d + 8 * d + 2 * d + 1;
    uint64_t attention = 4 * d * d + 4 * d + 4 * d;
    layout_count(&c, &total, &active);
    assert_int_equal(total, outside + 3 * attention + 2 * expert + 5 * d + 5 * expert);
    assert_int_equal(active, outside + 3 * attention + 2 * expert + 5 * d + 2 * expert);
    c.tower[0].qk_norm = true;
    uint64_t normed, unused;
    layout_count(&c, &normed, &unused);
    assert_int_equal(normed, total + 3 * 4 * (d / 3));
}

static void test_expected(void **state) {
    (void)state;
    struct config c = parse(tiny_config);
    static const struct {
        enum layout_id id;
        uint32_t block;
        const char *name; /* NULL: not there */
        uint32_t rank;
        uint64_t shape[3];
    } cases[] = {
        {LAYOUT_IMAGE_PATCH_WEIGHT, 0, "image.patch.weight", 2, {12, 48}},
        {LAYOUT_IMAGE_POS, 7, "image.pos", 2, {4, 12}},
        {LAYOUT_TEXT_TOKEN, 0, "text.token", 2, {40, 12}},
        {LAYOUT_TEXT_POS, 0, "text.pos", 2, {6, 12}},
        {LAYOUT_TEXT_PROJ_WEIGHT, 0, "text.proj.weight", 2, {8, 12}},
        {LAYOUT_LOGIT_SCALE, 0, "logit_scale", 0, {0}},
        {LAYOUT_ATTN_QKV_WEIGHT, 2, "blocks.2.attn.qkv.weight", 2, {36, 12}},
        {LAYOUT_ATTN_QKV_WEIGHT, 3, NULL, 0, {0}},
        {LAYOUT_ATTN_Q_NORM_WEIGHT, 0, NULL, 0, {0}},
        {LAYOUT_MLP_FC1_WEIGHT, 0, "blocks.0.mlp.fc1.weight", 2, {20, 12}},
        {LAYOUT_MLP_FC1_WEIGHT, 1, NULL, 0, {0}},
        {LAYOUT_MLP_FC2_WEIGHT, 2, "blocks.2.mlp.fc2.weight", 2, {12, 20}},
        {LAYOUT_MOE_ROUTER_WEIGHT, 0, NULL, 0, {0}},
        {LAYOUT_MOE_ROUTER_WEIGHT, 1, "blocks.1.moe.router.weight", 2, {5, 12}},
        {LAYOUT_MOE_FC1_WEIGHT, 1, "blocks.1.moe.fc1.weight", 3, {5, 20, 12}},
        {LAYOUT_MOE_FC1_BIAS, 1, "blocks.1.moe.fc1.bias", 2, {5, 20}},
        {LAYOUT_MOE_FC2_WEIGHT, 1, "blocks.1.moe.fc2.weight", 3, {5, 12, 20}},
        {LAYOUT_MOE_FC2_BIAS, 1, "blocks.1.moe.fc2.bias", 2, {5, 12}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct layout_tensor t;
        assert_int_equal(layout_expected(&c, cases[i].id, cases[i].block, &t), cases[i].name != NULL);
        if (cases[i].name) {
            assert_string_equal(t.name, cases[i].name);
            assert_int_equal(t.rank, cases[i].rank);
            assert_memory_equal(t.shape, cases[i].shape, sizeof t.shape);
        }
    }
    struct layout_tensor t;
    layout_expected(&c, LAYOUT_MOE_FC1_WEIGHT, 1, &t);
    assert_int_equal(t.elements, 5 * 20 * 12);
    assert_int_equal(t.active, 2 * 20 * 12);
    layout_expected(&c, LAYOUT_MOE_ROUTER_WEIGHT, 1, &t);
    assert_int_equal(t.active, t.elements);
    c.tower[0].qk_norm = true;
    assert_true(layout_expected(&c, LAYOUT_ATTN_K_NORM_BIAS, 2, &t));
    assert_string_equal(t.name, "blocks.2.attn.k_norm.bias");
    assert_int_equal(t.shape[0], 4);
}

/* The longest name there can be fits. */
static void test_name_room(void **state) {
    (void)state;
    struct config c = parse(tiny_config);
    c.tower[0].blocks = CONFIG_MAX_BLOCKS;
    c.tower[0].qk_norm = true;
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        struct layout_tensor t;
        if (layout_expected(&c, (enum layout_id)id, CONFIG_MAX_BLOCKS - 1, &t))
            assert_true(strlen(t.name) + 1 < sizeof t.name);
    }
}

static enum limoe_status check(const struct config *c, const char *dtype, const char *skip, const char *extra,
                               struct limoe_error *err) {
    struct safetensors *st = NULL;
    struct bytes file = checkpoint_file(c, dtype, skip, extra);
    enum limoe_status status = safetensors_open_memory(file.at, file.size, "model.safetensors", &st, err);
    if (status != LIMOE_OK)
        fail_msg("%s", err->message);
    status = layout_check(c, st, err);
    safetensors_close(st);
    free(file.at);
    return status;
}

static void test_check(void **state) {
    (void)state;
    struct config c = parse(tiny_config);
    struct limoe_error err = {0};
    assert_int_equal(check(&c, "F32", NULL, NULL, &err), LIMOE_OK);
    assert_int_equal(check(&c, "BF16", NULL, NULL, &err), LIMOE_OK);
    assert_int_equal(check(&c, "F16", NULL, NULL, &err), LIMOE_OK);
    expect_failure("integers", check(&c, "I16", NULL, NULL, &err), &err, LIMOE_UNSUPPORTED,
                   "tensor \"image.patch.weight\" is I16; F32, BF16 or F16 is accepted");
    expect_failure("too many", check(&c, "F32", NULL, "blocks.0.attn.q_norm.weight", &err), &err,
                   LIMOE_CORRUPT,
                   "tensor \"blocks.0.attn.q_norm.weight\" is not one that config.json calls for");
    c.tower[0].qk_norm = true;
    assert_int_equal(check(&c, "BF16", NULL, NULL, &err), LIMOE_OK);
    c.decoder.tower = (struct config_tower){.width = 8, .blocks = 2, .heads = 2, .mlp = 12};
    c.decoder.length = 5;
    assert_int_equal(check(&c, "BF16", NULL, NULL, &err), LIMOE_OK);
    expect_failure("too many", check(&c, "F32", NULL, "decoder.blocks.2.ln1.weight", &err), &err,
                   LIMOE_CORRUPT,
                   "tensor \"decoder.blocks.2.ln1.weight\" is not one that config.json calls for");
    for (int id = 0; id < LAYOUT_COUNT; id++) { /* any one missing is named, with its shape */
        for (uint32_t block = 0; block < layout_blocks(&c, (enum layout_id)id); block++) {
            struct layout_tensor t;
            if (layout_expected(&c, (enum layout_id)id, block, &t)) {
                char part[160];
                snprintf(part, sizeof part, "model.safetensors: tensor \"%s\" is missing; F32, BF16 or F16 [",
                         t.name);
                expect_failure(t.name, check(&c, "BF16", t.name, NULL, &err), &err, LIMOE_CORRUPT, part);
            }
        }
    }
}

static void test_check_shapes(void **state) {
    (void)state;
    struct config made = parse(tiny_config), read = made;
    struct limoe_error err = {0};
    struct safetensors *st = NULL;
    struct bytes file = checkpoint_file(&made, "F32", NULL, NULL);
    assert_int_equal(safetensors_open_memory(file.at, file.size, "model.safetensors", &st, &err), LIMOE_OK);
    read.moe.experts = 6;
    expect_failure("experts", layout_check(&read, st, &err), &err, LIMOE_CORRUPT,
                   "tensor \"blocks.1.moe.router.weight\" has the shape [5, 12]; [6, 12] is expected");
    read = made;
    read.moe.block[0] = 2;
    expect_failure("blocks", layout_check(&read, st, &err), &err, LIMOE_CORRUPT,
                   "tensor \"blocks.1.mlp.fc1.weight\" is missing");
    read = made;
    read.tower[0].blocks = 2;
    expect_failure("fewer blocks", layout_check(&read, st, &err), &err, LIMOE_CORRUPT,
                   "tensor \"blocks.2.attn.out.bias\" is not one that config.json calls for");

    struct layout_source t;
    assert_int_equal(layout_find(&made, LAYOUT_MOE_FC1_WEIGHT, 1, st, &t, &err), LIMOE_OK);
    assert_string_equal(t.part[0]->name, "blocks.1.moe.fc1.weight");
    expect_failure("not there", layout_find(&made, LAYOUT_MOE_FC1_WEIGHT, 0, st, &t, &err), &err,
                   LIMOE_INTERNAL, "block 0 of \"tiny\" has no tensor \"moe.fc1.weight\"");
    safetensors_close(st);
    free(file.at);
}

/* logit_scale in each dtype, and values that would make scores that are not numbers. */
static void test_logit_scale(void **state) {
    (void)state;
    struct config c = parse(tiny_config);
    static const struct {
        const char *dtype;
        uint8_t bytes[4];
        bool accepted;
        float value;
    } cases[] = {
        {"F32", {0x00, 0x00, 0x20, 0x40}, true, 2.5f},
        {"BF16", {0x20, 0x40}, true, 2.5f},
        {"F16", {0x00, 0x41}, true, 2.5f},
        {"F16", {0x01, 0x80}, true, -0x1p-24f},
        {"F16", {0x00, 0x7C}, false, 0},
        {"F16", {0x01, 0x7C}, false, 0},
        {"F32", {0x00, 0x00, 0xC0, 0x7F}, false, 0},
        {"F32", {0x00, 0x00, 0x80, 0xFF}, false, 0},
        {"BF16", {0xA0, 0x41}, true, 20.0f},
        {"BF16", {0xA1, 0x41}, false, 0},
        {"F32", {0x01, 0x00, 0xA0, 0xC1}, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct limoe_error err = {0};
        struct safetensors *st = NULL;
        struct bytes file = checkpoint_file(&c, cases[i].dtype, NULL, NULL);
        assert_int_equal(safetensors_open_memory(file.at, file.size, "model.safetensors", &st, &err),
                         LIMOE_OK);
        const struct tensor *scale = safetensors_find(st, "logit_scale");
        memcpy(file.at + scale->offset, cases[i].bytes, scale->bytes);
        struct limoe_info info;
        info_from_config(&c, &info);
        enum limoe_status status = info_from_checkpoint(&c, st, &info, &err);
        if (cases[i].accepted) {
            assert_int_equal(status, LIMOE_OK);
            assert_true(info.scoring.scale == cases[i].value);
        } else {
            expect_failure(cases[i].dtype, status, &err, LIMOE_CORRUPT, "tensor \"logit_scale\" is ");
        }
        safetensors_close(st);
        free(file.at);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h14),         cmocka_unit_test(test_counts),
        cmocka_unit_test(test_expected),    cmocka_unit_test(test_name_room),
        cmocka_unit_test(test_check),       cmocka_unit_test(test_check_shapes),
        cmocka_unit_test(test_logit_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
