#include "tests/unit/model/support.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>

#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "tests/unit/files.h"

const char tiny_config[] =
    "{\"format\":\"limoe-1\",\"name\":\"tiny\",\"width\":12,\"blocks\":3,\"heads\":3,\"mlp\":20,\"embed\":8,"
    "\"activation\":\"gelu_tanh\",\"ln_eps\":1e-6,\"qk_norm\":false,\"pool\":\"mean\","
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"resize\":\"pad\","
    "\"background\":[255,255,255]},"
    "\"text\":{\"vocab\":40,\"length\":6,\"eos_id\":2,\"pad_id\":0,\"pad\":\"ignore\"},"
    "\"moe\":{\"blocks\":[1],\"experts\":5,\"top_k\":2,\"renormalize\":false}}";

void bytes_add(struct bytes *b, const void *data, size_t size) {
    b->at = realloc(b->at, b->size + size + 1);
    assert_non_null(b->at);
    if (size > 0)
        memcpy(b->at + b->size, data, size);
    b->size += size;
}

void bytes_add_u32(struct bytes *b, uint32_t value) {
    uint8_t le[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    bytes_add(b, le, sizeof le);
}

void bytes_add_u64(struct bytes *b, uint64_t value) {
    bytes_add_u32(b, (uint32_t)value);
    bytes_add_u32(b, (uint32_t)(value >> 32));
}

char *edit(const char *text, const char *find, const char *replace) {
    const char *at = strstr(text, find);
    if (!at)
        fail_msg("nothing to replace: %s", find);
    char *edited = NULL;
    assert_true(asprintf(&edited, "%.*s%s%s", (int)(at - text), text, replace, at + strlen(find)) >= 0);
    return edited;
}

int directory_setup(void **state) {
    char dir[FOLDER_SIZE];
    folder_make(dir);
    *state = strdup(dir);
    return *state ? 0 : -1;
}

int directory_teardown(void **state) {
    const int status = folder_remove(*state);
    free(*state);
    return status;
}

void directory_write(const char *dir, const char *name, const void *data, size_t size) {
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", dir, name) >= 0);
    unlink(path); /* truncating instead makes some file systems wait for the disk at closing */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    free(path);
}

struct bytes safetensors_file(const char *header, size_t data_size) {
    struct bytes b = {0};
    bytes_add_u64(&b, strlen(header));
    bytes_add(&b, header, strlen(header));
    for (size_t i = 0; i < data_size; i++)
        bytes_add(&b, &(uint8_t){(uint8_t)(i % 251)}, 1);
    return b;
}

struct bytes checkpoint_file(const struct config *config, const char *dtype, const char *skip,
                             const char *extra) {
    size_t element = strcmp(dtype, "F32") == 0 ? 4 : 2, at = 0, size = 0;
    char *header = NULL;
    FILE *f = open_memstream(&header, &size);
    assert_non_null(f);
    fprintf(f, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        const uint32_t blocks = layout_blocks(config, (enum layout_id)id);
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor t;
            if (!layout_expected(config, (enum layout_id)id, block, &t) ||
                (skip && strcmp(t.name, skip) == 0))
                continue;
            fprintf(f, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t.name, dtype);
            for (uint32_t d = 0; d < t.rank; d++)
                fprintf(f, "%s%llu", d > 0 ? "," : "", (unsigned long long)t.shape[d]);
            fprintf(f, "],\"data_offsets\":[%zu,%zu]}", at, at + t.elements * element);
            at += t.elements * element;
        }
    }
    if (extra) {
        fprintf(f, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[%zu,%zu]}", extra, at, at + 4);
        at += 4;
    }
    fprintf(f, "}");
    assert_int_equal(fclose(f), 0);
    struct bytes b = safetensors_file(header, 0);
    void *zeros = calloc(1, at);
    assert_non_null(zeros);
    bytes_add(&b, zeros, at);
    free(zeros);
    free(header);
    return b;
}

void expect_failure(const char *label, enum limoe_status status, const struct limoe_error *err,
                    enum limoe_status expected, const char *part) {
    if (status != expected) {
        fail_msg("%s: %s, not %s: %s", label, limoe_status_name(status), limoe_status_name(expected),
                 err->message);
    }
    assert_int_equal(err->status, status);
    if (!strstr(err->message, part))
        fail_msg("%s: \"%s\" does not say \"%s\"", label, err->message, part);
}

uint32_t random_below(uint64_t *state, uint32_t n) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 0x2545F4914F6CDD1Du >> 32) * n >> 32);
}

void expect_refused(const char *json, const char *where, const struct refusal *refusals, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char *edited = edit(json, refusals[i].find, refusals[i].replace);
        struct config c;
        struct limoe_error err = {0};
        const enum limoe_status status = config_parse(edited, strlen(edited), where, &c, &err);
        expect_failure(refusals[i].replace, status, &err, refusals[i].status, refusals[i].message);
        if (strncmp(err.message, where, strlen(where)) != 0 ||
            strncmp(err.message + strlen(where), ": ", 2) != 0)
            fail_msg("\"%s\" does not begin with the file's name", err.message);
        assert_int_equal(config_parse(edited, strlen(edited), where, &c, NULL), status);
        free(edited);
    }
}

static void expect_sound(const struct config *c) {
    for (int t = 0; t < LIMOE_MODALITIES; t++)
        if (config_has(c, (enum limoe_modality)t))
            assert_int_equal(c->tower[t].width % c->tower[t].heads, 0);
    assert_true(config_blocks(c) > 0);
    assert_true(c->image.patch <= c->image.size);
    assert_true(config_blocks(c) <= CONFIG_MAX_BLOCKS && config_image_tokens(c) <= CONFIG_MAX_IMAGE_TOKENS);
    if (config_has_decoder(c)) {
        const struct config_tower *d = &c->decoder.tower;
        const int32_t vocab = (int32_t)c->text.vocab;
        assert_true(config_has_scores(c) && d->width % d->heads == 0);
        assert_true(c->decoder.length >= 1 && c->decoder.length <= CONFIG_MAX_CAPTION);
        assert_true(c->decoder.begin_id >= 0 && c->decoder.begin_id < vocab);
        assert_true(c->decoder.end_id >= 0 && c->decoder.end_id < vocab);
    }
    assert_true(c->moe.top_k <= c->moe.experts);
    for (uint32_t i = 0; i < c->moe.layers; i++)
        assert_true(c->moe.block[i] < config_blocks(c));
}

void expect_damage_refused(const char *json, const char *where) {
    const size_t size = strlen(json);
    uint64_t random = 1;
    for (size_t round = 0; round < size + 3000; round++) {
        const size_t kept = round < size ? round : size;
        char *damaged = malloc(kept + 1);
        struct config c;
        struct limoe_error err = {0};
        memcpy(damaged, json, kept);
        for (uint32_t flips = round < size ? 0 : 1 + random_below(&random, 3); flips > 0; flips--)
            damaged[random_below(&random, (uint32_t)size)] ^= (char)(1 << random_below(&random, 8));
        if (config_parse(damaged, kept, where, &c, &err) == LIMOE_OK)
            expect_sound(&c);
        else
            assert_true(strlen(err.message) > strlen(where) + 2);
        free(damaged);
    }
}
