/* adapter_file.c - makes adapters' files. The test owns what is made here. */
#include "tests/unit/model/adapter_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/number.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config.h"
#include "model/checkpoint/layout.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/model/fixture.h"

static void append(char **to, size_t *size, const void *bytes, size_t n) {
    *to = realloc(*to, *size + n + 1);
    assert_non_null(*to);
    if (n > 0)
        memcpy(*to + *size, bytes, n);
    *size += n;
    (*to)[*size] = '\0';
}

void adapter_file_add(struct adapter_file *f, const char *name, uint32_t rank, const uint64_t *shape,
                      const float *value, bool half) {
    char *entry = NULL;
    size_t size = 0, elements = 1;
    FILE *out = open_memstream(&entry, &size);
    assert_non_null(out);
    fprintf(out, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, half ? "BF16" : "F32");
    for (uint32_t i = 0; i < rank; i++) {
        fprintf(out, "%s%llu", i ? "," : "", (unsigned long long)shape[i]);
        elements *= shape[i];
    }
    const size_t bytes = elements * (half ? 2 : 4);
    fprintf(out, "],\"data_offsets\":[%zu,%zu]}", f->data_size, f->data_size + bytes);
    assert_int_equal(fclose(out), 0);
    append(&f->names, &f->names_size, entry, size);
    free(entry);
    char *const packed = malloc(bytes + 1);
    assert_non_null(packed);
    for (size_t i = 0; i < elements; i++) { /* the upper half of a float, little-endian, is its bfloat16 */
        const char *at = (const char *)&value[i];
        memcpy(packed + i * (half ? 2 : 4), half ? at + 2 : at, half ? 2 : 4);
    }
    append(&f->data, &f->data_size, packed, bytes);
    free(packed);
}

static void print_json(FILE *out, const char *text) {
    for (; *text; text++)
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

void adapter_file_write(struct adapter_file *f, const char *path, const char *about) {
    char *header = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&header, &size);
    assert_non_null(out);
    fprintf(out, "{\"__metadata__\":{\"format\":\"pt\"");
    if (about) {
        fprintf(out, ",\"limoe-adapter\":\"");
        print_json(out, about);
        fprintf(out, "\"");
    }
    fprintf(out, "}%s}", f->names ? f->names : "");
    assert_int_equal(fclose(out), 0);
    const uint64_t length = size;
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(&length, sizeof length, 1, file), 1);
    assert_int_equal(fwrite(header, 1, size, file), size);
    assert_int_equal(fwrite(f->data ? f->data : "", 1, f->data_size, file), f->data_size);
    assert_int_equal(fclose(file), 0);
    free(header);
    free(f->names);
    free(f->data);
    *f = (struct adapter_file){0};
}

char *adapter_file_about(const char *base, uint32_t start_block) {
    char *about = NULL;
    assert_true(
        asprintf(&about,
                 "{\"format\":\"limoe-adapter-1\",\"kind\":\"tail\",\"base\":\"%s\",\"start_block\":%u,"
                 "\"labels\":[\"cat\",\"猫\"],\"templates\":[\"a "
                 "{}\"],\"strength\":0.5,\"training\":{\"seed\":1}}",
                 base, start_block) >= 0);
    return about;
}

/* As float32, malloc'd. */
static float *read_floats(const struct safetensors *st, const struct tensor *t) {
    static const enum kernels_storage storage[] = {[TENSOR_F32] = KERNELS_F32,
                                                   [TENSOR_BF16] = KERNELS_BF16,
                                                   [TENSOR_F16] = KERNELS_F16,
                                                   [TENSOR_I8] = KERNELS_I8};
    struct limoe_error err;
    char name[600];
    void *raw = malloc(t->bytes);
    float *floats = malloc(t->elements * sizeof *floats), *scale = NULL;
    assert_non_null(raw);
    assert_non_null(floats);
    assert_int_equal(safetensors_read(st, t, raw, &err), LIMOE_OK);
    struct kernels_tensor from = {raw, storage[t->dtype]};
    struct kernels_int8 rows = {.value = raw};
    if (t->dtype == TENSOR_I8) {
        snprintf(name, sizeof name, "%s" LAYOUT_SCALE, t->name);
        const struct tensor *scales = safetensors_find(st, name);
        scale = read_floats(st, scales);
        rows.scale = scale;
        rows.row = t->elements / scales->elements;
        from.host = &rows;
    }
    tensor_read(from, 0, t->elements, floats);
    free(scale);
    free(raw);
    return floats;
}

static bool may_change(const struct config *config, enum layout_id id, uint32_t block, uint32_t start) {
    if (layout_per_block(id))
        return block - config_first_block(config, config_block_tower(config, block)) >= start;
    return id == LAYOUT_IMAGE_PROJ_WEIGHT || id == LAYOUT_TEXT_PROJ_WEIGHT || id == LAYOUT_TEXT_PROJ_BIAS ||
           (id >= LAYOUT_LN_WEIGHT && id <= LAYOUT_TEXT_LN_BIAS) ||
           (id >= LAYOUT_POOL_PROBE && id <= LAYOUT_POOL_FC2_BIAS);
}

static void add_moved(struct adapter_file *f, const struct safetensors *st, const struct tensor *t, bool half,
                      uint64_t *random) {
    float *value = read_floats(st, t);
    for (size_t i = 0; i < t->elements; i++)
        value[i] += ((float)fixture_random(random, 1 << 16) / (1 << 16) - 0.5f) * 0.1f;
    adapter_file_add(f, t->name, t->rank, t->shape, value, half);
    free(value);
}

void adapter_file_tail(const char *dir, uint32_t start, bool some, uint64_t seed, const char *path) {
    struct config config;
    struct safetensors *st;
    struct limoe_error err;
    struct adapter_file f = {0};
    char base[33];
    if (config_load(dir, &config, NULL, &err) || checkpoint_open(dir, &config, &st, &err) ||
        limoe_base(dir, base, &err))
        fail_msg("%s", err.message);
    for (int id = 0; id < LAYOUT_COUNT; id++) {
        const uint32_t blocks = layout_per_block((enum layout_id)id) ? config_blocks(&config) : 1;
        for (uint32_t block = 0; block < blocks; block++) {
            struct layout_tensor expected;
            struct layout_source t;
            if (!layout_expected(&config, (enum layout_id)id, block, &expected) ||
                !may_change(&config, (enum layout_id)id, block, start))
                continue;
            assert_int_equal(layout_find(&config, (enum layout_id)id, block, st, &t, &err), LIMOE_OK);
            for (uint32_t p = 0; p < t.parts; p++)
                if (!some || fixture_random(&seed, 2))
                    add_moved(&f, st, t.part[p], some && fixture_random(&seed, 2), &seed);
        }
    }
    char *about = adapter_file_about(base, start);
    adapter_file_write(&f, path, about);
    free(about);
    safetensors_close(st);
}

void expect_outcome(enum limoe_status got, const struct limoe_error *err, enum limoe_status want,
                    const char *part) {
    if (got != want || (want && !strstr(err->message, part)))
        fail_msg("%s: \"%s\"; expected %s and \"%s\"", limoe_status_name(got), got ? err->message : "",
                 limoe_status_name(want), part);
}
