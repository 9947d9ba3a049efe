/* Router, gate, plan, dispatch and combine. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/kernels/fixture.h"
#include "tests/unit/kernels/host_ops.h"

static const uint32_t expert_counts[] = {1, 2, 8, 16, 17, 33};

static void check_router(const struct fixture *f) {
    enum { ROWS = 530 };
    struct random_stream s = {1};
    for (size_t i = 0; i < sizeof expert_counts / sizeof *expert_counts; i++)
        for (uint32_t width = 1; width < 200; width = width * 3 + 1) {
            uint32_t experts = expert_counts[i];
            float *x = random_floats(&s, (size_t)ROWS * width, 1);
            float *w = random_floats(&s, (size_t)experts * width, 1);
            size_t n = (size_t)ROWS * experts;
            float *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got),
                  *one = malloc(n * sizeof *one);
            host_router_logits(f->reference, x, w, ROWS, width, experts, want);
            host_router_logits(f->tested, x, w, ROWS, width, experts, got);
            assert_close(f, "logits", got, want, n, 1e-5f, 1e-6f);
            for (uint32_t rows = 1; rows < 40; rows = rows * 2 + 1) {
                uint32_t first = random_below(&s, ROWS - rows);
                host_router_logits(f->tested, x + (size_t)first * width, w, rows, width, experts, one);
                assert_same_bits(f, "logits of some rows", one, got + (size_t)first * experts,
                                 (size_t)rows * experts * sizeof *one);
            }
            free(x);
            free(w);
            free(want);
            free(got);
            free(one);
        }
}

static void router_agrees(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_router);
}

static void check_gate(const struct fixture *f) {
    enum { ROWS = 333, MOST = 33 };
    static float logits[ROWS * MOST], want_gate[ROWS * 3], gate[ROWS * 3];
    static int32_t want_expert[ROWS * 3], expert[ROWS * 3];
    struct random_stream s = {2};
    for (size_t i = 0; i < sizeof expert_counts / sizeof *expert_counts; i++)
        for (uint32_t top_k = 1; top_k <= 3 && top_k <= expert_counts[i]; top_k++)
            for (int renormalize = 0; renormalize < 2; renormalize++) {
                uint32_t experts = expert_counts[i];
                for (size_t r = 0; r < ROWS; r++) {
                    float scale = r % 3 ? 4 : 3000; /* also where all gates but one underflow */
                    for (uint32_t e = 0; e < experts; e++)
                        logits[r * experts + e] = random_float(&s) * scale;
                }
                size_t n = (size_t)ROWS * top_k;
                host_gate(f->reference, logits, ROWS, experts, top_k, renormalize, want_expert, want_gate);
                host_gate(f->tested, logits, ROWS, experts, top_k, renormalize, expert, gate);
                assert_close(f, "gate", gate, want_gate, n, 1e-7f, 2e-6f);
                for (size_t a = 0; a < n; a++)
                    if (want_gate[a] > 1e-30f) /* below, a backend may call gates equal: they are zero */
                        assert_int_equal(expert[a], want_expert[a]);
                host_gate(f->tested, logits + 7 * experts, 1, experts, top_k, renormalize, want_expert,
                          want_gate);
                assert_same_bits(f, "gate of one row", want_gate, gate + 7 * top_k, top_k * sizeof *gate);
            }
}

static void gate_agrees(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_gate);
}

/* Equal logits are equal gates, and so are gates that underflowed to zero: the lower index wins. */
static void check_ties(const struct fixture *f) {
    const float logits[3][5] = {{1, 2, 2, 0, 2}, {-500, 3, -600, -400, -500}, {0.5f, 0.5f, 0.5f, 0.5f, 0.5f}};
    const int32_t want[3][3] = {{1, 2, 4}, {1, 0, 2}, {0, 1, 2}};
    struct kernels *both[] = {f->reference, f->tested};
    for (int i = 0; i < 2; i++) {
        int32_t expert[3][3];
        float gate[3][3];
        host_gate(both[i], logits[0], 3, 5, 3, false, expert[0], gate[0]);
        assert_memory_equal(expert, want, sizeof want);
        assert_true(fabsf(gate[2][1] - 0.2f) < 1e-7f);
        assert_true(gate[1][0] == 1 && gate[1][1] == 0 && gate[1][2] == 0);
    }
}

static void ties_go_to_the_lower_index(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_ties);
}

/* From one expert certain to all alike, and where gates underflow or a logit is -inf. */
static void check_entropy(const struct fixture *f) {
    enum { ROWS = 333, MOST = 33 };
    static float logits[ROWS * MOST], want[ROWS], got[ROWS], one;
    struct random_stream s = {5};
    for (size_t i = 0; i < sizeof expert_counts / sizeof *expert_counts; i++) {
        uint32_t experts = expert_counts[i];
        const float scales[] = {0, 0.1f, 1, 4, 3000};
        for (size_t r = 0; r < ROWS; r++)
            for (uint32_t e = 0; e < experts; e++)
                logits[r * experts + e] = random_float(&s) * scales[r % 5] + (r % 2 ? 90.0f : 0.0f);
        logits[4 * experts + experts - 1] = experts > 1 ? -INFINITY : 0;
        host_gate_entropy(f->reference, logits, ROWS, experts, want);
        host_gate_entropy(f->tested, logits, ROWS, experts, got);
        assert_close(f, "entropy", got, want, ROWS, 4e-6f, 4e-6f);
        for (size_t r = 0; r < ROWS; r++)
            assert_true(got[r] >= 0 && got[r] <= logf((float)experts) * 1.000001f);
        assert_true(fabsf(got[0] - logf((float)experts)) <= 1e-6f);
        host_gate_entropy(f->tested, logits + 7 * experts, 1, experts, &one);
        assert_same_bits(f, "entropy of one row", &one, got + 7, sizeof one);
    }
}

static void entropy_agrees(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_entropy);
}

/* ---- plan, dispatch, combine */

enum { ROWS = 217, TOP_K = 3, EXPERTS = 9, SLOTS = ROWS * TOP_K };

/* Distinct experts a row; expert 4 never chosen; about a fifth dropped, row 5 whole. */
static void draw_experts(struct random_stream *s, int32_t *expert) {
    for (size_t r = 0; r < ROWS; r++)
        for (uint32_t j = 0; j < TOP_K; j++) {
            int32_t e;
            bool again;
            do {
                e = (int32_t)random_below(s, EXPERTS);
                again = e == 4;
                for (uint32_t i = 0; i < j; i++)
                    again |= expert[r * TOP_K + i] == e;
            } while (again);
            expert[r * TOP_K + j] = e;
        }
    for (size_t a = 0; a < SLOTS; a++)
        if (random_below(s, 5) == 0 || a / TOP_K == 5)
            expert[a] = -1;
}

/* malloc'd; where source has no slot it is 0. */
static struct kernels_plan make_plan(struct kernels *k, const int32_t *expert) {
    struct kernels_plan plan = {.offset = calloc(EXPERTS + 1, sizeof *plan.offset),
                                .source = calloc(SLOTS, sizeof *plan.source),
                                .slot = calloc(SLOTS, sizeof *plan.slot)};
    assert_true(plan.offset && plan.source && plan.slot);
    host_plan(k, expert, ROWS, EXPERTS, TOP_K, plan);
    return plan;
}

static void free_plan(struct kernels_plan plan) {
    free(plan.offset);
    free(plan.source);
    free(plan.slot);
}

static void check_plan(const struct fixture *f) {
    enum { WIDTH = 39 }; /* ends in three of four lanes, seven of eight or sixteen */
    struct random_stream s = {3};
    int32_t expert[SLOTS];
    draw_experts(&s, expert);
    struct kernels_plan want = make_plan(f->reference, expert), got = make_plan(f->tested, expert);
    uint32_t slots = want.offset[EXPERTS];
    assert_in_range(slots, SLOTS / 2, SLOTS - 1); /* some are dropped */
    assert_memory_equal(got.offset, want.offset, (EXPERTS + 1) * sizeof *got.offset);
    assert_memory_equal(got.source, want.source, slots * sizeof *got.source);
    assert_memory_equal(got.slot, want.slot, SLOTS * sizeof *got.slot);
    assert_true(got.slot[5 * TOP_K] == KERNELS_DROPPED);

    float *x = random_floats(&s, ROWS * WIDTH, 1), *gate = random_floats(&s, SLOTS, 1);
    float *stream = random_floats(&s, ROWS * WIDTH, 1);
    float *a = random_floats(&s, SLOTS * WIDTH, 1), *b = random_floats(&s, SLOTS * WIDTH, 1);
    host_dispatch(f->reference, x, ROWS, want, EXPERTS, SLOTS, WIDTH, a);
    host_dispatch(f->tested, x, ROWS, got, EXPERTS, SLOTS, WIDTH, b);
    assert_same_bits(f, "dispatch", b, a, (size_t)slots * WIDTH * sizeof *a);

    float sum_a[ROWS * WIDTH], sum_b[ROWS * WIDTH];
    memcpy(sum_a, stream, sizeof sum_a);
    memcpy(sum_b, stream, sizeof sum_b);
    host_combine(f->reference, a, slots, want, expert, gate, ROWS, TOP_K, WIDTH, sum_a);
    host_combine(f->tested, b, slots, got, expert, gate, ROWS, TOP_K, WIDTH, sum_b);
    assert_close(f, "combine", sum_b, sum_a, ROWS * WIDTH, 1e-6f, 1e-6f);
    assert_same_bits(f, "a row dropped whole", sum_b + 5 * WIDTH, stream + 5 * WIDTH, WIDTH * sizeof(float));

    free_plan(want);
    free_plan(got);
    free(x);
    free(gate);
    free(stream);
    free(a);
    free(b);
}

static void plan_dispatch_and_combine_agree(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_plan);
}

/* Neither the order of a token's choices nor that of their slots is the order of its sum:
 * experts ascending. */
static void check_combine_order(const struct fixture *f) {
    enum { WIDTH = 19 };
    struct random_stream s = {4};
    float *stream = random_floats(&s, WIDTH, 1), y[2][3 * WIDTH]; /* expert e in slot e, and in slot 2 - e */
    float first[WIDTH], x[WIDTH];
    for (int c = 0; c < 3 * WIDTH; c++) {
        y[0][c] = random_float(&s);
        y[1][(2 - c / WIDTH) * WIDTH + c % WIDTH] = y[0][c];
    }
    const float gates[] = {0.7f, 0.2f, 0.1f};
    const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int i = 0; i < 12; i++) {
        const bool reversed = i >= 6;
        int32_t expert[3];
        uint32_t slot[3];
        float gate[3];
        for (int j = 0; j < 3; j++) {
            expert[j] = order[i % 6][j];
            slot[j] = (uint32_t)(reversed ? 2 - expert[j] : expert[j]);
            gate[j] = gates[expert[j]];
        }
        memcpy(x, stream, sizeof x);
        host_combine(f->tested, y[reversed], 3, (struct kernels_plan){.slot = slot}, expert, gate, 1, 3,
                     WIDTH, x);
        if (i == 0)
            memcpy(first, x, sizeof first);
        assert_same_bits(f, "combine in another order", x, first, sizeof x);
    }
    free(stream);
}

static void combine_adds_experts_ascending(void **state) {
    (void)state;
    for_each_fixture(one_thread, check_combine_order);
}

/* One expert a token, in a width that may be taken four columns at a time: the same sums. */
static void check_combine_one(const struct fixture *f) {
    enum { WIDTH = 64, N = 70 };
    struct random_stream s = {6};
    int32_t expert[N];
    uint32_t slot[N];
    float *y = random_floats(&s, N * WIDTH, 1), *gate = random_floats(&s, N, 1);
    float *want = random_floats(&s, N * WIDTH, 1), got[N * WIDTH];
    for (uint32_t i = 0; i < N; i++) {
        expert[i] = i % 7 ? (int32_t)(i % 3) : -1;
        slot[i] = i % 7 ? (i * 11) % N : KERNELS_DROPPED;
    }
    memcpy(got, want, sizeof got);
    const struct kernels_plan plan = {.slot = slot};
    host_combine(f->reference, y, N, plan, expert, gate, N, 1, WIDTH, want);
    host_combine(f->tested, y, N, plan, expert, gate, N, 1, WIDTH, got);
    assert_close(f, "combine of one", got, want, N * WIDTH, 1e-6f, 1e-6f);
    free(y);
    free(gate);
    free(want);
}

static void combine_of_one_expert_agrees(void **state) {
    (void)state;
    for_each_fixture(few_threads, check_combine_one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(router_agrees),
        cmocka_unit_test(gate_agrees),
        cmocka_unit_test(entropy_agrees),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(plan_dispatch_and_combine_agree),
        cmocka_unit_test(combine_adds_experts_ascending),
        cmocka_unit_test(combine_of_one_expert_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
