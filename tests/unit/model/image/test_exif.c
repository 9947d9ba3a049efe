/* test_exif.c - protects EXIF orientation: the eight turns, and a parser that no block can lead astray. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/image/formats.h"

/* A TIFF block with the orientation entry as its second. */
static size_t make_block(uint8_t *block, bool big, uint32_t type, uint32_t value) {
    static const uint8_t little_head[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 2, 0};
    static const uint8_t big_head[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 2};
    uint32_t entries[2][4] = {{0x0100, 4, 1, 77}, {0x0112, type, 1, value}};
    memcpy(block, big ? big_head : little_head, 10);
    for (int i = 0; i < 2; i++) {
        uint8_t *e = block + 10 + 12 * i;
        memset(e, 0, 12);
        for (int b = 0; b < 2; b++) {
            int at = big ? 1 - b : b;
            e[at] = (uint8_t)(entries[i][0] >> (8 * b));
            e[2 + at] = (uint8_t)(entries[i][1] >> (8 * b));
        }
        for (int b = 0; b < 4; b++) {
            int at = big ? 3 - b : b;
            e[4 + at] = (uint8_t)(entries[i][2] >> (8 * b));
            if (type == 3)
                at = big ? 1 - b : b;
            if (at >= 0)
                e[8 + at] = (uint8_t)(entries[i][3] >> (8 * b));
        }
    }
    return 10 + 24 + 4;
}

static void finds_the_orientation(void **state) {
    (void)state;
    uint8_t block[64] = {0};
    for (uint32_t value = 1; value <= 8; value++) {
        for (int big = 0; big < 2; big++) {
            for (uint32_t type = 3; type <= 4; type++) {
                size_t size = make_block(block, big, type, value);
                assert_int_equal(exif_orientation(block, size), value);
            }
        }
    }
    uint8_t prefixed[64] = "Exif\0";
    size_t size = make_block(prefixed + 6, false, 3, 8);
    assert_int_equal(exif_orientation(prefixed, size + 6), 8);
}

static void takes_nonsense_for_upright(void **state) {
    (void)state;
    uint8_t block[64] = {0};
    assert_int_equal(exif_orientation(block, make_block(block, false, 3, 9)), 1);
    assert_int_equal(exif_orientation(block, make_block(block, false, 3, 0)), 1);
    assert_int_equal(exif_orientation(block, make_block(block, false, 2, 6)), 1); /* text */
    size_t size = make_block(block, false, 3, 6);
    for (size_t n = 0; n < 34; n++) { /* a heap copy, so that a read past the end is found */
        uint8_t *copy = malloc(n + !n);
        memcpy(copy, block, n);
        assert_int_equal(exif_orientation(copy, n), 1);
        free(copy);
    }
    for (size_t at = 0; at < size; at++) { /* every byte, every value: whatever it says is 1 … 8 */
        for (int value = 0; value < 256; value++) {
            uint8_t *copy = malloc(size);
            memcpy(copy, block, size);
            copy[at] = (uint8_t)value;
            unsigned found = exif_orientation(copy, size);
            assert_in_range(found, 1, 8);
            free(copy);
        }
    }
}

/* The picture 1 2 3 / 4 5 6, turned. Each orientation says where its first row and first column show. */
static void turns_all_eight_ways(void **state) {
    (void)state;
    static const struct {
        uint32_t width;
        uint8_t pixels[6];
    } expected[9] = {
        [1] = {3, {1, 2, 3, 4, 5, 6}}, [2] = {3, {3, 2, 1, 6, 5, 4}}, [3] = {3, {6, 5, 4, 3, 2, 1}},
        [4] = {3, {4, 5, 6, 1, 2, 3}}, [5] = {2, {1, 4, 2, 5, 3, 6}}, [6] = {2, {4, 1, 5, 2, 6, 3}},
        [7] = {2, {6, 3, 5, 2, 4, 1}}, [8] = {2, {3, 6, 2, 5, 1, 4}},
    };
    for (unsigned orientation = 1; orientation <= 8; orientation++) {
        for (uint32_t channels = 3; channels <= 4; channels++) {
            struct image image = {malloc(6 * channels), 3, 2, channels};
            for (uint32_t i = 0; i < 6 * channels; i++)
                image.pixels[i] = (uint8_t)(10 * (i / channels + 1) + i % channels);
            assert_int_equal(image_orient(&image, orientation, NULL), LIMOE_OK);
            assert_int_equal(image.width, expected[orientation].width);
            assert_int_equal(image.height, 6 / image.width);
            for (uint32_t i = 0; i < 6 * channels; i++) {
                assert_int_equal(image.pixels[i],
                                 10 * expected[orientation].pixels[i / channels] + i % channels);
            }
            image_free(&image);
        }
    }
}

static void turns_pictures_larger_than_a_tile(void **state) {
    (void)state;
    uint32_t width = 67, height = 41;
    struct image image = {malloc((size_t)width * height * 3), width, height, 3};
    for (uint32_t i = 0; i < width * height; i++) {
        image.pixels[3 * i] = (uint8_t)(i % width);
        image.pixels[3 * i + 1] = (uint8_t)(i / width);
        image.pixels[3 * i + 2] = 7;
    }
    assert_int_equal(image_orient(&image, 5, NULL), LIMOE_OK);
    for (uint32_t i = 0; i < width * height; i++) {
        assert_int_equal(image.pixels[3 * i], i / height);
        assert_int_equal(image.pixels[3 * i + 1], i % height);
        assert_int_equal(image.pixels[3 * i + 2], 7);
    }
    image_free(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_orientation),
        cmocka_unit_test(takes_nonsense_for_upright),
        cmocka_unit_test(turns_all_eight_ways),
        cmocka_unit_test(turns_pictures_larger_than_a_tile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
