/* The shapes of published CLIP, OpenCLIP and SigLIP models: their heads, sequences and patches. The truth is
 * the formula in double precision, of some rows, for the reference would take minutes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/number.h"
#include "tests/unit/kernels/fixture.h"
#include "tests/unit/kernels/host_ops.h"

/* One or two heads of a model, and a sequence: rows of pictures, with a class token or without, or of texts. */
static const struct shape {
    const char *model;
    uint32_t head_width, heads, length;
} shapes[] = {
    {"B/32 at 224", 64, 2, 50},       {"a text of CLIP", 64, 2, 77},   {"SigLIP B/16 at 224", 64, 2, 196},
    {"B/16 at 224", 64, 1, 197},      {"L/14 at 224", 64, 1, 257},     {"L/14 at 336", 64, 1, 577},
    {"SO400M/14 at 384", 72, 2, 729}, {"a text of SO400M", 72, 1, 64}, {"H/14 at 224", 80, 2, 257},
    {"H/14 at 378", 80, 1, 730},      {"a text of g/14", 64, 1, 77},   {"g/14 at 224", 88, 2, 257},
    {"bigG/14 at 224", 104, 2, 257},  {"B/16 at 512", 64, 1, 1025},
};

/* v as act has it, in place. */
static void round_act(const struct fixture *f, float *v, size_t n) {
    for (size_t i = 0; f->bf16 && i < n; i++)
        v[i] = bf16_to_float(bf16_from_float(v[i]));
}

/* out[d] = softmax(q k^T / sqrt(d)) v over `n` rows of keys and values, `pitch` elements apart. */
static void exact_attention(const float *q, const float *keys, const float *values, size_t pitch, size_t n,
                            uint32_t d, float *out) {
    double *score = malloc((n + d) * sizeof *score), *acc = score + n, most = -INFINITY, sum = 0;
    assert_non_null(score);
    for (size_t j = 0; j < n; j++) {
        score[j] = 0;
        for (uint32_t c = 0; c < d; c++)
            score[j] += (double)q[c] * keys[j * pitch + c];
        score[j] /= sqrt(d);
        most = fmax(most, score[j]);
    }
    for (uint32_t c = 0; c < d; c++)
        acc[c] = 0;
    for (size_t j = 0; j < n; j++) {
        double e = exp(score[j] - most);
        sum += e;
        for (uint32_t c = 0; c < d; c++)
            acc[c] += e * values[j * pitch + c];
    }
    for (uint32_t c = 0; c < d; c++)
        out[c] = (float)(acc[c] / sum);
    free(score);
}

static float tolerance(const struct fixture *f) {
    return f->bf16 ? 0x1p-8f : 2e-5f;
}

/* Some rows of qkv's attention, and the first, the last and those at the edges of tiles among them. */
static void check_rows_of(const struct fixture *f, const struct shape *shape, const float *qkv,
                          enum kernels_mask mask, struct random_stream *s) {
    const uint32_t d = shape->head_width, width = d * shape->heads, length = shape->length;
    const uint32_t start[] = {0, length}, rows[] = {0, 31, 32, 63, 64, random_below(s, length), length - 1};
    const size_t pitch = 3 * (size_t)width;
    float *got = malloc((size_t)length * width * sizeof *got), *want = malloc(d * sizeof *want);
    char what[80];
    host_attention(f->tested, qkv, start, 1, width, shape->heads, mask, NULL, got);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint32_t head = 0; head < shape->heads; head++) {
            const uint32_t row = rows[i] < length ? rows[i] : length - 1;
            const float *q = qkv + row * pitch + (size_t)head * d, *keys = qkv + width + (size_t)head * d;
            const size_t seen = mask == KERNELS_CAUSAL ? row + 1 : length;
            exact_attention(q, keys, keys + width, pitch, seen, d, want);
            snprintf(what, sizeof what, "%s, %s, row %u", shape->model,
                     mask == KERNELS_CAUSAL ? "causal" : "bidirectional", row);
            assert_close(f, what, got + (size_t)row * width + (size_t)head * d, want, d, tolerance(f),
                         act_error(f));
        }
    free(got);
    free(want);
}

static void check_pool_of(const struct fixture *f, const struct shape *shape, const float *kv,
                          struct random_stream *s) {
    const uint32_t d = shape->head_width, width = d * shape->heads, start[] = {0, shape->length};
    float *query = random_floats(s, width, 2), *got = malloc(width * sizeof *got),
          *want = malloc(width * sizeof *want);
    round_act(f, query, width);
    host_attention_pool(f->tested, query, kv, start, 1, width, shape->heads, got);
    for (uint32_t head = 0; head < shape->heads; head++) {
        const size_t at = (size_t)head * d;
        exact_attention(query + at, kv + at, kv + width + at, 2 * (size_t)width, shape->length, d, want + at);
    }
    assert_close(f, shape->model, got, want, width, tolerance(f), act_error(f));
    free(query);
    free(got);
    free(want);
}

static void check_attention(const struct fixture *f) {
    struct random_stream s = {1};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct shape shape = shapes[i];
        if (tests_are_slow() && shape.length > 101)
            shape.length = 101; /* the heads are what they are */
        const size_t n = (size_t)shape.length * 3 * shape.heads * shape.head_width;
        if (f->elsewhere && !f->bf16 && shape.length > 100)
            continue; /* a block a query: where that is emulated, seconds; and for any length the same */
        float *qkv = random_floats(&s, n, 1);
        round_act(f, qkv, n);
        check_rows_of(f, &shape, qkv, KERNELS_BIDIRECTIONAL, &s);
        check_rows_of(f, &shape, qkv, KERNELS_CAUSAL, &s);
        check_pool_of(f, &shape, qkv, &s);
        free(qkv);
    }
}

static void attention_of_published_models(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_attention);
}

/* A patch's way to a row, x += W patch: 588 and 3072 inputs; and the longest of all products, bigG's MLP. */
static void check_long_products(const struct fixture *f) {
    enum { ROWS = 5, OUT = 24 };
    static const uint32_t inputs[] = {14 * 14 * 3, 32 * 32 * 3, 8192};
    struct random_stream s = {2};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        const uint32_t in = inputs[i];
        float *x = random_floats(&s, (size_t)ROWS * in, 2),
              *weight = random_floats(&s, (size_t)OUT * in, 0.05f);
        float base[ROWS * OUT] = {0}, got[ROWS * OUT], want[ROWS * OUT];
        struct kernels *k = f->tested;
        struct kernels_matrix *m;
        struct limoe_error err;
        round_act(f, x, (size_t)ROWS * in);
        round_act(f, weight, (size_t)OUT * in);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t c = 0; c < OUT; c++) {
                double sum = 0;
                for (size_t j = 0; j < in; j++)
                    sum += (double)x[r * in + j] * weight[c * in + j];
                want[r * OUT + c] = (float)sum;
            }
        assert_int_equal(k->ops->pack(k, (struct kernels_tensor){weight, KERNELS_F32},
                                      (struct kernels_tensor){0}, 1, OUT, in, &m, &err),
                         LIMOE_OK);
        void *there = put_act(k, x, (size_t)ROWS * in);
        float *y = put_floats(k, base, ROWS * OUT);
        k->ops->linear(k, m, there, ROWS, KERNELS_ADD_F32, y);
        k->ops->download(k, got, y, sizeof got);
        assert_close(f, "a long product", got, want, ROWS * OUT, 2e-5f, 1e-5f);
        k->ops->release(k, y);
        k->ops->release(k, there);
        k->ops->matrix_free(k, m);
        free(x);
        free(weight);
    }
}

static void patches_of_14_and_32_and_long_products(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_long_products);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_of_published_models),
        cmocka_unit_test(patches_of_14_and_32_and_long_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
