/* steps.c - steps out, results in.
 *
 * At most two steps are with the engine. While it computes one, a second is sent ahead only if it is full:
 * then nothing that comes later could join it, and the engine goes on without a pause. One that is not full
 * stays in the queue, where more may join it.
 *
 * A step that the engine refuses as a whole is computed again job by job, so that a failure stays with the
 * job that causes it and its neighbours get their answers.
 */
#include <stdio.h>

#include "engine/engine_parts.h"
#include "error.h"
#include "observe/clock.h"

#define MOST_IN_HAND 2

bool steps_room(const struct engine *engine) {
    return engine->phase == ENGINE_UP && engine->replay.sent < MOST_IN_HAND && !link_sending(&engine->link);
}

/* ---- giving back */

static void give_back(struct engine *engine, struct flight *flight) {
    queue_give_back(engine->options.queue, &flight->step);
    replay_recycle(&engine->replay, flight);
}

void steps_fail(struct engine *engine, enum limoe_status status, const char *message) {
    struct flight *flight = replay_remove(&engine->replay);
    for (size_t i = 0; i < flight->step.n_slices; i++) {
        struct queue_slice *slice = &flight->step.slices[i];
        slice->failed = true;
        limoe_fail(&slice->job->error, status, "%s", message);
        log_print(engine->options.log, LOG_ERROR, NULL, "engine: items %zu to %zu of a request failed: %s",
                  slice->first, slice->first + slice->count - 1, message);
    }
    give_back(engine, flight);
}

void steps_fail_all(struct engine *engine, enum limoe_status status, const char *message) {
    while (engine->replay.first)
        steps_fail(engine, status, message);
}

/* ---- out */

/* The next step to send: one that was sent before, or a new one. NULL: none now. */
static struct flight *next_flight(struct engine *engine) {
    const struct engine_options *options = &engine->options;
    struct flight *flight = replay_next(&engine->replay);
    if (flight)
        return flight;
    flight = replay_new(&engine->replay);
    if (!flight) {
        engine->ask_at = clock_now() + CLOCK_SECOND; /* there may be memory by then */
        return NULL;
    }
    const struct queue_wish wish = {
        .budget = options->step_tokens,
        .least = engine->replay.sent > 0 ? options->step_tokens : 0,
        .delay = (int64_t)options->batch_delay_ms * CLOCK_MILLISECOND,
    };
    if (!queue_take(options->queue, &wish, &flight->step, &engine->ask_at)) {
        replay_recycle(&engine->replay, flight);
        return NULL;
    }
    replay_add(&engine->replay, flight);
    return flight;
}

static void became_oldest(struct engine *engine) {
    engine->oldest_at = clock_now();
    engine->patience = engine->replay.sent > 0
                           ? engine->oldest_at + (int64_t)engine->options.step_seconds * CLOCK_SECOND
                           : 0;
}

void steps_send(struct engine *engine) {
    struct limoe_error err;
    engine->ask_at = 0;
    for (;;) {
        if (engine->phase == ENGINE_UP && link_send(&engine->link, &err) == LINK_BROKEN)
            lifecycle_disconnected(engine, err.message);
        if (!steps_room(engine))
            return;
        struct flight *flight = next_flight(engine);
        if (!flight)
            return;
        if (!transfer_stage(&engine->transfer, flight, &engine->link)) {
            engine->ask_at = clock_now() + CLOCK_SECOND;
            return;
        }
        replay_sent(&engine->replay);
        if (engine->replay.sent == 1)
            became_oldest(engine);
    }
}

/* ---- in */

static void count(struct engine *engine, const struct flight *flight, const struct frame_result *result) {
    const struct engine_options *options = &engine->options;
    struct metrics_step step = {
        .budget = options->step_tokens,
        .duration_ns = clock_now() - engine->oldest_at,
        .compute_ns = (int64_t)result->compute_ns,
    };
    struct metrics_routing routing = {.load = result->load, .entropy = result->entropy};
    for (size_t i = 0; i < flight->step.n_slices; i++) {
        const struct queue_slice *slice = &flight->step.slices[i];
        for (size_t k = 0; k < slice->count; k++) {
            const struct limoe_item *item = &slice->job->items[slice->first + k];
            step.items[item->modality]++;
            step.tokens[item->modality] += item->length;
            routing.tokens[item->modality] += item->length;
        }
    }
    metrics_count_step(options->metrics, &step);
    metrics_count_routing(engine->counters, &routing);
}

/* The oldest step is computed, or refused. */
static void finish(struct engine *engine, const struct frame_result *result) {
    struct flight *flight = replay_oldest(&engine->replay);
    if (result->status == LIMOE_OK) {
        if (!flight->step.slices[0].job->probe)
            count(engine, flight, result);
        replay_remove(&engine->replay);
        became_oldest(engine);
        give_back(engine, flight);
        return;
    }
    if (!replay_divide(&engine->replay))
        steps_fail(engine, result->status, result->message);
    else
        log_print(engine->options.log, LOG_WARNING, NULL,
                  "engine: a step was refused, and is computed in parts: %s", result->message);
    became_oldest(engine);
}

static void receive_result(struct engine *engine) {
    struct frame_result result;
    struct limoe_error err;
    const struct flight *oldest = replay_oldest(&engine->replay);
    bool due = oldest && (engine->replay.sent > 1 || !link_sending(&engine->link));
    if (!due) {
        lifecycle_lost(engine, "it answered what it was not asked");
    } else if (transfer_receive(&engine->transfer, &engine->link, oldest, &result, &err) != LIMOE_OK) {
        lifecycle_lost(engine, err.message);
    } else {
        lifecycle_answered(engine);
        finish(engine, &result);
    }
}

void steps_receive(struct engine *engine) {
    while (engine->phase != ENGINE_DOWN) {
        struct limoe_error err;
        bool opening = engine->phase == ENGINE_OPENING;
        uint64_t most = opening ? FRAME_HELLO_BYTES : frame_longest_result(&engine->transfer.shape);
        switch (link_receive(&engine->link, opening ? FRAME_HELLO : FRAME_RESULT, most, &err)) {
        case LINK_WAITS:
            return;
        case LINK_DONE:
            if (opening)
                lifecycle_hello(engine);
            else
                receive_result(engine);
            break;
        case LINK_ENDED:
            lifecycle_disconnected(engine, "it closed its connection");
            return;
        case LINK_BROKEN:
            lifecycle_disconnected(engine, err.message);
            return;
        }
    }
}
