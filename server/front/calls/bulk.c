/* bulk.c - lines in, calls on their way, answers out in order.
 *
 * `lock` guards what both the HTTP thread and others touch. A line that finds its queue full waits until another
 * line of the same bulk is done, which makes room; it is refused only where none is on its way.
 */
#include "server/front/calls/bulk.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/api/answer.h"
#include "server/front/calls/lines.h"
#include "server/front/calls/spool.h"
#include "server/front/calls/stages.h"
#include "server/front/http/account.h"
#include "server/front/http/loop.h"
#include "server/front/http/timeouts.h"

#define WINDOW ((size_t)64 << 10) /* bytes of the answer that lie ready for the HTTP thread */

enum line_state {
    LINE_WORKING, /* it has a call, or is about to */
    LINE_WAITING, /* for room in the queue; `body` is it */
    LINE_DONE,    /* its answer is the call's, or `answer` */
};

struct bulk_line {
    enum line_state state;
    struct call *call;
    struct buffer body, answer;
    size_t weight; /* bytes that it counts as, of BULK_BYTES */
    bool again;
};

struct bulk {
    struct line_head head;
    struct loop *loop;
    struct timed *timed;
    struct MHD_Connection *connection;

    /* The HTTP thread's. */
    struct lines lines;
    bool ended;   /* the last line is taken, or told of */
    bool resumed; /* the connection was suspended */

    struct task task; /* whoever set `writing` */
    struct spool spool;

    pthread_mutex_t lock;
    size_t references; /* the call's, one of each line's call, the task's */
    struct bulk_line ring[BULK_LINES];
    uint64_t first, next; /* ring[first..next) modulo its size are on their way */
    size_t working, bytes;
    bool gone, paused, writing;
    bool answering;    /* no line comes any more */
    bool faulty, told; /* it ends early; and that has been spooled */
    struct api_error fault;
    uint64_t spooled; /* bytes in the spool, which server->spooled counts too */
    size_t at, size;  /* window[at..size) is to be sent */
    char window[WINDOW];
};

static struct bulk_line *line_at(struct bulk *bulk, uint64_t i) {
    return &bulk->ring[i % BULK_LINES];
}

/* ---- life */

static void free_bulk(struct bulk *bulk) {
    for (uint64_t i = bulk->first; i < bulk->next; i++) {
        struct bulk_line *line = line_at(bulk, i);
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

static void release(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool last = --bulk->references == 0;
    pthread_mutex_unlock(&bulk->lock);
    if (last)
        free_bulk(bulk);
}

static bool hold(void *call, size_t bytes) {
    return call_hold(call, bytes);
}

static void let_go(void *call, size_t bytes) {
    call_let_go(call, bytes);
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
    struct server *server = call->server;
    bulk->head = (struct line_head){.server = server, .route = call->route, .account = call->account};
    if (call->account)
        account_retain(call->account);
    memcpy(bulk->head.id, call->id, sizeof call->id);
    bulk->head.within = call->deadline ? call->deadline - call->began : 0;
    bulk->lines =
        (struct lines){.most = server->options.max_body_bytes, .hold = hold, .let_go = let_go, .arg = call};
    bulk->spool.folder = server->options.state_dir;
    bulk->connection = call->connection;
    bulk->references = 1;
    call->bulk = bulk;
}

/* ---- out: the task */

static bool is_empty(const struct bulk *bulk) {
    return bulk->first == bulk->next;
}

/* Whether the whole answer has been sent. */
static bool is_sent(const struct bulk *bulk) {
    return bulk->answering && is_empty(bulk) && bulk->faulty == bulk->told && bulk->spooled == 0 &&
           bulk->at == bulk->size;
}

static bool has_room(const struct bulk *bulk) {
    return bulk->faulty || bulk->gone || (bulk->next - bulk->first < BULK_LINES && bulk->bytes < BULK_BYTES);
}

static void fail_bulk(struct bulk *bulk, const struct api_error *error) {
    if (!bulk->faulty)
        bulk->fault = *error;
    bulk->faulty = true;
}

static void count_spooled(struct bulk *bulk, uint64_t now) {
    atomic_fetch_add(&bulk->head.server->spooled, now - bulk->spooled); /* modulo 2^64 */
    bulk->spooled = now;
}

/* Puts bytes into the spool, without the lock. */
static void spool_bytes(struct bulk *bulk, const struct buffer *bytes) {
    static const char sorry[] =
        "{\"error\":{\"message\":\"the server is out of memory\",\"type\":\"server_error\","
        "\"param\":null,\"code\":\"no_memory\"}}\n";
    const bool whole = bytes->data && !bytes->failed;
    const uint64_t most = bulk->head.server->options.bulk_bytes;
    struct limoe_error cause;
    struct api_error error;
    const enum limoe_status status = spool_append(&bulk->spool, whole ? bytes->data : sorry,
                                                  whole ? bytes->size : sizeof sorry - 1, &cause);
    pthread_mutex_lock(&bulk->lock);
    count_spooled(bulk, spool_size(&bulk->spool));
    if (status != LIMOE_OK) {
        api_fail(&error, 507, "spool_full", NULL, "%s; no more lines are read", cause.message);
        fail_bulk(bulk, &error);
    } else if (!bulk->answering && atomic_load(&bulk->head.server->spooled) >= most) {
        api_fail(
            &error, 507, "spool_full", NULL,
            "the answers that wait for their requests' ends take %llu bytes, which --bulk-bytes allows; no "
            "more lines are read: send fewer in a request",
            (unsigned long long)most);
        fail_bulk(bulk, &error);
    }
    pthread_mutex_unlock(&bulk->lock);
}

/* Spools the oldest line's answer, if that is done. */
static bool drain_one(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    struct bulk_line *line = line_at(bulk, bulk->first);
    const bool done = !is_empty(bulk) && line->state == LINE_DONE, gone = bulk->gone;
    const bool lost = bulk->told; /* the disk has refused an answer before: this one would be out of order */
    pthread_mutex_unlock(&bulk->lock);
    if (!done)
        return false;
    if (!gone && !lost)
        spool_bytes(bulk, line->call ? &line->call->answer : &line->answer);
    if (line->call)
        call_end(line->call, !gone);
    buffer_free(&line->answer);
    pthread_mutex_lock(&bulk->lock);
    *line = (struct bulk_line){0};
    bulk->first++;
    pthread_mutex_unlock(&bulk->lock);
    return true;
}

/* Spools the line that says why there are no more. */
static bool tell_fault(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool due = bulk->faulty && !bulk->told && is_empty(bulk);
    bulk->told |= due;
    pthread_mutex_unlock(&bulk->lock);
    if (!due)
        return false;
    struct buffer text = {0};
    answer_error(&text, &bulk->fault);
    buffer_string(&text, "\n");
    spool_bytes(bulk, &text);
    buffer_free(&text);
    return true;
}

/* Fills the window, which the HTTP thread has emptied, from the spool. */
static bool fill_window(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool due = bulk->answering && bulk->at == bulk->size && bulk->spooled > 0 && !bulk->gone;
    pthread_mutex_unlock(&bulk->lock);
    if (!due)
        return false;
    size_t taken = 0;
    struct limoe_error cause;
    const enum limoe_status status = spool_take(&bulk->spool, bulk->window, WINDOW, &taken, &cause);
    if (status != LIMOE_OK)
        log_print(bulk->head.server->log, LOG_ERROR, bulk->head.id, "%s", cause.message);
    pthread_mutex_lock(&bulk->lock);
    bulk->at = 0;
    bulk->size = taken;
    bulk->gone |= status != LIMOE_OK; /* its answer cannot go on */
    count_spooled(bulk, spool_size(&bulk->spool));
    pthread_mutex_unlock(&bulk->lock);
    return status == LIMOE_OK;
}

static bool may_go_on(const struct bulk *bulk) {
    return bulk->answering ? bulk->at < bulk->size || bulk->gone || is_sent(bulk) : has_room(bulk);
}

/* Whether there is nothing more to do for now. The caller then no longer writes, and resumes the connection if
 * *resume. */
static bool may_rest(struct bulk *bulk, bool *resume) {
    pthread_mutex_lock(&bulk->lock);
    const bool drains = !is_empty(bulk) && line_at(bulk, bulk->first)->state == LINE_DONE;
    const bool tells = bulk->faulty && !bulk->told && is_empty(bulk);
    const bool fills = bulk->answering && bulk->at == bulk->size && bulk->spooled > 0 && !bulk->gone;
    const bool rests = !drains && !tells && !fills;
    *resume = bulk->paused && may_go_on(bulk);
    bulk->paused &= !*resume;
    bulk->writing = !rests;
    pthread_mutex_unlock(&bulk->lock);
    return rests;
}

/* Gives the suspended connection back. */
static void resume(struct bulk *bulk) {
    struct server *server = bulk->head.server;
    timeouts_unwatch(server->timeouts, bulk->timed);
    loop_resume(bulk->loop, bulk->connection);
    atomic_fetch_sub(&server->handed, 1);
}

static void work(struct task *task) {
    struct bulk *bulk = (struct bulk *)((char *)task - offsetof(struct bulk, task));
    struct server *server = bulk->head.server;
    bool resumes = false, rests;
    do {
        while (drain_one(bulk) || tell_fault(bulk) || fill_window(bulk))
            ;
        rests = may_rest(bulk, &resumes);
        if (resumes)
            resume(bulk);
    } while (!rests);
    release(bulk);
    atomic_fetch_sub(&server->handed, 1);
}

/* Sees to it that the task runs once more. The caller is handed over, or counts as if. */
static void set_to_work(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool starts = !bulk->writing;
    bulk->writing = true;
    bulk->references += starts;
    pthread_mutex_unlock(&bulk->lock);
    if (!starts)
        return;
    atomic_fetch_add(&bulk->head.server->handed, 1);
    bulk->task.run = work;
    workers_push_early(bulk->head.server->bulk, &bulk->task);
}

/* ---- on the way */

/* The oldest line that waits for room, which is to be begun now. With the lock. */
static struct bulk_line *wake_line(struct bulk *bulk) {
    for (uint64_t i = bulk->first; i < bulk->next && !bulk->gone; i++) {
        struct bulk_line *line = line_at(bulk, i);
        if (line->state != LINE_WAITING)
            continue;
        line->state = LINE_WORKING;
        bulk->working++;
        return line;
    }
    return NULL;
}

static struct bulk_line *done(struct bulk *bulk, struct bulk_line *line) {
    line->state = LINE_DONE;
    bulk->bytes -= line->weight;
    return wake_line(bulk);
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

/* A line's call is answered: it is done, or waits. The next to be begun, or NULL. */
static struct bulk_line *settle(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct bulk_line *line = call->line, *next = NULL;
    struct buffer body = {0};
    if (call->full) { /* it may be wanted once more */
        body = call->body;
        call->body = (struct buffer){0};
    }
    call->total_ns = clock_now() - call->began;
    call_trim(call);
    pthread_mutex_lock(&bulk->lock);
    bulk->working--;
    const bool waits = call->full && bulk->working > 0 && !bulk->gone;
    if (waits) {
        line->call = NULL;
        line->body = body;
        line->again = true;
        line->state = LINE_WAITING;
    } else {
        next = done(bulk, line);
    }
    pthread_mutex_unlock(&bulk->lock);
    if (waits)
        call_end(call, false);
    else
        buffer_free(&body);
    return next;
}

/* Begins a line, and others that wait if it is done at once. The caller is handed over, or counts as if. */
static void begin(struct bulk *bulk, struct bulk_line *line) {
    while (line) {
        struct call *call = call_begin_line(&bulk->head, line, &line->body, line->again);
        if (!call) {
            line = settle_without(bulk, line);
            continue;
        }
        call->bulk = bulk;
        pthread_mutex_lock(&bulk->lock);
        line->call = call;
        if (bulk->gone)
            atomic_store(&call->gone, true);
        if (call->stage != CALL_ANSWERED) {
            bulk->references++;
            atomic_fetch_add(&bulk->head.server->handed, 1);
        }
        pthread_mutex_unlock(&bulk->lock);
        if (call->stage != CALL_ANSWERED) {
            stages_begin(call);
            return;
        }
        line = settle(call);
    }
}

void bulk_line_done(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct server *server = call->server;
    begin(bulk, settle(call));
    set_to_work(bulk);
    release(bulk);
    atomic_fetch_sub(&server->handed, 1);
}

static void cancel(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    bulk->gone = true;
    for (uint64_t i = bulk->first; i < bulk->next; i++) {
        struct bulk_line *line = line_at(bulk, i);
        if (line->state == LINE_WORKING && line->call)
            stages_gone(line->call);
    }
    pthread_mutex_unlock(&bulk->lock);
}

void bulk_gone(struct call *call) {
    cancel(call->bulk);
}

/* ---- in: the HTTP thread, which counts as handed over meanwhile, so that a stopping server waits for it */

static bool enter(struct server *server) {
    atomic_fetch_add(&server->handed, 1);
    if (atomic_load(&server->phase) != SERVER_STOPPED)
        return true;
    atomic_fetch_sub(&server->handed, 1);
    return false;
}

static void leave(struct server *server) {
    atomic_fetch_sub(&server->handed, 1);
}

static void on_gone(void *call) {
    bulk_gone(call);
}

/* Suspends the connection unless it may go on by now. */
static bool suspend(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct server *server = call->server;
    if (!timeouts_working(server->timeouts, bulk->timed))
        return false;
    timeouts_watch(server->timeouts, bulk->timed, on_gone, call);
    bulk->resumed = true;
    pthread_mutex_lock(&bulk->lock);
    const bool pauses = !may_go_on(bulk);
    if (pauses) {
        atomic_fetch_add(&server->handed, 1);
        bulk->paused = true;
        MHD_suspend_connection(bulk->connection);
    }
    pthread_mutex_unlock(&bulk->lock);
    if (!pauses)
        timeouts_unwatch(server->timeouts, bulk->timed);
    set_to_work(bulk);
    return true;
}

static bool is_paused(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool paused = bulk->paused;
    pthread_mutex_unlock(&bulk->lock);
    return paused;
}

/* The next place in the ring, which has room. */
static struct bulk_line *place(struct bulk *bulk, enum line_state state, size_t weight) {
    pthread_mutex_lock(&bulk->lock);
    struct bulk_line *line = line_at(bulk, bulk->next);
    *line = (struct bulk_line){.state = state, .weight = weight};
    bulk->bytes += weight;
    bulk->working += state == LINE_WORKING;
    return line;
}

static void placed(struct bulk *bulk) {
    bulk->next++;
    pthread_mutex_unlock(&bulk->lock);
}

static void refuse_line(struct call *call, enum lines_found found) {
    struct bulk *bulk = call->bulk;
    struct api_error error;
    if (found == LINES_TOO_LONG)
        api_fail(&error, 413, "line_too_long", NULL,
                 "the line is longer than the %zu bytes that are accepted", bulk->lines.most);
    else
        api_fail(&error, 429, "queue_full", NULL,
                 "the server holds as much as it will; send the line again later");
    metrics_count_request(call->server->metrics, call->route->series, METRICS_NO_MODEL, error.status, 0);
    struct bulk_line *line = place(bulk, LINE_DONE, 0);
    answer_error(&line->answer, &error);
    buffer_string(&line->answer, "\n");
    placed(bulk);
    set_to_work(bulk);
}

static void take_line(struct call *call, enum lines_found found) {
    struct bulk *bulk = call->bulk;
    call->n++;
    if (found != LINES_LINE) {
        refuse_line(call, found);
        return;
    }
    struct buffer body = lines_take(&bulk->lines);
    call_let_go(call, body.capacity);
    struct bulk_line *line = place(bulk, LINE_WORKING, body.size);
    line->body = body;
    placed(bulk);
    begin(bulk, line);
    set_to_work(bulk);
}

enum room { ROOM, ROOM_NONE, ROOM_NEVER };

/* Whether another line may be taken; never, if the rest of the body is of no consequence. */
static enum room look_for_room(struct bulk *bulk) {
    struct api_error error;
    api_fail(&error, 503, "draining", NULL, "the server is stopping; no more lines are read");
    pthread_mutex_lock(&bulk->lock);
    if (atomic_load(&bulk->head.server->phase) >= SERVER_DRAINING)
        fail_bulk(bulk, &error);
    const enum room room = bulk->faulty ? ROOM_NEVER : has_room(bulk) ? ROOM : ROOM_NONE;
    pthread_mutex_unlock(&bulk->lock);
    return room;
}

/* Takes lines as long as there is room. False: the connection is to be closed. */
static bool read_lines(struct call *call, const char *bytes, size_t *size) {
    struct bulk *bulk = call->bulk;
    const char *at = bytes, *end = bytes + *size;
    bool some = false;
    while (at < end) {
        const enum room room = look_for_room(bulk);
        if (room == ROOM_NONE)
            break;
        const char *from = at;
        const enum lines_found found = room == ROOM ? lines_read(&bulk->lines, &at, end) : LINES_NONE;
        if (room == ROOM_NEVER)
            at = end;
        call->received += (size_t)(at - from);
        timeouts_received(bulk->timed, (size_t)(at - from));
        some |= found != LINES_NONE;
        if (found != LINES_NONE)
            take_line(call, found);
    }
    *size = (size_t)(end - at);
    if (*size > 0)
        return suspend(call);
    /* The time for a body is each line's. */
    return !some || timeouts_receiving(call->server->timeouts, bulk->timed, clock_now());
}

/* The first part, or the first behind a pause. */
static bool go_on(struct call *call) {
    struct bulk *bulk = call->bulk;
    bulk->timed = call->from->timed;
    bulk->loop = call->from->loop;
    const bool resumed = bulk->resumed;
    bulk->resumed = false;
    return !atomic_load(&call->gone) &&
           (!resumed || timeouts_receiving(call->server->timeouts, bulk->timed, clock_now()));
}

bool bulk_receive(struct call *call, const char *bytes, size_t *size) {
    struct server *server = call->server;
    if (is_paused(call->bulk))
        return true; /* the library asks once more before it lets the connection rest */
    if (!enter(server))
        return false;
    const bool good = go_on(call) && read_lines(call, bytes, size);
    leave(server);
    return good;
}

enum bulk_input bulk_complete(struct call *call) {
    struct bulk *bulk = call->bulk;
    struct server *server = call->server;
    if (is_paused(bulk))
        return BULK_SUSPENDED;
    if (!enter(server))
        return BULK_LOST;
    enum bulk_input input = go_on(call) ? BULK_READ : BULK_LOST;
    const enum room room = look_for_room(bulk);
    if (input == BULK_READ && room == ROOM_NONE)
        input = suspend(call) ? BULK_SUSPENDED : BULK_LOST;
    const enum lines_found found = input == BULK_READ && room == ROOM ? lines_end(&bulk->lines) : LINES_NONE;
    if (found != LINES_NONE)
        take_line(call, found);
    leave(server);
    return input;
}

/* ---- out: the HTTP thread */

static ssize_t send_window(struct bulk *bulk, char *out, size_t most) {
    pthread_mutex_lock(&bulk->lock);
    const size_t left = bulk->size - bulk->at, n = left < most ? left : most;
    memcpy(out, bulk->window + bulk->at, n);
    bulk->at += n;
    const bool sent = is_sent(bulk), gone = bulk->gone;
    pthread_mutex_unlock(&bulk->lock);
    if (gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    return n == 0 && sent ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)n;
}

static ssize_t read_answer(void *arg, uint64_t at, char *out, size_t most) {
    (void)at;
    struct call *call = arg;
    struct bulk *bulk = call->bulk;
    struct server *server = call->server;
    if (is_paused(bulk))
        return 0;
    if (bulk->resumed && !timeouts_answering(server->timeouts, bulk->timed, WINDOW, clock_now()))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    bulk->resumed = false;
    ssize_t n = send_window(bulk, out, most);
    if (n > 0)
        call->sent += (size_t)n;
    if (n != 0)
        return n;
    if (!enter(server))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!suspend(call))
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    leave(server);
    return n;
}

struct MHD_Response *bulk_response(struct call *call) {
    struct bulk *bulk = call->bulk;
    bulk->resumed = true; /* what it does is to be said once */
    pthread_mutex_lock(&bulk->lock);
    bulk->answering = true;
    pthread_mutex_unlock(&bulk->lock);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, WINDOW, read_answer, call, NULL);
}

void bulk_end(struct call *call) {
    struct bulk *bulk = call->bulk;
    cancel(bulk);
    lines_free(&bulk->lines);
    call->bulk = NULL;
    call->total_ns = clock_now() - call->began;
    release(bulk);
}
