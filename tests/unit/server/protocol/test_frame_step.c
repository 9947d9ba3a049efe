/* test_frame_step.c - protects STEPs: what goes in comes out, and what cannot be is refused with a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/protocol/frame.h"

static const struct limoe_info model = {.embed = 3,
                                        .image_size = 5,
                                        .patch = 2,
                                        .image_tokens = 4,
                                        .text_length = 6,
                                        .moe_layers = 2,
                                        .experts = 4,
                                        .top_k = 2};

#define BUDGET 20

static uint8_t pixels[2][75];
static int32_t ids[2][6] = {{1, 2, 3}, {4, 5, 6, 7, 8, 9}};
static float wanted[5 * 3];
static const struct limoe_item items[] = {
    {.modality = LIMOE_IMAGE, .length = 4, .pixels = pixels[0]},
    {.modality = LIMOE_TEXT, .length = 3, .tokens = ids[0]},
    {.modality = LIMOE_IMAGE, .length = 4, .pixels = pixels[1], .shares = wanted},
    {.modality = LIMOE_TEXT, .length = 6, .tokens = ids[1]},
};
#define ITEMS (sizeof items / sizeof *items)

/* Where steps are made and read. */
static struct limoe_item got[BUDGET + 1];
static struct frame_want wants[BUDGET + 1], put_wants[BUDGET + 1];
static struct tail_key tails[BUDGET + 1], put_tails[BUDGET + 1];
static const struct frame_room room = {got, wants, tails}, put_room = {NULL, put_wants, put_tails};

/* The whole payload of the STEP, with pixels of `parts` images; the caller frees it. */
static uint8_t *make_step_of(const struct frame_shape *shape, const struct frame_step *step,
                             uint64_t *bytes) {
    size_t head = frame_step_head_bytes(step);
    *bytes = frame_step_bytes(shape, step);
    uint8_t *payload = malloc(*bytes), *at = payload + head;
    assert_non_null(payload);
    frame_put_step(step, payload);
    for (size_t i = 0; i < step->n; i++)
        if (step->items[i].modality == LIMOE_IMAGE && !step->wants[i].again) {
            memcpy(at, step->items[i].pixels, sizeof pixels[0]);
            at += sizeof pixels[0];
        }
    assert_int_equal(at - payload, *bytes);
    return payload;
}

static uint8_t *make_step(const struct frame_shape *shape, uint64_t *bytes) {
    for (size_t i = 0; i < sizeof pixels; i++)
        ((uint8_t *)pixels)[i] = (uint8_t)(i * 7);
    const struct frame_step step = frame_plan_step(items, NULL, ITEMS, &put_room);
    assert_true(frame_step_head_bytes(&step) <= frame_step_most_head_bytes(items, ITEMS));
    return make_step_of(shape, &step, bytes);
}

static void expect_item(const struct limoe_item *out, const struct limoe_item *in) {
    assert_int_equal(out->modality, in->modality);
    assert_int_equal(out->length, in->length);
    assert_null(out->shares);
    if (in->modality == LIMOE_IMAGE) {
        assert_memory_equal(out->pixels, in->pixels, sizeof pixels[0]);
        assert_null(out->tokens);
    } else {
        assert_memory_equal(out->tokens, in->tokens, in->length * sizeof(int32_t));
        assert_null(out->pixels);
    }
}

static void test_step(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    struct frame_step step;
    uint64_t bytes;
    uint8_t *payload = make_step(&shape, &bytes);
    assert_true(bytes <= frame_longest_step(&shape));
    assert_int_equal(frame_get_step(&shape, payload, bytes, &room, &step, NULL), LIMOE_OK);
    assert_int_equal(step.n, ITEMS);
    assert_int_equal(step.n_tails, 0);
    assert_int_equal(step.rows, 4 + 3 + 4 + 6);
    for (size_t i = 0; i < ITEMS; i++) {
        expect_item(&got[i], &items[i]);
        assert_int_equal(wants[i].shares, items[i].shares != NULL);
        assert_false(wants[i].again);
        assert_int_equal(wants[i].tail, 0);
    }
    free(payload);
}

/* A picture by two tails and by the model, a text by one of them: the picture goes once, each tail stands once. */
static void test_a_step_with_tails(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    const struct tail_key a = {.sha256 = {1, 2, 3}, .strength = 1},
                          b = {.sha256 = {1, 2, 3}, .strength = 0.5F}, same = a;
    const struct limoe_item of[] = {items[0], items[0], items[0], items[1], items[1]};
    const struct tail_key *const keys[] = {&a, &b, NULL, NULL, &same};
    static const uint32_t numbers[] = {1, 2, 0, 0, 1};
    static const bool again[] = {false, true, true, false, true};
    const struct frame_step in = frame_plan_step(of, keys, 5, &put_room);
    struct frame_step out;
    uint64_t bytes;
    assert_int_equal(in.n_tails, 2);
    uint8_t *payload = make_step_of(&shape, &in, &bytes);
    assert_int_equal(bytes, 8 + 5 * 12 + 2 * 36 + 3 * 4 + 75);
    assert_true(bytes <= frame_longest_step(&shape));
    assert_int_equal(frame_get_step(&shape, payload, bytes, &room, &out, NULL), LIMOE_OK);
    assert_int_equal(out.rows, 3 * 4 + 2 * 3);
    assert_int_equal(out.n_tails, 2);
    assert_true(tail_key_equal(&tails[0], &a) && tail_key_equal(&tails[1], &b));
    for (size_t i = 0; i < 5; i++) {
        expect_item(&got[i], &of[i]);
        assert_int_equal(wants[i].tail, numbers[i]);
        assert_int_equal(wants[i].again, again[i]);
    }
    assert_ptr_equal(got[0].pixels, got[2].pixels);
    assert_ptr_equal(got[3].tokens, got[4].tokens);
    free(payload);
}

static void test_tails_that_cannot_be(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    const struct tail_key key = {.sha256 = {9}, .strength = 1};
    const struct limoe_item of[] = {items[0], items[0]};
    const struct tail_key *const keys[] = {&key, NULL};
    static const float negative = -0.5F, nan = NAN, more = 1.5F;
    uint32_t words[3];
    memcpy(words, (const float[]){negative, nan, more}, sizeof words);
    const struct {
        size_t at;
        uint32_t value;
        const char *message;
    } changes[] = {
        {4, 3, "2 items and 3 tails"},
        {4, 0, "of 0 tails has flags 0 and tail 1"},
        {16, 2, "of 1 tails has flags 0 and tail 2"},
        {8, 0x20000, "item 0 of a STEP of 1 tails has flags 2"}, /* there is none before it */
        {8, 0x10000, "item 0 of a STEP of 1 tails has flags 1"}, /* no shares by a tail */
        {20, 0x30000, "item 1 of a STEP of 1 tails has flags 3"},
        {20, 0x40000, "item 1 of a STEP of 1 tails has flags 4"},
        {20, 0, "whose items need"}, /* its pixels are not there */
        {64, words[0], "the strength -0.5"},
        {64, words[1], "the strength"},
        {64, words[2], "the strength 1.5"},
        {64, 0, "the strength 0"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const struct frame_step in = frame_plan_step(of, keys, 2, &put_room);
        struct frame_step out;
        struct limoe_error err;
        uint64_t bytes;
        uint8_t *payload = make_step_of(&shape, &in, &bytes);
        memcpy(payload + changes[i].at, &changes[i].value, sizeof changes[i].value);
        assert_int_equal(frame_get_step(&shape, payload, bytes, &room, &out, &err), LIMOE_CORRUPT);
        if (!strstr(err.message, changes[i].message))
            fail_msg("\"%s\" is not in \"%s\"", changes[i].message, err.message);
        free(payload);
    }
}

/* A rank for which a step has nothing gets it all the same. */
static void test_a_step_without_items(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    uint64_t payload[4];
    struct frame_step in = frame_plan_step(NULL, NULL, 0, &put_room), out;
    assert_int_equal(frame_step_bytes(&shape, &in), frame_step_most_head_bytes(NULL, 0));
    frame_put_step(&in, (uint8_t *)payload);
    assert_int_equal(
        frame_get_step(&shape, (const uint8_t *)payload, frame_step_bytes(&shape, &in), &room, &out, NULL),
        LIMOE_OK);
    assert_int_equal(out.n, 0);
    assert_int_equal(out.rows, 0);
}

/* Any shorter payload is refused, in a buffer of just that size:
 * a read beyond it is seen by the sanitizer. */
static void test_a_step_cut_short(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    struct frame_step step;
    uint64_t bytes;
    uint8_t *payload = make_step(&shape, &bytes);
    for (uint64_t cut = 0; cut < bytes; cut++) {
        struct limoe_error err;
        uint8_t *part = malloc(cut + 1);
        assert_non_null(part);
        part = realloc(part, cut ? cut : 1);
        memcpy(part, payload, cut);
        assert_int_equal(frame_get_step(&shape, part, cut, &room, &step, &err), LIMOE_CORRUPT);
        free(part);
    }
    free(payload);
}

static void test_steps_that_cannot_be(void **state) {
    (void)state;
    const struct frame_shape shape = frame_shape(&model, BUDGET);
    static const struct {
        size_t at;
        uint32_t value;
        const char *message;
    } changes[] = {
        {0, 0, "whose items need 8;"},
        {0, BUDGET + 2, "with 22 items and 0 tails; at most 21"},
        {0, UINT32_MAX, "at most 21"},
        {8, 2, "unknown modality 2"},
        {8, 0x40000, "item 0 of a STEP of 0 tails has flags 4"},
        {20, LIMOE_TEXT | 0x10000, "flags 1 and tail 0"}, /* a text has no shares */
        {20, LIMOE_TEXT | 0x20000, "flags 2 and tail 0"}, /* nor is it the picture before it */
        {12, 5, "item 0 of a STEP, an image, has 5 tokens"},
        {24, 0, "item 1 of a STEP, a text, has 0 tokens"},
        {24, 7, "a text, has 7 tokens"},
        {24, 4, "whose items need"},
        {20, LIMOE_IMAGE, "an image, has 3 tokens"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct frame_step step;
        struct limoe_error err;
        uint64_t bytes;
        uint8_t *payload = make_step(&shape, &bytes);
        memcpy(payload + changes[i].at, &changes[i].value, sizeof changes[i].value);
        assert_int_equal(frame_get_step(&shape, payload, bytes, &room, &step, &err), LIMOE_CORRUPT);
        if (!strstr(err.message, changes[i].message))
            fail_msg("\"%s\" is not in \"%s\"", changes[i].message, err.message);
        free(payload);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_a_step_with_tails),
        cmocka_unit_test(test_tails_that_cannot_be),
        cmocka_unit_test(test_a_step_without_items),
        cmocka_unit_test(test_a_step_cut_short),
        cmocka_unit_test(test_steps_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
