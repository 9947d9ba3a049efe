/* Protects: no checkpoint, however it was made, leads to a read outside its bytes or to weights that its
 * header does not own; and a refusal names the file and the tensor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/checkpoint/config.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/model/support.h"

#define SINGLE "model.safetensors"
#define INDEX  "model.safetensors.index.json"

static enum limoe_status open_text(const char *header, size_t data_size, struct safetensors **st,
                                   struct bytes *file, struct limoe_error *err) {
    *file = safetensors_file(header, data_size);
    return safetensors_open_memory(file->at, file->size, "x.safetensors", st, err);
}

static void test_tensors(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"c\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[24,30]},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                 "\"scalar\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[30,32]},"
                                 "\"b\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[24,24]},"
                                 "\"i\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[32,40]},"
                                 "\"n\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[40,43]}}   ";
    struct safetensors *st;
    struct bytes file;
    struct limoe_error err;
    if (open_text(header, 43, &st, &file, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    static const char *const names[] = {"a", "b", "c", "i", "n", "scalar"};
    assert_int_equal(safetensors_count(st), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(safetensors_at(st, i)->name, names[i]);
        assert_ptr_equal(safetensors_find(st, names[i]), safetensors_at(st, i));
    }
    assert_null(safetensors_find(st, "d"));
    assert_null(safetensors_find(st, ""));
    assert_null(safetensors_find(st, "__metadata__"));

    const struct tensor *a = safetensors_find(st, "a"), *c = safetensors_find(st, "c");
    assert_int_equal(a->dtype, TENSOR_F32);
    assert_int_equal(a->rank, 2);
    assert_int_equal(a->shape[0], 2);
    assert_int_equal(a->shape[1], 3);
    assert_int_equal(a->elements, 6);
    assert_int_equal(a->bytes, 24);
    assert_int_equal(a->offset, 8 + strlen(header));
    assert_int_equal(c->dtype, TENSOR_BF16);
    assert_int_equal(c->offset, a->offset + 24);
    assert_int_equal(safetensors_find(st, "b")->elements, 0);
    assert_int_equal(safetensors_find(st, "scalar")->dtype, TENSOR_F16);
    assert_int_equal(safetensors_find(st, "scalar")->elements, 1);
    assert_int_equal(safetensors_find(st, "i")->dtype, TENSOR_OTHER);
    assert_string_equal(safetensors_find(st, "i")->dtype_name, "I64");
    safetensors_close(st);
    free(file.at);
}

static void test_no_tensors(void **state) {
    (void)state;
    struct safetensors *st;
    struct bytes file;
    struct limoe_error err;
    assert_int_equal(open_text("{}", 0, &st, &file, &err), LIMOE_OK);
    assert_int_equal(safetensors_count(st), 0);
    assert_null(safetensors_find(st, "a"));
    safetensors_close(st);
    free(file.at);
}

#define T(shape, begin, end) "{\"dtype\":\"F32\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static const struct {
    const char *header;
    size_t data;
    enum limoe_status status;
    const char *message;
} refused[] = {
    /* the header as JSON */
    {"", 0, LIMOE_CORRUPT, "the header does not begin with '{'"},
    {" {}", 0, LIMOE_CORRUPT, "the header does not begin with '{'"},
    {"[]", 0, LIMOE_CORRUPT, "the header does not begin with '{'"},
    {"{", 0, LIMOE_CORRUPT, "not JSON at byte"},
    {"{}x", 0, LIMOE_CORRUPT, "not JSON at byte"},
    {"{\"a\":" T("1", "0", "4") ",\"a\":" T("1", "0", "4") "}", 4, LIMOE_CORRUPT,
     "the key \"a\" is there twice"},
    {"{\"a\":" T("1", "0", "4") ",\"\\u0061\":" T("1", "4", "8") "}", 8, LIMOE_CORRUPT,
     "the key \"a\" is there twice"},
    {"{\"a\\u0000b\":" T("1", "0", "4") "}", 4, LIMOE_CORRUPT, "\\u0000 inside a string at byte 3"},
    {"{\"\xC0\xAF\":" T("1", "0", "4") "}", 4, LIMOE_CORRUPT, "not UTF-8 at byte 2"},
    {"{\"__metadata__\":1}", 0, LIMOE_CORRUPT, "\"__metadata__\" is not an object of strings"},
    {"{\"__metadata__\":{\"a\":1}}", 0, LIMOE_CORRUPT, "\"__metadata__\" is not an object of strings"},

    /* a tensor's entry */
    {"{\"a\":1}", 0, LIMOE_CORRUPT,
     "tensor \"a\" is 1 without exactly \"dtype\", \"shape\" and \"data_offsets\""},
    {"{\"a\":[]}", 0, LIMOE_CORRUPT, "tensor \"a\" is an array without"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, LIMOE_CORRUPT,
     "tensor \"a\" is an object without exactly"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4, LIMOE_CORRUPT,
     "tensor \"a\" is an object without exactly"},
    {"{\"\":" T("1", "0", "4") "}", 4, LIMOE_CORRUPT, "the name is 0 bytes; 1 to 512 are accepted"},
    {"{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LIMOE_CORRUPT,
     "tensor \"a\": \"dtype\" is \"F31\", which is not one of the format's"},
    {"{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LIMOE_CORRUPT,
     "tensor \"a\": \"dtype\" is 32"},

    /* shapes */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", 4, LIMOE_CORRUPT,
     "tensor \"a\": \"shape\" is 1; an array"},
    {"{\"a\":" T("1,1,1,1,1,1,1,1,1", "0", "4") "}", 4, LIMOE_CORRUPT,
     "\"shape\" has 9 dimensions; at most 8"},
    {"{\"a\":" T("-1", "0", "4") "}", 4, LIMOE_CORRUPT, "\"shape\" has the dimension -1"},
    {"{\"a\":" T("1.5", "0", "4") "}", 4, LIMOE_CORRUPT, "\"shape\" has the dimension 1.5"},
    {"{\"a\":" T("1e30", "0", "4") "}", 4, LIMOE_CORRUPT, "\"shape\" has the dimension 1e+30"},
    {"{\"a\":" T("\"1\"", "0", "4") "}", 4, LIMOE_CORRUPT, "\"shape\" has the dimension \"1\""},
    {"{\"a\":" T("4294967296,4294967296", "0", "0") "}", 0, LIMOE_CORRUPT,
     "the product of \"shape\" exceeds 64 bits"},
    {"{\"a\":" T("4294967296,4294967296,0", "0", "0") "}", 0, LIMOE_CORRUPT,
     "the product of \"shape\" exceeds 64 bits"},
    {"{\"a\":" T("2147483648,536870912", "0", "0") "}", 0, LIMOE_CORRUPT,
     "spans 0 bytes, but 1152921504606846976 elements of F32"}, /* times 32 bits is 2^65 */
    {"{\"a\":" T("2", "0", "4") "}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" spans 4 bytes, but 2 elements of F32 are 32 bits"},
    {"{\"a\":" T("0", "0", "4") "}", 4, LIMOE_CORRUPT, "spans 4 bytes, but 0 elements"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, LIMOE_CORRUPT,
     "spans 1 bytes, but 3 elements of F4 are 4 bits"},

    /* offsets */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" is not two integers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" is not two integers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" is not two integers"},
    {"{\"a\":" T("1", "-4", "0") "}", 4, LIMOE_CORRUPT, "\"data_offsets\" is not two integers"},
    {"{\"a\":" T("1", "0.5", "4.5") "}", 8, LIMOE_CORRUPT, "\"data_offsets\" is not two integers"},
    {"{\"a\":" T("1", "0", "18446744073709551620") "}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" is not two integers"},
    {"{\"a\":" T("1", "4", "0") "}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" is [4, 0]; ascending offsets up to 4"},
    {"{\"a\":" T("1", "0", "5") "}", 4, LIMOE_CORRUPT,
     "\"data_offsets\" is [0, 5]; ascending offsets up to 4"},
    {"{\"a\":" T("1", "9007199254740988", "9007199254740992") "}", 4, LIMOE_CORRUPT,
     "ascending offsets up to 4"},

    /* tiling */
    {"{\"a\":" T("2", "0", "8") ",\"b\":" T("2", "4", "12") "}", 12, LIMOE_CORRUPT,
     "tensor \"b\" begins at byte 4 of the data, but the tensors before it end at byte 8: they overlap"},
    {"{\"a\":" T("2", "0", "8") ",\"b\":" T("2", "0", "8") "}", 8, LIMOE_CORRUPT, "they overlap"},
    {"{\"a\":" T("3", "0", "12") ",\"b\":" T("1", "4", "8") "}", 12, LIMOE_CORRUPT, "they overlap"},
    {"{\"a\":" T("2", "0", "8") ",\"b\":" T("0", "4", "4") "}", 8, LIMOE_CORRUPT, "they overlap"},
    {"{\"a\":" T("1", "0", "4") ",\"b\":" T("1", "8", "12") "}", 12, LIMOE_CORRUPT,
     "tensor \"b\" begins at byte 8 of the data, but the tensors before it end at byte 4: there is a hole"},
    {"{\"a\":" T("1", "4", "8") "}", 8, LIMOE_CORRUPT, "tensor \"a\" begins at byte 4"},
    {"{\"a\":" T("1", "0", "4") "}", 5, LIMOE_CORRUPT,
     "the tensors end at byte 4 of the data, which has 5 bytes"},
    {"{}", 1, LIMOE_CORRUPT, "the tensors end at byte 0 of the data, which has 1 bytes"},
};

static void test_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct safetensors *st = NULL;
        struct bytes file;
        struct limoe_error err = {0};
        enum limoe_status status = open_text(refused[i].header, refused[i].data, &st, &file, &err);
        expect_failure(refused[i].header, status, &err, refused[i].status, refused[i].message);
        if (strncmp(err.message, "x.safetensors: ", 15) != 0)
            fail_msg("\"%s\" does not begin with the file's name", err.message);
        assert_null(st);
        free(file.at);
    }
}

static void test_header_length(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        size_t follow;
        const char *message;
    } cases[] = {
        {3, 2, "the header's length is 3, but only 2 bytes follow"},
        {UINT64_MAX, 2, "the header's length is 18446744073709551615; at most 100000000"},
        {100000001, 2, "the header's length is 100000001; at most 100000000"},
        {100000000, 2, "the header's length is 100000000, but only 2 bytes follow"},
        {0, 2, "the header does not begin with '{'"},
        {1, 0, "the header's length is 1, but only 0 bytes follow"},
    };
    struct limoe_error err = {0};
    struct safetensors *st = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes b = {0};
        bytes_add_u64(&b, cases[i].length);
        bytes_add(&b, "{}", cases[i].follow);
        expect_failure("header length", safetensors_open_memory(b.at, b.size, "x", &st, &err), &err,
                       LIMOE_CORRUPT, cases[i].message);
        free(b.at);
    }
    for (size_t size = 0; size < 8; size++) {
        uint8_t *exact = calloc(size + 1, 1);
        expect_failure("short", safetensors_open_memory(exact, size, "x", &st, &err), &err, LIMOE_CORRUPT,
                       "the header's length alone takes 8");
        free(exact);
    }
}

/* What a header may say is bounded before a tree fifty times its size is built from it. */
static void test_bounds(void **state) {
    (void)state;
    struct safetensors *st = NULL;
    struct limoe_error err = {0};
    struct bytes header = {0}, file;
    bytes_add(&header, "{\"a\":[", 6);
    size_t zeros = 4200000;
    header.at = realloc(header.at, 6 + 2 * zeros + 4);
    for (size_t i = 0; i < zeros; i++)
        memcpy(header.at + 6 + 2 * i, "0,", 2);
    memcpy(header.at + 6 + 2 * zeros, "0]}", 4);
    assert_int_equal(open_text((char *)header.at, 0, &st, &file, &err), LIMOE_TOO_LARGE);
    expect_failure("many values", err.status, &err, LIMOE_TOO_LARGE, "more than 4000000 values");
    free(file.at);
    free(header.at);

    char name[700];
    memset(name, 'n', sizeof name);
    snprintf(name + 600, 100, "\":" T("1", "0", "4") "}");
    memcpy(name, "{\"", 2);
    enum limoe_status status = open_text(name, 4, &st, &file, &err);
    expect_failure("a long name", status, &err, LIMOE_CORRUPT,
                   "the name is 598 bytes; 1 to 512 are accepted");
    free(file.at);
}

/* Whatever comes of a damaged file, every tensor handed out lies inside it;
 * reading them all lets ASan see. */
static void test_random_damage(void **state) {
    (void)state;
    struct config config;
    struct limoe_error err = {0};
    uint64_t random = 3;
    size_t accepted = 0;
    volatile uint8_t sink = 0;
    assert_int_equal(config_parse(tiny_config, strlen(tiny_config), "config.json", &config, &err), LIMOE_OK);
    struct bytes file = checkpoint_file(&config, "BF16", NULL, NULL);
    size_t header = 8 + (size_t)(file.at[0] | file.at[1] << 8);
    for (int round = 0; round < 3000; round++) {
        size_t size = round % 4 ? file.size : random_below(&random, (uint32_t)file.size);
        uint8_t *bytes = malloc(size + 1);
        struct safetensors *st = NULL;
        memcpy(bytes, file.at, size);
        size_t where = size < header ? size : header;
        for (uint32_t flips = 1 + random_below(&random, 2); flips > 0 && where > 0; flips--)
            bytes[random_below(&random, (uint32_t)where)] ^= (uint8_t)(1 << random_below(&random, 8));
        uint8_t *exact = malloc(size ? size : 1);
        memcpy(exact, bytes, size);
        free(bytes);
        err.message[0] = '\0';
        if (safetensors_open_memory(exact, size, "x", &st, &err) == LIMOE_OK) {
            accepted++;
            for (size_t i = 0; i < safetensors_count(st); i++) {
                const struct tensor *t = safetensors_at(st, i);
                for (size_t b = 0; b < t->bytes; b++)
                    sink = (uint8_t)(sink ^ exact[t->offset + b]);
            }
            safetensors_close(st);
        } else {
            assert_true(strlen(err.message) > 3);
        }
        free(exact);
    }
    assert_in_range(accepted, 1, 2000); /* a letter of a name may change unnoticed; layout_check notices */
    free(file.at);
}

static void test_expect(void **state) {
    (void)state;
    struct safetensors *st;
    struct bytes file;
    struct limoe_error err = {0};
    const struct tensor *t = NULL;
    assert_int_equal(
        open_text("{\"w\":" T("2,3", "0", "24") ",\"i\":{\"dtype\":\"I8\",\"shape\":[1],"
                                                "\"data_offsets\":[24,25]},\"s\":" T("", "25", "29") "}",
                  29, &st, &file, &err),
        LIMOE_OK);
    assert_int_equal(safetensors_expect(st, "w", 2, (uint64_t[]){2, 3}, &t, &err), LIMOE_OK);
    assert_ptr_equal(t, safetensors_find(st, "w"));
    assert_int_equal(safetensors_expect(st, "s", 0, NULL, &t, &err), LIMOE_OK);
    expect_failure("missing", safetensors_expect(st, "v", 2, (uint64_t[]){2, 3}, &t, &err), &err,
                   LIMOE_CORRUPT,
                   "x.safetensors: tensor \"v\" is missing; F32, BF16 or F16 [2, 3] is expected");
    expect_failure("order", safetensors_expect(st, "w", 2, (uint64_t[]){3, 2}, &t, &err), &err, LIMOE_CORRUPT,
                   "tensor \"w\" has the shape [2, 3]; [3, 2] is expected");
    expect_failure("rank", safetensors_expect(st, "w", 1, (uint64_t[]){2}, &t, &err), &err, LIMOE_CORRUPT,
                   "has the shape [2, 3]; [2] is expected");
    expect_failure("scalar", safetensors_expect(st, "s", 1, (uint64_t[]){1}, &t, &err), &err, LIMOE_CORRUPT,
                   "has the shape []; [1] is expected");
    expect_failure("dtype", safetensors_expect(st, "i", 1, (uint64_t[]){1}, &t, &err), &err,
                   LIMOE_UNSUPPORTED, "tensor \"i\" is I8; F32, BF16 or F16 is accepted");
    safetensors_close(st);
    free(file.at);
}

/* ---- directories */

static void write_shard(const char *dir, const char *name, const char *tensor) {
    char *header = NULL;
    assert_true(asprintf(&header, "{\"%s\":" T("1", "0", "4") "}", tensor) >= 0);
    struct bytes b = safetensors_file(header, 4);
    directory_write(dir, name, b.at, b.size);
    free(b.at);
    free(header);
}

static void write_index(const char *dir, const char *map) {
    char *index = NULL;
    assert_true(asprintf(&index, "{\"metadata\":{\"total_size\":8},\"weight_map\":%s}", map) >= 0);
    directory_write(dir, INDEX, index, strlen(index));
    free(index);
}

static void test_directory(void **state) {
    const char *dir = *state;
    struct safetensors *st = NULL;
    struct limoe_error err = {0};
    expect_failure("nothing", safetensors_open(dir, &st, &err), &err, LIMOE_NOT_FOUND,
                   SINGLE ": No such file");
    write_shard(dir, SINGLE, "w");
    assert_int_equal(safetensors_open(dir, &st, &err), LIMOE_OK);
    assert_string_equal(safetensors_name(st), SINGLE);
    const struct tensor *t = safetensors_find(st, "w");
    uint8_t bytes[4];
    assert_int_equal(safetensors_read(st, t, bytes, &err), LIMOE_OK);
    assert_memory_equal(bytes, ((uint8_t[]){0, 1, 2, 3}), 4);
    safetensors_close(st);

    directory_write(dir, SINGLE, "", 0);
    expect_failure("empty", safetensors_open(dir, &st, &err), &err, LIMOE_CORRUPT, SINGLE ": is 0 bytes");

    write_shard(dir, SINGLE, "w");
    write_index(dir, "{\"w\":\"" SINGLE "\"}");
    expect_failure("both", safetensors_open(dir, &st, &err), &err, LIMOE_CORRUPT,
                   "holds both " SINGLE " and " INDEX);
}

/* A file cut short between its header and its tensors is an error; a mapping would raise SIGBUS. */
static void test_cut_short(void **state) {
    const char *dir = *state;
    struct safetensors *st = NULL;
    struct limoe_error err;
    uint8_t bytes[4];
    char path[4200];
    snprintf(path, sizeof path, "%s/" SINGLE, dir);
    write_shard(dir, SINGLE, "w");
    assert_int_equal(safetensors_open(dir, &st, &err), LIMOE_OK);
    const struct tensor *t = safetensors_find(st, "w");
    assert_int_equal(truncate(path, (off_t)t->offset + 1), 0);
    expect_failure("cut short", safetensors_read(st, t, bytes, &err), &err, LIMOE_IO, "it shrank meanwhile");
    assert_int_equal(unlink(path), 0);
    write_shard(dir, SINGLE, "w"); /* another file by that name is not the one that was opened */
    expect_failure("replaced", safetensors_read(st, t, bytes, &err), &err, LIMOE_IO, SINGLE " at byte");
    safetensors_close(st);
}

static void test_shards(void **state) {
    const char *dir = *state;
    struct safetensors *st = NULL;
    struct limoe_error err = {0};
    write_shard(dir, "model-00001-of-00002.safetensors", "b");
    write_shard(dir, "model-00002-of-00002.safetensors", "a");
    write_index(dir,
                "{\"b\":\"model-00001-of-00002.safetensors\",\"a\":\"model-00002-of-00002.safetensors\"}");
    if (safetensors_open(dir, &st, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    assert_int_equal(safetensors_count(st), 2);
    assert_string_equal(safetensors_at(st, 0)->name, "a");
    for (size_t i = 0; i < 2; i++) { /* each from its own file */
        uint8_t bytes[4] = {9};
        assert_int_equal(safetensors_read(st, safetensors_at(st, i), bytes, &err), LIMOE_OK);
        assert_memory_equal(bytes, ((uint8_t[]){0, 1, 2, 3}), 4);
    }
    assert_non_null(safetensors_find(st, "b"));
    safetensors_close(st);
}

static void test_shards_refused(void **state) {
    const char *dir = *state;
    static const struct {
        const char *map;
        enum limoe_status status;
        const char *message;
    } cases[] = {
        {"[]", LIMOE_CORRUPT, "\"weight_map\" is an array; an object"},
        {"{}", LIMOE_CORRUPT, "\"weight_map\" names 0 tensors"},
        {"{\"a\":1}", LIMOE_CORRUPT, "\"weight_map\" says that \"a\" is in 1; the name of a file"},
        {"{\"a\":\"\"}", LIMOE_CORRUPT, "\"a\" is in \"\""},
        {"{\"a\":\"..\"}", LIMOE_CORRUPT, "\"a\" is in \"..\""},
        {"{\"a\":\"../1\"}", LIMOE_CORRUPT, "\"a\" is in \"../1\"; the name of a file in the same directory"},
        {"{\"a\":\"/etc/passwd\"}", LIMOE_CORRUPT, "\"a\" is in \"/etc/passwd\""},
        {"{\"a\":\"1\",\"a\":\"1\"}", LIMOE_CORRUPT, "the key \"a\" is there twice"},
        {"{\"a\":\"3\"}", LIMOE_NOT_FOUND, "/3: No such file"},
        {"{\"b\":\"1\"}", LIMOE_CORRUPT, "tensor \"a\" is in 1, but \"weight_map\" says nothing of it"},
        {"{\"a\":\"2\",\"b\":\"1\"}", LIMOE_CORRUPT,
         "tensor \"a\" is in 1, but \"weight_map\" says it is in 2"},
        {"{\"a\":\"1\",\"c\":\"1\"}", LIMOE_CORRUPT,
         "\"weight_map\" says that tensor \"c\" is in 1, which has no such tensor"},
        {"{\"a\":\"1\",\"b\":\"2\",\"d\":\"broken\"}", LIMOE_CORRUPT, "broken: is 1 bytes"},
        {"{\"a\":\"1\",\"b\":\"twin\"}", LIMOE_CORRUPT,
         "tensor \"a\" is in twin, but \"weight_map\" says it is in 1"},
    };
    write_shard(dir, "1", "a");
    write_shard(dir, "2", "b");
    write_shard(dir, "twin", "a");
    directory_write(dir, "broken", "x", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct safetensors *st = NULL;
        struct limoe_error err = {0};
        write_index(dir, cases[i].map);
        expect_failure(cases[i].map, safetensors_open(dir, &st, &err), &err, cases[i].status,
                       cases[i].message);
        assert_null(st);
    }
}

static void test_special_files(void **state) {
    const char *dir = *state;
    struct safetensors *st = NULL;
    struct limoe_error err = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s/" SINGLE, dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_failure("a FIFO", safetensors_open(dir, &st, &err), &err, LIMOE_IO,
                   SINGLE " is not a regular file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    expect_failure("a device", safetensors_open(dir, &st, &err), &err, LIMOE_IO, "is not a regular file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("real", path), 0);
    expect_failure("a dead link", safetensors_open(dir, &st, &err), &err, LIMOE_NOT_FOUND, "No such file");
    write_shard(dir, "real", "w");
    assert_int_equal(safetensors_open(dir, &st, &err), LIMOE_OK);
    safetensors_close(st);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_no_tensors),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_header_length),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_expect),
        cmocka_unit_test_setup_teardown(test_directory, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_cut_short, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_shards, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_shards_refused, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_special_files, directory_setup, directory_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
