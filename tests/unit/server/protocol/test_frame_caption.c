/* test_frame_caption.c - protects the bytes of captions between front and engine: what goes in comes out, and what cannot be is
 * refused with a message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "server/protocol/frame_caption.h"

static const struct frame_shape shape = {.image_tokens = 4, .image_bytes = 12, .items = 3, .rows = 16};
static const uint8_t pixels[2][12] = {"first", "second"};

static const struct frame_caption captions[3] = {
    {.id = UINT64_C(1) << 40,
     .step = 3,
     .options = {.n = 5, .beams = 1, .top_k = 9, .temperature = 0.5F, .max_length = 7, .seed = UINT64_MAX},
     .pixels = pixels[0]},
    {.id = 2, .step = 12, .options = {.n = 1, .beams = 4, .min_length = 3, .max_length = 12}},
    {.id = 3, .step = 1, .options = {.n = 60, .beams = 16, .max_length = 256}, .pixels = pixels[1]}};
static const uint64_t over[2] = {7, UINT64_MAX};

/* A STEP's payload with nothing between the section and the pixels, aligned. */
static uint64_t payload[64];

static uint64_t write_step(void) {
    const struct frame_captions step = {captions, 3, over, 2};
    uint8_t *at = (uint8_t *)payload;
    const size_t head = frame_captions_head_bytes(&step);
    assert_int_equal(head % 8, 0); /* what is behind it must be aligned */
    frame_put_captions(&step, at);
    memcpy(at + head, pixels, sizeof pixels);
    assert_int_equal(frame_captions_pixel_bytes(&shape, &step), sizeof pixels);
    assert_true(head + sizeof pixels <= frame_longest_captions(&shape));
    return head + sizeof pixels;
}

static enum limoe_status read_step(uint64_t length, struct frame_captions *out, struct limoe_error *err) {
    static struct frame_caption room[3];
    static uint64_t ids[FRAME_MOST_OVER];
    const struct frame_captions_room both = {room, ids};
    return frame_get_captions(&shape, (const uint8_t *)payload, length, &both, out, err);
}

static void test_a_step_comes_out_as_it_went_in(void **state) {
    (void)state;
    struct frame_captions out;
    assert_int_equal(read_step(write_step(), &out, NULL), LIMOE_OK);
    assert_int_equal(out.n, 3);
    assert_int_equal(out.n_over, 2);
    assert_memory_equal(out.over, over, sizeof over);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(out.captions[i].id, captions[i].id);
        assert_int_equal(out.captions[i].step, captions[i].step);
        assert_memory_equal(&out.captions[i].options, &captions[i].options, sizeof captions[i].options);
    }
    assert_memory_equal(out.captions[0].pixels, pixels[0], sizeof pixels[0]);
    assert_null(out.captions[1].pixels);
    assert_memory_equal(out.captions[2].pixels, pixels[1], sizeof pixels[1]);
}

static void test_steps_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        size_t at; /* u32 of the payload */
        uint32_t value;
        const char *message;
    } changes[] = {
        {0, 4, "with 4 captions"}, {1, FRAME_MOST_OVER + 1, "1025 over"},
        {1, 1000, "1000 over"},    {4, 0, "caption 0"},
        {4, 8, "caption 0"}, /* a step past the longest */
        {5, 2, "caption 0"},       {6, 0, "caption 0"},
        {6, 65, "caption 0"},      {7, 17, "caption 0"},
        {11, 257, "caption 0"},    {17, 1, "lacks its pixels"},
    };
    struct limoe_error err;
    struct frame_captions out;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const uint64_t length = write_step();
        memcpy((uint8_t *)payload + changes[i].at * 4, &changes[i].value, 4);
        assert_int_equal(read_step(length, &out, &err), LIMOE_CORRUPT);
        if (!strstr(err.message, changes[i].message))
            fail_msg("%zu: \"%s\" is not in \"%s\"", i, changes[i].message, err.message);
    }
    const uint64_t length = write_step();
    assert_int_equal(read_step(length - sizeof pixels - 1, &out, &err), LIMOE_CORRUPT);
    assert_int_equal(read_step(4, &out, &err), LIMOE_CORRUPT);
}

/* ---- RESULT */

static const struct limoe_caption texts[3] = {
    {.length = 2, .ended = true, .logprob = -1.25, .tokens = {5, 6}},
    {.length = LIMOE_CAPTION_MAX_TOKENS, .logprob = -1e9, .tokens = {[LIMOE_CAPTION_MAX_TOKENS - 1] = 9}},
    {.logprob = -INFINITY}};
static const uint32_t written[4] = {0, 2, FRAME_CAPTION_UNKNOWN, 1};

static void test_a_result_comes_out_as_it_went_in(void **state) {
    (void)state;
    const size_t bytes = frame_captioned_bytes(4, 3);
    uint8_t *out = malloc(bytes);
    struct frame_captioned captioned;
    uint64_t taken;
    assert_non_null(out);
    assert_int_equal(bytes % 8, 0);
    frame_put_captioned(written, 4, texts, 3, out);
    assert_int_equal(frame_get_captioned(out, bytes, &captioned, &taken, NULL), LIMOE_OK);
    assert_int_equal(taken, bytes);
    assert_int_equal(captioned.n, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(frame_captioned_written(&captioned, i), written[i]);
    for (size_t i = 0; i < 3; i++) {
        struct limoe_caption text;
        frame_captioned_text(&captioned, i, &text);
        assert_int_equal(text.length, texts[i].length);
        assert_int_equal(text.ended, texts[i].ended);
        assert_true(text.logprob == texts[i].logprob);
        assert_memory_equal(text.tokens, texts[i].tokens, sizeof text.tokens);
    }
    free(out);
}

static void test_results_that_cannot_be(void **state) {
    (void)state;
    static const uint32_t infinite = 0x7ff80000;
    static const struct {
        size_t at; /* u32 */
        uint32_t value;
        const char *message;
    } changes[] = {
        {0, UINT32_MAX, "4294967295 captions"},
        {1, UINT32_MAX, "4294967295 texts"},
        {1, 2, "3 texts"},
        {2, 1, "4 texts"},
        {6, 257, "text 0"},
        {7, 2, "text 0"},
        {9, infinite, "text 0"},
    };
    const size_t bytes = frame_captioned_bytes(4, 3);
    uint8_t *out = malloc(bytes);
    struct frame_captioned captioned;
    struct limoe_error err;
    uint64_t taken;
    assert_non_null(out);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        frame_put_captioned(written, 4, texts, 3, out);
        memcpy(out + changes[i].at * 4, &changes[i].value, 4);
        assert_int_equal(frame_get_captioned(out, bytes, &captioned, &taken, &err), LIMOE_CORRUPT);
        if (!strstr(err.message, changes[i].message))
            fail_msg("%zu: \"%s\" is not in \"%s\"", i, changes[i].message, err.message);
    }
    frame_put_captioned(written, 4, texts, 3, out);
    assert_int_equal(frame_get_captioned(out, bytes - 1, &captioned, &taken, &err), LIMOE_CORRUPT);
    assert_int_equal(frame_get_captioned(out, 7, &captioned, &taken, &err), LIMOE_CORRUPT);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_comes_out_as_it_went_in),
        cmocka_unit_test(test_steps_that_cannot_be),
        cmocka_unit_test(test_a_result_comes_out_as_it_went_in),
        cmocka_unit_test(test_results_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
