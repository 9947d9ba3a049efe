/* test_captions.c - protects captions by steps: what is said of a caption depends on its picture, options and step alone, so one
 * that an engine does not have is the same when it is begun anew; what is done or over is forgotten. argv: a model's directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "server/engine/captions.h"

enum { PICTURES = 3, PIXELS = 16 * 16 * 3, MOST_TEXTS = 8, STEPS = 12 };

static const char *dir;
static struct limoe_model *model;
static uint8_t pixels[PICTURES][PIXELS];
static struct limoe_caption_options options[PICTURES];
static struct limoe_caption expected[PICTURES][MOST_TEXTS];

static int set_up(void **state) {
    (void)state;
    static const struct limoe_caption_options asked[PICTURES] = {
        {0}, {.beams = 4, .n = 2, .min_length = 3}, {.top_k = 50, .n = 8, .seed = 7}};
    const struct limoe_options compute = {.device = "cpu", .dtype = LIMOE_FLOAT32, .threads = 1};
    if (limoe_model_open(dir, &compute, &model, NULL) != LIMOE_OK)
        return 1;
    const struct limoe_info *info = limoe_model_info(model);
    for (int i = 0; i < PICTURES; i++) {
        for (int p = 0; p < PIXELS; p++)
            pixels[i][p] = (uint8_t)(p * (i + 3) + 40 * i);
        const struct limoe_item item = {
            .modality = LIMOE_IMAGE, .length = info->image_tokens, .pixels = pixels[i]};
        if (limoe_caption_check(info, &asked[i], &options[i], NULL) != LIMOE_OK ||
            limoe_model_caption(model, &item, 1, &asked[i], expected[i], NULL) != LIMOE_OK)
            return 1;
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    limoe_model_close(model);
    return 0;
}

/* Picture i, by number i + 1. */
static struct frame_caption ask(int i, uint32_t step, bool pictured) {
    return (struct frame_caption){
        .id = (uint64_t)i + 1, .step = step, .options = options[i], .pixels = pictured ? pixels[i] : NULL};
}

static enum limoe_status step_of(struct captions *captions, const struct frame_caption *list, size_t n) {
    captions_end_step(captions);
    return captions_step(captions, model, &(struct frame_captions){.captions = list, .n = n}, NULL);
}

static void assert_texts(const struct limoe_caption *found, int i) {
    for (uint32_t t = 0; t < options[i].n; t++) {
        assert_int_equal(found[t].length, expected[i][t].length);
        assert_int_equal(found[t].ended, expected[i][t].ended);
        assert_memory_equal(&found[t].logprob, &expected[i][t].logprob, sizeof found[t].logprob);
        assert_memory_equal(found[t].tokens, expected[i][t].tokens,
                            found[t].length * sizeof *found[t].tokens);
    }
}

/* Goes on with picture i alone until it is done, from this step on. */
static void finish(struct captions *captions, int i, uint32_t step, bool pictured) {
    for (; step <= STEPS; step++, pictured = false) {
        const struct frame_caption one = ask(i, step, pictured);
        assert_int_equal(step_of(captions, &one, 1), LIMOE_OK);
        assert_true(captions->written[0] == 0 || captions->written[0] == options[i].n);
        if (captions->written[0])
            break;
    }
    assert_int_equal(captions->n_texts, options[i].n);
    assert_texts(captions->texts, i);
}

static void test_steps_of_many_end_as_each_alone(void **state) {
    (void)state;
    struct captions captions = {0};
    bool done[PICTURES] = {false};
    for (uint32_t step = 1; step <= STEPS + 2; step++) { /* each begins a step later than the one before */
        struct frame_caption list[PICTURES];
        int which[PICTURES], n = 0;
        for (int i = 0; i < PICTURES && i < (int)step; i++)
            if (!done[i]) {
                which[n] = i;
                list[n++] = ask(i, step - (uint32_t)i, step == (uint32_t)i + 1);
            }
        assert_int_equal(step_of(&captions, list, (size_t)n), LIMOE_OK);
        const struct limoe_caption *texts = captions.texts;
        for (int k = 0; k < n; k++) {
            if (!captions.written[k])
                continue;
            assert_texts(texts, which[k]);
            texts += captions.written[k];
            done[which[k]] = true;
        }
    }
    assert_true(done[0] && done[1] && done[2]);
    assert_int_equal(captions.n, 0);
    captions_free(&captions);
}

static void test_one_that_is_not_here_is_unknown_and_the_same_when_begun_anew(void **state) {
    (void)state;
    for (int i = 0; i < PICTURES; i++) {
        for (uint32_t lost = 1; lost <= 4; lost++) {
            struct captions first = {0}, second = {0};
            for (uint32_t step = 1; step < lost; step++) {
                const struct frame_caption one = ask(i, step, step == 1);
                assert_int_equal(step_of(&first, &one, 1), LIMOE_OK);
                assert_int_equal(first.written[0], 0);
            }
            captions_free(&first);
            const struct frame_caption unknown = ask(i, lost, false);
            assert_int_equal(step_of(&second, &unknown, 1), LIMOE_OK);
            assert_int_equal(second.written[0], FRAME_CAPTION_UNKNOWN);
            finish(&second, i, lost, true);
            captions_free(&second);
        }
    }
}

static void test_a_step_that_is_asked_again_is_not_taken_twice(void **state) {
    (void)state;
    struct captions captions = {0};
    for (uint32_t step = 1; step <= 3; step++)
        for (int again = 0; again < 2; again++) {
            const struct frame_caption one = ask(1, step, true); /* with a picture that is not needed */
            assert_int_equal(step_of(&captions, &one, 1), LIMOE_OK);
        }
    const struct frame_caption back = ask(1, 2, true);
    assert_int_equal(step_of(&captions, &back, 1), LIMOE_OK);
    finish(&captions, 1, 3, false);
    captions_free(&captions);
}

static void test_what_is_over_is_forgotten(void **state) {
    (void)state;
    const uint64_t over[] = {2, 9};
    struct captions captions = {0};
    const struct frame_caption both[] = {ask(1, 1, true), ask(2, 1, true)};
    assert_int_equal(step_of(&captions, both, 2), LIMOE_OK);
    assert_int_equal(captions.n, 2);
    captions_end_step(&captions);
    assert_int_equal(
        captions_step(&captions, model, &(struct frame_captions){.over = over, .n_over = 2}, NULL), LIMOE_OK);
    assert_int_equal(captions.n, 1);
    const struct frame_caption gone = ask(1, 2, false);
    assert_int_equal(step_of(&captions, &gone, 1), LIMOE_OK);
    assert_int_equal(captions.written[0], FRAME_CAPTION_UNKNOWN);
    finish(&captions, 2, 2, false);
    captions_free(&captions);
}

static void test_what_cannot_be_leaves_the_others(void **state) {
    (void)state;
    struct captions captions = {0};
    const struct frame_caption begun = ask(2, 1, true);
    assert_int_equal(step_of(&captions, &begun, 1), LIMOE_OK);
    const struct frame_caption twice[] = {ask(1, 1, true), ask(1, 1, true)};
    assert_int_equal(step_of(&captions, twice, 2), LIMOE_CORRUPT);
    struct frame_caption wrong = ask(0, 1, true);
    wrong.options.top_k = 1601;
    assert_int_equal(step_of(&captions, &wrong, 1), LIMOE_INVALID);
    struct frame_caption fewer = ask(2, 2, false);
    fewer.options.n = 1;
    assert_int_equal(step_of(&captions, &fewer, 1), LIMOE_CORRUPT);
    assert_int_equal(captions.n, 1);
    finish(&captions, 2, 2, false);
    captions_free(&captions);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_of_many_end_as_each_alone),
        cmocka_unit_test(test_one_that_is_not_here_is_unknown_and_the_same_when_begun_anew),
        cmocka_unit_test(test_a_step_that_is_asked_again_is_not_taken_twice),
        cmocka_unit_test(test_what_is_over_is_forgotten),
        cmocka_unit_test(test_what_cannot_be_leaves_the_others),
    };
    if (argc < 2)
        return 2;
    dir = argv[1];
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
