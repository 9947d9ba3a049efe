/* test_share.c - protects how a step is divided among ranks: every item has one rank, ranks carry tokens as
 * equal as whole sequences allow, and the division depends on the lengths alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/front/supervisor/share.h"

enum { MOST_ITEMS = 300, MOST_RANKS = 40 };

static uint64_t state = 1;

static uint32_t random_below(uint32_t n) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % n);
}

static void check(const struct limoe_item *items, size_t n, uint32_t ranks) {
    uint64_t keys[MOST_ITEMS], tokens[MOST_RANKS], again[MOST_RANKS], counted[MOST_RANKS] = {0};
    uint32_t rank[MOST_ITEMS], rank_again[MOST_ITEMS];
    share_items(items, n, ranks, keys, rank, tokens);
    uint64_t total = 0, most = 0, longest = 0;
    for (size_t i = 0; i < n; i++) {
        assert_true(rank[i] < ranks);
        counted[rank[i]] += items[i].length;
        total += items[i].length;
        longest = items[i].length > longest ? items[i].length : longest;
    }
    assert_memory_equal(counted, tokens, ranks * sizeof *tokens);
    for (uint32_t r = 0; r < ranks; r++)
        most = tokens[r] > most ? tokens[r] : most;
    assert_true(most * ranks <= total + longest * (ranks - 1));
    memset(keys, 0x55, sizeof keys);
    share_items(items, n, ranks, keys, rank_again, again);
    assert_memory_equal(rank, rank_again, n * sizeof *rank);
}

static void test_random_steps(void **unused) {
    (void)unused;
    struct limoe_item items[MOST_ITEMS];
    for (int round = 0; round < 2000; round++) {
        size_t n = random_below(MOST_ITEMS + 1);
        uint32_t longest = 1 + random_below(round % 2 ? 8 : 5000);
        for (size_t i = 0; i < n; i++)
            items[i] = (struct limoe_item){.length = 1 + random_below(longest)};
        check(items, n, 1 + random_below(MOST_RANKS));
    }
}

static void test_equal_items_go_round(void **unused) {
    (void)unused;
    struct limoe_item items[10];
    uint64_t keys[10], tokens[3];
    uint32_t rank[10];
    for (int i = 0; i < 10; i++)
        items[i] = (struct limoe_item){.length = 49};
    share_items(items, 10, 3, keys, rank, tokens);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(rank[i], i % 3);
    assert_int_equal(tokens[0], 4 * 49);
    assert_int_equal(tokens[2], 3 * 49);
}

static void test_a_long_one_is_balanced_by_short_ones(void **unused) {
    (void)unused;
    const struct limoe_item items[] = {{.length = 2}, {.length = 3}, {.length = 10}, {.length = 5}};
    uint64_t keys[4], tokens[2];
    uint32_t rank[4];
    share_items(items, 4, 2, keys, rank, tokens);
    const uint32_t expected[] = {1, 1, 0, 1};
    assert_memory_equal(rank, expected, sizeof expected);
    assert_int_equal(tokens[0], tokens[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_steps),
        cmocka_unit_test(test_equal_items_go_round),
        cmocka_unit_test(test_a_long_one_is_balanced_by_short_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
