/* The linear operations: against the reference at awkward shapes,
 * and the same bits whatever stands beside. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/kernels/fixture.h"
#include "tests/unit/kernels/host_ops.h"

enum { ROWS = 100 };

static const uint32_t row_counts[] = {0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 48, 100};
static const struct {
    uint32_t in, out;
} shapes[] = {{1, 1},    {3, 5},    {7, 17},   {32, 16},  {33, 48},
              {64, 100}, {100, 31}, {192, 80}, {72, 130}, {588, 34}};
enum { ROW_COUNTS = sizeof row_counts / sizeof *row_counts, SHAPES = sizeof shapes / sizeof *shapes };

static const struct {
    enum kernels_epilogue kind;
    const char *name;
} epilogues[] = {{KERNELS_STORE, "store"},       {KERNELS_STORE_F32, "store f32"},
                 {KERNELS_ADD_F32, "add f32"},   {KERNELS_GELU_TANH, "gelu tanh"},
                 {KERNELS_GELU_ERF, "gelu erf"}, {KERNELS_QUICK_GELU, "quick gelu"}};
enum { EPILOGUES = sizeof epilogues / sizeof *epilogues };

static void in_each_dtype(const uint32_t *threads, void (*test)(const struct fixture *f)) {
    for_each_fixture(threads, test);
    for_each_int8_fixture(threads, test);
}

static bool float_out(enum kernels_epilogue kind) {
    return kind == KERNELS_STORE_F32 || kind == KERNELS_ADD_F32;
}

static float *copy_floats(const float *v, size_t n) {
    float *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, v, n * sizeof *copy);
    return copy;
}

/* y, malloc'd, as float32; rows from `first` on of x [ROWS, in]. ADD_F32 adds to `base`. */
static float *linear(struct kernels *k, const struct kernels_matrix *m, const float *x, const float *base,
                     uint32_t first, uint32_t rows, uint32_t in, uint32_t out, enum kernels_epilogue kind) {
    void *a = put_act(k, x + (size_t)first * in, (size_t)rows * in);
    size_t n = (size_t)rows * out;
    float *y = put_floats(k, base + (size_t)first * out, n), *result;
    k->ops->linear(k, m, a, rows, kind, y);
    if (float_out(kind)) {
        result = malloc((n ? n : 1) * sizeof *result);
        k->ops->download(k, result, y, n * sizeof *result);
    } else {
        result = get_act(k, y, n);
    }
    k->ops->release(k, a);
    k->ops->release(k, y);
    return result;
}

static void check_linear(const struct fixture *f) {
    struct random_stream s = {1};
    for (size_t i = 0; i < SHAPES; i++) {
        uint32_t in = shapes[i].in, out = shapes[i].out;
        /* Sums from small to far past where a GELU saturates. */
        float *x = random_floats(&s, (size_t)ROWS * in, 2), *w = random_floats(&s, (size_t)out * in, 1);
        float *bias = random_floats(&s, out, 8), *base = random_floats(&s, (size_t)ROWS * out, 1);
        const float *biases[] = {bias, NULL};
        for (size_t b = 0; b < 2; b++) {
            struct kernels_matrix *mr = pack_floats(f->reference, w, biases[b], 1, out, in);
            struct kernels_matrix *mc = pack_floats(f->tested, w, biases[b], 1, out, in);
            for (size_t e = 0; e < EPILOGUES; e++) {
                if (tests_are_slow() && (i + b + e) % 3)
                    continue; /* each epilogue and each shape, but not each with each */
                enum kernels_epilogue kind = epilogues[e].kind;
                char what[80];
                snprintf(what, sizeof what, "%s [%u, %u]", epilogues[e].name, out, in);
                float *want = linear(f->reference, mr, x, base, 0, ROWS, in, out, kind);
                float *all = linear(f->tested, mc, x, base, 0, ROWS, in, out, kind);
                assert_close(f, what, all, want, (size_t)ROWS * out, 3e-5f,
                             float_out(kind) ? 2e-6f : act_error(f));
                for (size_t r = 0; r < ROW_COUNTS; r++) {
                    uint32_t rows = row_counts[r], first = random_below(&s, ROWS - rows + 1);
                    float *some = linear(f->tested, mc, x, base, first, rows, in, out, kind);
                    assert_same_bits(f, what, some, all + (size_t)first * out,
                                     (size_t)rows * out * sizeof *some);
                    free(some);
                }
                free(want);
                free(all);
            }
            f->reference->ops->matrix_free(f->reference, mr);
            f->tested->ops->matrix_free(f->tested, mc);
        }
        free(x);
        free(w);
        free(bias);
        free(base);
    }
}

static void linear_agrees_with_the_reference_and_with_itself(void **state) {
    (void)state;
    in_each_dtype(one_thread, check_linear);
}

/* Rows enough that the units are shared by rows and by columns; the bits are those of one thread. */
static void check_threads(const struct fixture *f) {
    enum { IN = 96, OUT = 272, MANY = 700 };
    struct random_stream s = {2};
    float *x = random_floats(&s, (size_t)MANY * IN, 2), *w = random_floats(&s, (size_t)OUT * IN, 1);
    float *bias = random_floats(&s, OUT, 1), *base = random_floats(&s, (size_t)MANY * OUT, 1);
    struct kernels_matrix *mr = pack_floats(f->reference, w, bias, 1, OUT, IN),
                          *mc = pack_floats(f->tested, w, bias, 1, OUT, IN);
    float *all = linear(f->tested, mc, x, base, 0, MANY, IN, OUT, KERNELS_GELU_TANH);
    float *want = linear(f->reference, mr, x, base, 0, 64, IN, OUT, KERNELS_GELU_TANH);
    assert_close(f, "first rows of many", all, want, (size_t)64 * OUT, 3e-5f, act_error(f));
    for (uint32_t rows = 1; rows < MANY; rows = rows * 3 + 1) {
        uint32_t first = random_below(&s, MANY - rows);
        float *some = linear(f->tested, mc, x, base, first, rows, IN, OUT, KERNELS_GELU_TANH);
        assert_same_bits(f, "some rows of many", some, all + (size_t)first * OUT,
                         (size_t)rows * OUT * sizeof *some);
        free(some);
    }
    free(all);
    free(want);
    free(x);
    free(w);
    free(bias);
    free(base);
    f->reference->ops->matrix_free(f->reference, mr);
    f->tested->ops->matrix_free(f->tested, mc);
}

static void linear_shares_rows_and_columns(void **state) {
    (void)state;
    in_each_dtype(few_threads, check_threads);
}

/* The same rows on 1, 2 and 3 threads of one instruction set. */
static void check_thread_bits(const struct fixture *f) {
    enum { IN = 160, OUT = 304, MANY = 530 };
    static uint16_t *kept; /* the first thread count's answer, for the fixture that follows */
    struct random_stream s = {3};
    float *x = random_floats(&s, (size_t)MANY * IN, 2), *w = random_floats(&s, (size_t)OUT * IN, 1);
    struct kernels_matrix *m = pack_floats(f->tested, w, NULL, 1, OUT, IN);
    void *a = put_act(f->tested, x, (size_t)MANY * IN);
    size_t bytes = (size_t)MANY * OUT * sizeof(float);
    float *there = f->tested->ops->alloc(f->tested, bytes), *y = malloc(bytes);
    f->tested->ops->linear(f->tested, m, a, MANY, KERNELS_STORE_F32, there);
    f->tested->ops->download(f->tested, y, there, bytes);
    if (f->threads == few_threads[0]) {
        kept = malloc(bytes);
        memcpy(kept, y, bytes);
    } else {
        assert_same_bits(f, "against one thread", y, kept, bytes);
    }
    if (f->threads == 3 || f->elsewhere)
        free(kept);
    free(y);
    f->tested->ops->release(f->tested, a);
    f->tested->ops->release(f->tested, there);
    f->tested->ops->matrix_free(f->tested, m);
    free(x);
    free(w);
}

static void thread_count_changes_no_bits(void **state) {
    (void)state;
    in_each_dtype(few_threads, check_thread_bits);
}

/* ---- groups */

enum { GROUPS = 6, G_OUT = 52, G_ROWS = 420 };
/* Rows of a length that is a multiple of 2, 4 and 8: what backends divide by. */
static const uint32_t group_ins[] = {70, 76, 72};
enum { GROUP_INS = sizeof group_ins / sizeof *group_ins };
static const uint32_t offsets[][GROUPS + 1] = {
    {0, 0, 0, 0, 0, 0, 0},     /* nothing at all */
    {0, 1, 1, 3, 20, 20, 420}, /* empty groups, single rows, one that has most */
    {0, 420, 420, 420, 420, 420, 420},
    {0, 70, 140, 210, 280, 350, 420},
    {0, 0, 0, 0, 0, 0, 1},
};

static void check_grouped_of(const struct fixture *f, uint32_t in) {
    struct random_stream s = {4};
    float *x = random_floats(&s, (size_t)G_ROWS * in, 2);
    float *w = random_floats(&s, (size_t)GROUPS * G_OUT * in, 1);
    float *bias = random_floats(&s, (size_t)GROUPS * G_OUT, 4);
    float *base = random_floats(&s, (size_t)G_ROWS * G_OUT, 1);
    struct kernels_matrix *m = pack_floats(f->tested, w, bias, GROUPS, G_OUT, in), *single[GROUPS];
    for (uint32_t g = 0; g < GROUPS; g++)
        single[g] =
            pack_floats(f->reference, w + (size_t)g * G_OUT * in, bias + (size_t)g * G_OUT, 1, G_OUT, in);
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        const uint32_t *offset = offsets[i];
        float *got = copy_floats(base, (size_t)G_ROWS * G_OUT);
        host_grouped_linear(f->tested, m, offset, GROUPS, x, G_ROWS, in, G_OUT, KERNELS_GELU_ERF, got);
        for (uint32_t g = 0; g < GROUPS; g++) {
            uint32_t rows = offset[g + 1] - offset[g];
            float *want =
                linear(f->reference, single[g], x, base, offset[g], rows, in, G_OUT, KERNELS_GELU_ERF);
            assert_close(f, "group", got + (size_t)offset[g] * G_OUT, want, (size_t)rows * G_OUT, 3e-5f,
                         act_error(f));
            free(want);
        }
        /* Rows past the last offset are not touched. */
        void *untouched = put_act(f->tested, base, (size_t)G_ROWS * G_OUT);
        float *rounded = get_act(f->tested, untouched, (size_t)G_ROWS * G_OUT);
        size_t used = (size_t)offset[GROUPS] * G_OUT;
        assert_same_bits(f, "rows past the groups", got + used, rounded + used,
                         ((size_t)G_ROWS * G_OUT - used) * sizeof *got);
        f->tested->ops->release(f->tested, untouched);
        free(rounded);
        free(got);
    }
    for (uint32_t g = 0; g < GROUPS; g++)
        f->reference->ops->matrix_free(f->reference, single[g]);
    f->tested->ops->matrix_free(f->tested, m);
    free(x);
    free(w);
    free(bias);
    free(base);
}

static void check_grouped(const struct fixture *f) {
    for (size_t i = 0; i < GROUP_INS; i++)
        check_grouped_of(f, group_ins[i]);
}

static void groups_meet_their_own_matrix(void **state) {
    (void)state;
    in_each_dtype(few_threads, check_grouped);
}

/* A row through expert g has the same bits however many rows the expert and its neighbours have. */
static void check_grouped_bits_of(const struct fixture *f, uint32_t in) {
    struct random_stream s = {5};
    float *x = random_floats(&s, (size_t)G_ROWS * in, 2);
    float *w = random_floats(&s, (size_t)GROUPS * G_OUT * in, 1);
    struct kernels_matrix *m = pack_floats(f->tested, w, NULL, GROUPS, G_OUT, in);
    float *y = random_floats(&s, (size_t)G_ROWS * G_OUT, 1), z[G_OUT];
    host_grouped_linear(f->tested, m, offsets[3], GROUPS, x, G_ROWS, in, G_OUT, KERNELS_STORE_F32, y);
    for (uint32_t g = 0; g < GROUPS; g++) {
        uint32_t alone[GROUPS + 1] = {0}, row = offsets[3][g] + random_below(&s, 70);
        for (uint32_t e = g + 1; e <= GROUPS; e++)
            alone[e] = 1;
        host_grouped_linear(f->tested, m, alone, GROUPS, x + (size_t)row * in, 1, in, G_OUT,
                            KERNELS_STORE_F32, z);
        assert_same_bits(f, "one row of a group", z, y + (size_t)row * G_OUT, G_OUT * sizeof *z);
    }
    f->tested->ops->matrix_free(f->tested, m);
    free(y);
    free(x);
    free(w);
}

static void check_grouped_bits(const struct fixture *f) {
    for (size_t i = 0; i < GROUP_INS; i++)
        check_grouped_bits_of(f, group_ins[i]);
}

static void a_row_does_not_see_its_group(void **state) {
    (void)state;
    in_each_dtype(few_threads, check_grouped_bits);
}

/* ---- packing */

/* The same matrix stored as float32, bfloat16 and float16, at an odd address, gives the same bits. */
static void check_storage(const struct fixture *f) {
    enum { IN = 37, OUT = 21, R = 5, WEIGHTS = IN * OUT, ALL = WEIGHTS + OUT };
    const enum kernels_storage storage[] = {KERNELS_F32, KERNELS_BF16, KERNELS_F16};
    static unsigned char raw[3][ALL * 4 + 1];
    float value[ALL];
    struct random_stream s = {6};
    for (int i = 0; i < ALL; i++) {
        /* Seven bits of fraction, so that bfloat16 is exact; exponents from subnormal to about 4. */
        uint32_t sign = random_below(&s, 2), exponent = random_below(&s, 18);
        uint32_t fraction = random_below(&s, 128) << 3;
        uint16_t f16 = (uint16_t)(sign << 15 | exponent << 10 | fraction);
        float v = ldexpf((float)(fraction + (exponent ? 1024 : 0)), (exponent ? (int)exponent : 1) - 25);
        value[i] = sign ? -v : v;
        uint32_t bits;
        memcpy(&bits, &value[i], 4);
        uint16_t bf16 = (uint16_t)(bits >> 16);
        memcpy(raw[0] + 1 + 4 * i, &value[i], 4);
        memcpy(raw[1] + 1 + 2 * i, &bf16, 2);
        memcpy(raw[2] + 1 + 2 * i, &f16, 2);
    }
    float *x = random_floats(&s, R * IN, 1), *base = random_floats(&s, R * OUT, 1);
    struct kernels_matrix *plain = pack_floats(f->tested, value, value + WEIGHTS, 1, OUT, IN);
    float *want = linear(f->tested, plain, x, base, 0, R, IN, OUT, KERNELS_STORE_F32);
    for (int t = 0; t < 3; t++) {
        struct kernels_matrix *m;
        struct limoe_error err;
        size_t size = storage[t] == KERNELS_F32 ? 4 : 2;
        struct kernels_tensor weight = {raw[t] + 1, storage[t]},
                              bias = {raw[t] + 1 + WEIGHTS * size, storage[t]};
        assert_int_equal(f->tested->ops->pack(f->tested, weight, bias, 1, OUT, IN, &m, &err), LIMOE_OK);
        float *got = linear(f->tested, m, x, base, 0, R, IN, OUT, KERNELS_STORE_F32);
        assert_same_bits(f, "storage", got, want, sizeof *got * R * OUT);
        free(got);
        f->tested->ops->matrix_free(f->tested, m);
    }
    f->tested->ops->matrix_free(f->tested, plain);
    free(want);
    free(x);
    free(base);
}

static void storage_changes_no_bits(void **state) {
    (void)state;
    in_each_dtype(one_thread, check_storage);
}

static void check_refused(const struct fixture *f) {
    float w = 1;
    struct kernels_matrix *m = (struct kernels_matrix *)&w;
    struct limoe_error err = {0};
    assert_int_equal(f->tested->ops->pack(f->tested, (struct kernels_tensor){&w, KERNELS_F32},
                                          (struct kernels_tensor){0}, 1, 0, 4, &m, &err),
                     LIMOE_INVALID);
    assert_null(m);
    assert_string_equal(err.message, "a weight of shape [1, 0, 4] cannot be packed");
    assert_int_equal(f->tested->ops->pack(f->tested, (struct kernels_tensor){&w, KERNELS_F32},
                                          (struct kernels_tensor){0}, UINT32_MAX, UINT32_MAX, UINT32_MAX, &m,
                                          NULL),
                     LIMOE_INVALID);
}

static void impossible_shapes_are_refused(void **state) {
    (void)state;
    in_each_dtype(one_thread, check_refused);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_agrees_with_the_reference_and_with_itself),
        cmocka_unit_test(linear_shares_rows_and_columns),
        cmocka_unit_test(thread_count_changes_no_bits),
        cmocka_unit_test(groups_meet_their_own_matrix),
        cmocka_unit_test(a_row_does_not_see_its_group),
        cmocka_unit_test(storage_changes_no_bits),
        cmocka_unit_test(impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
