/* Protects: a LoRA, in a file of our own or in a folder of PEFT's, is what it multiplies out to; what PEFT can ask for is
 * done or refused by name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "limoe.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/files.h"
#include "tests/unit/model/adapter_file.h"
#include "tests/unit/model/fixture.h"

static char folder[FOLDER_SIZE];

static const char sparse[] =
    "{\"format\":\"limoe-1\",\"name\":\"tiny\",\"width\":12,\"blocks\":3,\"heads\":3,\"mlp\":20,\"embed\":8,"
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":1},\"moe\":{\"blocks\":[1],\"experts\":5,\"top_k\":2}}";

static int make_folder(void **state) {
    (void)state;
    folder_make(folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return folder_remove(folder);
}

static const char *in_folder(const char *name) {
    static char path[FOLDER_SIZE + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

enum { LORA_RANK = 2, LORA_OUT = 36, LORA_IN = 12 };

/* Of blocks.1.attn.qkv, at random; what it makes of the matrix goes to tuned[LORA_OUT * LORA_IN]. */
static void add_lora(struct adapter_file *f, const char *prefix, const float *matrix, double scale,
                     float *tuned) {
    float a[LORA_RANK * LORA_IN], b[LORA_OUT * LORA_RANK];
    char name[128];
    uint64_t random = 11;
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        a[i] = (float)fixture_random(&random, 1000) / 1000 - 0.5f;
    for (size_t i = 0; i < sizeof b / sizeof *b; i++)
        b[i] = (float)fixture_random(&random, 1000) / 1000 - 0.5f;
    snprintf(name, sizeof name, "%sblocks.1.attn.qkv.lora_A.weight", prefix);
    adapter_file_add(f, name, 2, (uint64_t[]){LORA_RANK, LORA_IN}, a, false);
    snprintf(name, sizeof name, "%sblocks.1.attn.qkv.lora_B.weight", prefix);
    adapter_file_add(f, name, 2, (uint64_t[]){LORA_OUT, LORA_RANK}, b, false);
    for (size_t o = 0; o < LORA_OUT; o++)
        for (size_t i = 0; i < LORA_IN; i++) {
            double sum = 0;
            for (size_t r = 0; r < LORA_RANK; r++)
                sum += (double)b[o * LORA_RANK + r] * a[r * LORA_IN + i];
            tuned[o * LORA_IN + i] = (float)(matrix[o * LORA_IN + i] + scale * sum);
        }
}

static void read_matrix(const char *dir, float *matrix) {
    struct safetensors *st;
    struct limoe_error err;
    assert_int_equal(safetensors_open(dir, &st, &err), LIMOE_OK);
    const struct tensor *t = safetensors_find(st, "blocks.1.attn.qkv.weight");
    assert_int_equal(t->elements, LORA_OUT * LORA_IN);
    assert_int_equal(safetensors_read(st, t, matrix, &err), LIMOE_OK);
    safetensors_close(st);
}

static void write_peft_config(const char *more) {
    char path[FOLDER_SIZE + 96];
    snprintf(path, sizeof path, "%s/adapter_config.json", in_folder("peft"));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file,
            "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":3,\"bias\":\"none\",\"modules_to_save\":null%s}",
            more);
    assert_int_equal(fclose(file), 0);
}

/* What a model with the adapter says of some items; [4, 8]. */
static void ask(struct limoe_model *m, const char *path, float *z) {
    struct limoe_adapter *a;
    struct limoe_tail *tail;
    struct limoe_error err;
    expect_outcome(limoe_adapter_open(path, &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_model_adapt(m, a, 0.75f, &tail, &err), &err, LIMOE_OK, "");
    struct limoe_item *items = fixture_items(limoe_model_info(m), 1, 4, 3);
    const struct limoe_tail *list[] = {tail};
    for (int i = 0; i < 4; i++) {
        items[i].tails = list;
        items[i].n_tails = 1;
    }
    expect_outcome(limoe_model_embed(m, items, 4, z, NULL, &err), &err, LIMOE_OK, "");
    fixture_items_free(items, 4);
    limoe_tail_release(tail);
    limoe_adapter_close(a);
}

/* A LoRA, in a file of our own or in PEFT's folder, is the tail whose matrix is W + alpha / r B A. */
static void a_lora_is_the_tail_it_multiplies_out_to(void **state) {
    (void)state;
    struct fixture f;
    struct adapter_file own = {0}, peft = {0}, tail = {0}, stabilised = {0};
    float matrix[LORA_OUT * LORA_IN], tuned[LORA_OUT * LORA_IN], z[4][4 * 8];
    char about[512], path[FOLDER_SIZE + 96];
    fixture_create(&f, sparse, 1, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32);
    read_matrix(f.dir, matrix);
    assert_int_equal(mkdir(in_folder("peft"), 0777), 0);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", in_folder("peft"));

    add_lora(&own, "", matrix, 1.5, tuned);
    snprintf(about, sizeof about,
             "{\"format\":\"limoe-adapter-1\",\"kind\":\"lora\",\"base\":\"%s\",\"rank\":2,\"alpha\":3}",
             limoe_model_base(m));
    adapter_file_write(&own, in_folder("lora"), about);
    add_lora(&peft, "base_model.model.", matrix, 1.5, tuned);
    adapter_file_write(&peft, path, NULL);
    write_peft_config("");
    adapter_file_add(&tail, "blocks.1.attn.qkv.weight", 2, (uint64_t[]){LORA_OUT, LORA_IN}, tuned, false);
    char *tail_about = adapter_file_about(limoe_model_base(m), 1);
    adapter_file_write(&tail, in_folder("tail"), tail_about);
    ask(m, in_folder("lora"), z[0]);
    ask(m, in_folder("peft"), z[1]);
    ask(m, in_folder("tail"), z[2]);
    assert_memory_equal(z[0], z[2], sizeof z[0]);
    assert_memory_equal(z[1], z[2], sizeof z[0]);

    add_lora(&stabilised, "", matrix, 3 / sqrt(2), tuned);
    free(stabilised.names);
    free(stabilised.data);
    adapter_file_add(&tail, "blocks.1.attn.qkv.weight", 2, (uint64_t[]){LORA_OUT, LORA_IN}, tuned, false);
    adapter_file_write(&tail, in_folder("tail"), tail_about);
    write_peft_config(",\"use_rslora\":true");
    ask(m, in_folder("peft"), z[3]);
    ask(m, in_folder("tail"), z[2]);
    assert_memory_equal(z[3], z[2], sizeof z[0]);
    assert_memory_not_equal(z[3], z[1], sizeof z[0]);
    free(tail_about);
    limoe_model_close(m);
    fixture_remove(&f);
}

/* Written anew, by either name, a LoRA is the same; by PEFT, which has no strength, with that much of alpha. */
static void a_lora_is_the_same_when_it_is_saved(void **state) {
    (void)state;
    struct fixture f;
    struct adapter_file file = {0};
    float matrix[LORA_OUT * LORA_IN], tuned[LORA_OUT * LORA_IN], z[2][4 * 8];
    char path[FOLDER_SIZE + 96];
    struct limoe_adapter *a;
    struct limoe_error err;
    fixture_create(&f, sparse, 1, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32);
    read_matrix(f.dir, matrix);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", in_folder("peft"));
    add_lora(&file, "base_model.model.", matrix, 1.5, tuned);
    adapter_file_write(&file, path, NULL);
    write_peft_config(",\"use_rslora\":true");
    ask(m, in_folder("peft"), z[0]);
    expect_outcome(limoe_adapter_open(in_folder("peft"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_adapter_save(a, NULL, in_folder("saved"), &err), &err, LIMOE_INVALID,
                   "a base is needed");
    expect_outcome(limoe_adapter_save(a, limoe_model_base(m), in_folder("saved"), &err), &err, LIMOE_OK, "");
    limoe_adapter_close(a);
    ask(m, in_folder("saved"), z[1]);
    assert_memory_equal(z[0], z[1], sizeof z[0]);

    expect_outcome(limoe_adapter_open(in_folder("saved"), &a, &err), &err, LIMOE_OK, "");
    assert_true(limoe_adapter_about(a)->rslora);
    snprintf(path, sizeof path, "%s", in_folder("peft2"));
    expect_outcome(limoe_adapter_save_peft(a, path, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_adapter_save_peft(a, path, &err), &err, LIMOE_INVALID, "is there already");
    expect_outcome(limoe_adapter_save(a, "00000000000000000000000000000000", in_folder("saved"), &err), &err,
                   LIMOE_INVALID, "cannot become");
    limoe_adapter_close(a);
    ask(m, path, z[1]);
    assert_memory_equal(z[0], z[1], sizeof z[0]);
    expect_outcome(limoe_adapter_open(path, &a, &err), &err, LIMOE_OK, "");
    assert_true(limoe_adapter_about(a)->alpha == 3 && limoe_adapter_about(a)->rank == 2);
    limoe_adapter_close(a);
    limoe_model_close(m);
    fixture_remove(&f);
}

static void a_strength_becomes_an_alpha(void **state) {
    (void)state;
    struct adapter_file file = {0};
    float matrix[LORA_OUT * LORA_IN] = {0}, tuned[LORA_OUT * LORA_IN];
    char path[FOLDER_SIZE + 96];
    struct limoe_adapter *a;
    struct limoe_error err;
    add_lora(&file, "", matrix, 1, tuned);
    adapter_file_write(&file, in_folder("half"),
                       "{\"format\":\"limoe-adapter-1\",\"kind\":\"lora\",\"base\":"
                       "\"00112233445566778899aabbccddeeff\",\"rank\":2,\"alpha\":3,\"strength\":0.5}");
    expect_outcome(limoe_adapter_open(in_folder("half"), &a, &err), &err, LIMOE_OK, "");
    snprintf(path, sizeof path, "%s", in_folder("peft3"));
    expect_outcome(limoe_adapter_save_peft(a, path, &err), &err, LIMOE_OK, "");
    limoe_adapter_close(a);
    expect_outcome(limoe_adapter_open(path, &a, &err), &err, LIMOE_OK, "");
    assert_true(limoe_adapter_about(a)->alpha == 1.5F && limoe_adapter_about(a)->strength == 1);
    limoe_adapter_close(a);
    adapter_file_add(&file, "ln.bias", 1, (uint64_t[]){12}, matrix, false);
    char *about = adapter_file_about("00112233445566778899aabbccddeeff", 0);
    adapter_file_write(&file, in_folder("a_tail"), about);
    expect_outcome(limoe_adapter_open(in_folder("a_tail"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_adapter_save_peft(a, in_folder("none"), &err), &err, LIMOE_INVALID, "is a tail");
    limoe_adapter_close(a);
    free(about);
}

/* What has a name that is not PEFT's would get one of the model's. */
static void a_tensor_of_another_name_is_not_saved(void **state) {
    (void)state;
    struct adapter_file file = {0};
    float matrix[LORA_OUT * LORA_IN] = {0}, tuned[LORA_OUT * LORA_IN];
    char path[FOLDER_SIZE + 96];
    struct limoe_adapter *a;
    struct limoe_error err;
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", in_folder("peft"));
    add_lora(&file, "x.", matrix, 1, tuned);
    adapter_file_write(&file, path, NULL);
    write_peft_config("");
    expect_outcome(limoe_adapter_open(in_folder("peft"), &a, &err), &err, LIMOE_OK, "");
    expect_outcome(limoe_adapter_save(a, "00112233445566778899aabbccddeeff", in_folder("no"), &err), &err,
                   LIMOE_CORRUPT, "another name than PEFT's");
    expect_outcome(limoe_adapter_save_peft(a, in_folder("no"), &err), &err, LIMOE_CORRUPT,
                   "another name than PEFT's");
    limoe_adapter_close(a);
}

static void what_peft_asks_for_is_done_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *more, *says;
    } cases[] = {
        {",\"use_dora\":true", "adapter_config.json: \"use_dora\" is true"},
        {",\"alpha_pattern\":{\"q\":3}", "\"alpha_pattern\" is an object"},
        {",\"r\":3", "adapter_config.json"},
        {",\"modules_to_save\":[\"x\"]", "adapter_config.json"},
    };
    struct limoe_adapter *a = NULL;
    struct limoe_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_peft_config(cases[i].more);
        assert_int_not_equal(limoe_adapter_open(in_folder("peft"), &a, &err), LIMOE_OK);
        if (!strstr(err.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
    }
}

/* One half, and one of another shape. */
static void a_lora_that_does_not_fit_is_refused(void **state) {
    (void)state;
    struct fixture f;
    char about[512];
    static const struct {
        const char *name;
        uint64_t shape[2];
        const char *says;
    } cases[] = {
        {"blocks.1.attn.qkv.lora_A.weight", {2, 12}, "tensor \"blocks.1.attn.qkv.lora_B.weight\" is missing"},
        {"blocks.1.attn.qkv.lora_A.weight", {3, 12}, "has the shape [3, 12]; [2, 12] is expected"},
        {"blocks.1.ln1.lora_A.weight",
         {2, 12},
         "tensor \"blocks.1.ln1.lora_A.weight\" is not one of the model"},
        {"text.token.lora_A.weight", {2, 12}, "tensor \"text.token.lora_A.weight\" is not one of the model"},
    };
    fixture_create(&f, sparse, 1, NULL, 0);
    struct limoe_model *m = fixture_open(&f, LIMOE_FLOAT32);
    snprintf(about, sizeof about,
             "{\"format\":\"limoe-adapter-1\",\"kind\":\"lora\",\"base\":\"%s\",\"rank\":2,\"alpha\":3}",
             limoe_model_base(m));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        static const float zeros[64];
        struct adapter_file file = {0};
        struct limoe_adapter *a;
        struct limoe_tail *tail = NULL;
        struct limoe_error err;
        adapter_file_add(&file, cases[i].name, 2, cases[i].shape, zeros, true);
        adapter_file_write(&file, in_folder("lora"), about);
        expect_outcome(limoe_adapter_open(in_folder("lora"), &a, &err), &err, LIMOE_OK, "");
        assert_int_not_equal(limoe_model_adapt(m, a, 1, &tail, &err), LIMOE_OK);
        if (!strstr(err.message, cases[i].says))
            fail_msg("\"%s\" does not say \"%s\"", err.message, cases[i].says);
        limoe_adapter_close(a);
    }
    limoe_model_close(m);
    fixture_remove(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lora_is_the_tail_it_multiplies_out_to),
        cmocka_unit_test(a_lora_is_the_same_when_it_is_saved),
        cmocka_unit_test(a_strength_becomes_an_alpha),
        cmocka_unit_test(a_tensor_of_another_name_is_not_saved),
        cmocka_unit_test(what_peft_asks_for_is_done_or_refused),
        cmocka_unit_test(a_lora_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
