/* Protects: every expert lies somewhere, no rank holds more than it may, a measured load is never spread
 * worse than contiguously, and a row's rank follows from its expert and its place in its sequence alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "experts/placement.h"

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint32_t below(uint64_t *state, uint32_t n) {
    return (uint32_t)(next(state) >> 32) % n;
}

/* Every expert on at least one rank, on none twice; held and holds agree with the owners. */
static void expect_sound(const struct placement *p) {
    const struct placement_shape *s = &p->shape;
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        uint32_t held = 0, owned = 0;
        for (uint32_t e = 0; e < s->experts; e++) {
            const uint32_t copies = placement_copies(p, layer, e);
            const uint32_t *owner = p->owner + p->first[layer * s->experts + e];
            assert_in_range(copies, 1, s->ranks);
            for (uint32_t i = 0; i < copies; i++) {
                assert_true(owner[i] < s->ranks && (i == 0 || owner[i] > owner[i - 1]));
                assert_true(placement_holds(p, owner[i], layer, e));
            }
            owned += copies;
            for (uint32_t position = 0; position < 3 * copies; position++) {
                const uint32_t rank = placement_owner(p, layer, e, position);
                assert_true(placement_holds(p, rank, layer, e));
                assert_int_equal(rank, placement_owner(p, layer, e, position + copies));
                for (uint32_t other = 1; other < copies; other++) /* copies take turns */
                    assert_int_not_equal(rank, placement_owner(p, layer, e, position + other));
            }
        }
        for (uint32_t r = 0; r < s->ranks; r++)
            held += placement_held(p, r, layer);
        assert_int_equal(held, owned);
    }
}

static void test_contiguous(void **state) {
    (void)state;
    static const struct placement_shape shapes[] = {
        {1, 2, 8}, {2, 2, 8}, {3, 1, 8},    {4, 3, 8}, {7, 2, 32},
        {8, 1, 8}, {9, 2, 8}, {1024, 1, 3}, {5, 1, 1}, {3, 0, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct placement_shape *s = &shapes[i];
        struct placement p;
        assert_int_equal(placement_contiguous(s, &p, NULL), LIMOE_OK);
        expect_sound(&p);
        for (uint32_t layer = 0; layer < s->layers; layer++) {
            for (uint32_t r = 0; r < s->ranks; r++) {
                uint32_t held = placement_held(&p, r, layer);
                assert_in_range(held, s->experts / s->ranks, (s->experts + s->ranks - 1) / s->ranks);
            }
            for (uint32_t e = 0; e < s->experts; e++) {
                assert_int_equal(placement_copies(&p, layer, e), 1);
                if (e > 0) /* neighbours lie together, in order */
                    assert_true(placement_owner(&p, layer, e, 0) >= placement_owner(&p, layer, e - 1, 0));
            }
        }
        placement_free(&p);
        placement_free(&p);
    }
}

/* Loads of every kind: none, even, random, one expert with nearly all, and a few large ones. */
static void draw_load(uint64_t *state, uint32_t kind, uint32_t n, uint64_t *load) {
    for (uint32_t e = 0; e < n; e++) {
        load[e] = kind == 0   ? 0
                  : kind == 1 ? 1000
                  : kind == 2 ? below(state, 100000)
                  : kind == 3 ? below(state, 10)
                              : (uint64_t)1 << below(state, 30);
    }
    if (kind == 3)
        load[below(state, n)] = 1000000;
}

static void test_properties(void **state) {
    (void)state;
    enum { LAYERS = 3, MOST = 40 };
    static uint64_t load[LAYERS * MOST];
    uint64_t random = 1;
    uint32_t better = 0, copied = 0;
    for (int trial = 0; trial < 2000; trial++) {
        const struct placement_shape s = {1 + below(&random, 12), LAYERS, 1 + below(&random, MOST)};
        const uint32_t least = (s.experts + s.ranks - 1) / s.ranks, slots = least + below(&random, 4);
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            draw_load(&random, below(&random, 5), s.experts, load + layer * s.experts);
        struct placement p, again, contiguous;
        assert_int_equal(placement_from_load(&s, load, slots, &p, NULL), LIMOE_OK);
        assert_int_equal(placement_from_load(&s, load, slots, &again, NULL), LIMOE_OK);
        assert_int_equal(placement_contiguous(&s, &contiguous, NULL), LIMOE_OK);
        expect_sound(&p);
        const uint32_t cells = LAYERS * s.experts;
        assert_memory_equal(p.first, again.first, (cells + 1) * sizeof *p.first);
        assert_memory_equal(p.owner, again.owner, p.first[cells] * sizeof *p.owner);
        copied += p.first[cells] > cells;
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            const uint64_t *rows = load + layer * s.experts;
            for (uint32_t r = 0; r < s.ranks; r++)
                assert_in_range(placement_held(&p, r, layer), 0, slots);
            const double got = placement_imbalance(&p, layer, rows);
            const double before = placement_imbalance(&contiguous, layer, rows);
            assert_true(got >= 1 - 1e-9 && got <= before + 1e-9);
            better += got < before - 1e-9;
        }
        placement_free(&p);
        placement_free(&again);
        placement_free(&contiguous);
    }
    assert_true(better > 1000 && copied > 200); /* or the loads above say nothing */
}

/* By hand: 4 ranks, 8 experts, one of which gets half of all rows. */
static void test_hot_expert(void **state) {
    (void)state;
    const struct placement_shape s = {4, 1, 8};
    const uint64_t load[] = {10, 10, 10, 10, 70, 10, 10, 10};
    struct placement p;
    assert_int_equal(placement_from_load(&s, load, 2, &p, NULL), LIMOE_OK); /* no slot for a copy */
    assert_int_equal(placement_copies(&p, 0, 4), 1);
    assert_true(placement_imbalance(&p, 0, load) == 80.0 * 4 / 140);
    placement_free(&p);
    assert_int_equal(placement_from_load(&s, load, 3, &p, NULL), LIMOE_OK);
    assert_int_equal(placement_copies(&p, 0, 4), 2); /* an even share is 35 rows: two copies get that */
    for (uint32_t e = 0; e < 8; e++)
        assert_int_equal(placement_copies(&p, 0, e), e == 4 ? 2 : 1);
    assert_true(placement_imbalance(&p, 0, load) == 45.0 * 4 / 140); /* 35 + 10, 35, 30, 30 */
    placement_free(&p);
    /* Room for everything: still no copy beyond what evens the load. */
    assert_int_equal(placement_from_load(&s, load, 8, &p, NULL), LIMOE_OK);
    assert_int_equal(p.first[8], 9);
    placement_free(&p);
}

static void test_limits(void **state) {
    (void)state;
    enum { RANKS = PLACEMENT_MAX_RANKS, EXPERTS = PLACEMENT_MAX_EXPERTS };
    uint64_t *load = calloc(EXPERTS, sizeof *load);
    const struct placement_shape s = {RANKS, 1, EXPERTS};
    struct placement p;
    for (uint32_t e = 0; e < EXPERTS; e++)
        load[e] = PLACEMENT_MAX_LOAD;
    assert_int_equal(placement_from_load(&s, load, UINT32_MAX, &p, NULL), LIMOE_OK);
    assert_true(placement_imbalance(&p, 0, load) == 1);
    placement_free(&p);
    memset(load, 0, EXPERTS * sizeof *load);
    load[7] = PLACEMENT_MAX_LOAD; /* on every rank */
    assert_int_equal(placement_from_load(&s, load, 2, &p, NULL), LIMOE_OK);
    assert_int_equal(placement_copies(&p, 0, 7), RANKS);
    placement_free(&p);
    free(load);
}

static void expect_refused(struct placement_shape s, const uint64_t *load, uint32_t slots,
                           const char *message) {
    struct placement p;
    struct limoe_error err = {0};
    memset(&p, 0x5A, sizeof p);
    assert_int_equal(load ? placement_from_load(&s, load, slots, &p, &err)
                          : placement_contiguous(&s, &p, &err),
                     LIMOE_INVALID);
    assert_string_equal(err.message, message);
    assert_null(p.first);
    assert_null(p.owner);
}

static void test_refused(void **state) {
    (void)state;
    const uint64_t load[4] = {1, PLACEMENT_MAX_LOAD + 1, 1, 1};
    const uint64_t fine[4] = {1, 1, 1, 1};
    expect_refused((struct placement_shape){0, 1, 4}, NULL, 0, "0 ranks; 1 to 1024 are accepted");
    expect_refused((struct placement_shape){1025, 1, 4}, fine, 4, "1025 ranks; 1 to 1024 are accepted");
    expect_refused((struct placement_shape){2, 257, 4}, NULL, 0,
                   "257 layers of 4 experts; up to 256 layers of 1 to 1024 experts are accepted");
    expect_refused((struct placement_shape){2, 1, 0}, NULL, 0,
                   "1 layers of 0 experts; up to 256 layers of 1 to 1024 experts are accepted");
    expect_refused((struct placement_shape){2, 1, 1025}, NULL, 0,
                   "1 layers of 1025 experts; up to 256 layers of 1 to 1024 experts are accepted");
    expect_refused((struct placement_shape){3, 1, 4}, fine, 1,
                   "3 ranks with room for 1 of 4 experts in a layer; at least 2 are needed");
    expect_refused(
        (struct placement_shape){2, 1, 4}, load, 2,
        "layer 0, expert 1: a load of 9007199254740993 rows; at most 9007199254740992 are accepted");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contiguous), cmocka_unit_test(test_properties),
        cmocka_unit_test(test_hot_expert), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
