/* test_scaler.c - protects a resize by rows: the inner loops of each instruction set that this machine has
 * against plain sums, at odd sizes; and a picture taken as it lies in its file, in each of the eight ways,
 * against the same one turned upright first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/image/formats.h"
#include "model/image/scaler.h"

static const enum limoe_filter filters[] = {LIMOE_LANCZOS, LIMOE_BILINEAR, LIMOE_BICUBIC, LIMOE_BOX,
                                            LIMOE_HAMMING};
enum { FILTERS = sizeof filters / sizeof *filters };

/* Noise, or black and white alone, where sums are largest. */
static void fill(uint8_t *bytes, size_t n, bool extremes) {
    uint32_t random = 1;
    for (size_t i = 0; i < n; i++) {
        random = random * 1664525u + 1013904223u;
        bytes[i] = extremes ? (random >> 31 ? 255 : 0) : (uint8_t)(random >> 24);
    }
}

static uint8_t rounded(int64_t sum) {
    sum = (sum + (1 << (AXIS_PRECISION - 1))) >> AXIS_PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void check_along(const struct convolve *ops, const struct axis *axis, const uint8_t *rgb) {
    const uint32_t begin = axis_begin(axis), width = axis_end(axis) - begin;
    uint8_t *part = malloc(3 * (size_t)width), *row = malloc(3 * (size_t)axis->outputs);
    int16_t *planes = malloc(convolve_planes(width) * sizeof *planes);
    memset(planes, 0x7f, convolve_planes(width) * sizeof *planes); /* what is past the end does not count */
    memcpy(part, rgb + 3 * (size_t)begin, 3 * (size_t)width);
    ops->along(axis, part, width, planes, row);
    for (size_t i = 0; i < 3 * (size_t)axis->outputs; i++) {
        const uint8_t *from = rgb + 3 * (size_t)axis->first[i / 3] + i % 3;
        const int32_t *weight = axis->weight + axis->offset[i / 3];
        int64_t sum = 0;
        for (uint32_t j = 0; j < axis->count[i / 3]; j++)
            sum += (int64_t)weight[j] * from[3 * (size_t)j];
        if (row[i] != rounded(sum))
            fail_msg("%s: %u pixels to %u, sample %zu: %u, not %u", ops->name, width, axis->outputs, i,
                     row[i], rounded(sum));
    }
    free(planes);
    free(row);
    free(part);
}

static void rows_are_summed_by_each_instruction_set(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{1, 1},    {1, 5},    {2, 1},   {3, 2},    {15, 16}, {16, 15},
                                        {17, 3},   {31, 64},  {33, 7},  {47, 46},  {48, 31}, {49, 1},
                                        {100, 97}, {333, 17}, {640, 9}, {1001, 2}, {5, 300}, {12000, 1}};
    uint8_t *rgb = malloc(3 * 12000);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (size_t f = 0; f < 2 * FILTERS; f++) {
            const uint32_t inputs = sizes[s][0], outputs = sizes[s][1], start = outputs / 3;
            const struct axis_scaling scaling = {inputs,  inputs * 0.125, inputs * 0.96875,
                                                 outputs, start,          outputs - start};
            struct axis axis;
            assert_true(axis_init(&axis, filters[f / 2], &scaling));
            fill(rgb, 3 * (size_t)inputs, f % 2);
            for (size_t i = 0; convolve_at(i); i++)
                check_along(convolve_at(i), &axis, rgb);
            axis_free(&axis);
        }
    }
    free(rgb);
}

enum { ROWS = 37, MOST = 1100 };

static void check_across(const struct convolve *ops, uint8_t rows[ROWS][MOST], const int32_t *weight,
                         uint32_t count, size_t n) {
    static int32_t sums[MOST + 1];
    static uint8_t out[MOST + 1], added[MOST + 1];
    const uint8_t *window[ROWS];
    for (uint32_t j = 0; j < count; j++)
        window[j] = rows[j];
    memset(sums, 0, sizeof sums);
    sums[n] = 77;
    out[n] = added[n] = 99;
    for (uint32_t j = 0; j < count; j++)
        ops->add(sums, rows[j], weight[j], n);
    ops->round(sums, added, n);
    ops->blend(window, weight, count, n, out);
    for (size_t i = 0; i < n; i++) {
        int64_t sum = 0;
        for (uint32_t j = 0; j < count; j++)
            sum += (int64_t)weight[j] * rows[j][i];
        if (out[i] != rounded(sum) || added[i] != rounded(sum))
            fail_msg("%s: %u rows, column %zu of %zu: %u and %u, not %u", ops->name, count, i, n, out[i],
                     added[i], rounded(sum));
    }
    assert_int_equal(sums[n], 77);
    assert_int_equal(out[n], 99);
    assert_int_equal(added[n], 99);
}

static void columns_are_summed_by_each_instruction_set(void **state) {
    (void)state;
    static const uint32_t counts[] = {1, 2, 3, 8, ROWS};
    static const size_t widths[] = {1, 7, 8, 31, 63, 64, 65, 127, 511, 512, 513, 577, MOST};
    static uint8_t rows[ROWS][MOST];
    int32_t weight[ROWS];
    for (size_t c = 0; c < 2 * sizeof counts / sizeof *counts; c++) {
        const uint32_t count = counts[c / 2];
        fill(rows[0], sizeof rows, c % 2);
        for (uint32_t j = 0; j < count; j++) /* they add up to 1, and to less than 2 without their signs */
            weight[j] = (1 << AXIS_PRECISION) / (int32_t)count * (j % 4 == 3 ? -1 : 3) / 2;
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (size_t i = 0; convolve_at(i); i++)
                check_across(convolve_at(i), rows, weight, count, widths[w]);
    }
}

/* The picture resized row by row as it lies there. No row that the scaler has not asked to stay is left. */
static void scale_rows(const struct image *image, unsigned orientation, const struct convolve *ops,
                       const struct image_scaling *scaling, uint8_t *out, size_t stride) {
    const struct image_shape shape = {image->width, image->height, 3, orientation};
    const size_t row_size = 3 * (size_t)image->width;
    struct scaler scaler;
    assert_int_equal(scaler_begin(&scaler, &shape, scaling, out, stride, NULL), LIMOE_OK);
    scaler.ops = ops;
    const uint32_t held = scaler_held(&scaler);
    assert_in_range(held, 1, image->height);
    uint8_t *rows = malloc(held * row_size);
    for (uint32_t y = 0; y < image->height; y++) {
        uint8_t *row = rows + y % held * row_size;
        memcpy(row, image->pixels + y * row_size, row_size);
        scaler_take(&scaler, row);
        if (held == 1)
            memset(row, 0xAA, row_size);
    }
    scaler_end(&scaler);
    free(rows);
}

static void check_turned(uint32_t width, uint32_t height, unsigned orientation, enum limoe_filter filter,
                         const struct image_scaling *how) {
    struct image image = {malloc(3 * (size_t)width * height), width, height, 3};
    struct image upright = {malloc(3 * (size_t)width * height), width, height, 3};
    fill(image.pixels, 3 * (size_t)width * height, false);
    memcpy(upright.pixels, image.pixels, 3 * (size_t)width * height);
    assert_int_equal(image_orient(&upright, orientation, NULL), LIMOE_OK);
    struct image_scaling scaling = *how;
    scaling.filter = filter;
    scaling.box[0] = upright.width * how->box[0];
    scaling.box[1] = upright.height * how->box[1];
    scaling.box[2] = upright.width * how->box[2];
    scaling.box[3] = upright.height * how->box[3];
    const size_t stride = 3 * (size_t)scaling.columns + 5, size = stride * scaling.rows;
    uint8_t *expected = malloc(size), *found = malloc(size);
    memset(expected, 0x55, size);
    assert_int_equal(image_scale(&upright, &scaling, expected, stride, NULL), LIMOE_OK);
    for (size_t i = 0; convolve_at(i); i++) {
        memset(found, 0x55, size);
        scale_rows(&image, orientation, convolve_at(i), &scaling, found, stride);
        if (memcmp(found, expected, size) != 0)
            fail_msg("%s: %u x %u to %u x %u, orientation %u, filter %d", convolve_at(i)->name, width, height,
                     scaling.width, scaling.height, orientation, (int)filter);
    }
    free(found);
    free(expected);
    image_free(&upright);
    image_free(&image);
}

/* Both orders of the passes, up and down, the whole and a window of it, a box between pixels. */
static void a_picture_on_its_side_is_resized_as_it_lies(void **state) {
    (void)state;
    static const uint32_t shapes[][2] = {{64, 48}, {48, 64}, {1, 90}, {90, 1}, {37, 200}, {200, 37}, {5, 7}};
    static const struct image_scaling hows[] = {
        {.box = {0, 0, 1, 1}, .width = 31, .height = 29, .columns = 31, .rows = 29},
        {.box = {0.1, 0, 0.9, 0.75},
         .width = 40,
         .height = 11,
         .left = 7,
         .top = 2,
         .columns = 20,
         .rows = 8},
        {.box = {0, 0.3, 1, 0.7}, .width = 9, .height = 130, .left = 1, .top = 100, .columns = 7, .rows = 30},
    };
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t h = 0; h < sizeof hows / sizeof *hows; h++)
            for (unsigned orientation = 1; orientation <= 8; orientation++)
                for (size_t f = 0; f < FILTERS; f++)
                    check_turned(shapes[s][0], shapes[s][1], orientation, filters[f], &hows[h]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_summed_by_each_instruction_set),
        cmocka_unit_test(columns_are_summed_by_each_instruction_set),
        cmocka_unit_test(a_picture_on_its_side_is_resized_as_it_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
