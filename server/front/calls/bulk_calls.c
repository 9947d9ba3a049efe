/* bulk_calls.c - the calls of lines: begun, answered, begun again.
 *
 * A line that finds its queue full waits until another line of the same bulk is done, which makes room. It is
 * refused for good only if none is on its way, none is about to be spooled, and nothing was given back since it
 * was begun. While lines wait, working > 0, or the oldest line is done and the task will see to them.
 */
#include "base/clock.h"
#include "server/api/answer.h"
#include "server/front/calls/bulk_parts.h"
#include "server/front/calls/stages.h"

struct bulk_line *bulk_wake(struct bulk *bulk) {
    for (uint64_t i = bulk->first; i < bulk->next && bulk->waiting > 0 && !bulk->gone; i++) {
        struct bulk_line *line = bulk_line_at(bulk, i);
        if (line->state != LINE_WAITING)
            continue;
        line->state = LINE_WORKING;
        line->seen = bulk->freed;
        bulk->waiting--;
        bulk->working++;
        return line;
    }
    return NULL;
}

static struct bulk_line *done(struct bulk *bulk, struct bulk_line *line) {
    line->state = LINE_DONE;
    bulk->bytes -= line->weight;
    return bulk_wake(bulk);
}

/* A line has no memory for a call. The next to be begun, or NULL. */
static struct bulk_line *settle_without(struct bulk *bulk, struct bulk_line *line) {
    struct api_error error;
    api_fail_memory(&error);
    answer_error(&line->answer, &error);
    buffer_string(&line->answer, "\n");
    buffer_free(&line->body);
    pthread_mutex_lock(&bulk->lock);
    bulk->working--;
    struct bulk_line *next = done(bulk, line);
    pthread_mutex_unlock(&bulk->lock);
    return next;
}

/* Gives back what a refused call holds of its queue, before anyone learns that it was refused. */
static void give_back_room(struct call *call) {
    const struct queue_load load = {
        .items = call->held.items, .tokens = call->held.tokens, .pixels = call->held.pixels};
    if (call->counter)
        queue_release(call->counter, &load);
    call->held.items = call->held.tokens = call->held.pixels = 0;
}

/* Whether a line that was refused for want of room is to be begun again: at once, as *next, or later, by whoever
 * makes room. With the lock. */
static bool comes_again(struct bulk *bulk, struct call *call, struct buffer *body, struct bulk_line **next) {
    struct bulk_line *line = call->line;
    const bool drains = bulk_line_at(bulk, bulk->first)->state == LINE_DONE;
    const bool later = bulk->working > 0 || drains, now = line->seen != bulk->freed;
    if (!call->full || bulk->gone || (!later && !now))
        return false;
    line->call = NULL;
    line->body = *body;
    *body = (struct buffer){0};
    line->charged = true;
    if (later) {
        line->state = LINE_WAITING;
        bulk->waiting++;
    } else {
        line->seen = bulk->freed + 1; /* what it gives back itself is no reason to try again */
        bulk->working++;
        *next = line;
    }
    return true;
}

/* A line's call is answered: it is done, or comes again. The next to be begun, or NULL. */
static struct bulk_line *settle(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct bulk_line *next = NULL;
    struct server *server = call->server;
    struct buffer body = {0};
    const bool full = call->full;
    if (full) {
        body = call->body;
        call->body = (struct buffer){0};
        give_back_room(call);
    }
    call->total_ns = clock_now() - call->began;
    call_trim(call);
    pthread_mutex_lock(&bulk->lock);
    bulk->working--;
    const bool again = comes_again(bulk, call, &body, &next);
    if (!again)
        next = done(bulk, call->line);
    bulk->freed++;
    pthread_mutex_unlock(&bulk->lock);
    if (again)
        call_end(call, false); /* else it is the task's */
    else if (full)
        metrics_count_refusal(server->metrics, METRICS_QUEUE_FULL);
    buffer_free(&body);
    return next;
}

void bulk_begin_line(struct bulk *bulk, struct bulk_line *line) {
    bool settled = false;
    while (line) {
        struct call *call = call_begin_line(&bulk->head, line, &line->body, line->charged);
        if (!call) {
            line = settle_without(bulk, line);
            settled = true;
            continue;
        }
        const bool goes_on = call->stage != CALL_ANSWERED;
        call->bulk = bulk;
        pthread_mutex_lock(&bulk->lock);
        line->call = call;
        if (bulk->gone)
            atomic_store(&call->gone, true);
        bulk->references += goes_on;
        pthread_mutex_unlock(&bulk->lock);
        if (goes_on) {
            atomic_fetch_add(&bulk->head.server->handed, 1);
            stages_begin(call);
            break;
        }
        line = settle(call);
        settled = true;
    }
    if (settled)
        bulk_set_to_work(bulk);
}

/* Where one line was done there is often room for more than one. */
static void begin_more(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    struct bulk_line *line = bulk_wake(bulk);
    pthread_mutex_unlock(&bulk->lock);
    bulk_begin_line(bulk, line);
}

void bulk_line_done(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct server *server = call->server;
    const bool full = call->full;
    bulk_begin_line(bulk, settle(call));
    if (!full)
        begin_more(bulk);
    bulk_set_to_work(bulk);
    bulk_release(bulk);
    atomic_fetch_sub(&server->handed, 1);
}

void bulk_cancel(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    bulk->gone = true;
    for (uint64_t i = bulk->first; i < bulk->next; i++) {
        struct bulk_line *line = bulk_line_at(bulk, i);
        if (line->state == LINE_WORKING && line->call)
            stages_gone(line->call);
    }
    pthread_mutex_unlock(&bulk->lock);
}
