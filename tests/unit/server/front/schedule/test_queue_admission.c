/* test_queue_admission.c - protects what the queue lets in: its bounds, room for small requests beside
 * large ones, and the time that it tells those whom it refuses. */
#include "tests/unit/server/front/schedule/queue_fixture.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

static void test_admission_stops_at_each_limit(void **state) {
    (void)state;
    const struct queue_load limits[] = {
        {10, 1000, 1000, 1000, 0}, {1000, 10, 1000, 1000, 0}, {1000, 1000, 1000, 10, 0}};
    const struct queue_load nine[] = {{9, 1, 1, 1, 0}, {1, 9, 1, 1, 0}, {1, 1, 1, 9, 0}};
    const struct queue_load hundred[] = {{100, 1, 1, 1, 0}, {1, 100, 1, 1, 0}, {1, 1, 1, 100, 0}};
    const struct queue_load one = {1, 1, 1, 1, 0}, none = {0};
    for (size_t i = 0; i < 3; i++) {
        struct queue *queue = queue_new(&limits[i]);
        assert_true(queue_admit(queue, &nine[i], &none));
        assert_true(
            queue_admit(queue, &hundred[i], &none)); /* the one that crosses the limit comes in whole */
        assert_false(queue_admit(queue, &one, &none));
        struct queue_load depth = queue_depth(queue);
        assert_int_equal(depth.items + depth.tokens + depth.bytes + depth.pixels, 9 + 100 + 2 + 2 + 2);
        assert_true(queue_admit(queue, &one, &hundred[i])); /* nor does it stand in its own way */
        queue_release(queue, &one);
        queue_release(queue, &hundred[i]);
        assert_true(queue_admit(queue, &one, &none));
        queue_free(queue);
    }
}

/* A queue full of pixels is no reason to refuse a text, and says when it will be less full. */
static void test_pixels_stop_pictures_alone(void **state) {
    (void)state;
    const struct queue_load limits = {1000, 1000, 1000, 1000, 0}, none = {0};
    const struct queue_load picture = {.items = 1, .tokens = 1, .bytes = 1, .pixels = 1000};
    const struct queue_load text = {.items = 1, .tokens = 1, .bytes = 1};
    struct queue *queue = queue_new(&limits);
    assert_true(queue_admit(queue, &picture, &none));
    assert_false(queue_admit(queue, &picture, &none));
    assert_true(queue_admit(queue, &text, &none));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    queue_decoded(queue, 10); /* 10 pixels in 50 ms or more: 990 take at least 4.95 s */
    assert_in_range(queue_drain_seconds(queue), 5, 3600);
    assert_false(queue_depth(queue).pixels != 990);
    assert_true(queue_admit(queue, &picture, &none));
    queue_free(queue);
}

/* W4: however much large requests hold, there is room for small ones, and the smaller the more. */
static void test_w4_large_requests_leave_room_for_small_ones(void **state) {
    (void)state;
    const struct queue_load limits = {1000000, 1000000, 1000, 1000000, 0}, none = {0};
    const struct queue_load bytes[] = {{.bytes = 5000}, {.bytes = 60}, {.bytes = 20}, {.bytes = 1}};
    const uint64_t most[] = {500, 520, 840, 992, 0};
    struct queue *queue = queue_new(&limits);
    assert_false(queue_pressed(queue));
    const struct queue_load half = {.bytes = 499};
    queue_charge(queue, &half);
    for (size_t i = 0; i < 4; i++) {
        const struct queue_load rest = {.bytes = most[i] - 1 - queue_depth(queue).bytes};
        queue_charge(queue, &rest);
        assert_true(queue_admit(queue, &bytes[i], &none)); /* the one that crosses its limit */
        queue_release(queue, &bytes[i]);
        const struct queue_load one = {.bytes = 1};
        queue_charge(queue, &one);
        assert_true(queue_pressed(queue));
        assert_false(queue_admit(queue, &bytes[i], &none));
        const struct queue_load grown = {.bytes = bytes[i].bytes - 1};
        queue_charge(queue, &grown);
        assert_false(queue_admit(queue, &one, &grown)); /* piece by piece is no way around it */
        queue_release(queue, &grown);
    }
    queue_free(queue);
}

/* What a request holds itself is not in its way, up to any size. */
static void test_a_request_alone_is_let_in_whatever_its_size(void **state) {
    (void)state;
    const struct queue_load limits = {10, 10, 10, 10, 0}, more = {.bytes = 7};
    struct queue_load held = {0};
    struct queue *queue = queue_new(&limits);
    for (size_t i = 0; i < 100; i++) {
        assert_true(queue_admit(queue, &more, &held));
        held.bytes += more.bytes;
    }
    queue_free(queue);
}

/* Retry-After: if 20 items took a time t, 400 more take 20 t. What t was is known within bounds, however long
 * this thread was kept waiting for a processor. */
static void test_drain_time_follows_the_measured_pace(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(20, 10), *rest = make(400, 10);
    struct queue_step step;
    assert_true(queue_step_init(&step, 10));
    assert_int_equal(queue_drain_seconds(queue), 1);
    const int64_t earliest = clock_now();
    push(queue, job);
    const int64_t begun = clock_now();
    int64_t computed = begun;
    while (!job->ended) {
        assert_true(take(queue, 10, &step));
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        computed = clock_now();
        queue_give_back(queue, &step);
    }
    push(queue, rest);
    const double seconds = queue_drain_seconds(queue);
    const double least = 20 * (double)(computed - begun) / (double)CLOCK_SECOND;
    const double most = 20 * (double)(clock_now() - earliest) / (double)CLOCK_SECOND;
    assert_true(seconds > least / 1.5 && seconds < most * 1.5 + 1);
    queue_abandon(queue);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
    free(rest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admission_stops_at_each_limit),
        cmocka_unit_test(test_pixels_stop_pictures_alone),
        cmocka_unit_test(test_w4_large_requests_leave_room_for_small_ones),
        cmocka_unit_test(test_a_request_alone_is_let_in_whatever_its_size),
        cmocka_unit_test(test_drain_time_follows_the_measured_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
