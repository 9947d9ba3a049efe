/* Zero-shot scores: exact on small cases, stable at the ends of the range, the same bits every time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/dot.h"
#include "limoe.h"

static void test_known_scores(void **state) {
    (void)state;
    /* Cosines 1, 0, -1 at exp(0) = 1: softmax(1, 0, -1). */
    const float image[] = {0.6f, 0.8f}, labels[] = {0.6f, 0.8f, -0.8f, 0.6f, -0.6f, -0.8f};
    float cosine[3], score[3];
    limoe_scores(image, labels, 3, 2, &(struct limoe_scoring){.scale = 0}, cosine, score);
    assert_true(fabsf(cosine[0] - 1) < 1e-6f && fabsf(cosine[1]) < 1e-6f && fabsf(cosine[2] + 1) < 1e-6f);
    assert_true(fabsf(score[0] - 0.66524096f) < 1e-6f);
    assert_true(fabsf(score[1] - 0.24472847f) < 1e-6f);
    assert_true(fabsf(score[2] - 0.09003057f) < 1e-6f);
    float alone[3];
    limoe_scores(image, labels, 3, 2, NULL, alone, NULL);
    assert_memory_equal(alone, cosine, sizeof alone);
}

/* At the highest accepted logit scale, exp(20), logits reach 5e8; nothing may overflow or become NaN. */
static void test_extreme_scale(void **state) {
    (void)state;
    const float image[] = {1, 0}, labels[] = {1, 0, -1, 0, 1, 0};
    float cosine[3], score[3];
    limoe_scores(image, labels, 3, 2, &(struct limoe_scoring){.scale = 20}, cosine, score);
    assert_true(score[0] == 0.5f && score[1] == 0 && score[2] == 0.5f);
    limoe_scores(image, labels, 3, 2, &(struct limoe_scoring){.scale = -20}, cosine, score);
    for (size_t i = 0; i < 3; i++)
        assert_true(fabsf(score[i] - 1.0f / 3) < 1e-6f);
}

/* A sigmoid model's labels know nothing of each other; a bias without end overflows nothing. */
static void test_sigmoid(void **state) {
    (void)state;
    const float image[] = {0.6f, 0.8f}, labels[] = {0.6f, 0.8f, -0.8f, 0.6f, -0.6f, -0.8f};
    const struct limoe_scoring scoring = {.kind = LIMOE_SIGMOID, .scale = 1, .bias = -2};
    float cosine[3], score[3], alone;
    limoe_scores(image, labels, 3, 2, &scoring, cosine, score);
    assert_true(fabsf(score[0] - 0.67222855f) < 1e-6f); /* 1 / (1 + exp(2 - e)) */
    assert_true(fabsf(score[1] - 0.11920292f) < 1e-6f);
    assert_true(fabsf(score[2] - 0.00885146f) < 1e-6f);
    limoe_scores(image, labels + 2, 1, 2, &scoring, cosine, &alone);
    assert_true(alone == score[1]);
    limoe_scores(image, labels, 3, 2,
                 &(struct limoe_scoring){.kind = LIMOE_SIGMOID, .scale = 20, .bias = -1000}, cosine, score);
    assert_true(score[0] == 1 && score[1] == 0 && score[2] == 0);
}

static void test_one_label_and_none(void **state) {
    (void)state;
    const float image[] = {0.6f, 0.8f};
    float cosine = 5, score = 5;
    limoe_scores(image, NULL, 0, 2, &(struct limoe_scoring){.scale = 2}, &cosine, &score);
    assert_true(cosine == 5 && score == 5);
    limoe_scores(image, image, 1, 2, &(struct limoe_scoring){.scale = 2}, &cosine, &score);
    assert_true(score == 1);
}

/* Against a plain sum in long double, at widths with and without a remainder of eight; and scores of a label
 * do not depend on its place among the others. */
static void test_long_vectors(void **state) {
    (void)state;
    enum { N = 40, WIDTH = 203 };
    static float labels[N * WIDTH], image[WIDTH], reversed[N * WIDTH];
    float cosine[N], score[N], cosine_r[N], score_r[N];
    srand(1);
    for (size_t width = WIDTH - 11; width <= WIDTH; width++) {
        for (size_t i = 0; i < N * width; i++)
            labels[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        for (size_t i = 0; i < width; i++)
            image[i] = (float)rand() / (float)RAND_MAX - 0.5f;
        for (size_t i = 0; i < N; i++)
            memcpy(reversed + i * width, labels + (N - 1 - i) * width, width * sizeof *labels);
        limoe_scores(image, labels, N, width, &(struct limoe_scoring){.scale = 1}, cosine, score);
        limoe_scores(image, reversed, N, width, &(struct limoe_scoring){.scale = 1}, cosine_r, score_r);
        double sum = 0;
        for (size_t i = 0; i < N; i++) {
            long double exact = 0;
            for (size_t j = 0; j < width; j++)
                exact += (long double)image[j] * labels[i * width + j];
            assert_true(fabs((double)exact - cosine[i]) <= 1e-6);
            assert_memory_equal(&cosine[i], &cosine_r[N - 1 - i], sizeof *cosine);
            assert_true(fabsf(score[i] - score_r[N - 1 - i]) <= 1e-7f);
            sum += score[i];
        }
        assert_true(fabs(sum - 1) < 1e-5);
    }
}

/* dot.h's order of additions, written down. */
static float dot_in_order(const float *a, const float *b, size_t n) {
    double partial[8] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++)
        partial[i % 8] += (double)a[i] * b[i];
    for (size_t lane = 0; lane < 8; lane++)
        sum += partial[lane];
    return (float)sum;
}

/* Rows are taken several at a time, and by whatever the processor has; no bit may show it. */
static void test_dots_are_exact(void **state) {
    (void)state;
    enum { N = 11, WIDTH = 67 };
    float *rows = malloc(N * WIDTH * sizeof *rows), *a = malloc(WIDTH * sizeof *a), got[N];
    srand(2);
    for (size_t i = 0; i < N * WIDTH; i++)
        rows[i] = ldexpf((float)rand() / (float)RAND_MAX - 0.5f, rand() % 40 - 20);
    for (size_t i = 0; i < WIDTH; i++)
        a[i] = ldexpf((float)rand() / (float)RAND_MAX - 0.5f, rand() % 40 - 20);
    for (size_t width = 0; width <= WIDTH; width++)
        for (size_t n = 0; n <= N; n++) {
            dot_rows(a + WIDTH - width, rows + N * WIDTH - n * width, n, width, got); /* to the end of both */
            for (size_t i = 0; i < n; i++) {
                float want = dot_in_order(a + WIDTH - width, rows + N * WIDTH - n * width + i * width, width);
                assert_memory_equal(&got[i], &want, sizeof want);
            }
        }
    free(rows);
    free(a);
}

/* More labels than the exponentials that are kept: the ones beyond score as the ones before. */
static void test_many_labels(void **state) {
    (void)state;
    enum { N = 2500 };
    const float image[] = {1, 0};
    float *labels = malloc(2 * N * sizeof *labels), *cosine = malloc(N * sizeof *cosine);
    float *score = malloc(N * sizeof *score);
    double sum = 0;
    for (size_t i = 0; i < N; i++) {
        labels[2 * i] = cosf((float)(i % 100));
        labels[2 * i + 1] = sinf((float)(i % 100));
    }
    limoe_scores(image, labels, N, 2, &(struct limoe_scoring){.scale = 1}, cosine, score);
    for (size_t i = 0; i < N; i++) {
        assert_true(score[i] == score[i % 100]);
        sum += score[i];
    }
    assert_true(fabs(sum - 1) < 1e-5);
    free(labels);
    free(cosine);
    free(score);
}

static void test_ensemble(void **state) {
    (void)state;
    const float prompts[] = {1, 0, 0, 1, 0, 1};
    float out[2];
    limoe_ensemble(prompts, 3, 2, out); /* (1, 2) / sqrt 5 */
    assert_true(fabsf(out[0] - 0.44721360f) < 1e-6f && fabsf(out[1] - 0.89442719f) < 1e-6f);

    const float opposite[] = {0.6f, 0.8f, -0.6f, -0.8f};
    limoe_ensemble(opposite, 2, 2, out);
    assert_true(out[0] == 0 && out[1] == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sigmoid),       cmocka_unit_test(test_known_scores),
        cmocka_unit_test(test_extreme_scale), cmocka_unit_test(test_one_label_and_none),
        cmocka_unit_test(test_long_vectors),  cmocka_unit_test(test_dots_are_exact),
        cmocka_unit_test(test_many_labels),   cmocka_unit_test(test_ensemble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
