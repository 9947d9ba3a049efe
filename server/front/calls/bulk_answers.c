/* bulk_answers.c - answers in order: from lines to the spool, from the spool to the window, from the window to the
 * client. */
#include <string.h>

#include "base/clock.h"
#include "server/api/answer.h"
#include "server/front/calls/bulk_parts.h"
#include "server/front/http/loop.h"
#include "server/front/http/timeouts.h"

/* ---- with the lock */

/* Whether the whole answer has been sent. */
static bool is_sent(const struct bulk *bulk) {
    return bulk->answering && bulk_is_empty(bulk) && bulk->faulty == bulk->told && bulk->spooled == 0 &&
           bulk->at == bulk->size;
}

static bool has_room(const struct bulk *bulk) {
    return bulk->faulty || (bulk->next - bulk->first < BULK_LINES && bulk->bytes < BULK_BYTES);
}

bool bulk_may_go_on(const struct bulk *bulk) {
    if (bulk->gone)
        return true;
    return bulk->answering ? bulk->at < bulk->size || is_sent(bulk) : has_room(bulk);
}

void bulk_fail(struct bulk *bulk, const struct api_error *error) {
    if (!bulk->faulty)
        bulk->fault = *error;
    bulk->faulty = true;
}

static void count_spooled(struct bulk *bulk) {
    const uint64_t now = spool_size(&bulk->spool);
    atomic_fetch_add(&bulk->head.server->spooled, now - bulk->spooled); /* modulo 2^64 */
    bulk->spooled = now;
}

static bool may_drain(struct bulk *bulk) {
    return !bulk_is_empty(bulk) && bulk_line_at(bulk, bulk->first)->state == LINE_DONE;
}

static bool may_tell(const struct bulk *bulk) {
    return bulk->faulty && !bulk->told && bulk_is_empty(bulk);
}

static bool may_fill(const struct bulk *bulk) {
    return bulk->answering && bulk->at == bulk->size && bulk->spooled > 0 && !bulk->gone;
}

/* ---- the task */

static void fail_disk(struct bulk *bulk, const struct limoe_error *cause) {
    struct api_error error;
    api_fail(&error, 507, "spool_full", NULL, "%s; no more lines are read", cause->message);
    log_print(bulk->head.server->log, LOG_WARNING, bulk->head.id, "bulk: %s", cause->message);
    bulk->broken = true;
    bulk_fail(bulk, &error);
}

static void fail_full(struct bulk *bulk, uint64_t most) {
    struct api_error error;
    api_fail(
        &error, 507, "spool_full", NULL,
        "the answers that wait for the ends of their requests take the %llu bytes of --bulk-bytes; no more "
        "lines are read: send fewer in a request",
        (unsigned long long)most);
    bulk_fail(bulk, &error);
}

static void spool_answer(struct bulk *bulk, const struct buffer *answer) {
    static const char sorry[] = ANSWER_NO_MEMORY;
    const bool whole = answer->data && !answer->failed;
    const uint64_t most = bulk->head.server->options.bulk_bytes;
    struct limoe_error cause;
    const enum limoe_status status = spool_append(&bulk->spool, whole ? answer->data : sorry,
                                                  whole ? answer->size : sizeof sorry - 1, &cause);
    pthread_mutex_lock(&bulk->lock);
    count_spooled(bulk);
    if (status != LIMOE_OK)
        fail_disk(bulk, &cause);
    else if (!bulk->answering && atomic_load(&bulk->head.server->spooled) >= most)
        fail_full(bulk, most);
    pthread_mutex_unlock(&bulk->lock);
}

/* Spools the oldest line's answer, if that is done. */
static bool drain(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    struct bulk_line *line = bulk_line_at(bulk, bulk->first);
    const bool due = may_drain(bulk), gone = bulk->gone;
    pthread_mutex_unlock(&bulk->lock);
    if (!due)
        return false;
    if (!gone && !bulk->broken)
        spool_answer(bulk, line->call ? &line->call->answer : &line->answer);
    if (line->call)
        call_end(line->call, !gone);
    buffer_free(&line->answer);
    pthread_mutex_lock(&bulk->lock);
    *line = (struct bulk_line){0};
    bulk->first++;
    bulk->freed++;
    struct bulk_line *next = bulk->working == 0 ? bulk_wake(bulk) : NULL;
    pthread_mutex_unlock(&bulk->lock);
    bulk_begin_line(bulk, next);
    return true;
}

/* Spools the line that says why there are no more. */
static bool tell(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool due = may_tell(bulk);
    pthread_mutex_unlock(&bulk->lock);
    if (!due)
        return false;
    struct buffer text = {0};
    struct limoe_error cause;
    answer_error(&text, &bulk->fault);
    buffer_string(&text, "\n");
    const bool good =
        !text.failed && spool_append_last(&bulk->spool, text.data, text.size, &cause) == LIMOE_OK;
    buffer_free(&text);
    pthread_mutex_lock(&bulk->lock);
    count_spooled(bulk);
    bulk->told = true;
    bulk->gone |= !good; /* an answer without its end is cut off */
    pthread_mutex_unlock(&bulk->lock);
    return true;
}

/* Fills the window, which the HTTP thread has emptied. */
static bool fill(struct bulk *bulk) {
    pthread_mutex_lock(&bulk->lock);
    const bool due = may_fill(bulk);
    pthread_mutex_unlock(&bulk->lock);
    if (!due)
        return false;
    size_t taken = 0;
    struct limoe_error cause;
    const bool good = spool_take(&bulk->spool, bulk->window, BULK_WINDOW, &taken, &cause) == LIMOE_OK;
    if (!good)
        log_print(bulk->head.server->log, LOG_ERROR, bulk->head.id, "bulk: %s", cause.message);
    pthread_mutex_lock(&bulk->lock);
    bulk->at = 0;
    bulk->size = taken;
    bulk->gone |= !good; /* what follows cannot be sent */
    count_spooled(bulk);
    pthread_mutex_unlock(&bulk->lock);
    return true;
}

/* Whether there is nothing more to do for now. The task is at its end then; it resumes the connection if
 * *resumes. */
static bool may_rest(struct bulk *bulk, bool *resumes) {
    pthread_mutex_lock(&bulk->lock);
    const bool rests = !may_drain(bulk) && !may_tell(bulk) && !may_fill(bulk);
    *resumes = bulk->state == CONNECTION_PAUSED && bulk_may_go_on(bulk);
    if (*resumes)
        bulk->state = CONNECTION_RESUMING;
    bulk->writing = !rests;
    pthread_mutex_unlock(&bulk->lock);
    return rests;
}

/* Gives the suspended connection back, which is there until then. */
static void resume(struct bulk *bulk) {
    struct server *server = bulk->head.server;
    timeouts_unwatch(server->timeouts, bulk->timed);
    pthread_mutex_lock(&bulk->lock);
    bulk->state = CONNECTION_RUNS;
    loop_resume(bulk->loop, bulk->connection);
    pthread_mutex_unlock(&bulk->lock);
    atomic_fetch_sub(&server->handed, 1);
}

static void work(struct task *task) {
    struct bulk *bulk = (struct bulk *)((char *)task - offsetof(struct bulk, task));
    struct server *server = bulk->head.server;
    bool resumes = false, rests;
    do {
        while (drain(bulk) || tell(bulk) || fill(bulk))
            ;
        rests = may_rest(bulk, &resumes);
        if (resumes)
            resume(bulk);
    } while (!rests);
    bulk_release(bulk);
    atomic_fetch_sub(&server->handed, 1);
}

void bulk_set_to_work(struct bulk *bulk) {
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

/* ---- the HTTP thread */

static ssize_t send_window(struct call *call, char *out, size_t most) {
    struct bulk *bulk = call->bulk;
    pthread_mutex_lock(&bulk->lock);
    const size_t left = bulk->size - bulk->at, n = left < most ? left : most;
    const bool sent = is_sent(bulk), gone = bulk->gone;
    memcpy(out, bulk->window + bulk->at, n);
    bulk->at += n;
    pthread_mutex_unlock(&bulk->lock);
    if (gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    call->sent += n;
    return sent ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)n;
}

/* Sends what is there, or suspends the connection until something is. */
static ssize_t send_or_pause(struct call *call, char *out, size_t most) {
    struct bulk *bulk = call->bulk;
    enum bulk_pause pause = BULK_GOES_ON;
    ssize_t n = 0;
    while (pause == BULK_GOES_ON && n == 0) {
        if (bulk->resumed &&
            !timeouts_answering(call->server->timeouts, bulk->timed, BULK_WINDOW, clock_now()))
            return MHD_CONTENT_READER_END_WITH_ERROR;
        bulk->resumed = false;
        n = send_window(call, out, most);
        if (n == 0)
            pause = bulk_pause(call);
    }
    return pause == BULK_SHUT ? MHD_CONTENT_READER_END_WITH_ERROR : n;
}

static ssize_t read_answer(void *arg, uint64_t at, char *out, size_t most) {
    (void)at;
    struct call *call = arg;
    if (bulk_is_paused(call->bulk))
        return 0;
    if (!bulk_enter(call))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    const ssize_t n = send_or_pause(call, out, most);
    bulk_leave(call);
    return n;
}

struct MHD_Response *bulk_response(struct call *call) {
    struct bulk *bulk = call->bulk;
    bulk->resumed = true;
    pthread_mutex_lock(&bulk->lock);
    bulk->answering = true;
    pthread_mutex_unlock(&bulk->lock);
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BULK_WINDOW, read_answer, call, NULL);
}
