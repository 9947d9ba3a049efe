/* A fingerprint names content: the same from another directory and from shards, another after any change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/checkpoint/fingerprint.h"
#include "model/checkpoint/safetensors.h"
#include "tests/unit/model/fixture.h"

#define CONFIG(name)                                                                                         \
    "{\"format\":\"limoe-1\",\"name\":\"" name "\",\"width\":16,\"blocks\":2,\"heads\":2,\"mlp\":24,"        \
    "\"embed\":12,"                                                                                          \
    "\"image\":{\"size\":8,\"patch\":4,\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5]},"                       \
    "\"text\":{\"vocab\":50,\"length\":7,\"eos_id\":1,\"pad_id\":0},"                                        \
    "\"moe\":{\"blocks\":[1],\"experts\":4,\"top_k\":1,\"renormalize\":false}}"

enum { DIGITS = 2 * FINGERPRINT_DIGITS };

static void test_parts(void **state) {
    (void)state;
    static const struct {
        const char *name[2], *bytes[2];
    } parts[] = {
        {{"a", "b"}, {"xy", "z"}}, {{"a", "b"}, {"x", "yz"}},  {{"ax", "b"}, {"y", "z"}},
        {{"a", "b"}, {"z", "xy"}}, {{"b", "a"}, {"xy", "z"}},  {{"a", "bx"}, {"y", "z"}},
        {{"a", "b"}, {"xyz", ""}}, {{"a", "b"}, {"xy", "z "}},
    };
    enum { N = sizeof parts / sizeof *parts };
    char digits[N][FINGERPRINT_DIGITS + 1];
    for (size_t i = 0; i < N; i++) {
        struct fingerprint *f;
        assert_int_equal(fingerprint_create(&f, NULL), LIMOE_OK);
        for (size_t part = 0; part < 2; part++)
            fingerprint_add(f, parts[i].name[part], parts[i].bytes[part], strlen(parts[i].bytes[part]));
        fingerprint_digits(f, digits[i]);
        fingerprint_free(f);
        assert_int_equal(strspn(digits[i], "0123456789abcdef"), FINGERPRINT_DIGITS);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(digits[j], digits[i]);
    }
    fingerprint_free(NULL);
}

static void write_file(const char *dir, const char *name, const void *bytes, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Opens the directory's model and copies its digits. */
static void read_model(const struct fixture *fixture, enum limoe_dtype dtype, char to[DIGITS + 1]) {
    struct limoe_model *m = fixture_open(fixture, dtype);
    const char *digits = limoe_model_fingerprint(m);
    assert_int_equal(strlen(digits), DIGITS);
    memcpy(to, digits, DIGITS + 1);
    limoe_model_close(m);
}

static void expect_halves(const char *a, const char *b, bool same_inputs, bool same_tensors) {
    assert_int_equal(memcmp(a, b, FINGERPRINT_DIGITS) == 0, same_inputs);
    assert_int_equal(strcmp(a + FINGERPRINT_DIGITS, b + FINGERPRINT_DIGITS) == 0, same_tensors);
}

static void test_model(void **state) {
    (void)state;
    struct fixture one, twin, other;
    char first[DIGITS + 1], second[DIGITS + 1];
    fixture_create(&one, CONFIG("test"), 3, NULL, 0);
    fixture_create(&twin, CONFIG("test"), 3, NULL, 0);
    read_model(&one, LIMOE_FLOAT32, first);
    read_model(&twin, LIMOE_FLOAT32, second);
    expect_halves(first, second, true, true);
    read_model(&one, LIMOE_BFLOAT16, second);
    expect_halves(first, second, true, false);
    fixture_remove(&twin);

    fixture_create(&other, CONFIG("test"), 4, NULL, 0);
    read_model(&other, LIMOE_FLOAT32, second);
    expect_halves(first, second, true, false);
    fixture_remove(&other);
    /* The last tensor that is read: one element of it is enough. */
    fixture_create(&other, CONFIG("test"), 3, "ln.bias", 15);
    read_model(&other, LIMOE_FLOAT32, second);
    expect_halves(first, second, true, false);
    fixture_remove(&other);
    /* An expert's part of a tensor is named apart: each of them counts. */
    for (size_t expert = 0; expert < 4; expert++) {
        fixture_create(&other, CONFIG("test"), 3, "blocks.1.moe.fc2.weight", expert * 16 * 24 + 5);
        read_model(&other, LIMOE_FLOAT32, second);
        expect_halves(first, second, true, false);
        fixture_remove(&other);
    }
    fixture_create(&other, CONFIG("tesT"), 3, NULL, 0);
    read_model(&other, LIMOE_FLOAT32, second);
    expect_halves(first, second, false, true);
    fixture_remove(&other);

    write_file(one.dir, "tokenizer.model", "pieces", 6);
    read_model(&one, LIMOE_FLOAT32, second);
    expect_halves(first, second, false, true);
    fixture_remove(&one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
