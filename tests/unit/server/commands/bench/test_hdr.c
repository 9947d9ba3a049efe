/* test_hdr.c - protects the percentiles of every measurement: beside sorted samples, to three digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "server/commands/bench/hdr.h"
#include "server/commands/bench/random.h"

enum { SAMPLES = 20000 };

static int ascending(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void check_percentiles(const uint64_t *sorted, size_t n, const struct hdr *hdr) {
    static const double quantiles[] = {0, 0.001, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        const double rank = ceil(quantiles[i] * (double)n);
        const uint64_t exact = sorted[rank < 1 ? 0 : (size_t)rank - 1];
        const uint64_t shown = hdr_percentile(hdr, quantiles[i]);
        assert_true(shown >= exact);
        assert_true((double)(shown - exact) <= (double)exact / 1000);
    }
}

/* From a microsecond to an hour, as many in each octave. */
static void agrees_with_sorted_samples(void **state) {
    struct hdr *hdr = calloc(1, sizeof *hdr);
    uint64_t *samples = calloc(SAMPLES, sizeof *samples), sum = 0;
    struct random random = {7};
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = (uint64_t)exp(random_unit(&random) * log(3.6e9));
        sum += samples[i];
        hdr_count(hdr, samples[i]);
    }
    qsort(samples, SAMPLES, sizeof *samples, ascending);
    check_percentiles(samples, SAMPLES, hdr);
    assert_int_equal(hdr->count, SAMPLES);
    assert_int_equal(hdr->min, samples[0]);
    assert_int_equal(hdr->max, samples[SAMPLES - 1]);
    assert_true(fabs(hdr_mean(hdr) - (double)sum / SAMPLES) < 1e-6 * hdr_mean(hdr));
    free(samples);
    free(hdr);
}

/* Where buckets change their width is where an index goes wrong. */
static void holds_every_edge(void **state) {
    struct hdr *hdr = calloc(1, sizeof *hdr);
    (void)state;
    for (uint32_t bit = 0; bit < 32; bit++)
        for (int64_t delta = -2; delta <= 2; delta++) {
            const int64_t value = (INT64_C(1) << bit) + delta;
            if (value < 0 || value > (int64_t)HDR_MOST_VALUE)
                continue;
            hdr_clear(hdr);
            hdr_count(hdr, (uint64_t)value);
            hdr_count(hdr, HDR_MOST_VALUE); /* so that the maximum does not cut the bucket short */
            const uint64_t shown = hdr_percentile(hdr, 0.5);
            assert_true(shown >= (uint64_t)value);
            assert_true((double)(shown - (uint64_t)value) <= (double)value / 1000);
            if (value < 2048)
                assert_int_equal(shown, value);
        }
    free(hdr);
}

static void is_exact_below_2048(void **state) {
    struct hdr *hdr = calloc(1, sizeof *hdr);
    (void)state;
    for (uint64_t value = 1; value <= 1000; value++)
        hdr_count(hdr, value);
    assert_int_equal(hdr_percentile(hdr, 0.5), 500);
    assert_int_equal(hdr_percentile(hdr, 0.99), 990);
    assert_int_equal(hdr_percentile(hdr, 0.999), 999);
    assert_int_equal(hdr_percentile(hdr, 1), 1000);
    free(hdr);
}

static void keeps_what_is_too_great(void **state) {
    struct hdr *hdr = calloc(1, sizeof *hdr);
    const uint64_t day = UINT64_C(86400000000);
    (void)state;
    hdr_count(hdr, day);
    assert_int_equal(hdr->max, day);
    assert_int_equal(hdr_percentile(hdr, 1), day);
    hdr_count(hdr, day + 1);
    assert_int_equal(hdr_percentile(hdr, 0.5), HDR_MOST_VALUE);
    free(hdr);
}

static void is_zero_when_empty(void **state) {
    struct hdr *hdr = calloc(1, sizeof *hdr);
    (void)state;
    assert_int_equal(hdr_percentile(hdr, 0.5), 0);
    assert_true(hdr_mean(hdr) == 0);
    hdr_count(hdr, 5);
    hdr_clear(hdr);
    assert_int_equal(hdr_percentile(hdr, 0.5), 0);
    assert_int_equal(hdr->max, 0);
    free(hdr);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_sorted_samples), cmocka_unit_test(holds_every_edge),
        cmocka_unit_test(is_exact_below_2048),        cmocka_unit_test(keeps_what_is_too_great),
        cmocka_unit_test(is_zero_when_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
