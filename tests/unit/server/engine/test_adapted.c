/* test_adapted.c - protects steps with tails: their embeddings are those of each item by itself, however few tails there is room
 * for at once, and whatever rows of the trunk are known; tails are dropped in their turn and read again, rows in theirs. argv: a
 * model's directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/adapted.h"
#include "tests/unit/files.h"
#include "tests/unit/model/adapter_file.h"
#include "tests/unit/model/fixture.h"

#define ADAPTERS 3
#define ITEMS    6

static const char *dir;
static char folder[FOLDER_SIZE];
static struct limoe_model *model;

/* Digests are the front's to make: these are as good. */
static struct tail_key key_of(int i, float strength) {
    return (struct tail_key){.sha256 = {(uint8_t)(i + 1)}, .strength = strength};
}

static void path_of(int i, char path[256]) {
    char hex[TAIL_KEY_HEX + 1];
    tail_key_hex(key_of(i, 1).sha256, hex);
    snprintf(path, 256, "%s/a%d@%s%s", folder, i, hex, TAIL_KEY_SUFFIX);
}

static int set_up(void **state) {
    (void)state;
    const struct limoe_options options = {.device = "cpu", .dtype = LIMOE_FLOAT32, .threads = 1};
    char path[256];
    folder_make(folder);
    if (limoe_model_open(dir, &options, &model, NULL) != LIMOE_OK)
        return 1;
    for (int i = 0; i < ADAPTERS; i++) {
        path_of(i, path);
        adapter_file_tail(dir, 1, i == 1, (uint64_t)i + 1, path);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    limoe_model_close(model);
    return folder_remove(folder);
}

static uint64_t bytes_of(int i) {
    struct limoe_adapter *adapter;
    uint64_t bytes = 0;
    char path[256];
    path_of(i, path);
    assert_int_equal(limoe_adapter_open(path, &adapter, NULL), LIMOE_OK);
    assert_int_equal(limoe_model_adapt_bytes(model, adapter, 1, &bytes, NULL), LIMOE_OK);
    limoe_adapter_close(adapter);
    return bytes;
}

/* What an item says by a tail, opened by hand. */
static void ask_alone(const struct limoe_item *item, const struct tail_key *key, float *z) {
    struct limoe_adapter *adapter;
    struct limoe_tail *tail = NULL;
    struct limoe_item one = *item;
    char path[256];
    if (key) {
        path_of(key->sha256[0] - 1, path);
        assert_int_equal(limoe_adapter_open(path, &adapter, NULL), LIMOE_OK);
        assert_int_equal(limoe_model_adapt(model, adapter, key->strength, &tail, NULL), LIMOE_OK);
        limoe_adapter_close(adapter);
        one.tails = (const struct limoe_tail *const *)&tail;
        one.n_tails = 1;
    }
    assert_int_equal(limoe_model_embed(model, &one, 1, z, NULL, NULL), LIMOE_OK);
    limoe_tail_release(tail);
}

/* Each item by two tails and by none, twice by the same: as the front sends it, and as it asks for nothing. */
static void a_step_says_what_its_items_say_alone(void **state) {
    (void)state;
    const struct limoe_info *info = limoe_model_info(model);
    const size_t embed = info->embed;
    struct limoe_item *own = fixture_items(info, info->text_length, ITEMS, 5), items[4 * ITEMS];
    const struct tail_key keys[] = {key_of(0, 1), key_of(1, 0.5F), key_of(2, 1)};
    const struct tail_key *of[4 * ITEMS];
    struct frame_want wants[4 * ITEMS];
    struct tail_key tails[4 * ITEMS];
    float *want = calloc(4 * ITEMS * embed, sizeof *want), *got = calloc(4 * ITEMS * embed, sizeof *got);
    const struct limoe_routing none = {0};
    for (size_t i = 0; i < 4 * ITEMS; i++) {
        const struct tail_key *const choices[] = {&keys[i / 4 % 3], NULL, &keys[(i / 4 + 1) % 3],
                                                  &keys[i / 4 % 3]};
        items[i] = own[i / 4];
        of[i] = choices[i % 4];
        ask_alone(&items[i], of[i], want + i * embed);
    }
    const struct frame_room room = {.wants = wants, .tails = tails};
    const struct frame_step step = frame_plan_step(items, of, 4 * ITEMS, &room);
    assert_int_equal(step.n_tails, 3);
    const uint64_t rooms[] = {bytes_of(0), bytes_of(0) + bytes_of(1), UINT64_C(1) << 40};
    const uint64_t caches[] = {0, 20000, UINT64_C(1) << 24};
    for (size_t r = 0; r < 3; r++) {
        struct adapted adapted;
        struct frame_tails counts = {0};
        struct limoe_error err;
        const struct adapted_options options = {
            .dir = folder, .tail_bytes = rooms[r], .trunk_bytes = caches[r]};
        assert_int_equal(adapted_init(&adapted, &options, 4 * ITEMS, &err), LIMOE_OK);
        memset(got, 0, 4 * ITEMS * embed * sizeof *got);
        expect_outcome(adapted_embed(&adapted, model, &step, got, &none, &counts, &err), &err, LIMOE_OK, "");
        assert_memory_equal(got, want, 4 * ITEMS * embed * sizeof *got);
        adapted_count(&adapted, &counts);
        assert_true(counts.bytes <= rooms[r] && counts.trunk_rows > 0 && counts.tail_rows > 0);
        if (r == 2) { /* all are there, and nothing is read again */
            assert_int_equal(counts.held, 3);
            assert_int_equal(counts.reads, 3);
            assert_int_equal(counts.drops, 0);
            memset(got, 0, 4 * ITEMS * embed * sizeof *got);
            assert_int_equal(adapted_embed(&adapted, model, &step, got, &none, &counts, &err), LIMOE_OK);
            assert_memory_equal(got, want, 4 * ITEMS * embed * sizeof *got);
            adapted_count(&adapted, &counts);
            assert_int_equal(counts.reads, 0);
            assert_true(counts.known == ITEMS && counts.hits > 0 && counts.misses == 0);
        } else {
            assert_true(counts.reads > 3 && counts.drops == counts.reads - counts.held);
        }
        adapted_free(&adapted);
    }
    free(want);
    free(got);
    fixture_items_free(own, ITEMS);
}

/* An item that three embeddings are wanted of passes the trunk once. */
static void the_trunk_is_passed_once(void **state) {
    (void)state;
    const struct limoe_info *info = limoe_model_info(model);
    struct limoe_item *own = fixture_items(info, 1, 1, 7);
    const struct limoe_item items[] = {own[0], own[0], own[0]};
    const struct tail_key a = key_of(0, 1), b = key_of(2, 1);
    const struct tail_key *const of[] = {&a, &b, NULL};
    struct frame_want wants[3];
    struct tail_key tails[3];
    const struct frame_room room = {.wants = wants, .tails = tails};
    const struct frame_step step = frame_plan_step(items, of, 3, &room);
    const struct limoe_routing none = {0};
    struct frame_tails counts = {0};
    struct adapted adapted;
    float *got = calloc(3 * info->embed, sizeof *got);
    const struct adapted_options options = {.dir = folder, .tail_bytes = UINT64_C(1) << 40};
    assert_int_equal(adapted_init(&adapted, &options, 3, NULL), LIMOE_OK);
    assert_int_equal(adapted_embed(&adapted, model, &step, got, &none, &counts, NULL), LIMOE_OK);
    const uint32_t blocks = info->tower[own->modality].blocks;
    assert_int_equal(counts.trunk_rows,
                     own->length * blocks); /* as far as the model as it is goes: to the end */
    assert_int_equal(counts.tail_rows, 2 * own->length * (blocks - 1));
    adapted_free(&adapted);
    free(got);
    fixture_items_free(own, 1);
}

/* One item by one tail: what came of it, whose embedding must be that of the item alone. */
static struct frame_tails ask(struct adapted *adapted, const struct limoe_item *item,
                              const struct tail_key *key, bool routed) {
    const struct limoe_info *info = limoe_model_info(model);
    const size_t embed = info->embed;
    struct frame_want want;
    struct tail_key tail;
    const struct frame_room room = {.wants = &want, .tails = &tail};
    const struct frame_step step = frame_plan_step(item, &key, 1, &room);
    struct frame_tails counts = {0};
    struct limoe_error err;
    float *got = calloc(2 * embed, sizeof *got);
    int32_t *expert = calloc((size_t)info->moe_layers * item->length * info->top_k + 1, sizeof *expert);
    const struct limoe_routing routing = {.expert = routed ? expert : NULL};
    expect_outcome(adapted_embed(adapted, model, &step, got, &routing, &counts, &err), &err, LIMOE_OK, "");
    ask_alone(item, key, got + embed);
    assert_memory_equal(got, got + embed, embed * sizeof *got);
    adapted_count(adapted, &counts);
    free(expert);
    free(got);
    return counts;
}

static void known_rows_are_not_computed_again(void **state) {
    (void)state;
    const struct limoe_info *info = limoe_model_info(model);
    struct limoe_item *own = fixture_items(info, info->text_length, 2, 7);
    const struct tail_key a = key_of(0, 1), b = key_of(2, 0.5F);
    const struct adapted_options options = {
        .dir = folder, .tail_bytes = UINT64_C(1) << 40, .trunk_bytes = UINT64_C(1) << 20};
    struct adapted adapted;
    assert_int_equal(adapted_init(&adapted, &options, 2, NULL), LIMOE_OK);
    struct frame_tails got = ask(&adapted, &own[0], &a, false);
    assert_true(got.misses == 1 && got.hits == 0 && got.known == 1 && got.trunk_rows == own[0].length);
    const uint64_t bytes = got.known_bytes;
    got = ask(&adapted, &own[0], &b, false); /* by another tail from the same block on */
    assert_true(got.misses == 0 && got.hits == 1 && got.known == 1 && got.trunk_rows == 0);
    got = ask(&adapted, &own[1], &b, false);
    assert_true(got.misses == 1 && got.hits == 0 && got.known == 2 && got.known_bytes > bytes);
    got = ask(&adapted, &own[0], &a, true); /* whose routing is wanted, of all blocks */
    assert_true(got.misses == 0 && got.hits == 0 && got.trunk_rows == own[0].length);
    got = ask(&adapted, &own[0], NULL, false); /* has nothing to do with tails */
    assert_true(got.misses == 0 && got.hits == 0 && got.trunk_rows == 0);
    adapted_free(&adapted);
    fixture_items_free(own, 2);
}

/* In room for two, three take turns: what was used last stays, and never is there more. */
static void known_rows_keep_within_their_room(void **state) {
    (void)state;
    const struct limoe_info *info = limoe_model_info(model);
    struct limoe_item *all = fixture_items(info, info->text_length, 40, 7), own[3];
    const struct tail_key a = key_of(0, 1);
    struct adapted_options options = {
        .dir = folder, .tail_bytes = UINT64_C(1) << 40, .trunk_bytes = UINT64_C(1) << 20};
    struct adapted adapted;
    size_t n = 0;
    for (size_t i = 0; i < 40 && n < 3; i++)
        if (all[i].modality == LIMOE_IMAGE)
            own[n++] = all[i];
    assert_int_equal(n, 3);
    assert_int_equal(adapted_init(&adapted, &options, 1, NULL), LIMOE_OK);
    const uint64_t one = ask(&adapted, &own[0], &a, false).known_bytes;
    const uint64_t entry = ask(&adapted, &own[1], &a, false).known_bytes - one;
    adapted_free(&adapted);
    options.trunk_bytes = 512 + 2 * entry; /* and the table, which is smaller here */
    assert_int_equal(adapted_init(&adapted, &options, 1, NULL), LIMOE_OK);
    static const size_t turns[] = {0, 1, 0, 2, 0, 1, 2};
    static const uint64_t hits[] = {0, 0, 1, 0, 1, 0, 0};
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++) {
        const struct frame_tails got = ask(&adapted, &own[turns[i]], &a, false);
        assert_int_equal(got.hits, hits[i]);
        assert_true(got.known <= 2 && got.known_bytes <= options.trunk_bytes);
    }
    adapted_free(&adapted);
    options.trunk_bytes = entry / 2; /* for none */
    assert_int_equal(adapted_init(&adapted, &options, 1, NULL), LIMOE_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ask(&adapted, &own[0], &a, false).known, 0);
    adapted_free(&adapted);
    fixture_items_free(all, 40);
}

static void what_cannot_be_used_says_why(void **state) {
    (void)state;
    const struct tail_key there = key_of(0, 1), gone = key_of(40, 1), broken = key_of(41, 1);
    const struct limoe_tail *tail;
    struct frame_tails counts;
    struct limoe_error err;
    char path[256];
    bool held = true;
    path_of(41, path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs("no adapter", file);
    fclose(file);
    struct tails *tails = tails_new(folder, bytes_of(0));
    expect_outcome(tails_hold(tails, model, &gone, &tail, &held, &err), &err, LIMOE_NOT_FOUND, "not there");
    expect_outcome(tails_hold(tails, model, &broken, &tail, &held, &err), &err, LIMOE_CORRUPT, "");
    assert_int_equal(tails_hold(tails, model, &there, &tail, &held, &err), LIMOE_OK);
    const struct tail_key other = key_of(0, 0.5F); /* no room beside one that is in use */
    expect_outcome(tails_hold(tails, model, &other, &tail, &held, &err), &err, LIMOE_TOO_LARGE, "at once");
    assert_true(held);
    tails_let_go(tails);
    assert_int_equal(tails_hold(tails, model, &other, &tail, &held, &err), LIMOE_OK);
    tails_count(tails, &counts);
    assert_int_equal(counts.held, 1);
    assert_int_equal(counts.drops, 1);
    tails_free(tails);
    tails = tails_new(folder, bytes_of(0) - 1);
    expect_outcome(tails_hold(tails, model, &there, &tail, &held, &err), &err, LIMOE_TOO_LARGE, "up to");
    assert_false(held);
    tails_free(tails);
    tails = tails_new("/nowhere", 1);
    assert_int_equal(tails_hold(tails, model, &there, &tail, &held, &err), LIMOE_IO);
    tails_free(tails);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_says_what_its_items_say_alone),
        cmocka_unit_test(the_trunk_is_passed_once),
        cmocka_unit_test(known_rows_are_not_computed_again),
        cmocka_unit_test(known_rows_keep_within_their_room),
        cmocka_unit_test(what_cannot_be_used_says_why),
    };
    dir = argc > 1 ? argv[1] : ".";
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
