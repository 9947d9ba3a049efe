/* test_resize.c - protects the resize, the three ways to a square, and alpha. Bit equality with Pillow on
 * many pictures is tests/preprocess/'s; here are its invariants, and shapes that Pillow would need gigabytes
 * for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/image/formats.h"

static struct image make(uint32_t width, uint32_t height) {
    struct image image = {malloc((size_t)width * height * 3), width, height, 3};
    assert_non_null(image.pixels);
    uint32_t random = 1;
    for (size_t i = 0; i < (size_t)width * height * 3; i++) {
        random = random * 1664525u + 1013904223u;
        image.pixels[i] = (uint8_t)(random >> 24);
    }
    return image;
}

static void same_size_is_the_same_picture(void **state) {
    (void)state;
    struct image image = make(37, 21);
    uint8_t out[37 * 21 * 3];
    assert_int_equal(image_resize(&image, (double[]){0, 0, 37, 21}, 37, 21, out, NULL), LIMOE_OK);
    assert_memory_equal(out, image.pixels, sizeof out);
    image_free(&image);
}

static void one_colour_stays_that_colour(void **state) {
    (void)state;
    static const uint32_t shapes[][2] = {{1, 1},   {1, 65535}, {65535, 1}, {3, 500},
                                         {500, 3}, {64, 64},   {129, 65}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct image image = make(shapes[i][0], shapes[i][1]);
        for (size_t p = 0; p < (size_t)image.width * image.height; p++)
            memcpy(image.pixels + 3 * p, (uint8_t[]){255, 0, 77}, 3);
        uint8_t out[31 * 17 * 3];
        double whole[4] = {0, 0, image.width, image.height};
        assert_int_equal(image_resize(&image, whole, 31, 17, out, NULL), LIMOE_OK);
        for (size_t p = 0; p < 31 * 17; p++)
            assert_memory_equal(out + 3 * p, ((uint8_t[]){255, 0, 77}), 3);
        image_free(&image);
    }
}

/* Image.fromarray([[0, 100, 200, 255, 50]]).resize((3, 1), BICUBIC), and to (8, 1). */
static void matches_pillow_on_a_row(void **state) {
    (void)state;
    static const uint8_t row[5] = {0, 100, 200, 255, 50}, small[3] = {37, 202, 140},
                         large[8] = {0, 34, 106, 172, 229, 255, 134, 35};
    struct image image = make(5, 1);
    for (size_t i = 0; i < 15; i++)
        image.pixels[i] = row[i / 3];
    uint8_t out[8 * 3];
    assert_int_equal(image_resize(&image, (double[]){0, 0, 5, 1}, 3, 1, out, NULL), LIMOE_OK);
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(out[i], small[i / 3]);
    assert_int_equal(image_resize(&image, (double[]){0, 0, 5, 1}, 8, 1, out, NULL), LIMOE_OK);
    for (size_t i = 0; i < 24; i++)
        assert_int_equal(out[i], large[i / 3]);
    image_free(&image);
}

static void boxes_outside_the_picture_are_refused(void **state) {
    (void)state;
    struct image image = make(8, 6);
    uint8_t out[3];
    static const double boxes[][4] = {
        {-1, 0, 8, 6}, {0, 0, 9, 6}, {0, 0, 8, 6.5}, {4, 0, 4, 6}, {0, 5, 8, 2}};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        struct limoe_error err = {0};
        assert_int_equal(image_resize(&image, boxes[i], 1, 1, out, &err), LIMOE_INVALID);
        assert_int_not_equal(err.message[0], 0);
    }
    double not_a_number[4] = {0, 0, 0.0 / (double)(image.channels - 3), 6};
    assert_int_equal(image_resize(&image, not_a_number, 1, 1, out, NULL), LIMOE_INVALID);
    assert_int_equal(image_resize(&image, (double[]){0, 0, 8, 6}, 0, 1, out, NULL), LIMOE_INVALID);
    image_free(&image);
}

static void alpha_is_exact(void **state) {
    (void)state;
    for (uint32_t a = 0; a < 256; a++) {
        for (uint32_t colour = 0; colour < 256; colour += 5) {
            struct image image = {malloc(4), 1, 1, 4};
            memcpy(image.pixels, (uint8_t[]){(uint8_t)colour, 255, 0, (uint8_t)a}, 4);
            image_flatten(&image, (uint8_t[]){200, 255, 13});
            assert_int_equal(image.channels, 3);
            assert_int_equal(image.pixels[0], (2 * (colour * a + 200 * (255 - a)) + 255) / 510);
            assert_int_equal(image.pixels[1], 255);
            assert_int_equal(image.pixels[2], (2 * 13 * (255 - a) + 255) / 510);
            image_free(&image);
        }
    }
}

/* A red picture of width x height as a PPM file, preprocessed to 16 x 16 on blue. */
static void preprocess(uint32_t width, uint32_t height, enum limoe_resize resize, uint8_t *pixels) {
    char head[32];
    int head_size = snprintf(head, sizeof head, "P6 %u %u 255\n", width, height);
    size_t size = (size_t)head_size + (size_t)width * height * 3;
    uint8_t *file = calloc(size, 1);
    memcpy(file, head, (size_t)head_size);
    for (size_t i = (size_t)head_size; i < size; i += 3)
        file[i] = 255;
    const struct limoe_preprocess how = {.size = 16,
                                         .resize = resize,
                                         .filter = LIMOE_BICUBIC,
                                         .middle = LIMOE_MIDDLE_EVEN,
                                         .background = {0, 0, 255},
                                         .margin = {0, 0, 255}};
    assert_int_equal(image_preprocess(file, size, NULL, &how, pixels, NULL), LIMOE_OK);
    free(file);
}

static void pads_in_the_middle(void **state) {
    (void)state;
    static const struct {
        uint32_t width, height, left, top, right, bottom; /* of the red */
    } cases[] = {{32, 16, 0, 4, 16, 12}, {16, 32, 4, 0, 12, 16}, {5, 5, 0, 0, 16, 16}, {3000, 1, 0, 7, 16, 8},
                 {16, 5, 0, 5, 16, 10},  {1, 1, 0, 0, 16, 16},   {7, 16, 4, 0, 11, 16}};
    uint8_t pixels[16 * 16 * 3];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        preprocess(cases[i].width, cases[i].height, LIMOE_PAD, pixels);
        for (uint32_t y = 0; y < 16; y++) {
            for (uint32_t x = 0; x < 16; x++) {
                bool red =
                    x >= cases[i].left && x < cases[i].right && y >= cases[i].top && y < cases[i].bottom;
                assert_memory_equal(pixels + 3 * (16 * y + x), ((uint8_t[]){red ? 255 : 0, 0, red ? 0 : 255}),
                                    3);
            }
        }
    }
    for (enum limoe_resize resize = LIMOE_SQUASH; resize <= LIMOE_CROP; resize++) {
        preprocess(40, 3, resize, pixels);
        for (size_t p = 0; p < 256; p++)
            assert_memory_equal(pixels + 3 * p, ((uint8_t[]){255, 0, 0}), 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_size_is_the_same_picture),
        cmocka_unit_test(one_colour_stays_that_colour),
        cmocka_unit_test(matches_pillow_on_a_row),
        cmocka_unit_test(boxes_outside_the_picture_are_refused),
        cmocka_unit_test(alpha_is_exact),
        cmocka_unit_test(pads_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
