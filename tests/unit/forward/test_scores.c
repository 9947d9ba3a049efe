/* Zero-shot scores: exact on small cases, stable at the ends of the range, the same bits every time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "limoe.h"

static void test_known_scores(void **state) {
    (void)state;
    /* Cosines 1, 0, -1 at exp(0) = 1: softmax(1, 0, -1). */
    const float image[] = {0.6f, 0.8f}, labels[] = {0.6f, 0.8f, -0.8f, 0.6f, -0.6f, -0.8f};
    float cosine[3], score[3];
    limoe_scores(image, labels, 3, 2, 0, cosine, score);
    assert_true(fabsf(cosine[0] - 1) < 1e-6f && fabsf(cosine[1]) < 1e-6f && fabsf(cosine[2] + 1) < 1e-6f);
    assert_true(fabsf(score[0] - 0.66524096f) < 1e-6f);
    assert_true(fabsf(score[1] - 0.24472847f) < 1e-6f);
    assert_true(fabsf(score[2] - 0.09003057f) < 1e-6f);
}

/* At the highest accepted logit scale, exp(20), logits reach 5e8; nothing may overflow or become NaN. */
static void test_extreme_scale(void **state) {
    (void)state;
    const float image[] = {1, 0}, labels[] = {1, 0, -1, 0, 1, 0};
    float cosine[3], score[3];
    limoe_scores(image, labels, 3, 2, 20, cosine, score);
    assert_true(score[0] == 0.5f && score[1] == 0 && score[2] == 0.5f);
    limoe_scores(image, labels, 3, 2, -20, cosine, score);
    for (size_t i = 0; i < 3; i++)
        assert_true(fabsf(score[i] - 1.0f / 3) < 1e-6f);
}

static void test_one_label_and_none(void **state) {
    (void)state;
    const float image[] = {0.6f, 0.8f};
    float cosine = 5, score = 5;
    limoe_scores(image, NULL, 0, 2, 2, &cosine, &score);
    assert_true(cosine == 5 && score == 5);
    limoe_scores(image, image, 1, 2, 2, &cosine, &score);
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
        limoe_scores(image, labels, N, width, 1, cosine, score);
        limoe_scores(image, reversed, N, width, 1, cosine_r, score_r);
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
        cmocka_unit_test(test_known_scores),       cmocka_unit_test(test_extreme_scale),
        cmocka_unit_test(test_one_label_and_none), cmocka_unit_test(test_long_vectors),
        cmocka_unit_test(test_ensemble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
