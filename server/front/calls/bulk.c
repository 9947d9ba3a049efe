/* bulk.c - a bulk's life, and the lines of its body as they come in. */
#include "server/front/calls/bulk.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/api/answer.h"
#include "server/front/calls/bulk_parts.h"
#include "server/front/http/account.h"
#include "server/front/http/timeouts.h"

#define SMALL_LINE ((size_t)64 << 10) /* bytes */

/* ---- life */

static void free_bulk(struct bulk *bulk) {
    for (uint64_t i = bulk->first; i < bulk->next; i++) {
        struct bulk_line *line = bulk_line_at(bulk, i);
        if (line->call)
            call_end(line->call, false);
        buffer_free(&line->body);
        buffer_free(&line->answer);
    }
    atomic_fetch_sub(&bulk->head.server->spooled, bulk->spooled);
    spool_free(&bulk->spool);
    account_release(bulk->head.account);
    pthread_mutex_destroy(&bulk->lock);
    free(bulk);
}

void bulk_release(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool last = --bulk->references == 0;
    pthread_mutex_unlock(&bulk->lock);
    if (last)
        free_bulk(bulk);
}

/* A small line is read however full the queue is: its call waits for room. */
static bool hold(void *arg, size_t bytes) {
    struct call *call = arg;
    const struct queue_load more = {.bytes = bytes};
    if (call_hold(call, bytes))
        return true;
    if (call->bulk->lines.line.capacity + bytes > SMALL_LINE)
        return false;
    queue_charge(call->counter, &more);
    call->held.bytes += bytes;
    return true;
}

static void let_go(void *call, size_t bytes) {
    call_let_go(call, bytes);
}

static struct line_head head_of(const struct call *call) {
    struct line_head head = {.server = call->server,
                             .route = call->route,
                             .account = call->account,
                             .within = call->deadline ? call->deadline - call->began : 0};
    if (call->account)
        account_retain(call->account);
    memcpy(head.id, call->id, sizeof head.id);
    return head;
}

void bulk_begin(struct call *call) {
    struct api_error error;
    if (!call_hold(call, sizeof(struct bulk) + SPOOL_MEMORY)) {
        call_refuse_full(call);
        return;
    }
    struct bulk *bulk = calloc(1, sizeof *bulk);
    if (!bulk || pthread_mutex_init(&bulk->lock, NULL) != 0) {
        free(bulk);
        api_fail_memory(&error);
        call_fail(call, &error);
        return;
    }
    bulk->head = head_of(call);
    bulk->lines = (struct lines){
        .most = call->server->options.max_body_bytes, .hold = hold, .let_go = let_go, .arg = call};
    bulk->spool.folder = call->server->options.state_dir;
    bulk->connection = call->connection;
    bulk->references = 1;
    call->bulk = bulk;
}

void bulk_end(struct call *call) {
    struct bulk *bulk = call->bulk;
    bulk_cancel(bulk);
    lines_free(&bulk->lines);
    call->bulk = NULL;
    call->total_ns = clock_now() - call->began;
    bulk_release(bulk);
}

/* What the request itself holds is counted where its next lines are: it may last for hours, and would keep a
 * model in memory that was replaced meanwhile. With several models the intake counts it. */
static void follow_model(struct call *call) {
    if (!call->generation)
        return;
    roster_release(call->roster);
    call->roster = server_roster(call->server);
    struct generation *now = call->roster->generation[0];
    if (now == call->generation)
        return;
    generation_retain(now);
    queue_charge(now->queue, &call->held);
    queue_release(call->counter, &call->held);
    generation_release(call->generation);
    call->generation = now;
    call->counter = now->queue;
}

bool bulk_enter(struct call *call) {
    struct server *server = call->server;
    atomic_fetch_add(&server->handed, 1);
    if (atomic_load(&server->phase) == SERVER_STOPPED) {
        atomic_fetch_sub(&server->handed, 1);
        return false;
    }
    follow_model(call);
    return true;
}

void bulk_leave(struct call *call) {
    atomic_fetch_sub(&call->server->handed, 1);
}

/* ---- the connection, suspended */

static void on_gone(void *bulk) {
    bulk_cancel(bulk);
}

enum bulk_pause bulk_pause(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct server *server = call->server;
    if (!timeouts_working(server->timeouts, bulk->timed))
        return BULK_SHUT;
    bulk->resumed = true;
    timeouts_watch(server->timeouts, bulk->timed, on_gone, bulk);
    pthread_mutex_lock(&bulk->lock);
    const bool pauses = !bulk_may_go_on(bulk);
    if (pauses) {
        atomic_fetch_add(&server->handed, 1);
        bulk->state = CONNECTION_PAUSED;
        MHD_suspend_connection(bulk->connection);
    }
    pthread_mutex_unlock(&bulk->lock);
    if (!pauses)
        timeouts_unwatch(server->timeouts, bulk->timed);
    bulk_set_to_work(bulk); /* it may be paused for what the task has to do */
    return pauses ? BULK_PAUSED : BULK_GOES_ON;
}

bool bulk_is_paused(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool paused = bulk->state != CONNECTION_RUNS;
    pthread_mutex_unlock(&bulk->lock);
    return paused;
}

/* Called before lines are read. False: the connection is to be closed. */
static bool go_on(struct call *call) {
    struct bulk *bulk = call->bulk;
    const bool resumed = bulk->resumed;
    bulk->resumed = false;
    bulk->timed = call->from->timed;
    bulk->loop = call->from->loop;
    pthread_mutex_lock(&bulk->lock);
    const bool gone = bulk->gone;
    pthread_mutex_unlock(&bulk->lock);
    return !gone && (!resumed || timeouts_receiving(call->server->timeouts, bulk->timed, clock_now()));
}

/* ---- lines */

/* Puts a line into the ring, which has room. The one that must be begun now, or NULL: it is done, or waits behind
 * others that do. */
static struct bulk_line *put(struct bulk *bulk, const struct bulk_line *line) {
    pthread_mutex_lock(&bulk->lock);
    struct bulk_line *place = bulk_line_at(bulk, bulk->next++);
    *place = *line;
    place->seen = bulk->freed;
    bulk->bytes += line->weight;
    if (line->state == LINE_WORKING && bulk->waiting > 0)
        place->state = LINE_WAITING;
    bulk->waiting += place->state == LINE_WAITING;
    bulk->working += place->state == LINE_WORKING;
    const bool begins = place->state == LINE_WORKING;
    pthread_mutex_unlock(&bulk->lock);
    return begins ? place : NULL;
}

static struct bulk_line refused_line(struct call *call, enum lines_found found) {
    struct bulk_line line = {.state = LINE_DONE};
    struct api_error error;
    if (found == LINES_TOO_LONG)
        api_fail(&error, 413, "line_too_long", NULL,
                 "the line is longer than the %zu bytes that are accepted", call->bulk->lines.most);
    else
        api_fail(&error, 429, "queue_full", NULL,
                 "the server holds as much as it will; send the line again later");
    metrics_count_refusal(call->server->metrics,
                          found == LINES_TOO_LONG ? METRICS_TOO_LARGE : METRICS_QUEUE_FULL);
    metrics_count_request(call->server->metrics, call->route->series, METRICS_NO_MODEL, error.status, 0);
    answer_error(&line.answer, &error);
    buffer_string(&line.answer, "\n");
    return line;
}

/* The line's bytes are held by its own call from here on. */
static struct bulk_line good_line(struct call *call) {
    struct bulk_line line = {.state = LINE_WORKING, .body = lines_take(&call->bulk->lines)};
    line.weight = line.body.size;
    line.charged = call->n == 1; /* with the request's head */
    call_let_go(call, line.body.capacity);
    return line;
}

static void take_line(struct call *call, enum lines_found found) {
    call->n++;
    const struct bulk_line line = found == LINES_LINE ? good_line(call) : refused_line(call, found);
    struct bulk_line *begins = put(call->bulk, &line);
    if (begins)
        bulk_begin_line(call->bulk, begins);
    else
        bulk_set_to_work(call->bulk);
}

enum room {
    ROOM,
    ROOM_NONE,
    ROOM_NEVER, /* the rest of the body is of no consequence */
};

static enum room look_for_room(struct bulk *bulk) {
    struct api_error error;
    const bool stopping = atomic_load(&bulk->head.server->phase) >= SERVER_DRAINING;
    if (stopping)
        api_fail(&error, 503, "draining", NULL, "the server is stopping; no more lines are read");
    enum room room = ROOM_NONE;
    pthread_mutex_lock(&bulk->lock);
    if (stopping)
        bulk_fail(bulk, &error);
    if (!bulk->gone && bulk->faulty)
        room = ROOM_NEVER;
    else if (!bulk->gone && bulk_may_go_on(bulk))
        room = ROOM;
    pthread_mutex_unlock(&bulk->lock);
    return room;
}

/* Takes a line, or what there is of one. Whether one has ended. */
static bool read_line(struct call *call, const char **at, const char *end, enum room room) {
    struct bulk *bulk = call->bulk;
    const char *from = *at;
    const enum lines_found found = room == ROOM ? lines_read(&bulk->lines, at, end) : LINES_NONE;
    bool ended = found != LINES_NONE;
    if (room == ROOM_NEVER) {
        ended = memchr(from, '\n', (size_t)(end - from));
        *at = end;
    }
    call->received += (size_t)(*at - from);
    timeouts_received(bulk->timed, (size_t)(*at - from));
    if (found != LINES_NONE)
        take_line(call, found);
    return ended;
}

static bool read_lines(struct call *call, const char *bytes, size_t *size) {
    struct bulk *bulk = call->bulk;
    const char *at = bytes, *end = bytes + *size;
    enum bulk_pause pause = BULK_GOES_ON;
    bool some = false;
    while (at < end && pause == BULK_GOES_ON) {
        const enum room room = look_for_room(bulk);
        if (room != ROOM_NONE) {
            some |= read_line(call, &at, end, room);
            continue;
        }
        pause = bulk_pause(call);
        if (pause == BULK_GOES_ON && !go_on(call))
            return false;
    }
    *size = (size_t)(end - at);
    if (pause != BULK_GOES_ON)
        return pause == BULK_PAUSED;
    /* The time for a body is each line's. */
    return !some || timeouts_receiving(call->server->timeouts, bulk->timed, clock_now());
}

bool bulk_receive(struct call *call, const char *bytes, size_t *size) {
    if (bulk_is_paused(call->bulk))
        return true;
    if (!bulk_enter(call))
        return false;
    const bool good = go_on(call) && read_lines(call, bytes, size);
    bulk_leave(call);
    return good;
}

static enum bulk_input end_lines(struct call *call) {
    struct bulk *bulk = call->bulk;
    while (go_on(call)) {
        if (!lines_pending(&bulk->lines))
            return BULK_READ;
        const enum room room = look_for_room(bulk);
        if (room == ROOM_NONE) {
            const enum bulk_pause pause = bulk_pause(call);
            if (pause != BULK_GOES_ON)
                return pause == BULK_PAUSED ? BULK_SUSPENDED : BULK_LOST;
            continue;
        }
        const enum lines_found found = room == ROOM ? lines_end(&bulk->lines) : LINES_NONE;
        if (found != LINES_NONE)
            take_line(call, found);
        return BULK_READ;
    }
    return BULK_LOST;
}

enum bulk_input bulk_complete(struct call *call) {
    if (bulk_is_paused(call->bulk))
        return BULK_SUSPENDED;
    if (!bulk_enter(call))
        return BULK_LOST;
    const enum bulk_input input = end_lines(call);
    bulk_leave(call);
    return input;
}
