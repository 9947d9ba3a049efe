/* test_measure.c - protects admission: a picture's size is known from its header, for every format, and is
 * what is decoded later. Each prefix of a file is a heap block of exactly its size, so that AddressSanitizer
 * sees a read past it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/image/formats.h"
#include "tests/unit/files.h"

static const char *const files[] = {
    "alpha.png",
    "alpha.psd",
    "alpha.tga",
    "alpha.webp",
    "colours.bmp",
    "colours.gif",
    "colours.png",
    "colours.tga",
    "colours-animated.gif",
    "keyed.png",
    "photo.jpg",
    "photo.ppm",
    "photo-turned.jpg",
    "photo-progressive.jpg",
    "picture.bmp",
    "picture.png",
    "picture.ppm",
    "picture.psd",
    "picture.tga",
    "picture.webp",
    "picture-turned.png",
    "picture-adam7.png",
    "picture-rle.tga",
    "picture-animated.webp",
    "picture.tif",
    "photo.heic",
    "photo.avif",
    "cmyk.jpg",
};

static uint8_t *load(const char *name, size_t *size) {
    char path[512];
    snprintf(path, sizeof path, DATA "/%s", name);
    uint8_t *bytes = file_read(path, size);
    assert_true(*size > 0);
    return bytes;
}

static void every_format_is_measured_as_it_is_decoded(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        uint8_t *bytes = load(files[i], &size);
        uint32_t width, height;
        struct image image;
        assert_int_equal(image_decode(bytes, size, NULL, &image, NULL), LIMOE_OK);
        bool known = limoe_image_measure(bytes, size, &width, &height);
        uint64_t measured = (uint64_t)width * height, decoded = (uint64_t)image.width * image.height;
        bool cropped = strstr(files[i], ".heic"); /* of a small one the largest picture in it is a tile */
        if (!known || measured < decoded || (measured > decoded && !cropped)) {
            fail_msg("%s: measured as %u x %u, decoded as %u x %u", files[i], width, height, image.width,
                     image.height);
        }
        image_free(&image);
        free(bytes);
    }
}

/* A prefix either holds the size or does not; it never holds another one,
 * but for numbers cut in plain text. */
static void a_cut_header_is_not_guessed(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        uint8_t *bytes = load(files[i], &size);
        uint32_t wanted[2], found[2];
        assert_true(limoe_image_measure(bytes, size, &wanted[0], &wanted[1]));
        for (size_t n = 0; n < size; n++) {
            uint8_t *prefix = malloc(n + !n);
            memcpy(prefix, bytes, n);
            if (limoe_image_measure(prefix, n, &found[0], &found[1]))
                assert_memory_equal(found, wanted, sizeof wanted);
            free(prefix);
        }
        free(bytes);
    }
}

static void assert_measured(const char *bytes, size_t size, uint32_t width, uint32_t height) {
    uint32_t found[2];
    assert_true(limoe_image_measure((const uint8_t *)bytes, size, &found[0], &found[1]));
    assert_int_equal(found[0], width);
    assert_int_equal(found[1], height);
}

#define BYTES(text) text, sizeof(text) - 1

static void odd_headers_are_understood(void **state) {
    (void)state;
    /* a frame that reaches past its screen, behind a comment and zero bytes */
    assert_measured(BYTES("GIF89a\5\0\5\0\0\0\0!\xFE\1x\0\0\0,\3\0\4\0\6\0\7\0"), 9, 11);
    /* rows from the top: a negative height */
    assert_measured(BYTES("BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0\7\0\0\0\xFE\xFF\xFF\xFF"), 7, 2);
    assert_measured(BYTES("BM\0\0\0\0\0\0\0\0\0\0\0\0\x0C\0\0\0\7\0\2\0\1\0\1\0"), 7, 2);
    assert_measured(BYTES("P6#3 4\n# 5 6\n70 80\n"), 70, 80);
    /* JPEG: stuffing, a restart marker and a table's segment before the frame */
    assert_measured(BYTES("\xFF\xD8\xFF\xFF\xFE\0\4ab\xFF\0\xFF\xD0\xFF\xC4\0\2\xFF\xC2\0\7\x08\1\2\3\4"),
                    0x304, 0x102);
}

/* A size that lies behind more blocks than real files have is not searched for. */
static void a_walk_ends(void **state) {
    (void)state;
    const size_t size = 1 << 20;
    uint8_t *bytes = malloc(size);
    uint32_t width, height;
    memset(bytes, 1, size);
    memcpy(bytes, "GIF89a\5\0\5\0\0\0\0!\xFE", 15);
    assert_false(limoe_image_measure(bytes, size, &width, &height));
    memset(bytes, 0xFF, size);
    memcpy(bytes, "\xFF\xD8", 2);
    assert_false(limoe_image_measure(bytes, size, &width, &height));
    for (size_t i = 2; i + 4 <= size; i += 4)
        memcpy(bytes + i, "\xFF\xFE\0\2", 4);
    assert_false(limoe_image_measure(bytes, size, &width, &height));
    memset(bytes, ' ', size);
    memcpy(bytes, "P5", 2);
    memcpy(bytes + size - 8, "7 7 255 ", 8);
    assert_false(limoe_image_measure(bytes, size, &width, &height));
    free(bytes);
}

static void what_is_no_picture_has_no_size(void **state) {
    (void)state;
    uint32_t width, height;
    assert_false(limoe_image_measure((const uint8_t *)"", 0, &width, &height));
    assert_false(limoe_image_measure((const uint8_t *)"hello, I am no picture", 22, &width, &height));
    assert_false(limoe_image_measure((const uint8_t *)"%PDF-1.4 and so on and on", 25, &width, &height));
    assert_int_equal(width, 0);
    assert_int_equal(height, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_measured_as_it_is_decoded),
        cmocka_unit_test(a_cut_header_is_not_guessed),
        cmocka_unit_test(odd_headers_are_understood),
        cmocka_unit_test(a_walk_ends),
        cmocka_unit_test(what_is_no_picture_has_no_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
