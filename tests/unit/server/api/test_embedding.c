/* test_embedding.c - protects the rules by which embeddings have fewer bits: int8 and its scale, signs in
 * bytes, and that JSON and base64 carry the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "server/api/embedding.h"

/* Returns the scale. */
static float assert_written(const float *row, size_t embed, enum request_encoding encoding,
                            const char *json) {
    struct buffer out = {0};
    const float scale = embedding_write(&out, row, embed, encoding);
    if (out.failed || out.size != strlen(json) || memcmp(out.data, json, out.size) != 0)
        fail_msg("%.*s is not %s", (int)out.size, out.data, json);
    buffer_free(&out);
    return scale;
}

static void floats_as_they_are(void **state) {
    (void)state;
    const float row[] = {0.1f, -1.0f};
    assert_true(assert_written(row, 2, REQUEST_FLOAT, "[0.1,-1.0]") == 0);
    assert_true(assert_written(row, 2, REQUEST_BASE64, "\"zczMPQAAgL8=\"") == 0);
}

static void int8_is_a_share_of_the_greatest(void **state) {
    (void)state;
    /* The greatest is 127 steps of 1/128: ties between steps go to the even one. */
    const float row[] = {127.0f / 128, -127.0f / 128, 0.5f / 128, 1.5f / 128, -2.5f / 128, 0, 100.4f / 128};
    assert_true(assert_written(row, 7, REQUEST_INT8, "[127,-127,0,2,-2,0,100]") == 1.0f / 128);
    assert_true(assert_written(row, 7, REQUEST_INT8_BASE64, "\"f4EAAv4AZA==\"") == 1.0f / 128);
    const float alone[] = {-0.3f, 0.1f};
    assert_true(assert_written(alone, 2, REQUEST_INT8, "[-127,42]") == 0.3f / 127);
    const float nothing[] = {0, -0.0f};
    assert_true(assert_written(nothing, 2, REQUEST_INT8, "[0,0]") == 0);
}

static void signs_are_bits_the_first_highest(void **state) {
    (void)state;
    const float row[] = {1, -1, 0, 0.5f, -0.0f, 1e-30f, -1e-30f, 1, 1, 1, -1};
    assert_true(assert_written(row, 8, REQUEST_UBINARY, "[149]") == 0); /* 10010101 */
    assert_written(row, 8, REQUEST_BINARY, "[21]");
    assert_written(row, 11, REQUEST_UBINARY, "[149,192]"); /* 110, and zeros */
    assert_written(row, 11, REQUEST_BINARY, "[21,64]");
    assert_written(row, 11, REQUEST_UBINARY_BASE64, "\"lcA=\"");
    assert_written(row, 11, REQUEST_BINARY_BASE64, "\"FUA=\"");
    const float none[] = {-1, -1, -1};
    assert_written(none, 3, REQUEST_BINARY, "[-128]");
}

/* Numbers are made in pieces: the pieces of base64 must join, and JSON and base64 be the same bytes. */
static void long_ones_are_whole(void **state) {
    (void)state;
    enum { EMBED = 3001 };
    static const enum request_encoding encodings[] = {REQUEST_INT8, REQUEST_UBINARY, REQUEST_BINARY};
    float row[EMBED];
    uint32_t seed = 1;
    for (size_t i = 0; i < EMBED; i++) {
        seed = seed * 1664525u + 1013904223u;
        row[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    for (size_t e = 0; e < 3; e++) {
        struct buffer json = {0}, base64 = {0};
        uint8_t bytes[EMBED];
        size_t n = 0;
        struct limoe_error cause;
        embedding_write(&json, row, EMBED, encodings[e]);
        buffer_bytes(&json, "", 1);
        embedding_write(&base64, row, EMBED, (enum request_encoding)(encodings[e] | REQUEST_BASE64));
        assert_int_equal(base64_decode(base64.data + 1, base64.size - 2, bytes, &n, &cause), LIMOE_OK);
        assert_int_equal(n, encodings[e] == REQUEST_INT8 ? EMBED : (EMBED + 7) / 8);
        char *at = json.data;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(*at, i ? ',' : '[');
            const long value = strtol(at + 1, &at, 10);
            assert_int_equal((uint8_t)value, bytes[i]);
            assert_true(encodings[e] == REQUEST_UBINARY ? value >= 0 : value >= -128 && value <= 127);
        }
        assert_string_equal(at, "]");
        assert_true(json.size <= embedding_size(EMBED, encodings[e]) + 1);
        buffer_free(&json);
        buffer_free(&base64);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_as_they_are),
        cmocka_unit_test(int8_is_a_share_of_the_greatest),
        cmocka_unit_test(signs_are_bits_the_first_highest),
        cmocka_unit_test(long_ones_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
