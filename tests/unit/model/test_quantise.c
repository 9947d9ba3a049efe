/* Protects: a quantised model directory answers with the very bits that its original has in int8, is there whole or
 * not at all, and is not trusted.
 *
 * usage: test_quantise MODEL_DIRECTORY... */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "kernels/number.h"
#include "limoe.h"
#include "model/checkpoint/safetensors.h"
#include "model/checkpoint/safetensors_write.h"
#include "model/model.h"
#include "tests/unit/files.h"
#include "tests/unit/model/fixture.h"

enum { ITEMS = 12 };

static char **models;
static int n_models;
static char folder[FOLDER_SIZE];

static const char sparse[] =
    "{\"format\":\"limoe-1\",\"name\":\"tiny\",\"width\":12,\"blocks\":2,\"heads\":3,\"mlp\":20,\"embed\":8,"
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":400,\"length\":6,\"eos_id\":1},\"moe\":{\"blocks\":[1],\"experts\":5,\"top_k\":2}}";

/* The same with one token more. */
static const char one_more[] =
    "{\"format\":\"limoe-1\",\"name\":\"tiny\",\"width\":12,\"blocks\":2,\"heads\":3,\"mlp\":20,\"embed\":8,"
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"
    "\"text\":{\"vocab\":401,\"length\":6,\"eos_id\":1},\"moe\":{\"blocks\":[1],\"experts\":5,\"top_k\":2}}";

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

static size_t entries_of_folder(void) {
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

static void quantise(const char *dir, const char *out) {
    struct limoe_error err;
    if (limoe_quantize(dir, out, NULL, NULL, &err) != LIMOE_OK)
        fail_msg("%s: %s", dir, err.message);
}

static struct limoe_model *open_as(const char *dir, enum limoe_dtype dtype) {
    const struct limoe_options options = {.device = "cpu", .dtype = dtype, .threads = 1};
    struct limoe_model *m;
    struct limoe_error err;
    if (limoe_model_open(dir, &options, &m, &err) != LIMOE_OK)
        fail_msg("%s: %s", dir, err.message);
    return m;
}

/* [ITEMS, embed], malloc'd. */
static float *embed(struct limoe_model *m) {
    const struct limoe_info *info = limoe_model_info(m);
    struct limoe_item *items = fixture_items(info, info->text_length, ITEMS, 7);
    float *z = malloc(ITEMS * info->embed * sizeof *z);
    struct limoe_error err;
    assert_non_null(z);
    if (limoe_model_embed(m, items, ITEMS, z, NULL, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    fixture_items_free(items, ITEMS);
    return z;
}

static void check_same(const char *dir) {
    quantise(dir, in_folder("small"));
    struct limoe_model *of = open_as(dir, LIMOE_INT8), *small = open_as(in_folder("small"), LIMOE_DTYPE_AUTO),
                       *wide = open_as(in_folder("small"), LIMOE_FLOAT32);
    const size_t width = limoe_model_info(of)->embed;
    float *want = embed(of), *got = embed(small), *near = embed(wide);
    assert_int_equal(limoe_model_dtype(small), LIMOE_INT8);
    if (memcmp(got, want, ITEMS * width * sizeof *got) != 0)
        fail_msg("%s: the quantised model's answers are not its original's", dir);
    for (size_t i = 0; i < ITEMS; i++) {
        double dot = 0;
        for (size_t j = 0; j < width; j++)
            dot += (double)near[i * width + j] * want[i * width + j];
        if (!(dot > 0.95)) /* rows are not rounded there, and may be routed otherwise */
            fail_msg("%s: as float32, item %zu has a cosine of %f", dir, i, dot);
    }
    uint64_t before, after;
    limoe_model_memory(of, &before, NULL, NULL);
    limoe_model_memory(small, &after, NULL, NULL);
    assert_int_equal(before, after);
    free(near);
    free(got);
    free(want);
    limoe_model_close(wide);
    limoe_model_close(small);
    limoe_model_close(of);
    assert_int_equal(folder_remove(in_folder("small")), 0);
}

static void answers_are_the_same(void **state) {
    (void)state;
    struct fixture f;
    for (int i = 0; i < n_models; i++)
        check_same(models[i]);
    fixture_create(&f, sparse, 1, NULL, 0); /* whose table of tokens is int8 */
    check_same(f.dir);
    fixture_remove(&f);
}

/* ---- what is refused */

static void expect_refusal(const char *dir, const char *out, enum limoe_status want, const char *part) {
    struct limoe_error err = {0};
    const size_t before = entries_of_folder();
    assert_int_equal(limoe_quantize(dir, out, NULL, NULL, &err), want);
    if (!strstr(err.message, part))
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    assert_int_equal(entries_of_folder(), before);
}

static void nothing_is_overwritten_or_left_behind(void **state) {
    (void)state;
    struct fixture f, poisoned;
    fixture_create(&f, sparse, 1, NULL, 0);
    quantise(f.dir, in_folder("small"));
    expect_refusal(f.dir, in_folder("small"), LIMOE_INVALID, "is there already");
    expect_refusal(in_folder("small"), "/tmp/never", LIMOE_INVALID, "is int8 already");
    char nowhere[FOLDER_SIZE + 64];
    snprintf(nowhere, sizeof nowhere, "%s/none/small", folder);
    expect_refusal(f.dir, nowhere, LIMOE_IO, "cannot make a directory beside");
    expect_refusal(folder, nowhere, LIMOE_NOT_FOUND, "config.json");
    fixture_create(&poisoned, sparse, 1, "blocks.1.moe.fc2.weight", 5 * 20);
    expect_refusal(poisoned.dir, in_folder("poisoned"), LIMOE_CORRUPT,
                   "tensor \"blocks.1.moe.fc2.weight\": row 5 holds NaN or infinite values");
    fixture_remove(&poisoned);
    fixture_create(&poisoned, sparse, 1, "text.token", 9 * 12 + 3);
    expect_refusal(poisoned.dir, in_folder("poisoned"), LIMOE_CORRUPT,
                   "tensor \"text.token\": row 9 holds NaN or infinite values");
    fixture_remove(&poisoned);
    fixture_remove(&f);
    assert_int_equal(folder_remove(in_folder("small")), 0);
}

/* ---- quantised checkpoints that are not sound */

struct checkpoint {
    char path[FOLDER_SIZE + 96];
    uint8_t *bytes;
    size_t size;
};

static struct checkpoint read_checkpoint(const char *dir) {
    struct checkpoint c;
    snprintf(c.path, sizeof c.path, "%s/model.safetensors", dir);
    c.bytes = file_read(c.path, &c.size);
    return c;
}

static void write_checkpoint(const struct checkpoint *c) {
    FILE *f = fopen(c->path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(c->bytes, 1, c->size, f), c->size);
    assert_int_equal(fclose(f), 0);
}

/* In the header, in as many bytes. */
static void change(struct checkpoint *c, const char *from, const char *to) {
    char *at = memmem(c->bytes, c->size, from, strlen(from));
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
}

static struct safetensors *tensors_of(const struct checkpoint *c) {
    struct safetensors *st;
    struct limoe_error err;
    assert_int_equal(safetensors_open_memory(c->bytes, c->size, c->path, &st, &err), LIMOE_OK);
    return st;
}

static void set_scale(struct checkpoint *c, const char *name, size_t i, float value) {
    struct safetensors *st = tensors_of(c);
    const struct tensor *t = safetensors_find(st, name);
    assert_non_null(t);
    memcpy(c->bytes + t->offset + i * sizeof value, &value, sizeof value);
    safetensors_close(st);
}

static void expect_unsound(const char *part) {
    const enum limoe_dtype dtypes[] = {LIMOE_INT8, LIMOE_DTYPE_AUTO, LIMOE_FLOAT32};
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++) {
        const struct limoe_options options = {.device = "cpu", .dtype = dtypes[d], .threads = 1};
        struct limoe_model *m;
        struct limoe_error err = {0};
        assert_int_not_equal(limoe_model_open(in_folder("small"), &options, &m, &err), LIMOE_OK);
        if (!strstr(err.message, part))
            fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    }
}

static void what_is_not_sound_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } headers[] = {
        {"blocks.0.attn.out.weight.scale", "blocks.0.attn.out.weight.scalf",
         "tensor \"blocks.0.attn.out.weight\" is I8, and its scales, \"blocks.0.attn.out.weight.scale\", are "
         "missing"},
        {"text.token.scale", "text.token.scalf",
         "tensor \"text.token\" is I8, and its scales, \"text.token.scale\", are missing"},
        {"text.proj.weight.scale\":{\"dtype\":\"F32\"", "text.proj.weight.scale\":{\"dtype\":\"I32\"",
         "tensor \"text.proj.weight.scale\" is I32; F32 is accepted"},
        {"moe.fc1.weight.scale\":{\"dtype\":\"F32\",\"shape\":[5,20]",
         "moe.fc1.weight.scale\":{\"dtype\":\"F32\",\"shape\":[20,5]",
         "tensor \"blocks.1.moe.fc1.weight.scale\" has the shape [20, 5]; [5, 20] is expected"},
        {"blocks.0.mlp.fc1.weight\":{\"dtype\":\"I8\",\"shape\":[20,12]",
         "blocks.0.mlp.fc1.weight\":{\"dtype\":\"I8\",\"shape\":[12,20]",
         "tensor \"blocks.0.mlp.fc1.weight\" has the shape [12, 20]; [20, 12] is expected"},
        {"blocks.0.mlp.fc1.weight\":{\"dtype\":\"I8\"", "blocks.0.mlp.fc1.weight\":{\"dtype\":\"U8\"",
         "tensor \"blocks.0.mlp.fc1.weight\" is U8; F32, BF16 or F16 is accepted"},
    };
    static const struct {
        const char *name;
        size_t at;
        float value;
        const char *says;
    } scales[] = {
        {"image.patch.weight.scale", 3, NAN, "scale 3 is nan; a finite number from 0 on is accepted"},
        {"text.proj.weight.scale", 7, INFINITY, "scale 7 is inf"},
        {"text.token.scale", 39, NAN, "tensor \"text.token.scale\": scale 39 is nan"},
        {"blocks.1.moe.fc2.weight.scale", 59, -1, "tensor \"blocks.1.moe.fc2.weight.scale\": scale 11 is -1"},
    };
    struct fixture f;
    fixture_create(&f, sparse, 1, NULL, 0);
    quantise(f.dir, in_folder("small"));
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct checkpoint c = read_checkpoint(in_folder("small"));
        change(&c, headers[i].from, headers[i].to);
        write_checkpoint(&c);
        expect_unsound(headers[i].says);
        change(&c, headers[i].to, headers[i].from);
        write_checkpoint(&c);
        free(c.bytes);
    }
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        struct checkpoint c = read_checkpoint(in_folder("small")),
                          changed = read_checkpoint(in_folder("small"));
        set_scale(&changed, scales[i].name, scales[i].at, scales[i].value);
        write_checkpoint(&changed);
        expect_unsound(scales[i].says);
        write_checkpoint(&c);
        free(changed.bytes);
        free(c.bytes);
    }
    limoe_model_close(open_as(in_folder("small"), LIMOE_INT8)); /* as it was made, it is sound */
    fixture_remove(&f);
    assert_int_equal(folder_remove(in_folder("small")), 0);
}

/* Another scale, or another weight, is another model. */
static void the_fingerprint_sees_scales(void **state) {
    (void)state;
    struct fixture f;
    char first[64];
    fixture_create(&f, sparse, 1, NULL, 0);
    quantise(f.dir, in_folder("small"));
    struct limoe_model *m = open_as(in_folder("small"), LIMOE_INT8);
    snprintf(first, sizeof first, "%s", limoe_model_fingerprint(m));
    limoe_model_close(m);
    static const char *const names[] = {"blocks.0.attn.qkv.weight.scale", "blocks.1.moe.fc1.weight.scale",
                                        "text.token.scale"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct checkpoint c = read_checkpoint(in_folder("small")),
                          changed = read_checkpoint(in_folder("small"));
        set_scale(&changed, names[i], 7, 0.125f);
        write_checkpoint(&changed);
        m = open_as(in_folder("small"), LIMOE_INT8);
        assert_string_not_equal(limoe_model_fingerprint(m), first);
        limoe_model_close(m);
        write_checkpoint(&c);
        free(changed.bytes);
        free(c.bytes);
    }
    fixture_remove(&f);
    assert_int_equal(folder_remove(in_folder("small")), 0);
}

/* ---- a table in 16 bits */

/* Leaves nothing of the table of tokens for bfloat16 to round; returns it as bfloat16, malloc'd. */
static uint16_t *round_table(const char *dir) {
    struct checkpoint c = read_checkpoint(dir);
    struct safetensors *st = tensors_of(&c);
    const struct tensor *t = safetensors_find(st, "text.token");
    assert_non_null(t);
    uint16_t *halves = malloc(t->elements * sizeof *halves);
    assert_non_null(halves);
    for (size_t i = 0; i < t->elements; i++) {
        uint8_t *at = c.bytes + t->offset + i * sizeof(float);
        float value;
        memcpy(&value, at, sizeof value);
        halves[i] = bf16_from_float(value);
        value = bf16_to_float(halves[i]);
        memcpy(at, &value, sizeof value);
    }
    write_checkpoint(&c);
    safetensors_close(st);
    free(c.bytes);
    return halves;
}

/* Writes the small checkpoint anew with this table, which has no scales. */
static void store_table(const uint16_t *halves) {
    struct checkpoint c = read_checkpoint(in_folder("small"));
    struct safetensors *st = tensors_of(&c);
    struct limoe_error err;
    const size_t count = safetensors_count(st);
    struct safetensors_entry *entry = calloc(count, sizeof *entry);
    const void **bytes = calloc(count, sizeof *bytes);
    size_t n = 0;
    assert_non_null(entry);
    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) {
        const struct tensor *t = safetensors_at(st, i);
        const bool table = strcmp(t->name, "text.token") == 0;
        if (strcmp(t->name, "text.token.scale") == 0)
            continue;
        entry[n] = (struct safetensors_entry){.name = t->name,
                                              .dtype = table ? "BF16" : t->dtype_name,
                                              .rank = t->rank,
                                              .bytes = table ? t->elements * sizeof *halves : t->bytes};
        memcpy(entry[n].shape, t->shape, sizeof entry[n].shape);
        bytes[n++] = table ? (const void *)halves : c.bytes + t->offset;
    }
    const int fd = open(c.path, O_WRONLY | O_TRUNC);
    assert_true(n == count - 1 && fd >= 0);
    assert_int_equal(safetensors_write_header(fd, c.path, NULL, NULL, entry, n, &err), LIMOE_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(safetensors_write_at(fd, c.path, entry[i].offset, bytes[i], entry[i].bytes, &err),
                         LIMOE_OK);
    close(fd);
    free(bytes);
    free(entry);
    safetensors_close(st);
    free(c.bytes);
}

/* As folders of earlier builds have it: it is rounded when it is loaded. */
static void a_table_in_16_bits_is_rounded_when_loaded(void **state) {
    (void)state;
    struct fixture f;
    uint64_t want, got;
    fixture_create(&f, sparse, 1, NULL, 0);
    uint16_t *halves = round_table(f.dir);
    quantise(f.dir, in_folder("small"));
    store_table(halves);
    struct limoe_model *of = open_as(f.dir, LIMOE_INT8), *old = open_as(in_folder("small"), LIMOE_DTYPE_AUTO);
    float *a = embed(of), *b = embed(old);
    assert_memory_equal(b, a, ITEMS * limoe_model_info(of)->embed * sizeof *a);
    limoe_model_memory(of, &want, NULL, NULL);
    limoe_model_memory(old, &got, NULL, NULL);
    assert_int_equal(got, want);
    limoe_model_close(old);
    limoe_model_close(of);
    free(b);
    free(a);
    free(halves);
    fixture_remove(&f);
    assert_int_equal(folder_remove(in_folder("small")), 0);
}

/* A row of a table that is a large part of the model takes a byte an element, and its scale; as float32, four. */
static void a_large_table_is_int8(void **state) {
    (void)state;
    const enum limoe_dtype dtypes[] = {LIMOE_INT8, LIMOE_FLOAT32};
    for (size_t d = 0; d < 2; d++) {
        uint64_t bytes[2];
        for (size_t i = 0; i < 2; i++) {
            struct fixture f;
            fixture_create(&f, i ? one_more : sparse, 1, NULL, 0);
            quantise(f.dir, in_folder("small"));
            struct limoe_model *m = open_as(in_folder("small"), dtypes[d]);
            limoe_model_memory(m, &bytes[i], NULL, NULL);
            limoe_model_close(m);
            fixture_remove(&f);
            assert_int_equal(folder_remove(in_folder("small")), 0);
        }
        assert_int_equal(bytes[1] - bytes[0], d ? 12 * 4 : 12 + 4);
    }
}

int main(int argc, char **argv) {
    models = argv + 1;
    n_models = argc - 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same),
        cmocka_unit_test(nothing_is_overwritten_or_left_behind),
        cmocka_unit_test(what_is_not_sound_is_refused),
        cmocka_unit_test(the_fingerprint_sees_scales),
        cmocka_unit_test(a_large_table_is_int8),
        cmocka_unit_test(a_table_in_16_bits_is_rounded_when_loaded),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
