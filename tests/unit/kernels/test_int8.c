/* int8: rounding by kernels/int8.h's formulas, the very bits of the reference on every instruction set, and what a
 * quantised checkpoint brings packed as it is. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/int8.h"
#include "kernels/number.h"
#include "tests/unit/kernels/fixture.h"

enum { ROWS = 75, VOCAB = 11 };

static const struct {
    uint32_t in, out;
} shapes[] = {{1, 1}, {3, 5}, {7, 17}, {63, 16}, {64, 48}, {65, 100}, {192, 80}, {588, 34}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static struct kernels_matrix *pack(struct kernels *k, struct kernels_tensor weight, const float *bias,
                                   uint32_t out, uint32_t in) {
    struct kernels_matrix *m;
    struct limoe_error err;
    assert_int_equal(
        k->ops->pack(k, weight, (struct kernels_tensor){bias, KERNELS_F32}, 1, out, in, &m, &err), LIMOE_OK);
    return m;
}

/* y [rows, out], malloc'd; ADD_F32 adds to ones. */
static float *linear(struct kernels *k, const struct kernels_matrix *m, const float *x, uint32_t rows,
                     uint32_t out, enum kernels_epilogue kind) {
    const size_t n = (size_t)rows * out;
    float *y = malloc(n * sizeof *y);
    assert_non_null(y);
    for (size_t i = 0; i < n; i++)
        y[i] = 1;
    k->ops->linear(k, m, x, rows, kind, y);
    return y;
}

/* ---- rounding */

/* The nearest of the 255 steps, symmetric; a channel of zeros, of numbers too small for a scale, of no numbers. */
static void weights_are_rounded_to_the_nearest(void **state) {
    (void)state;
    enum { N = 301 };
    struct random_stream s = {1};
    float *w = random_floats(&s, N, 3);
    int8_t q[N];
    w[7] = -3; /* the greatest */
    const float scale = int8_weights(w, N, q);
    assert_true(fabsf(scale - 3.0f / 127) < 1e-8f);
    assert_int_equal(q[7], -127);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(w[i] - (float)q[i] * scale) <= 0.5001f * scale);
    memset(w, 0, N * sizeof *w);
    assert_true(int8_weights(w, N, q) == 0 && q[7] == 0);
    w[3] = FLT_MIN;
    assert_true(int8_weights(w, N, q) == 0 && q[3] == 0);
    w[3] = FLT_MAX;
    assert_true(int8_weights(w, N, q) > 2e36f && q[3] == 127);
    const float odd[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        w[3] = odd[i];
        assert_true(isnan(int8_weights(w, N, q)));
        assert_int_equal(q[3], 0);
    }
    free(w);
}

/* All 256 steps are used, from the least to the greatest value, and zero is one of them. */
static void rows_use_every_step(void **state) {
    (void)state;
    struct int8_row row = int8_row_between(-0.17f, 4.93f, true);
    assert_true(fabsf(row.scale - 0.02f) < 1e-7f);
    assert_int_equal(row.zero, 8); /* 8.5, to even */
    row = int8_row_between(-5, 0, true);
    assert_int_equal(row.zero, 255);
    row = int8_row_between(0, 5, true);
    assert_int_equal(row.zero, 0);
    row = int8_row_between(-FLT_MAX, FLT_MAX, true);
    assert_true(isfinite(row.scale) && row.zero >= 127 && row.zero <= 128);
    assert_true(int8_row_between(0, 1e-37f, true).scale == 0);
    assert_true(isnan(int8_row_between(0, 1, false).scale));
}

/* ---- products */

/* Rows of many kinds: of one sign, of one value, zeros, huge, tiny. */
static float *rows_of_kinds(struct random_stream *s, uint32_t in) {
    float *x = random_floats(s, (size_t)ROWS * in, 2);
    for (uint32_t r = 0; r < ROWS; r++)
        for (uint32_t i = 0; i < in; i++) {
            float *v = &x[(size_t)r * in + i];
            *v = r % 8 == 1   ? fabsf(*v)
                 : r % 8 == 2 ? -fabsf(*v)
                 : r % 8 == 3 ? 0
                 : r % 8 == 4 ? *v * 1e30f
                 : r % 8 == 5 ? *v * 1e-39f
                 : r % 8 == 6 ? 0.7f
                              : *v;
        }
    return x;
}

static void check_bits(const struct fixture *f) {
    static const enum kernels_epilogue exact[] = {KERNELS_STORE, KERNELS_STORE_F32, KERNELS_ADD_F32};
    struct random_stream s = {2};
    for (size_t i = 0; i < SHAPES; i++) {
        const uint32_t in = shapes[i].in, out = shapes[i].out;
        float *x = rows_of_kinds(&s, in), *w = random_floats(&s, (size_t)out * in, 1),
              *bias = random_floats(&s, out, 8);
        memset(w, 0, in * sizeof *w); /* a channel of zeros */
        const struct kernels_tensor weight = {w, KERNELS_F32};
        struct kernels_matrix *mr = pack(f->reference, weight, bias, out, in),
                              *mt = pack(f->tested, weight, bias, out, in);
        for (size_t e = 0; e < sizeof exact / sizeof *exact; e++) {
            float *want = linear(f->reference, mr, x, ROWS, out, exact[e]);
            for (uint32_t rows = 1; rows <= ROWS; rows += rows < 18 ? 1 : 57) {
                float *got = linear(f->tested, mt, x, rows, out, exact[e]);
                assert_same_bits(f, "against the reference", got, want, (size_t)rows * out * sizeof *got);
                free(got);
            }
            free(want);
        }
        f->reference->ops->matrix_free(f->reference, mr);
        f->tested->ops->matrix_free(f->tested, mt);
        free(x);
        free(w);
        free(bias);
    }
}

static void every_instruction_set_has_the_bits_of_the_reference(void **state) {
    (void)state;
    for_each_int8_fixture(one_thread, check_bits);
}

/* The greatest sums that there are: what saturates in 16 bits, or passes 32, shows. */
static void check_extremes(const struct fixture *f) {
    enum { IN = INT8_MOST_IN, OUT = 3 };
    float *x = malloc(2 * IN * sizeof *x), bias[OUT] = {0}, scale[OUT] = {1, 1, 1};
    int8_t *w = malloc((size_t)OUT * IN);
    assert_non_null(x);
    assert_non_null(w);
    for (uint32_t i = 0; i < IN; i++) {
        x[i] = 255;       /* 255 - 0 */
        x[IN + i] = -255; /* 0 - 255 */
        w[i] = 127;
        w[IN + i] = -128; /* as only a checkpoint may have it */
        w[2 * IN + i] = i % 2 ? 127 : -128;
    }
    const struct kernels_int8 stored = {w, scale, IN};
    struct kernels_matrix *m = pack(f->tested, (struct kernels_tensor){&stored, KERNELS_I8}, bias, OUT, IN);
    float *y = linear(f->tested, m, x, 2, OUT, KERNELS_STORE_F32);
    const float want[] = {255.0f * 127 * IN, -255.0f * 128 * IN, -255.0f * IN / 2};
    for (int i = 0; i < OUT; i++) {
        assert_true(fabsf(y[i] - want[i]) <= 1e-6f * fabsf(want[i]));
        assert_true(fabsf(y[OUT + i] + want[i]) <= 1e-6f * fabsf(want[i]));
    }
    f->tested->ops->matrix_free(f->tested, m);
    free(y);
    free(w);
    free(x);
}

static void the_greatest_sums_fit(void **state) {
    (void)state;
    for_each_int8_fixture(one_thread, check_extremes);
}

/* A row with a NaN or an infinity is NaN in every column, its neighbours are not; so is a channel. */
static void check_poison(const struct fixture *f) {
    enum { IN = 70, OUT = 20, R = 9 };
    struct random_stream s = {3};
    float *x = random_floats(&s, R * IN, 1), *w = random_floats(&s, OUT * IN, 1), bias[OUT] = {0};
    x[3 * IN + 69] = NAN;
    x[4 * IN] = -INFINITY;
    w[17 * IN + 30] = INFINITY;
    struct kernels_matrix *m = pack(f->tested, (struct kernels_tensor){w, KERNELS_F32}, bias, OUT, IN);
    float *y = linear(f->tested, m, x, R, OUT, KERNELS_STORE);
    for (int r = 0; r < R; r++)
        for (int c = 0; c < OUT; c++)
            assert_int_equal(isnan(y[r * OUT + c]), r == 3 || r == 4 || c == 17);
    f->tested->ops->matrix_free(f->tested, m);
    free(y);
    free(w);
    free(x);
}

static void what_is_not_finite_stays_so(void **state) {
    (void)state;
    for_each_int8_fixture(one_thread, check_poison);
}

/* ---- what a quantised checkpoint has */

static void check_stored(const struct fixture *f) {
    enum { IN = 100, OUT = 37, R = 6 };
    struct random_stream s = {4};
    float *x = random_floats(&s, R * IN, 1), *w = random_floats(&s, OUT * IN, 1),
          *bias = random_floats(&s, OUT, 1), scale[OUT];
    int8_t q[OUT * IN];
    for (int c = 0; c < OUT; c++)
        scale[c] = int8_weights(w + c * IN, IN, q + c * IN);
    const struct kernels_int8 stored = {q, scale, IN};
    struct kernels_matrix *whole = pack(f->tested, (struct kernels_tensor){w, KERNELS_F32}, bias, OUT, IN),
                          *small =
                              pack(f->tested, (struct kernels_tensor){&stored, KERNELS_I8}, bias, OUT, IN);
    float *want = linear(f->tested, whole, x, R, OUT, KERNELS_GELU_ERF),
          *got = linear(f->tested, small, x, R, OUT, KERNELS_GELU_ERF);
    assert_same_bits(f, "stored as int8", got, want, R * OUT * sizeof *got);
    f->tested->ops->matrix_free(f->tested, whole);
    f->tested->ops->matrix_free(f->tested, small);
    free(want);
    free(got);
    free(bias);
    free(w);
    free(x);
}

static void stored_numbers_are_packed_as_they_are(void **state) {
    (void)state;
    for_each_int8_fixture(one_thread, check_stored);
}

/* Rows 9 and 4 of a table, whatever its storage, are those of want [VOCAB, width]. */
static void check_rows_of_table(const struct fixture *f, struct kernels_tensor from, const float *want,
                                uint32_t width) {
    enum { N = 2 };
    const int32_t id[N] = {9, 4};
    float *position = calloc(width, sizeof *position), *got = calloc(N * width, sizeof *got);
    struct kernels_table *t;
    struct limoe_error err;
    assert_int_equal(f->tested->ops->load_table(f->tested, from, VOCAB, width, &t, &err), LIMOE_OK);
    f->tested->ops->embed_tokens(f->tested, t, position, id, (uint32_t[N]){0}, N, got);
    f->tested->ops->table_free(f->tested, t);
    for (size_t i = 0; i < N * width; i++)
        assert_true(got[i] == want[(size_t)id[i / width] * width + i % width]);
    free(got);
    free(position);
}

/* Float32 rows become bfloat16, so that a quantised checkpoint, which has them so, gives the same; int8 rows stay. */
static void check_table(const struct fixture *f) {
    enum { WIDTH = 53 };
    struct random_stream s = {5};
    float *rows = random_floats(&s, VOCAB * WIDTH, 2), scale[VOCAB], want[VOCAB * WIDTH];
    uint16_t halves[VOCAB * WIDTH];
    int8_t q[VOCAB * WIDTH];
    const struct kernels_int8 stored = {.value = q, .scale = scale, .row = WIDTH};
    for (int r = 0; r < VOCAB; r++)
        scale[r] = int8_weights(rows + r * WIDTH, WIDTH, q + r * WIDTH);
    for (int i = 0; i < VOCAB * WIDTH; i++)
        want[i] = (float)q[i] * scale[i / WIDTH];
    check_rows_of_table(f, (struct kernels_tensor){&stored, KERNELS_I8}, want, WIDTH);
    for (int i = 0; i < VOCAB * WIDTH; i++) {
        halves[i] = bf16_from_float(rows[i]);
        want[i] = bf16_to_float(halves[i]);
    }
    check_rows_of_table(f, (struct kernels_tensor){halves, KERNELS_BF16}, want, WIDTH);
    check_rows_of_table(f, (struct kernels_tensor){rows, KERNELS_F32}, want, WIDTH);
    free(rows);
}

static void tables_have_16_bits_or_8(void **state) {
    (void)state;
    for_each_int8_fixture(one_thread, check_table);
}

static void check_refused(const struct fixture *f) {
    float w = 1;
    struct kernels_matrix *m = (struct kernels_matrix *)&w;
    struct limoe_error err;
    assert_int_equal(f->tested->ops->pack(f->tested, (struct kernels_tensor){&w, KERNELS_F32},
                                          (struct kernels_tensor){0}, 1, 1, INT8_MOST_IN + 1, &m, &err),
                     LIMOE_UNSUPPORTED);
    assert_null(m);
    assert_string_equal(err.message,
                        "a weight of shape [1, 1, 65537] cannot be int8; rows of at most 65536 are "
                        "accepted");
}

static void longer_rows_are_refused(void **state) {
    (void)state;
    for_each_int8_fixture(one_thread, check_refused);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_rounded_to_the_nearest),
        cmocka_unit_test(rows_use_every_step),
        cmocka_unit_test(every_instruction_set_has_the_bits_of_the_reference),
        cmocka_unit_test(the_greatest_sums_fit),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(stored_numbers_are_packed_as_they_are),
        cmocka_unit_test(tables_have_16_bits_or_8),
        cmocka_unit_test(longer_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
