/* test_scale.c - protects the filters, the windows of a resized picture, and where the model's square lies in
 * it. Bit equality with Pillow, transformers and OpenCLIP on many pictures is tests/preprocess/'s; here are
 * the invariants, and shapes that Pillow would need gigabytes for. */
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

static struct image_scaling whole(const struct image *image, uint32_t width, uint32_t height,
                                  enum limoe_filter filter) {
    return (struct image_scaling){
        {0, 0, image->width, image->height}, width, height, 0, 0, width, height, filter};
}

/* Image.fromarray([[0, 100, 200, 255, 50, 7, 90]]).resize((3, 1), filter), and to (11, 1). */
static void each_filter_matches_pillow_on_a_row(void **state) {
    (void)state;
    static const uint8_t row[7] = {0, 100, 200, 255, 50, 7, 90};
    static const uint8_t small[6][3] = {{100, 255, 7}, {89, 180, 35}, {86, 170, 46},
                                        {85, 178, 41}, {50, 168, 49}, {74, 189, 44}};
    static const uint8_t large[6][11] = {
        {0, 0, 100, 200, 200, 255, 50, 50, 7, 90, 90},    {0, 31, 112, 172, 245, 255, 130, 10, 0, 57, 100},
        {0, 45, 109, 173, 220, 255, 125, 38, 11, 52, 90}, {0, 36, 109, 176, 234, 255, 124, 23, 6, 53, 96},
        {0, 0, 100, 200, 200, 255, 50, 50, 7, 90, 90},    {0, 40, 101, 190, 212, 255, 94, 46, 7, 57, 90}};
    struct image image = make(7, 1);
    for (size_t i = 0; i < 21; i++)
        image.pixels[i] = row[i / 3];
    for (uint32_t f = LIMOE_NEAREST; f <= LIMOE_HAMMING; f++) {
        uint8_t out[33];
        struct image_scaling scaling = whole(&image, 3, 1, (enum limoe_filter)f);
        assert_int_equal(image_scale(&image, &scaling, out, 9, NULL), LIMOE_OK);
        for (size_t i = 0; i < 9; i++)
            assert_int_equal(out[i], small[f][i / 3]);
        scaling = whole(&image, 11, 1, (enum limoe_filter)f);
        assert_int_equal(image_scale(&image, &scaling, out, 33, NULL), LIMOE_OK);
        for (size_t i = 0; i < 33; i++)
            assert_int_equal(out[i], large[f][i / 3]);
    }
    image_free(&image);
}

/* Both orders of the passes, up and down, every filter. */
static void a_window_is_a_part_of_the_whole(void **state) {
    (void)state;
    static const uint32_t shapes[][4] = {{90, 41, 31, 37}, {41, 90, 37, 31},  {10, 200, 9, 23},
                                         {7, 5, 60, 44},   {200, 10, 50, 40}, {50, 40, 50, 40},
                                         {50, 40, 50, 13}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const uint32_t width = shapes[s][2], height = shapes[s][3];
        struct image image = make(shapes[s][0], shapes[s][1]);
        uint8_t *all = malloc((size_t)width * height * 3), *part = malloc((size_t)width * height * 3 + 1);
        for (uint32_t f = LIMOE_NEAREST; f <= LIMOE_HAMMING; f++) {
            struct image_scaling scaling = whole(&image, width, height, (enum limoe_filter)f);
            assert_int_equal(image_scale(&image, &scaling, all, 3 * (size_t)width, NULL), LIMOE_OK);
            scaling.left = width / 3;
            scaling.top = height / 2;
            scaling.columns = width / 4;
            scaling.rows = height / 3;
            const size_t stride = 3 * (size_t)scaling.columns + 1;
            assert_int_equal(image_scale(&image, &scaling, part, stride, NULL), LIMOE_OK);
            for (size_t y = 0; y < scaling.rows; y++)
                assert_memory_equal(part + y * stride, all + 3 * ((scaling.top + y) * width + scaling.left),
                                    3 * (size_t)scaling.columns);
        }
        free(part);
        free(all);
        image_free(&image);
    }
}

static void what_is_not_within_is_refused(void **state) {
    (void)state;
    struct image image = make(8, 6);
    const struct image_scaling good = {{0, 0, 8, 6}, 4, 3, 1, 1, 3, 2, LIMOE_BICUBIC};
    struct image_scaling bad[7] = {good, good, good, good, good, good, good};
    uint8_t out[4 * 3 * 3];
    assert_int_equal(image_scale(&image, &good, out, 9, NULL), LIMOE_OK);
    bad[0].columns = 4;
    bad[1].rows = 3;
    bad[2].columns = 0;
    bad[3].left = UINT32_MAX;
    bad[4].filter = (enum limoe_filter)6;
    bad[5].box[2] = 9;
    bad[6].height = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct limoe_error err = {0};
        assert_int_equal(image_scale(&image, &bad[i], out, 9, &err), LIMOE_INVALID);
        assert_int_not_equal(err.message[0], 0);
    }
    image_free(&image);
}

/* A PPM of width x height, whose pixel (x, y) is (x / step, y / step, 200), prepared into pixels[size, size, 3]. */
static void prepare(uint32_t width, uint32_t height, uint32_t step, const struct limoe_preprocess *how,
                    uint8_t *pixels) {
    char head[32];
    int head_size = snprintf(head, sizeof head, "P6 %u %u 255\n", width, height);
    size_t size = (size_t)head_size + (size_t)width * height * 3;
    uint8_t *file = malloc(size), *at = file + head_size;
    memcpy(file, head, (size_t)head_size);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++, at += 3)
            memcpy(at, (uint8_t[]){(uint8_t)(x / step), (uint8_t)(y / step), 200}, 3);
    struct limoe_error err;
    if (image_preprocess(file, size, NULL, how, pixels, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    free(file);
}

/* Which column and row of the picture the square begins with; negative: how much of the margin comes before. */
static void the_square_lies_in_the_middle(void **state) {
    (void)state;
    static const struct {
        enum limoe_middle middle;
        uint32_t width, height;
        int left, top;
    } cases[] = {{LIMOE_MIDDLE_DOWN, 12, 8, 2, 0},  {LIMOE_MIDDLE_DOWN, 9, 11, 0, 1},
                 {LIMOE_MIDDLE_DOWN, 13, 15, 2, 3}, {LIMOE_MIDDLE_DOWN, 7, 5, -1, -2},
                 {LIMOE_MIDDLE_DOWN, 3, 13, -3, 2}, {LIMOE_MIDDLE_EVEN, 12, 8, 2, 0},
                 {LIMOE_MIDDLE_EVEN, 9, 11, 0, 2},  {LIMOE_MIDDLE_EVEN, 13, 15, 2, 4},
                 {LIMOE_MIDDLE_EVEN, 7, 5, 0, -1},  {LIMOE_MIDDLE_EVEN, 3, 13, -2, 2},
                 {LIMOE_MIDDLE_EVEN, 1, 1, -3, -3}, {LIMOE_MIDDLE_DOWN, 1, 1, -4, -4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct limoe_preprocess how = {
            .size = 8, .resize = LIMOE_UNSCALED, .middle = cases[i].middle, .margin = {1, 2, 3}};
        uint8_t pixels[8 * 8 * 3];
        prepare(cases[i].width, cases[i].height, 1, &how, pixels);
        for (int y = 0; y < 8; y++) {
            for (int x = 0; x < 8; x++) {
                const int from_x = cases[i].left + x, from_y = cases[i].top + y;
                const bool inside = from_x >= 0 && from_x < (int)cases[i].width && from_y >= 0 &&
                                    from_y < (int)cases[i].height;
                const uint8_t expected[3] = {inside ? (uint8_t)from_x : 1, inside ? (uint8_t)from_y : 2,
                                             inside ? 200 : 3};
                assert_memory_equal(pixels + 3 * (8 * y + x), expected, 3);
            }
        }
    }
}

static void sides_without_bounds_are_refused(void **state) {
    (void)state;
    static const char file[] = "P6 1 1 255\nabc";
    static const struct limoe_preprocess bad[] = {{.size = 0, .resize = LIMOE_SQUASH},
                                                  {.size = 65536, .resize = LIMOE_PAD},
                                                  {.size = 1, .resize = LIMOE_SHORTEST},
                                                  {.size = 1, .resize = LIMOE_SHORTEST, .width = UINT32_MAX},
                                                  {.size = 1, .resize = LIMOE_EXACT, .width = 1},
                                                  {.size = 1, .resize = LIMOE_EXACT, .height = 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct limoe_error err = {0};
        uint8_t pixels[3];
        assert_int_equal(
            image_preprocess((const uint8_t *)file, sizeof file - 1, NULL, &bad[i], pixels, &err),
            LIMOE_INVALID);
        assert_non_null(strstr(err.message, "1 to 65535 are accepted"));
    }
}

/* 224 x 14,679,840 pixels, of which 224 x 224 are wanted: the picture's middle. */
static void a_line_is_scaled_only_where_it_is_seen(void **state) {
    (void)state;
    for (uint32_t f = LIMOE_NEAREST; f <= LIMOE_HAMMING; f++) {
        const struct limoe_preprocess how = {
            .size = 224, .resize = LIMOE_SHORTEST, .width = 224, .filter = (enum limoe_filter)f};
        uint8_t *pixels = malloc(224 * 224 * 3);
        prepare(1, 65535, 100, &how, pixels);
        for (size_t i = 0; i < 224 * 224; i++)
            assert_memory_equal(pixels + 3 * i, ((uint8_t[]){0, 32767 / 100 % 256, 200}), 3);
        prepare(65535, 1, 100, &how, pixels);
        for (size_t i = 0; i < 224 * 224; i++)
            assert_memory_equal(pixels + 3 * i, ((uint8_t[]){32767 / 100 % 256, 0, 200}), 3);
        free(pixels);
    }
}

static void alpha_is_dropped(void **state) {
    (void)state;
    struct image image = {malloc(8), 2, 1, 4};
    memcpy(image.pixels, (uint8_t[]){1, 2, 3, 0, 4, 5, 6, 255}, 8);
    image_flatten(&image, NULL);
    assert_int_equal(image.channels, 3);
    assert_memory_equal(image.pixels, ((uint8_t[]){1, 2, 3, 4, 5, 6}), 6);
    image_flatten(&image, NULL);
    assert_memory_equal(image.pixels, ((uint8_t[]){1, 2, 3, 4, 5, 6}), 6);
    image_free(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_matches_pillow_on_a_row),
        cmocka_unit_test(a_window_is_a_part_of_the_whole),
        cmocka_unit_test(what_is_not_within_is_refused),
        cmocka_unit_test(the_square_lies_in_the_middle),
        cmocka_unit_test(a_line_is_scaled_only_where_it_is_seen),
        cmocka_unit_test(sides_without_bounds_are_refused),
        cmocka_unit_test(alpha_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
