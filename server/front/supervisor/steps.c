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

#include "base/clock.h"
#include "base/error.h"
#include "server/front/supervisor/engine_parts.h"

#define MOST_IN_HAND 2

bool steps_room(const struct engine *engine) {
    return engine->phase == ENGINE_UP && engine->replay.sent < MOST_IN_HAND &&
           !membership_sending(&engine->membership);
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
        log_print(engine->options.log, LOG_ERROR, NULL, "%s: items %zu to %zu of a request failed: %s",
                  engine->label, slice->first, slice->first + slice->count - 1, message);
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
    const struct queue_demand demand = {
        .budget = options->step_tokens,
        .least = engine->replay.sent > 0 ? options->step_tokens : 0,
        .delay = (int64_t)options->batch_delay_ms * CLOCK_MILLISECOND,
    };
    if (!queue_take(options->queue, &demand, &flight->step, &engine->ask_at)) {
        replay_recycle(&engine->replay, flight);
        return NULL;
    }
    replay_add(&engine->replay, flight);
    return flight;
}

static void became_oldest(struct engine *engine) {
    engine->oldest_at = clock_now();
    engine->deadline = engine->replay.sent > 0
                           ? engine->oldest_at + (int64_t)engine->options.step_seconds * CLOCK_SECOND
                           : 0;
}

static void send_staged(struct engine *engine) {
    struct limoe_error err;
    if (engine->launcher->ops->stage && engine->phase == ENGINE_OPENING)
        engine->launcher->ops->stage(engine->launcher);
    for (uint32_t r = 0; r < engine->membership.n && engine->phase != ENGINE_DOWN; r++) {
        struct member *rank = &engine->membership.rank[r];
        if (link_sending(&rank->link) && link_send(&rank->link, &err) == LINK_BROKEN)
            lifecycle_disconnected(engine, rank, err.message);
    }
}

void steps_send(struct engine *engine) {
    engine->ask_at = 0;
    for (;;) {
        send_staged(engine);
        if (!steps_room(engine))
            return;
        struct flight *flight = next_flight(engine);
        if (!flight)
            return;
        if (!transfer_stage(&engine->transfer, flight, &engine->membership,
                            queue_over(engine->options.queue))) {
            engine->ask_at = clock_now() + CLOCK_SECOND;
            return;
        }
        replay_sent(&engine->replay);
        if (engine->replay.sent == 1)
            became_oldest(engine);
    }
}

/* ---- in */

static void count(struct engine *engine, const struct flight *flight, const struct transfer_sum *sum) {
    const struct engine_options *options = &engine->options;
    struct metrics_step step = {
        .budget = options->step_tokens,
        .duration_ns = clock_now() - engine->oldest_at,
        .compute_ns = (int64_t)sum->compute_ns,
    };
    struct metrics_routing routing = {
        .load = sum->load,
        .entropy = sum->entropy,
        .rows_sent = sum->rows_sent,
        .bytes_sent = sum->bytes_sent,
        .exchange_ns = sum->exchange_ns,
        .rank_tokens = sum->tokens,
        .ranks = engine->membership.n,
    };
    for (size_t i = 0; i < flight->step.n_slices; i++) {
        const struct queue_slice *slice = &flight->step.slices[i];
        if (slice->job->captions) {
            step.captions += slice->count;
            step.caption_tokens += slice->rows;
            continue;
        }
        for (size_t k = 0; k < slice->count; k++) {
            const struct limoe_item *item = &slice->job->items[slice->first + k];
            step.items[item->modality]++;
            step.tokens[item->modality] += item->length;
            routing.tokens[item->modality] += item->length;
        }
    }
    metrics_count_step(options->metrics, options->served, &step);
    metrics_count_model(options->metrics, options->served, METRICS_CAPTION_STEPS, step.captions > 0);
    metrics_count_routing(engine->counters, &routing);
}

/* Lets others know what the ranks have said of their GPUs. */
static void tell_gpus(struct engine *engine, const struct transfer_sum *sum) {
    pthread_mutex_lock(&engine->lock);
    for (uint32_t r = 0; r < engine->membership.n; r++) {
        engine->ranks[r].gpu_used = sum->gpu_used[r];
        engine->ranks[r].gpu_total = sum->gpu_total[r];
    }
    pthread_mutex_unlock(&engine->lock);
}

/* Of each answer, a refusal and a probe's too. */
static void count_tails(struct engine *engine, const struct frame_tails *tails) {
    const struct engine_options *options = &engine->options;
    const struct {
        enum metrics_model_event event;
        uint64_t n;
    } counts[] = {
        {METRICS_ADAPTER_READS, tails->reads},           {METRICS_ADAPTER_DROPS, tails->drops},
        {METRICS_ADAPTER_TRUNK_ROWS, tails->trunk_rows}, {METRICS_ADAPTER_TAIL_ROWS, tails->tail_rows},
        {METRICS_TRUNK_CACHE_HITS, tails->hits},         {METRICS_TRUNK_CACHE_MISSES, tails->misses}};
    atomic_store(&engine->tails, tails->held);
    atomic_store(&engine->tail_bytes, tails->bytes);
    atomic_store(&engine->known, tails->known);
    atomic_store(&engine->known_bytes, tails->known_bytes);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        metrics_count_model(options->metrics, options->served, counts[i].event, counts[i].n);
}

/* Ends the oldest step, which has been computed or refused. */
static void finish(struct engine *engine, const struct transfer_sum *sum) {
    struct flight *flight = replay_oldest(&engine->replay);
    tell_gpus(engine, sum);
    count_tails(engine, &sum->tails);
    if (sum->status == LIMOE_OK) {
        if (!flight->step.slices[0].job->probe)
            count(engine, flight, sum);
        replay_remove(&engine->replay);
        became_oldest(engine);
        give_back(engine, flight);
        return;
    }
    if (!replay_divide(&engine->replay))
        steps_fail(engine, sum->status, sum->message);
    else
        log_print(engine->options.log, LOG_WARNING, NULL,
                  "%s: a step was refused, and is computed in parts: %s", engine->label, sum->message);
    became_oldest(engine);
}

/* Whether the frame is a RESULT which says that the rank has lost the others. It answers no step. */
static bool has_lost_peers(struct engine *engine, const struct link *link) {
    struct frame_result result;
    if (!engine->launcher->ops->separable ||
        frame_get_result(&engine->transfer.shape, &link->frame, link->payload, &result, NULL) != LIMOE_OK ||
        result.status != LIMOE_LOST)
        return false;
    lifecycle_peers_lost(engine, result.message);
    return true;
}

/* The oldest step is answered when all ranks have answered it. */
static void receive_result(struct engine *engine, struct member *rank) {
    struct membership *membership = &engine->membership;
    struct limoe_error err;
    const struct flight *oldest = replay_oldest(&engine->replay);
    if (has_lost_peers(engine, &rank->link))
        return;
    bool due = oldest && (engine->replay.sent > 1 || !link_sending(&rank->link));
    if (due && membership->answered == 0)
        transfer_begin(&engine->transfer);
    if (!due) {
        lifecycle_rank_lost(engine, rank, "it answered what it was not asked");
    } else if (transfer_receive(&engine->transfer, (uint32_t)(rank - membership->rank), &rank->link, oldest,
                                &err) != LIMOE_OK) {
        lifecycle_rank_lost(engine, rank, err.message);
    } else if (membership_answered(membership, rank)) {
        lifecycle_answered(engine);
        finish(engine, &engine->transfer.sum);
    }
}

/* The frames that this rank may send now. While ranks are brought together anew, answers to earlier steps may
 * still come. */
unsigned steps_due(const struct engine *engine, const struct member *rank) {
    if (engine->phase == ENGINE_UP)
        return FRAME_IN(FRAME_RESULT);
    return rank->connected ? engine->launcher->ops->opening : FRAME_IN(FRAME_CONNECTED);
}

static uint64_t longest_due(const struct engine *engine) {
    const struct frame_shape *shape = &engine->transfer.shape; /* zeros until a model is known */
    const uint64_t result = frame_longest_captioned(shape) + frame_longest_result(shape);
    return engine->phase == ENGINE_OPENING && result < FRAME_HELLO_BYTES ? FRAME_HELLO_BYTES : result;
}

/* A rank may have answered the second step before another has answered the first; and CONNECTED and HELLO
 * come once. */
bool steps_listening(const struct engine *engine, const struct member *rank) {
    if (rank->link.fd < 0 || engine->phase == ENGINE_DOWN)
        return false;
    return engine->phase == ENGINE_OPENING ? !rank->heard : !rank->answered;
}

void steps_receive(struct engine *engine, struct member *rank) {
    while (steps_listening(engine, rank)) {
        struct limoe_error err;
        switch (link_receive_any(&rank->link, steps_due(engine, rank), longest_due(engine), &err)) {
        case LINK_WAITS:
            return;
        case LINK_DONE:
            if (rank->link.frame.type == FRAME_HELLO) {
                lifecycle_hello(engine, rank);
                return; /* ranks may have changed places: `rank` may be another now */
            }
            if (rank->link.frame.type == FRAME_UNIQUE_ID)
                lifecycle_unique_id(engine, rank);
            else if (rank->link.frame.type == FRAME_CONNECTED)
                lifecycle_connected(engine, rank);
            else if (engine->phase == ENGINE_UP)
                receive_result(engine, rank);
            break;
        case LINK_ENDED:
            lifecycle_disconnected(engine, rank, "it closed its connection");
            return;
        case LINK_BROKEN:
            lifecycle_disconnected(engine, rank, err.message);
            return;
        }
    }
}
