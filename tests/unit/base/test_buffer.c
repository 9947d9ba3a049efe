/* test_buffer.c - protects the append buffer and the JSON scalars it prints. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"

static void assert_content(struct buffer *buffer, const char *expected) {
    size_t size;
    char *data = buffer_take(buffer, &size);
    assert_non_null(data);
    if (size != strlen(expected) || memcmp(data, expected, size) != 0)
        fail_msg("\"%.*s\" is not \"%s\"", (int)size, data, expected);
    free(data);
}

static void bytes_are_appended(void **state) {
    (void)state;
    struct buffer buffer = {0};
    char expected[5000] = "";
    for (int i = 0; i < 700; i++) {
        char piece[16];
        snprintf(piece, sizeof piece, "%d,", i);
        strcat(expected, piece);
        if (i % 2)
            buffer_print(&buffer, "%d,", i);
        else {
            buffer_json_unsigned(&buffer, (uint64_t)i);
            buffer_bytes(&buffer, ",", 1);
        }
    }
    assert_content(&buffer, expected);
    assert_content(&buffer, ""); /* taken: empty, and still usable */
    buffer_json_unsigned(&buffer, UINT64_MAX);
    assert_content(&buffer, "18446744073709551615");
}

static void room_is_made_and_given_back(void **state) {
    (void)state;
    struct buffer buffer = {0};
    buffer_reserve(&buffer, 1000);
    assert_int_equal(buffer.capacity, 1000);
    buffer_string(&buffer, "123");
    buffer_reserve(&buffer, 997);
    assert_int_equal(buffer.capacity, 1000);
    buffer_reserve(&buffer, 2000);
    assert_int_equal(buffer.capacity, 2003);
    buffer_fit(&buffer);
    assert_in_range(buffer.capacity, 3, 4);
    assert_content(&buffer, "123");
    buffer_fit(&buffer); /* empty */
    assert_false(buffer.failed);
    buffer_free(&buffer);
}

static void it_grows_with_what_comes(void **state) {
    (void)state;
    const size_t mib = (size_t)1 << 20;
    static const struct {
        size_t capacity, size, more, least, most, expected;
    } cases[] = {
        {0, 0, 10, 1024, 4096, 1024},       /* from the least on */
        {1024, 1000, 24, 1024, 4096, 1024}, /* it is there */
        {1024, 1000, 25, 1024, 4096, 1536}, /* by half */
        {4000, 4000, 1, 1024, 4096, 4096},  /* up to the most */
        {4096, 4096, 5, 1024, 4096, 4101},  /* which what comes may pass */
        {0, 0, 3, 1024, 10, 10},            /* and which may be less than the least */
        {1024, 1024, 9000, 1024, 1 << 20, 10024},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct buffer buffer = {.capacity = cases[i].capacity, .size = cases[i].size};
        assert_int_equal(buffer_growth(&buffer, cases[i].more, cases[i].least, cases[i].most),
                         cases[i].expected);
    }
    const struct buffer large = {.capacity = 8 * mib, .size = 8 * mib};
    assert_int_equal(buffer_growth(&large, 1, 1024, SIZE_MAX), 9 * mib);
}

static void a_failure_is_kept_to_the_end(void **state) {
    (void)state;
    struct buffer buffer = {0};
    size_t size;
    buffer_string(&buffer, "before");
    buffer_reserve(&buffer, SIZE_MAX - 100);
    buffer_string(&buffer, "after");
    assert_true(buffer.failed);
    assert_null(buffer_take(&buffer, &size));
    assert_false(buffer.failed);
}

static void strings_are_escaped(void **state) {
    (void)state;
    struct buffer buffer = {0};
    buffer_json_string(&buffer, "plain, 日本 and 😀");
    buffer_json_string(&buffer, "\"\\/\n\t\x01\x7F");
    buffer_json_text(&buffer, (struct text){.data = "a\0b", .size = 3});
    buffer_json_string(&buffer, "bad \xFF\xC3(\xE6\x97 end\xF0");
    buffer_json_string(&buffer, "");
    buffer_json_string(&buffer, NULL);
    assert_content(&buffer, "\"plain, 日本 and 😀\"\"\\\"\\\\/\\u000a\\u0009\\u0001\\u007f\"\"a\\u0000b\""
                            "\"bad \uFFFD\uFFFD(\uFFFD\uFFFD end\uFFFD\"\"\"null");
}

static void print_float(float value, char out[64]) {
    struct buffer buffer = {0};
    size_t size;
    buffer_json_float(&buffer, value);
    char *data = buffer_take(&buffer, &size);
    assert_true(size < 64);
    memcpy(out, data, size);
    out[size] = '\0';
    free(data);
}

static void floats_are_printed_as_expected(void **state) {
    (void)state;
    static const struct {
        float value;
        const char *text;
    } cases[] = {
        {0.0f, "0.0"},
        {-0.0f, "-0.0"},
        {1.0f, "1.0"},
        {-1.0f, "-1.0"},
        {0.1f, "0.1"},
        {0.3f, "0.3"},
        {0.001f, "0.001"},
        {0.00012f, "0.00012"},
        {0.000012f, "0.000012"},
        {1.2e-6f, "1.2e-6"},
        {1e-7f, "1.0e-7"},
        {-3.25e-10f, "-3.25e-10"},
        {123.456f, "123.456"},
        {1000000.0f, "1000000.0"},
        {16777216.0f, "16777216.0"},
        {0.33333334f, "0.33333334"},
        {4.6051702f, "4.6051702"},
        {999999.94f, "999999.94"},
        {NAN, "null"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        print_float(cases[i].value, out);
        assert_string_equal(out, cases[i].text);
    }
}

/* The fewest digits printf can do it in. */
static int fewest_digits(float value) {
    for (int digits = 1; digits < 9; digits++) {
        char text[32];
        snprintf(text, sizeof text, "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value)
            return digits;
    }
    return 9;
}

static int significant_digits(const char *text) {
    char digits[32];
    int n = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n || *text != '0'))
            digits[n++] = *text;
    while (n && digits[n - 1] == '0')
        n--;
    return n;
}

static void floats_read_back_and_are_short(void **state) {
    (void)state;
    uint32_t seed = 7;
    size_t in_range = 0, longer = 0;
    for (int i = 0; i < 300000; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint32_t bits = seed;
        if (i % 2) /* half of them where embeddings lie: 2^-16 … 1 */
            bits = (bits & 0x807FFFFFu) | (111u + (seed >> 8) % 16) << 23;
        if (i % 64 == 1)
            bits &= 0xFF800000u; /* powers of two: their neighbours are not equally far */
        float value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        char out[64];
        print_float(value, out);
        char *end;
        if (strtof(out, &end) != value || *end)
            fail_msg("%a is printed as %s", (double)value, out);
        if (fabsf(value) >= 1e-13f && fabsf(value) < 1e9f) {
            in_range++;
            longer += significant_digits(out) > fewest_digits(value);
        }
    }
    /* One digit more than needed is allowed only where a power of two makes the lower
     * neighbour the nearer. */
    assert_true(in_range > 150000);
    assert_true(longer * 200 < in_range);
}

static void base64_has_its_quotes(void **state) {
    (void)state;
    struct buffer buffer = {0};
    const float values[2] = {1.0f, -2.0f};
    buffer_json_base64(&buffer, values, sizeof values);
    buffer_json_base64(&buffer, "", 0);
    assert_content(&buffer, "\"AACAPwAAAMA=\"\"\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_appended),
        cmocka_unit_test(room_is_made_and_given_back),
        cmocka_unit_test(it_grows_with_what_comes),
        cmocka_unit_test(a_failure_is_kept_to_the_end),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(floats_are_printed_as_expected),
        cmocka_unit_test(floats_read_back_and_are_short),
        cmocka_unit_test(base64_has_its_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
