/* Protects: what limoe_inspect_cards says follows from ranks and steps as it must, and what cannot be is refused. That it is
 * what a GPU gives is seen on an emulated one (tests/ranks/test_gpus.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/counting.h"
#include "limoe.h"
#include "model/checkpoint/config.h"
#include "tests/unit/model/support.h"

static struct limoe_inspection *inspect(const char *dir, const char *json) {
    struct config config;
    struct limoe_error err;
    struct limoe_inspection *i = NULL;
    assert_int_equal(config_parse(json, strlen(json), "config.json", &config, &err), LIMOE_OK);
    struct bytes file = checkpoint_file(&config, "BF16", NULL, NULL);
    directory_write(dir, "config.json", json, strlen(json));
    directory_write(dir, "model.safetensors", file.at, file.size);
    free(file.at);
    if (limoe_inspect(dir, &i, &err) != LIMOE_OK)
        fail_msg("%s", err.message);
    return i;
}

/* The first rank of `ranks`. */
static struct limoe_card card_of(const struct limoe_inspection *i, uint32_t ranks, uint64_t step_tokens,
                                 enum limoe_dtype dtype) {
    const struct limoe_rank_options options = {.ranks = ranks, .device = "cuda", .dtype = dtype};
    struct limoe_placement *placement;
    struct limoe_cards *cards;
    struct limoe_error err;
    assert_int_equal(limoe_inspect_ranks(i, &options, &placement, &err), LIMOE_OK);
    if (limoe_inspect_cards(i, placement, step_tokens, &cards, &err))
        fail_msg("%s", err.message);
    assert_int_equal(cards->ranks, ranks);
    const struct limoe_card card = cards->card[0], *last = &cards->card[ranks - 1];
    assert_int_equal(card.dense_bytes, placement->rank[0].dense_bytes);
    assert_int_equal(last->expert_bytes, placement->rank[ranks - 1].expert_bytes);
    assert_int_equal(card.bytes, card.dense_bytes + card.expert_bytes + card.workspace_bytes +
                                     card.exchange_bytes + card.staging_bytes + card.set_aside_bytes);
    limoe_cards_free(cards);
    limoe_placement_free(placement);
    return card;
}

static void test_what_a_card_holds(void **state) {
    struct limoe_inspection *i = inspect(*state, tiny_config);
    const struct limoe_card one = card_of(i, 1, 0, LIMOE_BFLOAT16), two = card_of(i, 2, 0, LIMOE_BFLOAT16),
                            small = card_of(i, 2, 64, LIMOE_BFLOAT16), wide = card_of(i, 1, 0, LIMOE_FLOAT32);
    assert_int_equal(one.exchange_bytes, 0);
    assert_true(two.exchange_bytes > 0 && two.expert_bytes < one.expert_bytes);
    assert_true(two.set_aside_bytes > one.set_aside_bytes);
    assert_int_equal(two.workspace_bytes, one.workspace_bytes); /* it is for all that a step can need */
    assert_int_equal(small.workspace_bytes, one.workspace_bytes);
    assert_true(small.exchange_bytes < two.exchange_bytes && small.staging_bytes < two.staging_bytes);
    assert_true(wide.workspace_bytes > one.workspace_bytes && wide.dense_bytes > one.dense_bytes);
    limoe_inspection_free(i);
    limoe_cards_free(NULL);
}

static void test_what_cannot_be(void **state) {
    struct limoe_inspection *i = inspect(*state, tiny_config);
    const struct limoe_rank_options cpu = {.ranks = 1, .device = "cpu"}, gpu = {.ranks = 2, .device = "cuda"};
    struct limoe_placement *placement;
    struct limoe_cards *cards;
    struct limoe_error err;
    uint32_t fewest;
    assert_int_equal(limoe_inspect_ranks(i, &cpu, &placement, NULL), LIMOE_OK);
    expect_failure("a CPU", limoe_inspect_cards(i, placement, 0, &cards, &err), &err, LIMOE_UNSUPPORTED,
                   "these ranks are on CPUs; accepted: device cuda");
    assert_null(cards);
    limoe_placement_free(placement);
    assert_int_equal(limoe_inspect_ranks(i, &gpu, &placement, NULL), LIMOE_OK);
    expect_failure("tokens", limoe_inspect_cards(i, placement, (1 << 20) + 1, &cards, &err), &err,
                   LIMOE_INVALID, "steps of 1048577 tokens; 1 to 1048576");
    limoe_placement_free(placement);
    expect_failure("a CPU", limoe_fewest_ranks(i, &cpu, 0, UINT64_MAX, &fewest, &err), &err,
                   LIMOE_UNSUPPORTED, "these ranks are on CPUs");
    limoe_inspection_free(i);
}

static void test_the_fewest_ranks(void **state) {
    struct limoe_inspection *i = inspect(*state, tiny_config);
    const struct limoe_rank_options gpus = {.device = "cuda"};
    const struct limoe_card one = card_of(i, 1, 0, LIMOE_BFLOAT16);
    struct limoe_error err;
    uint32_t fewest = 7;
    assert_int_equal(limoe_fewest_ranks(i, &gpus, 0, one.bytes, &fewest, &err), LIMOE_OK);
    assert_int_equal(fewest, 1);
    assert_int_equal(limoe_fewest_ranks(i, &gpus, 0, one.bytes - 1, &fewest, &err), LIMOE_OK);
    assert_int_equal(fewest, 0); /* what several set aside is more than these experts */
    limoe_inspection_free(i);
}

/* All rows of a call are one step, and it is for one rank. */
static void test_capacity(void **state) {
    char *json = edit(tiny_config, "\"renormalize\":", "\"capacity\":1.5,\"renormalize\":");
    struct limoe_inspection *i = inspect(*state, json);
    const struct limoe_rank_options two = {.ranks = 2, .device = "cuda"};
    struct limoe_placement *placement;
    struct limoe_cards *cards;
    struct limoe_error err;
    assert_true(card_of(i, 1, 1 << 20, LIMOE_BFLOAT16).workspace_bytes >
                card_of(i, 1, 1 << 15, LIMOE_BFLOAT16).workspace_bytes);
    assert_int_equal(limoe_inspect_ranks(i, &two, &placement, NULL), LIMOE_OK);
    expect_failure("two ranks", limoe_inspect_cards(i, placement, 0, &cards, &err), &err, LIMOE_UNSUPPORTED,
                   "has \"moe.capacity\"; it works on 1 rank, not on 2");
    limoe_placement_free(placement);
    limoe_inspection_free(i);
    free(json);
}

/* As an instance that has memory. */
static void test_counting(void **state) {
    (void)state;
    struct kernels *k;
    assert_int_equal(kernels_counting_create(LIMOE_FLOAT32, &k, NULL), LIMOE_OK);
    const uint64_t at_first = kernels_counting_bytes(k);
    void *a = k->ops->alloc(k, (size_t)1 << 40), *b = k->ops->alloc(k, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(kernels_counting_bytes(k), at_first + (UINT64_C(1) << 40) + 1);
    k->ops->release(k, a);
    k->ops->release(k, NULL);
    assert_int_equal(kernels_counting_bytes(k), at_first + 1);
    const float none[3] = {0};
    k->ops->patches(k, NULL, 1, 1672, 8, 0, none, none, NULL); /* goes through a slot of staging */
    assert_int_equal(kernels_counting_bytes(k), at_first + 1);
    k->ops->patches(k, NULL, 1, 1673, 8, 0, none, none, NULL);
    assert_int_equal(kernels_counting_bytes(k), at_first + 1 + 1673 * 1673 * 3 + 1673 * 1673 * 3 / 4 + 64);
    k->ops->destroy(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_a_card_holds, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_the_fewest_ranks, directory_setup, directory_teardown),
        cmocka_unit_test_setup_teardown(test_capacity, directory_setup, directory_teardown),
        cmocka_unit_test(test_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
