/* test_shortlist.c - protects limoe_shortlist_find: its rows and cosines are those that all cosines give, to the bit, whatever the rows
 * are like. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "limoe_shortlist.h"

enum { MOST = 3000, WIDEST = 200, KEPT = 100 };

static uint32_t state = 1;

/* -1 to 1. */
static float draw(void) {
    state = state * 1664525u + 1013904223u;
    return (float)((double)state / 2147483648.0 - 1);
}

static void fill(float *rows, size_t n, size_t embed, float common) {
    for (size_t i = 0; i < n; i++) {
        double squares = 0;
        for (size_t j = 0; j < embed; j++) {
            rows[i * embed + j] = draw() + common;
            squares += (double)rows[i * embed + j] * rows[i * embed + j];
        }
        for (size_t j = 0; j < embed; j++)
            rows[i * embed + j] = (float)(rows[i * embed + j] / sqrt(squares));
    }
}

/* The k highest by all cosines, of equal ones the first. */
static size_t find_all(const float *image, const float *rows, size_t n, size_t embed, size_t k, size_t *index,
                       float *value) {
    float *cosine = malloc(n * sizeof *cosine);
    size_t count = 0;
    assert_non_null(cosine);
    limoe_scores(image, rows, n, embed, NULL, cosine, NULL);
    for (size_t i = 0; i < n; i++) {
        if (isnan(cosine[i]))
            continue;
        size_t at = count < k ? count++ : k;
        if (at == k && !(cosine[i] > value[k - 1]))
            continue;
        at = at == k ? k - 1 : at;
        for (; at > 0 && cosine[i] > value[at - 1]; at--) {
            value[at] = value[at - 1];
            index[at] = index[at - 1];
        }
        value[at] = cosine[i];
        index[at] = i;
    }
    free(cosine);
    return count;
}

static void compare(const float *image, const float *rows, size_t n, size_t embed, size_t k) {
    struct limoe_shortlist *list;
    size_t found, index[KEPT], expected[KEPT];
    float cosine[KEPT], values[KEPT];
    assert_int_equal(limoe_shortlist_new(rows, n, embed, &list, NULL), LIMOE_OK);
    assert_int_equal(limoe_shortlist_find(list, image, k, index, cosine, &found, NULL), LIMOE_OK);
    assert_int_equal(found, find_all(image, rows, n, embed, k, expected, values));
    assert_memory_equal(index, expected, found * sizeof *index);
    assert_memory_equal(cosine, values, found * sizeof *cosine);
    limoe_shortlist_free(list);
}

static void rows_are_those_of_all_cosines(void **unused) {
    (void)unused;
    static const size_t widths[] = {1, 7, 16, 17, 64, 192, 200}, sizes[] = {1, 99, 100, 101, 1024, MOST};
    static const float commons[] = {0, 0.5f, 20}; /* the last: all rows are nearly the same */
    float *rows = malloc(sizeof(float) * MOST * WIDEST), image[WIDEST];
    assert_non_null(rows);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t c = 0; c < sizeof commons / sizeof *commons; c++) {
                fill(rows, sizes[s], widths[w], commons[c]);
                fill(image, 1, widths[w], commons[c]);
                compare(image, rows, sizes[s], widths[w], KEPT);
                compare(image, rows, sizes[s], widths[w], 1);
                memcpy(image, rows + sizes[s] / 2 * widths[w], widths[w] * sizeof *image); /* one of them */
                compare(image, rows, sizes[s], widths[w], 3);
            }
    free(rows);
}

static void rows_that_are_alike_keep_their_order(void **unused) {
    (void)unused;
    float *rows = malloc(sizeof(float) * MOST * WIDEST), image[WIDEST];
    assert_non_null(rows);
    fill(rows, 10, WIDEST, 0);
    for (size_t i = 10; i < MOST; i++)
        memcpy(rows + i * WIDEST, rows + i % 10 * WIDEST, WIDEST * sizeof *rows);
    fill(image, 1, WIDEST, 0);
    compare(image, rows, MOST, WIDEST, KEPT);
    free(rows);
}

static void rows_of_zeros_and_of_small_numbers(void **unused) {
    (void)unused;
    float *rows = calloc((size_t)MOST * WIDEST, sizeof *rows), image[WIDEST];
    assert_non_null(rows);
    fill(image, 1, WIDEST, 0);
    compare(image, rows, MOST, WIDEST, KEPT);
    for (size_t i = 0; i < (size_t)MOST * WIDEST; i++)
        rows[i] = 1e-38f * draw();
    compare(image, rows, MOST, WIDEST, KEPT);
    memset(image, 0, sizeof image);
    compare(image, rows, MOST, WIDEST, KEPT);
    free(rows);
}

/* What is no number is none of the highest, wherever it stands, and spoils no others. */
static void rows_that_are_no_numbers(void **unused) {
    (void)unused;
    static const float odd[] = {NAN, INFINITY, -INFINITY, 3e38f};
    float *rows = malloc(sizeof(float) * MOST * WIDEST), image[WIDEST];
    assert_non_null(rows);
    fill(rows, MOST, WIDEST, 0);
    fill(image, 1, WIDEST, 0);
    for (size_t i = 0; i < 400; i++)
        rows[i * 7 % MOST * WIDEST + i % WIDEST] = odd[i % 4];
    compare(image, rows, MOST, WIDEST, KEPT);
    compare(image, rows, MOST, WIDEST, 2);
    compare(image, rows, 8, WIDEST, KEPT); /* fewer numbers than are wanted */
    image[3] = NAN;
    compare(image, rows, MOST, WIDEST, KEPT);
    image[3] = INFINITY;
    compare(image, rows, MOST, WIDEST, KEPT);
    free(rows);
}

static void none_are_wanted(void **unused) {
    (void)unused;
    struct limoe_shortlist *list;
    size_t found;
    float rows[4 * 17];
    fill(rows, 4, 17, 0);
    assert_int_equal(limoe_shortlist_new(rows, 4, 17, &list, NULL), LIMOE_OK);
    assert_int_equal(limoe_shortlist_find(list, rows, 0, NULL, NULL, &found, NULL), LIMOE_OK);
    assert_int_equal(found, 0);
    limoe_shortlist_free(list);
    limoe_shortlist_free(NULL);
    assert_true(limoe_shortlist_bytes(4, 17) >= 4 * 32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_all_cosines),
        cmocka_unit_test(rows_that_are_alike_keep_their_order),
        cmocka_unit_test(rows_of_zeros_and_of_small_numbers),
        cmocka_unit_test(rows_that_are_no_numbers),
        cmocka_unit_test(none_are_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
