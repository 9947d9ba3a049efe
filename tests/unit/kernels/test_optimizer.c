/* AdamW by its formulas in double, over some steps; the schedule at its corners. */
#include <math.h>
#include <string.h>

#include "kernels/optimizer.h"
#include "tests/unit/kernels/fixture.h"

enum { N = 40, STEPS = 30 };

static void adamw_follows_its_formulas(void **state) {
    (void)state;
    struct random_stream s = {1};
    float w[N], m[N] = {0}, v[N] = {0}, g[N];
    double want[N], first[N] = {0}, second[N] = {0};
    for (size_t i = 0; i < N; i++)
        want[i] = (double)(w[i] = random_float(&s));
    for (uint64_t step = 1; step <= STEPS; step++) {
        const struct adamw how = {.rate = 1e-2 / (double)step,
                                  .beta1 = 0.9,
                                  .beta2 = 0.99,
                                  .eps = 1e-8,
                                  .decay = 0.1,
                                  .step = step};
        for (size_t i = 0; i < N; i++) {
            g[i] = random_float(&s) * (i % 2 ? 1e-3f : 10.0f);
            first[i] = 0.9 * first[i] + 0.1 * (double)g[i];
            second[i] = 0.99 * second[i] + 0.01 * (double)g[i] * (double)g[i];
            want[i] *= 1 - how.rate * 0.1;
            want[i] -= how.rate * first[i] / (1 - pow(0.9, (double)step)) /
                       (sqrt(second[i] / (1 - pow(0.99, (double)step))) + 1e-8);
        }
        adamw_step(&how, N, g, w, m, v);
        for (size_t i = 0; i < N; i++)
            assert_true(fabs((double)w[i] - want[i]) <= 1e-6);
    }
}

/* A gradient of zero moves a weight by its decay alone, and without decay not at all. */
static void no_gradient_is_no_step(void **state) {
    (void)state;
    float w[2] = {2, -3}, m[2] = {0}, v[2] = {0};
    const float g[2] = {0, 0};
    struct adamw how = {.rate = 0.5, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .step = 1};
    adamw_step(&how, 2, g, w, m, v);
    assert_true(w[0] == 2 && w[1] == -3);
    how.decay = 0.5;
    adamw_step(&how, 2, g, w, m, v);
    assert_true(w[0] == 1.5f && w[1] == -2.25f);
}

/* However a range is cut, its elements have the same bits. */
static void a_range_can_be_cut(void **state) {
    (void)state;
    struct random_stream s = {2};
    float w[N], m[N], v[N], g[N], w2[N], m2[N], v2[N];
    for (size_t i = 0; i < N; i++) {
        w[i] = random_float(&s);
        g[i] = random_float(&s);
        m[i] = random_float(&s);
        v[i] = random_float(&s) + 1;
    }
    memcpy(w2, w, sizeof w);
    memcpy(m2, m, sizeof m);
    memcpy(v2, v, sizeof v);
    const struct adamw how = {
        .rate = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .decay = 0.1, .step = 3};
    adamw_step(&how, N, g, w, m, v);
    for (size_t i = 0, n; i < N; i += n) {
        n = i + 7 < N ? 7 : N - i;
        adamw_step(&how, n, g + i, w2 + i, m2 + i, v2 + i);
    }
    assert_memory_equal(w2, w, sizeof w);
    assert_memory_equal(m2, m, sizeof m);
    assert_memory_equal(v2, v, sizeof v);
}

static void the_rate_rises_and_falls(void **state) {
    (void)state;
    assert_true(cosine_rate(1, 100, 4, 2, 0.5) == 0.5);
    assert_true(cosine_rate(4, 100, 4, 2, 0.5) == 2);
    assert_true(fabs(cosine_rate(52, 100, 4, 2, 0.5) - 1.25) < 1e-12); /* halfway down */
    assert_true(fabs(cosine_rate(28, 100, 4, 2, 0.5) - (0.5 + 1.5 * (1 + sqrt(0.5)) / 2)) < 1e-12);
    assert_true(fabs(cosine_rate(100, 100, 4, 2, 0.5) - 0.5) < 1e-12);
    assert_true(cosine_rate(101, 100, 4, 2, 0.5) == 0.5);
    for (uint64_t step = 5; step < 100; step++)
        assert_true(cosine_rate(step + 1, 100, 4, 2, 0.5) < cosine_rate(step, 100, 4, 2, 0.5));
    assert_true(cosine_rate(1, 10, 0, 2, 0) < 2); /* without warm-up the first step is on the cosine */
    assert_true(cosine_rate(1, 1, 1, 2, 0.5) == 2);
    assert_true(cosine_rate(2, 1, 1, 2, 0.5) == 0.5);
    assert_true(cosine_rate(1, 1, 0, 2, 0.5) == 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_follows_its_formulas),
        cmocka_unit_test(no_gradient_is_no_step),
        cmocka_unit_test(a_range_can_be_cut),
        cmocka_unit_test(the_rate_rises_and_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
