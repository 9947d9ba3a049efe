/* Protects: what is tuned is written by the names and in the forms of its checkpoint, of whichever library: merged, the model
 * has the tuner's weights, bit for bit, and frozen ones are the base's.
 *
 * usage: test_draft MODEL_DIRECTORY... */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/checkpoint/checkpoint.h"
#include "model/tuning/draft.h"
#include "tests/unit/files.h"
#include "tests/unit/model/fixture.h"

enum { CLASSES = 3, TOKENS = 2 };

static char **models;
static int n_models;

static void must(enum limoe_status status, const struct limoe_error *err) {
    if (status)
        fail_msg("%s", err->message);
}

static float *noise(size_t n, uint64_t seed) {
    float *value = malloc((n + 1) * sizeof *value);
    assert_non_null(value);
    for (size_t i = 0; i < n; i++)
        value[i] = (float)fixture_random(&seed, 2001) / 1000 - 1;
    return value;
}

static bool go_on(void *context, size_t done, float loss) {
    (void)context, (void)done;
    return loss == loss;
}

/* A tail of the last blocks, one step away from the base. */
static struct tuner *make_tuner(const struct config *config, const struct safetensors *st, struct kernels *k,
                                uint32_t start_block) {
    static const uint32_t start[CLASSES + 1] = {0, TOKENS, 2 * TOKENS, 3 * TOKENS},
                                          label[CLASSES] = {0, 1, 2};
    const size_t text = (size_t)CLASSES * TOKENS * config->tower[LIMOE_TEXT].width,
                 image = (size_t)CLASSES * config_image_tokens(config) * config->tower[LIMOE_IMAGE].width;
    float *prompts = noise(text, 1), *rows = noise(image, 2);
    struct tuner *t;
    struct limoe_error err;
    const struct tuner_setup setup = {.config = config,
                                      .st = st,
                                      .k = k,
                                      .start_block = start_block,
                                      .classes = CLASSES,
                                      .templates = 1,
                                      .prompt_rows = prompts,
                                      .prompt_start = start,
                                      .scale = 10};
    must(tuner_create(&setup, &t, &err), &err);
    const struct tuner_epoch epoch = {
        .rows = rows, .label = label, .n = CLASSES, .epochs = 1, .rate = 1e-2, .tell = go_on};
    must(tuner_epoch(t, &epoch, &err), &err);
    free(prompts);
    free(rows);
    return t;
}

static void write_and_merge(const char *dir, const struct draft *draft, const char *file,
                            const char *merged) {
    struct limoe_adapter *adapter;
    struct limoe_error err;
    must(draft_write(file, draft, &err), &err);
    must(limoe_adapter_open(file, &adapter, &err), &err);
    assert_string_equal(limoe_adapter_about(adapter)->labels[1], "\"two\"");
    must(limoe_merge(dir, adapter, 1, merged, NULL, NULL, &err), &err);
    limoe_adapter_close(adapter);
}

static void expect_weights(const char *merged, const struct config *config, uint32_t start_block,
                           const struct tuner *t) {
    struct safetensors *st;
    struct limoe_error err;
    must(checkpoint_open(merged, config, &st, &err), &err);
    for (uint32_t tower = 0; tower < config->towers; tower++) {
        const struct tail_shape shape = {.tower = (enum limoe_modality)tower, .first_block = start_block};
        const struct parameters *tuned = tuner_parameters(t, tower);
        struct parameters p;
        must(parameters_load(config, st, &shape, &p, &err), &err);
        assert_int_equal(p.elements, tuned->elements);
        assert_memory_equal(p.weight, tuned->weight, p.elements * sizeof *p.weight);
        parameters_free(&p);
    }
    assert_null(tuner_parameters(t, config->towers));
    safetensors_close(st);
}

static void check_model(const char *dir) {
    static const char *const labels[CLASSES] = {"one", "\"two\"", "三"}, *const templates[] = {"{}"};
    char folder[FOLDER_SIZE], file[FOLDER_SIZE + 16], merged[FOLDER_SIZE + 16], base[33];
    struct config *config = calloc(1, sizeof *config);
    struct safetensors *st;
    struct kernels *k;
    struct limoe_error err;
    assert_non_null(config);
    must(config_load(dir, config, NULL, &err), &err);
    must(checkpoint_open(dir, config, &st, &err), &err);
    must(kernels_cpu_create(LIMOE_FLOAT32, 1, &k, &err), &err);
    must(limoe_base(dir, base, &err), &err);
    folder_make(folder);
    snprintf(file, sizeof file, "%s/adapter", folder);
    snprintf(merged, sizeof merged, "%s/merged", folder);
    struct tuner *t = make_tuner(config, st, k, 1);
    write_and_merge(dir,
                    &(struct draft){.base = base,
                                    .start_block = 1,
                                    .label = labels,
                                    .template = templates,
                                    .labels = CLASSES,
                                    .templates = 1,
                                    .strength = 0.25f,
                                    .training = "{}",
                                    .tuner = t,
                                    .config = config,
                                    .st = st},
                    file, merged);
    expect_weights(merged, config, 1, t);
    tuner_destroy(t);
    k->ops->destroy(k);
    safetensors_close(st);
    free(config);
    assert_int_equal(folder_remove(folder), 0);
}

static void merged_models_have_the_tuned_weights(void **state) {
    (void)state;
    for (int i = 0; i < n_models; i++)
        check_model(models[i]);
}

int main(int argc, char **argv) {
    assert_true(argc > 1);
    models = argv + 1;
    n_models = argc - 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(merged_models_have_the_tuned_weights)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
