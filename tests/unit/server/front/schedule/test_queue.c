/* test_queue.c - protects what the queue promises: its bound, fairness between jobs, and that every job ends
 * once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "server/front/schedule/queue.h"

#define MOST 4096

struct probe_job {
    struct job job;
    struct limoe_item items[MOST];
    int ended; /* how often done() was called */
};

static void done(struct job *job) {
    ((struct probe_job *)job)->ended++;
}

/* n items of `length` tokens each. */
static struct probe_job *make(size_t n, uint32_t length) {
    struct probe_job *job = calloc(1, sizeof *job);
    assert_non_null(job);
    for (size_t i = 0; i < n; i++)
        job->items[i].length = length;
    job->job.items = job->items;
    job->job.n = n;
    job->job.done = done;
    return job;
}

static void push(struct queue *queue, struct probe_job *job) {
    struct queue_load load = {.items = job->job.n};
    for (size_t i = 0; i < job->job.n; i++)
        load.tokens += job->items[i].length;
    queue_charge(queue, &load);
    assert_true(queue_push(queue, &job->job));
}

static bool take(struct queue *queue, uint64_t budget, struct queue_step *step) {
    int64_t wake_at;
    return queue_take(queue, &(struct queue_demand){.budget = budget}, step, &wake_at);
}

static bool woken(struct queue *queue) {
    struct pollfd event = {.fd = queue_event(queue), .events = POLLIN};
    return poll(&event, 1, 0) == 1;
}

static const struct queue_load wide = {1000000, 1000000, 1000000, 1000000};

static void test_admission_stops_at_each_limit(void **state) {
    (void)state;
    const struct queue_load limits[] = {
        {10, 1000, 1000, 1000}, {1000, 10, 1000, 1000}, {1000, 1000, 1000, 10}};
    const struct queue_load nine[] = {{9, 1, 1, 1}, {1, 9, 1, 1}, {1, 1, 1, 9}};
    const struct queue_load hundred[] = {{100, 1, 1, 1}, {1, 100, 1, 1}, {1, 1, 1, 100}};
    const struct queue_load one = {1, 1, 1, 1}, none = {0};
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
    const struct queue_load limits = {1000, 1000, 1000, 1000}, none = {0};
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
    const struct queue_load limits = {1000000, 1000000, 1000, 1000000}, none = {0};
    const struct queue_load bytes[] = {{.bytes = 5000}, {.bytes = 60}, {.bytes = 20}, {.bytes = 1}};
    const uint64_t most[] = {500, 520, 840, 992};
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
    const struct queue_load limits = {10, 10, 10, 10}, more = {.bytes = 7};
    struct queue_load held = {0};
    struct queue *queue = queue_new(&limits);
    for (size_t i = 0; i < 100; i++) {
        assert_true(queue_admit(queue, &more, &held));
        held.bytes += more.bytes;
    }
    queue_free(queue);
}

static void test_a_long_job_does_not_starve_a_short_one(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *first = make(2048, 16), *second = make(1, 16);
    struct queue_step step;
    assert_true(queue_step_init(&step, 256));
    push(queue, first);
    push(queue, second);
    assert_true(take(queue, 256, &step));
    assert_int_equal(step.rows, 256);
    assert_int_equal(second->job.taken, 1);
    queue_give_back(queue, &step);
    assert_int_equal(second->ended, 1);
    assert_int_equal(second->job.outcome, JOB_DONE);
    assert_int_equal(first->ended, 0);
    size_t steps = 1;
    for (; !first->ended; steps++) {
        assert_true(take(queue, 256, &step));
        assert_true(step.rows <= 256);
        queue_give_back(queue, &step);
    }
    assert_int_equal(steps, 129); /* 2,049 items, 16 a step */
    struct queue_load depth = queue_depth(queue);
    assert_int_equal(depth.items + depth.tokens, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(first);
    free(second);
}

static void test_two_long_jobs_share_steps_equally(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *a = make(1000, 4), *b = make(1000, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 512));
    push(queue, a);
    push(queue, b);
    for (int i = 0; i < 5; i++) {
        assert_true(take(queue, 512, &step));
        assert_int_equal(step.items, 128);
        queue_give_back(queue, &step);
        assert_int_equal(a->job.taken, b->job.taken);
    }
    queue_abandon(queue);
    assert_int_equal(a->ended + b->ended, 2);
    assert_int_equal(a->job.outcome, JOB_ABANDONED);
    queue_step_free(&step);
    queue_free(queue);
    free(a);
    free(b);
}

static void test_items_come_in_order_and_once(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *jobs[5];
    size_t seen[5] = {0};
    for (size_t i = 0; i < 5; i++) {
        jobs[i] = make(1 + 37 * i, (uint32_t)(1 + 7 * i));
        push(queue, jobs[i]);
    }
    struct queue_step step;
    assert_true(queue_step_init(&step, 100));
    size_t ended = 0;
    while (ended < 5) {
        assert_true(take(queue, 100, &step));
        uint64_t rows = 0;
        for (size_t i = 0; i < step.n_slices; i++) {
            const struct queue_slice *slice = &step.slices[i];
            size_t which = 0;
            while (&jobs[which]->job != slice->job)
                which++;
            assert_int_equal(slice->first, seen[which]);
            assert_int_equal(slice->first_row, seen[which] * jobs[which]->items[0].length);
            assert_int_equal(slice->rows, slice->count * jobs[which]->items[0].length);
            seen[which] += slice->count;
            rows += slice->rows;
        }
        assert_int_equal(rows, step.rows);
        queue_give_back(queue, &step);
        ended = 0;
        for (size_t i = 0; i < 5; i++)
            ended += (size_t)jobs[i]->ended;
    }
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(seen[i], jobs[i]->job.n);
        assert_int_equal(jobs[i]->ended, 1);
        free(jobs[i]);
    }
    queue_step_free(&step);
    queue_free(queue);
}

static void test_an_item_longer_than_a_step_goes_alone(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *big = make(2, 100);
    struct queue_step step;
    assert_true(queue_step_init(&step, 10));
    push(queue, big);
    for (int i = 0; i < 2; i++) {
        assert_true(take(queue, 10, &step));
        assert_int_equal(step.items, 1);
        queue_give_back(queue, &step);
    }
    assert_int_equal(big->ended, 1);
    queue_step_free(&step);
    queue_free(queue);
    free(big);
}

static void test_the_probe_goes_first_and_alone(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(3, 16), *probe = make(2, 64);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    assert_true(queue_push_first(queue, &probe->job));
    assert_true(take(queue, 64, &step));
    assert_int_equal(step.n_slices, 1);
    assert_ptr_equal(step.slices[0].job, &probe->job);
    assert_int_equal(step.items, 2);
    queue_give_back(queue, &step);
    assert_int_equal(probe->ended, 1);
    assert_int_equal(queue_depth(queue).items, 3); /* it was in no count, so it left none */
    queue_abandon(queue);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
    free(probe);
}

static void test_a_deadline_ends_what_waits_but_not_what_is_computed(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *late = make(2, 16), *started = make(200, 16), *patient = make(1, 16);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    started->job.deadline = late->job.deadline = 5;
    push(queue, started);
    assert_true(take(queue, 64, &step));
    push(queue, late);
    push(queue, patient);
    queue_expire(queue, 4);
    assert_int_equal(late->ended, 0);
    queue_expire(queue, 5);
    assert_int_equal(late->ended, 1);
    assert_int_equal(late->job.outcome, JOB_EXPIRED);
    assert_int_equal(started->ended, 0); /* a step holds some of it */
    assert_int_equal(patient->ended, 0);
    queue_give_back(queue, &step);
    queue_expire(queue, 6);
    assert_int_equal(started->ended, 1);
    assert_int_equal(started->job.outcome, JOB_EXPIRED);
    assert_int_equal(queue_depth(queue).items, 1);
    assert_int_equal(queue_depth(queue).tokens, 16);
    queue_abandon(queue);
    queue_step_free(&step);
    queue_free(queue);
    free(late);
    free(started);
    free(patient);
}

static void test_a_failed_slice_ends_its_job_only(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *bad = make(100, 4), *good = make(2, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, bad);
    push(queue, good);
    assert_true(take(queue, 64, &step));
    for (size_t i = 0; i < step.n_slices; i++)
        step.slices[i].failed = step.slices[i].job == &bad->job;
    assert_true(step.n_slices > 2); /* several slices of the bad one */
    queue_give_back(queue, &step);
    assert_int_equal(bad->ended, 1);
    assert_int_equal(bad->job.outcome, JOB_FAILED);
    assert_int_equal(good->ended, 1);
    assert_int_equal(good->job.outcome, JOB_DONE);
    assert_int_equal(queue_depth(queue).items, 0);
    assert_int_equal(queue_depth(queue).tokens, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(bad);
    free(good);
}

static void test_abandoned_with_a_step_under_way_ends_with_the_step(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(100, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    assert_true(take(queue, 64, &step));
    queue_abandon(queue);
    assert_int_equal(job->ended, 0);
    queue_give_back(queue, &step);
    assert_int_equal(job->ended, 1);
    assert_int_equal(job->job.outcome, JOB_ABANDONED);
    assert_false(take(queue, 64, &step));
    assert_int_equal(queue_depth(queue).items, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
}

static void test_closed_computes_what_waits_and_takes_no_more(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(1, 4), *late = make(1, 4);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    queue_close(queue);
    assert_false(queue_push(queue, &late->job));
    assert_true(take(queue, 64, &step));
    queue_give_back(queue, &step);
    assert_int_equal(job->job.outcome, JOB_DONE);
    assert_false(take(queue, 64, &step));
    queue_step_free(&step);
    queue_free(queue);
    free(job);
    free(late);
}

static void *close_soon(void *queue) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    queue_close(queue);
    return NULL;
}

static void test_closing_wakes_a_waiting_engine(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct queue_step step;
    pthread_t thread;
    assert_true(queue_step_init(&step, 4));
    assert_false(take(queue, 4, &step));
    assert_false(queue_exhausted(queue));
    assert_int_equal(pthread_create(&thread, NULL, close_soon, queue), 0);
    struct pollfd event = {.fd = queue_event(queue), .events = POLLIN};
    assert_int_equal(poll(&event, 1, -1), 1);
    assert_false(take(queue, 4, &step));
    assert_true(queue_exhausted(queue));
    pthread_join(thread, NULL);
    queue_step_free(&step);
    queue_free(queue);
}

static void test_a_push_wakes_only_a_taker_that_sleeps(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *jobs[3] = {make(1, 4), make(1, 4), make(1, 4)};
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    push(queue, jobs[0]);
    assert_false(woken(queue));
    assert_true(take(queue, 64, &step));
    push(queue, jobs[1]);
    assert_false(woken(queue)); /* the taker has a step to see to */
    queue_give_back(queue, &step);
    assert_true(take(queue, 64, &step));
    queue_give_back(queue, &step);
    assert_false(take(queue, 64, &step));
    assert_false(woken(queue));
    push(queue, jobs[2]);
    assert_true(woken(queue));
    assert_true(take(queue, 64, &step));
    assert_false(woken(queue));
    queue_give_back(queue, &step);
    queue_step_free(&step);
    queue_free(queue);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(jobs[i]->ended, 1);
        free(jobs[i]);
    }
}

/* To send a step ahead is worth it only if it is full: what waits for longer is batched better. */
static void test_a_taker_that_wants_a_full_step_waits_for_one(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *half = make(4, 8), *rest = make(4, 8), *probe = make(1, 4);
    const struct queue_demand full = {.budget = 64, .least = 64};
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, half);
    assert_false(queue_take(queue, &full, &step, &wake_at));
    assert_int_equal(wake_at, 0);
    assert_true(queue_push_first(queue, &probe->job)); /* it does not fill a step, but goes ahead */
    assert_true(woken(queue));
    assert_true(queue_take(queue, &full, &step, &wake_at));
    assert_ptr_equal(step.slices[0].job, &probe->job);
    queue_give_back(queue, &step);
    assert_false(queue_take(queue, &full, &step, &wake_at));
    assert_false(woken(queue));
    push(queue, rest);
    assert_true(woken(queue));
    assert_true(queue_take(queue, &full, &step, &wake_at));
    assert_int_equal(step.rows, 64);
    queue_give_back(queue, &step);
    assert_int_equal(half->ended + rest->ended + probe->ended, 3);
    queue_step_free(&step);
    queue_free(queue);
    free(half);
    free(rest);
    free(probe);
}

static void test_a_delay_holds_a_step_until_it_is_full_or_old(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *early = make(4, 8), *filler = make(4, 8), *last = make(1, 8);
    const struct queue_demand patient = {.budget = 64, .delay = 3600 * CLOCK_SECOND};
    const struct queue_demand hasty = {.budget = 64, .delay = 1};
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, early);
    assert_false(queue_take(queue, &patient, &step, &wake_at));
    assert_int_equal(wake_at, early->job.pushed + patient.delay);
    push(queue, filler);
    assert_true(woken(queue));
    assert_true(queue_take(queue, &patient, &step, &wake_at)); /* full */
    assert_int_equal(step.rows, 64);
    queue_give_back(queue, &step);
    push(queue, last);
    assert_false(queue_take(queue, &patient, &step, &wake_at));
    while (clock_now() <= last->job.pushed)
        ;
    assert_true(queue_take(queue, &hasty, &step, &wake_at)); /* old */
    queue_give_back(queue, &step);
    assert_int_equal(early->ended + filler->ended + last->ended, 3);
    queue_step_free(&step);
    queue_free(queue);
    free(early);
    free(filler);
    free(last);
}

static void test_closed_waits_for_no_fuller_step(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(1, 4);
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    const struct queue_demand patient = {.budget = 64, .least = 64, .delay = 3600 * CLOCK_SECOND};
    assert_false(queue_take(queue, &patient, &step, &wake_at));
    queue_close(queue);
    assert_true(queue_take(queue, &patient, &step, &wake_at));
    queue_give_back(queue, &step);
    assert_int_equal(job->ended, 1);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
}

static void test_cancelled_jobs_end_once_and_not_in_the_callers_hands(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *waiting = make(3, 8), *started = make(100, 8), *other = make(1, 8);
    struct queue_step step;
    assert_true(queue_step_init(&step, 64));
    assert_false(queue_cancel(queue, &waiting->job)); /* not pushed yet */
    push(queue, started);
    assert_true(take(queue, 64, &step));
    push(queue, waiting);
    push(queue, other);

    assert_true(queue_cancel(queue, &waiting->job));
    assert_false(queue_cancel(queue, &waiting->job));
    assert_int_equal(waiting->ended, 0); /* not from within the call */
    assert_true(queue_cancel(queue, &started->job));
    assert_int_equal(queue_depth(queue).items, 8 + 1); /* what the step holds, and the other */
    queue_expire(queue, clock_now());
    assert_int_equal(waiting->ended, 1);
    assert_int_equal(waiting->job.outcome, JOB_CANCELLED);
    assert_int_equal(started->ended, 0);
    queue_give_back(queue, &step);
    assert_int_equal(started->ended, 1);
    assert_int_equal(started->job.outcome, JOB_CANCELLED);

    assert_true(take(queue, 64, &step));
    assert_int_equal(step.items, 1);
    queue_give_back(queue, &step);
    assert_int_equal(other->job.outcome, JOB_DONE);
    assert_false(queue_cancel(queue, &other->job));
    assert_int_equal(queue_depth(queue).items + queue_depth(queue).tokens, 0);
    queue_step_free(&step);
    queue_free(queue);
    free(waiting);
    free(started);
    free(other);
}

/* A taker asleep must see what was cancelled, or its client would wait for nothing. */
static void test_cancelling_wakes_a_taker_that_sleeps(void **state) {
    (void)state;
    struct queue *queue = queue_new(&wide);
    struct probe_job *job = make(1, 8);
    struct queue_step step;
    int64_t wake_at;
    assert_true(queue_step_init(&step, 64));
    push(queue, job);
    assert_false(queue_take(queue, &(struct queue_demand){.budget = 64, .least = 64}, &step, &wake_at));
    assert_false(woken(queue));
    assert_true(queue_cancel(queue, &job->job));
    assert_true(woken(queue));
    queue_expire(queue, clock_now());
    assert_int_equal(job->ended, 1);
    queue_step_free(&step);
    queue_free(queue);
    free(job);
}

/* Every division of a step of three jobs with items of 1 to 3 tokens. */
static void test_a_step_divides_between_any_two_items(void **state) {
    (void)state;
    for (size_t items = 1; items < 30; items++) {
        struct queue *queue = queue_new(&wide);
        struct probe_job *jobs[3];
        struct queue_step halves[2];
        assert_true(queue_step_init(&halves[0], 256));
        for (size_t i = 0; i < 3; i++) {
            jobs[i] = make(10, 1);
            for (uint32_t item = 0; item < 10; item++)
                jobs[i]->items[item].length = 1 + (item + (uint32_t)i) % 3;
            push(queue, jobs[i]);
        }
        assert_true(take(queue, 8 * 10, &halves[0])); /* in several turns */
        assert_int_equal(halves[0].items, 30);
        assert_true(halves[0].n_slices > 3);
        const uint64_t rows = halves[0].rows;
        assert_true(queue_step_split(&halves[0], items, &halves[1]));
        assert_int_equal(halves[0].items, items);
        assert_int_equal(halves[1].items, 30 - items);
        assert_int_equal(halves[0].rows + halves[1].rows, rows);
        size_t seen[3] = {0}, seen_rows[3] = {0};
        for (int half = 0; half < 2; half++) {
            size_t counted = 0, counted_rows = 0;
            for (size_t i = 0; i < halves[half].n_slices; i++) {
                const struct queue_slice *slice = &halves[half].slices[i];
                size_t which = 0;
                while (&jobs[which]->job != slice->job)
                    which++;
                assert_true(slice->count > 0);
                assert_int_equal(slice->first, seen[which]);
                assert_int_equal(slice->first_row, seen_rows[which]);
                size_t length = 0;
                for (size_t item = 0; item < slice->count; item++)
                    length += jobs[which]->items[slice->first + item].length;
                assert_int_equal(slice->rows, length);
                seen[which] += slice->count;
                seen_rows[which] += length;
                counted += slice->count;
                counted_rows += length;
            }
            assert_int_equal(counted, halves[half].items);
            assert_int_equal(counted_rows, halves[half].rows);
        }
        queue_give_back(queue, &halves[1]);
        queue_give_back(queue, &halves[0]);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(jobs[i]->ended, 1);
            assert_int_equal(jobs[i]->job.outcome, JOB_DONE);
            free(jobs[i]);
        }
        queue_step_free(&halves[0]);
        queue_step_free(&halves[1]);
        queue_free(queue);
    }
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
        cmocka_unit_test(test_a_long_job_does_not_starve_a_short_one),
        cmocka_unit_test(test_two_long_jobs_share_steps_equally),
        cmocka_unit_test(test_items_come_in_order_and_once),
        cmocka_unit_test(test_an_item_longer_than_a_step_goes_alone),
        cmocka_unit_test(test_the_probe_goes_first_and_alone),
        cmocka_unit_test(test_a_deadline_ends_what_waits_but_not_what_is_computed),
        cmocka_unit_test(test_a_failed_slice_ends_its_job_only),
        cmocka_unit_test(test_abandoned_with_a_step_under_way_ends_with_the_step),
        cmocka_unit_test(test_closed_computes_what_waits_and_takes_no_more),
        cmocka_unit_test(test_closing_wakes_a_waiting_engine),
        cmocka_unit_test(test_a_push_wakes_only_a_taker_that_sleeps),
        cmocka_unit_test(test_a_taker_that_wants_a_full_step_waits_for_one),
        cmocka_unit_test(test_a_delay_holds_a_step_until_it_is_full_or_old),
        cmocka_unit_test(test_closed_waits_for_no_fuller_step),
        cmocka_unit_test(test_cancelled_jobs_end_once_and_not_in_the_callers_hands),
        cmocka_unit_test(test_cancelling_wakes_a_taker_that_sleeps),
        cmocka_unit_test(test_a_step_divides_between_any_two_items),
        cmocka_unit_test(test_drain_time_follows_the_measured_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
