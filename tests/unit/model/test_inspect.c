/* Protects: what limoe_inspect tells of a model is true of its files, for every switch of the config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "limoe.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/file.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/model/support.h"

static void write_model(const char *dir, const char *dtype, const char *skip) {
    struct config config;
    struct limoe_error err;
    assert_int_equal(config_parse(tiny_config, strlen(tiny_config), "config.json", &config, &err), LIMOE_OK);
    struct bytes file = checkpoint_file(&config, dtype, skip, NULL);
    directory_write(dir, "config.json", tiny_config, strlen(tiny_config));
    directory_write(dir, "model.safetensors", file.at, file.size);
    free(file.at);
}

static void test_tiny(void **state) {
    struct limoe_inspection *i = NULL;
    struct limoe_error err;
    write_model(*state, "BF16", NULL);
    if (limoe_inspect(*state, &i, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_string_equal(i->info.name, "tiny");
    assert_int_equal(i->info.blocks, 3);
    assert_int_equal(i->info.experts, 5);
    assert_int_equal(i->info.top_k, 2);
    assert_true(i->info.scoring.scale == 0);
    assert_int_equal(i->info.weight_bytes, 2 * i->info.total_parameters);
    assert_string_equal(i->checkpoint_dtypes, "bfloat16");
    const uint64_t d = 12, m = 20, expert = 2 * d * m + m + d;
    for (uint32_t b = 0; b < 3; b++) {
        const struct limoe_block_info *block = &i->block[b];
        assert_int_equal(block->moe, b == 1);
        assert_int_equal(block->attention_parameters, 4 * d * d + 4 * d + 2 * d);
        assert_int_equal(block->router_parameters, b == 1 ? 5 * d : 0);
        assert_int_equal(block->mlp_parameters, (b == 1 ? 5 : 1) * expert + 2 * d);
        assert_int_equal(block->active_mlp_parameters, (b == 1 ? 2 : 1) * expert + 2 * d);
    }
    limoe_inspection_free(i);
    limoe_inspection_free(NULL);
}

static void test_refused(void **state) {
    const char *dir = *state;
    struct limoe_inspection *i = (struct limoe_inspection *)(uintptr_t)1;
    struct limoe_error err = {0};
    expect_failure("nothing", limoe_inspect(dir, &i, &err), &err, LIMOE_NOT_FOUND,
                   "/config.json: No such file");
    assert_null(i);
    directory_write(dir, "config.json", tiny_config, strlen(tiny_config));
    expect_failure("no weights", limoe_inspect(dir, &i, &err), &err, LIMOE_NOT_FOUND,
                   "/model.safetensors: No such");
    write_model(dir, "F32", "ln.bias");
    expect_failure("a tensor missing", limoe_inspect(dir, &i, &err), &err, LIMOE_CORRUPT,
                   "model.safetensors: tensor \"ln.bias\" is missing; F32, BF16 or F16 [12] is expected");
    write_model(dir, "I16", NULL);
    expect_failure("integers", limoe_inspect(dir, &i, &err), &err, LIMOE_UNSUPPORTED, "is I16");
    directory_write(dir, "config.json", "[]", 2);
    expect_failure("config", limoe_inspect(dir, &i, &err), &err, LIMOE_CORRUPT, "config.json: is an array");
    assert_null(i);
}

/* In limoe's naming, of one tower or two, and in transformers', of CLIP and of BERT. */
static bool in_a_block(const char *name) {
    return strncmp(name, "blocks.", 7) == 0 || strstr(name, ".blocks.") || strstr(name, "encoder.layers.") ||
           strstr(name, ".encoder.layer.");
}

/* Models of the references and of transformers: each opens, and its counts are those of its file. */
static void test_golden(void **state) {
    (void)state;
    int models = 0;
    DIR *golden = opendir(GOLDEN);
    assert_non_null(golden);
    for (struct dirent *e = readdir(golden); e; e = readdir(golden)) {
        char dir[4200];
        snprintf(dir, sizeof dir, "%s/%s", GOLDEN, e->d_name);
        if (e->d_name[0] == '.' || !file_exists(dir, "config.json"))
            continue;
        struct limoe_inspection *i = NULL;
        struct safetensors *st = NULL;
        struct limoe_error err;
        if (limoe_inspect(dir, &i, &err) != LIMOE_OK || safetensors_open(dir, &st, &err) != LIMOE_OK)
            fail_msg("%s: %s", e->d_name, err.message);
        uint64_t elements = 0, experts = 0, decoder = 0, bytes = 0, blocks = 0, in_blocks = 0;
        for (size_t t = 0; t < safetensors_count(st); t++) {
            const struct tensor *tensor = safetensors_at(st, t);
            elements += tensor->elements;
            bytes += tensor->bytes;
            experts += strstr(tensor->name, ".moe.fc") ? tensor->elements : 0;
            if (strncmp(tensor->name, "decoder.", 8) == 0)
                decoder += tensor->elements;
            else
                in_blocks += in_a_block(tensor->name) ? tensor->elements : 0;
        }
        for (uint32_t b = 0; b < i->info.blocks; b++) {
            blocks +=
                i->block[b].attention_parameters + i->block[b].router_parameters + i->block[b].mlp_parameters;
        }
        assert_int_equal(i->info.total_parameters, elements);
        assert_int_equal(i->info.weight_bytes, bytes);
        assert_int_equal(blocks, in_blocks);
        uint64_t idle = i->info.experts ? experts / i->info.experts * (i->info.experts - i->info.top_k) : 0;
        assert_int_equal(i->info.active_parameters, elements - idle - decoder);
        assert_true(!decoder == !i->info.decoder.blocks);
        const bool both = limoe_has(&i->info, LIMOE_IMAGE) && limoe_has(&i->info, LIMOE_TEXT);
        assert_true(both ? i->info.scoring.scale > 0 : i->info.scoring.scale == 0);
        safetensors_close(st);
        limoe_inspection_free(i);
        models++;
    }
    closedir(golden);
    assert_true(models >= 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tiny, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_refused, directory_setup, directory_teardown),
        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
