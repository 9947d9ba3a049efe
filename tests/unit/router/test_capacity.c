/* Capacity parity mode: who keeps a slot, on the published check vector and on cases worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "router/capacity.h"
#include "router/plan.h"

enum { ROWS = 3, K = 2, EXPERTS = 3 };

/* Gates [[.4, 0, .2], [.5, .1, .4], [.3, .2, .6]], reduced to the top 2. */
static const int32_t vector_expert[ROWS * K] = {0, 2, 0, 2, 2, 0};
static const float vector_gate[ROWS * K] = {.4f, .2f, .5f, .4f, .6f, .3f};

/* Slot numbers are not an output. But an assignment is kept exactly when its slot is below the capacity, so
 * its slot is the number of capacities that drop it. */
static void expect_slots(bool priority, const uint32_t slots[ROWS * K]) {
    const struct capacity capacity = {.factor = 1, .priority = priority, .experts = EXPERTS, .top_k = K};
    for (uint64_t limit = 0; limit <= ROWS; limit++) {
        float gate[ROWS * K];
        int32_t kept[ROWS * K];
        uint64_t order[ROWS], used[EXPERTS];
        memcpy(gate, vector_gate, sizeof gate);
        capacity_fill(&capacity, limit, ROWS, vector_expert, gate, kept, order, used);
        for (size_t a = 0; a < ROWS * K; a++) {
            bool room = slots[a] < limit;
            assert_int_equal(kept[a], room ? vector_expert[a] : -1);
            assert_true(gate[a] == (room ? vector_gate[a] : 0.0f));
        }
    }
}

static void test_priority_check_vector(void **state) {
    (void)state;
    expect_slots(true, (const uint32_t[]){1, 2, 0, 1, 0, 2});
}

static void test_arrival_check_vector(void **state) {
    (void)state;
    expect_slots(false, (const uint32_t[]){0, 1, 1, 2, 0, 2});
}

/* Equal gates: the row that came first is served first, in a group large enough to unsettle qsort. */
static void test_priority_is_stable(void **state) {
    (void)state;
    enum { MANY = 1000, SLOTS = 400 };
    static int32_t expert[MANY], kept[MANY];
    static float gate[MANY];
    static uint64_t order[MANY];
    uint64_t used[1];
    for (size_t r = 0; r < MANY; r++)
        gate[r] = r % 2 ? 0.75f : 0.5f;
    const struct capacity capacity = {.factor = 1, .priority = true, .experts = 1, .top_k = 1};
    capacity_fill(&capacity, SLOTS, MANY, expert, gate, kept, order, used);
    for (size_t r = 0; r < MANY; r++)
        assert_int_equal(kept[r], r % 2 && r / 2 < SLOTS ? 0 : -1);
}

static void test_slots(void **state) {
    (void)state;
    static const struct {
        size_t rows;
        uint32_t top_k, experts;
        double factor;
        uint64_t slots;
    } cases[] = {
        {64, 1, 8, 1.0, 8},    /* exactly even */
        {65, 1, 8, 1.0, 12},   /* 8.125 -> 9 -> 12 */
        {64, 2, 8, 1.05, 20},  /* 16.8 -> 17 -> 20 */
        {1, 1, 32, 0.5, 4},    /* never none */
        {400, 2, 32, 1.1, 28}, /* 27.5 -> 28 */
        {160, 1, 4, 1.1f, 44}, /* 44, though the float is above 1.1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct capacity capacity = {
            .factor = cases[i].factor, .experts = cases[i].experts, .top_k = cases[i].top_k};
        assert_int_equal(capacity_slots(&capacity, cases[i].rows), cases[i].slots);
    }
}

/* Groups do not share buffers; the last, shorter one has the capacity of its own length. Ten rows for one of
 * two experts, in groups of 8: capacity 4 in the first (8 / 2), and 4 in the last (2 / 2, rounded up). */
static void test_groups(void **state) {
    (void)state;
    enum { TEN = 10 };
    int32_t expert[TEN] = {0}, kept[TEN];
    float gate[TEN];
    for (size_t r = 0; r < TEN; r++)
        gate[r] = 0.9f - 0.01f * (float)r;
    const struct capacity capacity = {.factor = 1, .group = 8, .experts = 2, .top_k = 1};
    assert_int_equal(capacity_apply(&capacity, TEN, expert, gate, kept, NULL), LIMOE_OK);
    for (size_t r = 0; r < TEN; r++)
        assert_int_equal(kept[r], r < 4 || r >= 8 ? 0 : -1);

    /* group = 0: all ten are one group, capacity 5 -> 8. */
    const struct capacity whole = {.factor = 1, .group = 0, .experts = 2, .top_k = 1};
    assert_int_equal(capacity_apply(&whole, TEN, expert, gate, kept, NULL), LIMOE_OK);
    for (size_t r = 0; r < TEN; r++)
        assert_int_equal(kept[r], r < 8 ? 0 : -1);
}

/* Renormalised over what is left: (.4, .2) -> (2/3, 1/3), a lone survivor -> 1, none left -> all 0. */
static void test_renormalize(void **state) {
    (void)state;
    const struct capacity capacity = {.factor = 1, .experts = 2, .top_k = 2, .renormalize = true};
    int32_t expert[7 * 2], kept[7 * 2];
    float gate[7 * 2];
    for (size_t r = 0; r < 7; r++) {
        /* Row 4 prefers expert 1, all others expert 0. */
        expert[r * 2] = r == 4, expert[r * 2 + 1] = r != 4;
        gate[r * 2] = .4f, gate[r * 2 + 1] = .2f;
    }
    assert_int_equal(capacity_apply(&capacity, 7, expert, gate, kept, NULL), LIMOE_OK);
    for (size_t r = 0; r < 7; r++) { /* 7 * 2 / 2 -> 8 slots: nothing is dropped */
        assert_true(fabsf(gate[r * 2] - 2.0f / 3) < 1e-6f);
        assert_true(fabsf(gate[r * 2 + 1] - 1.0f / 3) < 1e-6f);
    }

    const struct capacity tight = {.factor = 0.5, .experts = 2, .top_k = 2, .renormalize = true};
    for (size_t r = 0; r < 7; r++)
        gate[r * 2] = .4f, gate[r * 2 + 1] = .2f;
    assert_int_equal(capacity_apply(&tight, 7, expert, gate, kept, NULL), LIMOE_OK);
    /* 7 * 2 / 4 -> 4 slots. First choices: rows 0-3 take expert 0, row 4 expert 1, rows 5 and 6 find expert 0
     * full. Second choices: rows 0-2 take the last three of expert 1. */
    for (size_t r = 0; r < 3; r++)
        assert_true(fabsf(gate[r * 2] - 2.0f / 3) < 1e-6f && fabsf(gate[r * 2 + 1] - 1.0f / 3) < 1e-6f);
    for (size_t r = 3; r < 5; r++)
        assert_true(gate[r * 2] == 1.0f && gate[r * 2 + 1] == 0.0f);
    for (size_t r = 5; r < 7; r++)
        assert_true(gate[r * 2] == 0.0f && gate[r * 2 + 1] == 0.0f);
}

static void test_no_rows(void **state) {
    (void)state;
    const struct capacity capacity = {.factor = 1, .experts = 2, .top_k = 1};
    assert_int_equal(capacity_apply(&capacity, 0, NULL, NULL, NULL, NULL), LIMOE_OK);
}

static void test_plan_count(void **state) {
    (void)state;
    const int32_t expert[] = {0, 2, 2, -1, 1, 2};
    uint64_t load[3] = {10, 0, 0};
    plan_count(expert, 6, load);
    assert_int_equal(load[0], 11);
    assert_int_equal(load[1], 1);
    assert_int_equal(load[2], 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority_check_vector),
        cmocka_unit_test(test_arrival_check_vector),
        cmocka_unit_test(test_priority_is_stable),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_renormalize),
        cmocka_unit_test(test_no_rows),
        cmocka_unit_test(test_plan_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
