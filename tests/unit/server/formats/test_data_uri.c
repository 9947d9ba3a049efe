/* test_data_uri.c - protects base64 both ways, its strictness, and the pictures inside strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"
#include "server/formats/data_uri.h"

static void the_rfc_vectors(void **state) {
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < 7; i++) {
        const char *plain = vectors[i][0], *coded = vectors[i][1];
        char text[16];
        uint8_t bytes[16];
        size_t n;
        assert_int_equal(base64_encoded_size(strlen(plain)), strlen(coded));
        base64_encode(plain, strlen(plain), text);
        assert_memory_equal(text, coded, strlen(coded));
        assert_int_equal(base64_decode(coded, strlen(coded), bytes, &n, NULL), LIMOE_OK);
        assert_int_equal(n, strlen(plain));
        assert_memory_equal(bytes, plain, n);
    }
}

static void bytes_of_any_size_come_back(void **state) {
    (void)state;
    uint32_t seed = 1;
    for (size_t size = 0; size < 300; size++) {
        uint8_t *bytes = malloc(size + 1), *back = malloc(base64_decoded_room(base64_encoded_size(size)));
        char *text = malloc(base64_encoded_size(size) + 1);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
        base64_encode(bytes, size, text);
        size_t n;
        assert_int_equal(base64_decode(text, base64_encoded_size(size), back, &n, NULL), LIMOE_OK);
        assert_int_equal(n, size);
        if (size)
            assert_memory_equal(back, bytes, size);
        free(bytes), free(back), free(text);
    }
}

static void refused(const char *text, const char *message) {
    struct limoe_error err;
    const size_t size = strlen(text);
    char *copy = malloc(size); /* of exact size, so that a read past the end is seen */
    uint8_t *out = malloc(base64_decoded_room(size));
    size_t n;
    memcpy(copy, text, size);
    if (base64_decode(copy, size, out, &n, &err) == LIMOE_OK)
        fail_msg("accepted: %s", text);
    free(copy), free(out);
    assert_int_equal(err.status, LIMOE_INVALID);
    if (!strstr(err.message, message))
        fail_msg("%s: \"%s\" lacks \"%s\"", text, err.message, message);
}

static void what_is_not_canonical_is_refused_with_its_place(void **state) {
    (void)state;
    refused("Zm9v!mFy", "\"!\" at character 5");
    refused("Zm9vYmF*", "\"*\" at character 8");
    refused("Zm9vYm\x80y", "byte 0x80 at character 7");
    refused("Zm9v YmFy", "white space without a line break at character 5; was it a \"+\"");
    refused("Zm9v\tYmFy", "white space without a line break at character 5");
    refused("Zm9v\nYmF", "7 characters, which is not a multiple of 4");
    refused("Zm9v\nYmF*\n", "\"*\" at character 9");
    refused("Zm9v\vYmFy", "byte 0x0b at character 5");
    refused("Zg=\n=", "\"=\" at character 3, before the end");
    refused("Zm-v", "\"-\" at character 3 is of the URL-safe alphabet");
    refused("Zg==Zg==", "\"=\" at character 3, before the end");
    refused("Z===", "\"=\" at character 2");
    refused("====", "\"=\" at character 1");
    refused("Zm9vY", "5 characters, which is not a multiple of 4");
    refused("Zm9vYg", "6 characters, which is not a multiple of 4");
    refused("Zm9vYg=", "7 characters, which is not a multiple of 4");
    refused("Zm9v=", "5 characters, which is not a multiple of 4");
    refused("Zh==", "carries bits that its padding denies");
    refused("Zm9=", "carries bits that its padding denies");
}

static void f12_line_breaks_and_white_space_at_the_ends_are_skipped(void **state) {
    (void)state;
    static const char *const forms[] = {
        "Zm9vYmFyYmF6cXV4",          "Zm9vYmFyYmF6cXV4\n",       "Zm9vYmFyYmF6cXV4\r\n\r\n",
        " \tZm9vYmFyYmF6cXV4 ",      "Zm9vYmFy\nYmF6cXV4\n",     "Zm9vYmFy\r\nYmF6cXV4",
        "Zm9v\r\n  YmFyYmF6 \ncXV4", "Z\nm\n9\nvYmFyYmF6cXV\n4", "Zm9vYmFyYmF6cX\rV4",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const size_t size = strlen(forms[i]);
        char *copy = malloc(size);
        uint8_t *out = malloc(base64_decoded_room(size));
        size_t n;
        memcpy(copy, forms[i], size);
        if (base64_decode(copy, size, out, &n, NULL) != LIMOE_OK)
            fail_msg("refused: \"%s\"", forms[i]);
        assert_int_equal(n, strlen("foobarbazqux"));
        assert_memory_equal(out, "foobarbazqux", n);
        free(copy), free(out);
    }
}

/* As encoders for mail write it: lines of 76 characters, of every length of text. */
static void f12_lines_of_76_give_the_same_bytes(void **state) {
    (void)state;
    for (size_t size = 0; size < 300; size++) {
        uint8_t bytes[300], back[1024];
        char text[512], lines[512];
        size_t n = 0, decoded;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)(i * 37 + size);
        base64_encode(bytes, size, text);
        for (size_t i = 0; i < base64_encoded_size(size); i++) {
            lines[n++] = text[i];
            if (i % 76 == 75 || i + 1 == base64_encoded_size(size))
                lines[n++] = '\n';
        }
        assert_int_equal(base64_decode(lines, n, back, &decoded, NULL), LIMOE_OK);
        assert_int_equal(decoded, size);
        if (size)
            assert_memory_equal(back, bytes, size);
    }
}

/* ---- pictures in strings */

static void decodes_to(const char *text, const char *expected) {
    struct arena *arena = arena_new();
    struct limoe_error err;
    const uint8_t *bytes;
    size_t size;
    if (data_uri_decode(text_of(text), arena, &bytes, &size, &err) != LIMOE_OK)
        fail_msg("%s: %s", text, err.message);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(bytes, expected, size);
    arena_free(arena);
}

static void uri_refused(const char *text, const char *message) {
    struct arena *arena = arena_new();
    struct limoe_error err;
    const uint8_t *bytes;
    size_t size;
    if (data_uri_decode(text_of(text), arena, &bytes, &size, &err) == LIMOE_OK)
        fail_msg("accepted: %s", text);
    if (!strstr(err.message, message))
        fail_msg("%s: \"%s\" lacks \"%s\"", text, err.message, message);
    arena_free(arena);
}

static void every_form_of_a_picture_is_read(void **state) {
    (void)state;
    decodes_to("Zm9vYg==", "foob");
    decodes_to("data:image/png;base64,Zm9vYg==", "foob");
    decodes_to("DATA:Image/PNG;name=cat.png;BASE64,Zm9vYg==", "foob");
    decodes_to("data:image/png;base64,Zm9vYg%3D%3d", "foob");
    decodes_to("data:;base64,Zm9vYg==", "foob");
    decodes_to("data:application/octet-stream;base64,Zm9vYg==", "foob");
    decodes_to("data:image/x-portable-pixmap,P6%201%201%20255%20%41bc", "P6 1 1 255 Abc");
    decodes_to("data:,abc", "abc");
}

static void f12_white_space_in_a_head_and_around_a_uri_is_skipped(void **state) {
    (void)state;
    decodes_to("data:image/png; base64,Zm9vYg==", "foob");
    decodes_to("data:image/png;base64 ,Zm9vYg==", "foob");
    decodes_to("data: image/png ; name=a.png; BASE64,Zm9vYg==\n", "foob");
    decodes_to("  data:image/png;base64,Zm9vYg==\r\n", "foob");
    decodes_to("data:image/png;base64,Zm9v\nYg==\n", "foob");
    decodes_to("data:image/png;base64,Zm9v%0AYg%3D%3D%0A", "foob");
    decodes_to("data:image/png;base64, Zm9vYg==", "foob");
}

static void strings_that_are_no_picture_say_why(void **state) {
    (void)state;
    uri_refused("", "empty");
    uri_refused("data:image/png;base64", "no \",\" before the data");
    uri_refused("data:image/png;base64,", "without data");
    uri_refused("data:image/png;base64,Zm9", "3 characters");
    uri_refused("data:image/png;base64,Zm9v%3", "\"%\" at character 5");
    uri_refused("data:image/png,%g0", "\"%\" at character 1");
    uri_refused("data:text/html;base64,Zm9v", "a data URI of type \"text/html\"");
    uri_refused("cat.png", "\".\" at character 4");
}

static void f13_what_is_meant_for_a_picture(void **state) {
    (void)state;
    static const char *const meant[] = {
        "data:image/webp;base64,AAAA",
        "Data:IMAGE/png,",
        "data:image/png;base64", /* cut short */
        " \n\tdata:image/png;base64,AAAA",
        "DATA:IMAGE/PNG;BASE64,AAAA",
        "data:application/octet-stream;base64,AAAA",
        "data:;base64,AAAA",
        "data:; Base64 ,AAAA",
        "data:application/octet-stream; name=a.png; base64,AAAA",
        "data:text/plain;base64,AAAA", /* for a file, at least: refused with its type */
    };
    static const char *const texts[] = {
        "data: a love story",
        "data:image",
        "data:a, b;base64, c",
        "data: the word;base64, what is it?",
        "data:base64,AAAA",
        "data:,AAAA",
        "data:text/plain,hello",
        "data:;base64",
        "data:application/octet-stream;base64",
        "my data:image/png;base64,AAAA",
        "data:a/b/c;base64,AAAA",
        "data:/;base64,AAAA",
        "Zm9v",
        " ",
        "",
    };
    for (size_t i = 0; i < sizeof meant / sizeof *meant; i++)
        if (!data_uri_is_meant(text_of(meant[i])))
            fail_msg("a text: \"%s\"", meant[i]);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (data_uri_is_meant(text_of(texts[i])))
            fail_msg("a picture: \"%s\"", texts[i]);
}

static void what_is_meant_for_a_url(void **state) {
    (void)state;
    static const char *const urls[] = {"https://a.example/b.png", "HTTP://a", " http:a\n", "https:"};
    static const char *const others[] = {"",          "http",        "ftp://a/",
                                         "//a/b.png", "a http://b/", "data:,http://a/"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct text text = text_of(urls[i]);
        assert_true(data_uri_is_url(&text));
        assert_null(memchr(text.data, ' ', text.size));
        assert_null(memchr(text.data, '\n', text.size));
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct text text = text_of(others[i]);
        assert_false(data_uri_is_url(&text));
        assert_int_equal(text.size, strlen(others[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_vectors),
        cmocka_unit_test(bytes_of_any_size_come_back),
        cmocka_unit_test(what_is_not_canonical_is_refused_with_its_place),
        cmocka_unit_test(f12_line_breaks_and_white_space_at_the_ends_are_skipped),
        cmocka_unit_test(f12_lines_of_76_give_the_same_bytes),
        cmocka_unit_test(f12_white_space_in_a_head_and_around_a_uri_is_skipped),
        cmocka_unit_test(every_form_of_a_picture_is_read),
        cmocka_unit_test(strings_that_are_no_picture_say_why),
        cmocka_unit_test(f13_what_is_meant_for_a_picture),
        cmocka_unit_test(what_is_meant_for_a_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
