/* test_base64.c - protects base64 both ways, its strictness, and the pictures inside strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/base64.h"
#include "codec/data_uri.h"

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
    refused("Zm9v\nYmFy", "white space at character 5; send it unbroken");
    refused("Zm9vYmFy\n", "white space at character 9");
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

/* ---- pictures in strings ---- */

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

static void strings_that_are_no_picture_say_why(void **state) {
    (void)state;
    uri_refused("", "empty");
    uri_refused("https://example.org/cat.png",
                "not fetched from the network (found \"https://example.org/cat.png\")");
    uri_refused("HTTP://x", "not fetched");
    uri_refused("data:image/png;base64", "no \",\" before the data");
    uri_refused("data:image/png;base64,", "without data");
    uri_refused("data:image/png;base64,Zm9", "3 characters");
    uri_refused("data:image/png;base64,Zm9v%3", "\"%\" at character 5");
    uri_refused("data:image/png,%g0", "\"%\" at character 1");
    uri_refused("data:text/html;base64,Zm9v", "a data URI of type \"text/html\"");
    uri_refused("cat.png", "\".\" at character 4");
}

static void only_pictures_look_like_pictures(void **state) {
    (void)state;
    assert_true(data_uri_is_image(text_of("data:image/webp;base64,AAAA")));
    assert_true(data_uri_is_image(text_of("Data:IMAGE/png,")));
    assert_false(data_uri_is_image(text_of("data: a love story")));
    assert_false(data_uri_is_image(text_of("data:image")));
    assert_false(data_uri_is_image(text_of("Zm9v")));
    assert_false(data_uri_is_image(text_of("")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfc_vectors),
        cmocka_unit_test(bytes_of_any_size_come_back),
        cmocka_unit_test(what_is_not_canonical_is_refused_with_its_place),
        cmocka_unit_test(every_form_of_a_picture_is_read),
        cmocka_unit_test(strings_that_are_no_picture_say_why),
        cmocka_unit_test(only_pictures_look_like_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
