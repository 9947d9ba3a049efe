/* fixture.c - small random models and items. The test owns what is made here. */
#include "tests/unit/model/fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/model.h"
#include "tests/unit/files.h"

static uint64_t next(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1Du;
}

uint32_t fixture_random(uint64_t *state, uint32_t n) {
    return (uint32_t)((next(state) >> 32) * n >> 32);
}

/* About normal: four uniform numbers added, mean 0, deviation 1. */
static float normal(uint64_t *state) {
    double sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (double)(next(state) >> 11) / 9007199254740992.0 - 0.5;
    return (float)(sum * sqrt(3));
}

/* Variance is kept by matrices, norms are near 1, biases small; large positions make tokens differ. */
static float draw(const struct layout_tensor *t, uint64_t *state) {
    if (strstr(t->name, "ln") && strstr(t->name, "weight"))
        return 1 + 0.2f * normal(state);
    if (strstr(t->name, "norm.weight"))
        return 1 + 0.2f * normal(state);
    if (strstr(t->name, "bias"))
        return 0.1f * normal(state);
    if (strcmp(t->name, "logit_scale") == 0)
        return 2.5f;
    if (strstr(t->name, "pos") || strstr(t->name, "token"))
        return 0.5f * normal(state);
    if (strstr(t->name, "router"))
        return 2 * normal(state) / sqrtf((float)t->shape[t->rank - 1]);
    return normal(state) / sqrtf((float)t->shape[t->rank - 1]);
}

struct writer {
    char *header;
    size_t header_size;
    FILE *names, *data;
    size_t at;
    uint64_t random;
    const char *poison;
    size_t poison_at;
};

static void write_tensor(struct writer *w, const struct layout_tensor *t) {
    fprintf(w->names, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", w->at ? "," : "", t->name);
    for (uint32_t i = 0; i < t->rank; i++)
        fprintf(w->names, "%s%llu", i ? "," : "", (unsigned long long)t->shape[i]);
    fprintf(w->names, "],\"data_offsets\":[%zu,%zu]}", w->at, w->at + 4 * t->elements);
    w->at += 4 * t->elements;
    for (size_t i = 0; i < t->elements; i++) {
        float value = draw(t, &w->random);
        if (w->poison && strcmp(w->poison, t->name) == 0 && i == w->poison_at)
            value = NAN;
        assert_int_equal(fwrite(&value, sizeof value, 1, w->data), 1);
    }
}

static void write_checkpoint(const struct config *config, const char *path, struct writer *w) {
    char *data;
    size_t data_size;
    w->names = open_memstream(&w->header, &w->header_size);
    w->data = open_memstream(&data, &data_size);
    assert_non_null(w->names);
    assert_non_null(w->data);
    fputc('{', w->names);
    for (uint32_t block = 0; block < config_blocks(config); block++) {
        for (int id = 0; id < LAYOUT_COUNT; id++) {
            struct layout_tensor t;
            if ((block == 0 || layout_per_block((enum layout_id)id)) &&
                layout_expected(config, (enum layout_id)id, block, &t))
                write_tensor(w, &t);
        }
    }
    fputc('}', w->names);
    fclose(w->names);
    fclose(w->data);

    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    uint64_t length = w->header_size;
    assert_int_equal(fwrite(&length, sizeof length, 1, f), 1);
    assert_int_equal(fwrite(w->header, 1, w->header_size, f), w->header_size);
    assert_int_equal(fwrite(data, 1, data_size, f), data_size);
    assert_int_equal(fclose(f), 0);
    free(w->header);
    free(data);
}

void fixture_create(struct fixture *fixture, const char *json, uint64_t seed, const char *poison,
                    size_t poison_at) {
    char path[96];
    struct limoe_error err;
    struct config config;
    struct writer w = {.random = seed, .poison = poison, .poison_at = poison_at};
    if (config_parse(json, strlen(json), "fixture", &config, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    folder_make(fixture->dir);
    snprintf(path, sizeof path, "%s/config.json", fixture->dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(json, f);
    assert_int_equal(fclose(f), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", fixture->dir);
    write_checkpoint(&config, path, &w);
}

void fixture_remove(struct fixture *fixture) {
    assert_int_equal(folder_remove(fixture->dir), 0);
}

struct limoe_model *fixture_open(const struct fixture *fixture, enum limoe_dtype dtype) {
    struct limoe_error err;
    struct limoe_model *model = NULL;
    struct kernels *k;
    assert_int_equal(kernels_reference_create(dtype, &k, &err), LIMOE_OK);
    const struct limoe_options one_rank = {0};
    if (model_open_on(fixture->dir, k, &one_rank, &model, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return model;
}

struct limoe_item *fixture_items(const struct limoe_info *info, uint32_t shortest, size_t n, uint64_t seed) {
    struct limoe_item *items = calloc(n, sizeof *items);
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++) {
        if (fixture_random(&state, 2)) {
            size_t bytes = (size_t)info->image_size * info->image_size * 3;
            uint8_t *pixels = malloc(bytes);
            for (size_t b = 0; b < bytes; b++)
                pixels[b] = (uint8_t)fixture_random(&state, 256);
            items[i] =
                (struct limoe_item){.modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels};
        } else {
            uint32_t length = shortest + fixture_random(&state, info->text_length - shortest + 1);
            int32_t *tokens = malloc(length * sizeof *tokens);
            for (uint32_t t = 0; t < length; t++)
                tokens[t] = (int32_t)fixture_random(&state, info->vocab);
            items[i] = (struct limoe_item){.modality = LIMOE_TEXT, .length = length, .tokens = tokens};
        }
    }
    return items;
}

void fixture_items_free(struct limoe_item *items, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free((void *)items[i].pixels);
        free((void *)items[i].tokens);
    }
    free(items);
}
