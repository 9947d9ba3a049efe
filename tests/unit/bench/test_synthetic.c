/* Protects: bench/synthetic writes models that open and answer, the same for a seed however they are sharded,
 * and refuses what would not open. Arguments: the program, a tokenizer. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "limoe.h"
#include "tests/unit/files.h"

static const char *program, *tokenizer;

static int make(void **state) {
    char dir[FOLDER_SIZE];
    folder_make(dir);
    *state = strdup(dir);
    return *state ? 0 : -1;
}

static int run(const char *command) {
    return system(command); /* NOLINT(cert-env33-c): the command is this file's own */
}

static int destroy(void **state) {
    const int failed = folder_remove(*state);
    free(*state);
    return failed;
}

/* A small model at DIR/name; more options follow. */
static int generate(const char *dir, const char *name, const char *options) {
    char command[2048];
    snprintf(command, sizeof command,
             "'%s' --preset small --out '%s/%s' --tokenizer '%s' --width 32 --heads 2 --mlp 48 --embed 24 "
             "--blocks 5 --moe-layers 2 --experts 6 --image-size 16 %s >'%s/out' 2>'%s/err'",
             program, dir, name, tokenizer, options, dir, dir);
    return run(command);
}

static struct limoe_model *open_model(const char *dir, const char *name) {
    char path[PATH_MAX];
    struct limoe_error err;
    struct limoe_model *m = NULL;
    const struct limoe_options options = {.dtype = LIMOE_FLOAT32, .threads = 1};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (limoe_model_open(path, &options, &m, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return m;
}

static void read_fingerprint(const char *dir, const char *name, char to[33]) {
    struct limoe_model *m = open_model(dir, name);
    snprintf(to, 33, "%s", limoe_model_fingerprint(m));
    limoe_model_close(m);
}

static void test_opens_and_answers(void **state) {
    char path[256];
    struct limoe_error err;
    struct limoe_processor *p = NULL;
    assert_int_equal(generate(*state, "m", "--vocab 12500"), 0); /* more than the tokenizer has */
    snprintf(path, sizeof path, "%s/m", (const char *)*state);
    if (limoe_processor_open(path, NULL, &p, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    struct limoe_model *m = open_model(*state, "m");
    assert_memory_equal(limoe_model_fingerprint(m), limoe_processor_fingerprint(p), 16);
    const struct limoe_info *info = limoe_model_info(m);
    assert_int_equal(info->vocab, 12500);
    assert_int_equal(info->moe_layers, 2);
    assert_int_equal(info->moe_blocks[0], 1);
    assert_int_equal(info->moe_blocks[1], 3);

    enum { TEXTS = 40, EMBED = 24, EXPERTS = 6 };
    int32_t tokens[TEXTS][16];
    struct limoe_item items[TEXTS];
    float z[TEXTS][EMBED];
    uint64_t load[2][LIMOE_MODALITIES][EXPERTS] = {{{0}}};
    const struct limoe_routing routing = {.load = &load[0][0][0]};
    for (int i = 0; i < TEXTS; i++) {
        char text[32];
        snprintf(text, sizeof text, "picture number %d", i);
        items[i] = (struct limoe_item){.modality = LIMOE_TEXT, .tokens = tokens[i]};
        assert_int_equal(limoe_process_text(p, text, strlen(text), tokens[i], &items[i].length, NULL),
                         LIMOE_OK);
    }
    if (limoe_model_embed(m, items, TEXTS, z[0], &routing, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_memory_not_equal(z[0], z[1], sizeof z[0]);
    int used = 0;
    for (int e = 0; e < EXPERTS; e++)
        used += load[0][LIMOE_TEXT][e] > 0;
    assert_true(used >= EXPERTS / 2);
    limoe_model_close(m);
    limoe_processor_close(p);
}

static void test_shards_hold_the_same_model(void **state) {
    static const char *const dtypes[] = {"float32", "bfloat16", "float16"};
    char whole[33], cut[33], other[33], options[128], path[256];
    for (int i = 0; i < 3; i++) {
        snprintf(options, sizeof options, "--seed 7 --dtype %s", dtypes[i]);
        assert_int_equal(generate(*state, "whole", options), 0);
        read_fingerprint(*state, "whole", whole);
        snprintf(options, sizeof options, "--seed 7 --dtype %s --shard-bytes 40000", dtypes[i]);
        snprintf(path, sizeof path, "cut%d", i);
        assert_int_equal(generate(*state, path, options), 0);
        read_fingerprint(*state, path, cut);
        assert_string_equal(whole, cut);
        snprintf(path, sizeof path, "%s/cut%d/model.safetensors.index.json", (const char *)*state, i);
        assert_int_equal(access(path, R_OK), 0);
        snprintf(options, sizeof options, "--seed 8 --dtype %s", dtypes[i]);
        assert_int_equal(generate(*state, "whole", options), 0);
        read_fingerprint(*state, "whole", other);
        assert_string_not_equal(whole, other);
    }
}

static void test_refused(void **state) {
    static const char *const wrong[] = {"--vocab 100",   "--heads 5",         "--patch 7",  "--width 0",
                                        "--preset b17",  "--width twelve",    "--seed -1",  "--dtype int8",
                                        "--top-k 7",     "--shard-bytes 0",   "left over",  "--unknown 1",
                                        "--name 'a\"b'", "--tokenizer /none", "--experts 0"};
    char path[256];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (generate(*state, "wrong", wrong[i]) == 0)
            fail_msg("\"%s\" was accepted", wrong[i]);
        snprintf(path, sizeof path, "%s/err", (const char *)*state);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        assert_true(fgetc(f) != EOF); /* and says why */
        fclose(f);
        snprintf(path, sizeof path, "%s/wrong/config.json", (const char *)*state);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_opens_and_answers, make, destroy),
        cmocka_unit_test_setup_teardown(test_shards_hold_the_same_model, make, destroy),
        cmocka_unit_test_setup_teardown(test_refused, make, destroy),
    };
    if (argc != 3)
        return 2;
    program = argv[1];
    tokenizer = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
