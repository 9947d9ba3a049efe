/* supervise.c - the thread that keeps as many decoders as there are slots.
 *
 * It sleeps in poll until a slot is empty (its eventfd), a starting decoder says hello, or one ends while it
 * is idle (its pidfd), which no request needs to find out. It never waits for one decoder alone. A decoder
 * that is lost at work is replaced at once; only starts that fail wait, longer each time.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"
#include "server/front/decoders/pool.h"
#include "server/protocol/decoder_wire.h"

#define HELLO_LIMIT (30 * CLOCK_SECOND)       /* starting takes milliseconds; a loaded machine may be slow */
#define FIRST_DELAY (100 * CLOCK_MILLISECOND) /* after one start that failed; twice that after two, … */
#define MOST_DELAY  (5 * CLOCK_SECOND)
#define BUSY_DELAY  (10 * CLOCK_MILLISECOND) /* until whoever works with an ended decoder sees it */
#define STOP_MS     5000                     /* for a decoder that was told to end */

/* ---- starting */

static void failed(struct decoders *decoders, const struct limoe_error *err) {
    int64_t delay = FIRST_DELAY;
    for (unsigned i = 0; i < decoders->failures && delay < MOST_DELAY; i++)
        delay *= 2;
    decoders->failures++;
    decoders->next_start = clock_now() + (delay < MOST_DELAY ? delay : MOST_DELAY);
    log_print(decoders->log, LOG_WARNING, NULL, "%s", err->message);
    pthread_mutex_lock(&decoders->lock);
    decoders->failure = *err;
    pthread_cond_broadcast(&decoders->change);
    pthread_mutex_unlock(&decoders->lock);
}

static void set_state(struct decoders *decoders, struct slot *slot, enum slot_state state) {
    pthread_mutex_lock(&decoders->lock);
    slot->state = state;
    pthread_mutex_unlock(&decoders->lock);
}

static void start(struct decoders *decoders, struct slot *slot) {
    static const char *const argv[] = {"decoder", NULL};
    struct limoe_error err;
    struct process process;
    struct iovec settings = {&decoders->settings, sizeof decoders->settings};
    const struct wire_deadline deadline = {.until = clock_now() + HELLO_LIMIT};
    if (process_spawn(argv, decoders->keep, &process, &err) != LIMOE_OK) {
        failed(decoders, &err);
        return;
    }
    /* Cannot fail: it is our child, and stands back. */
    setpriority(PRIO_PROCESS, (id_t)process.pid, decoders->nice);
    slot->process = process;
    slot->deadline = deadline.until;
    slot->pictures = slot->bytes = 0;
    wire_send(process.fd, &settings, 1, &deadline); /* one that is gone already is found by its hello */
    set_state(decoders, slot, SLOT_STARTING);
}

static void refuse(struct decoders *decoders, struct slot *slot, const struct limoe_error *err) {
    process_kill(&slot->process, NULL);
    set_state(decoders, slot, SLOT_EMPTY);
    failed(decoders, err);
}

/* Why a decoder that said this is not to be used, in *err; LIMOE_OK: it is. */
static enum limoe_status judge(struct decoders *decoders, struct slot *slot, enum wire_end end,
                               struct wire_hello *hello, struct limoe_error *err) {
    char why[PROCESS_WHY_SIZE] = "it says something else than that it is ready";
    if (end == WIRE_DONE && hello->magic == WIRE_HELLO) {
        hello->unprotected[sizeof hello->unprotected - 1] = '\0';
        if (!hello->unprotected[0] || decoders->unconfined)
            return LIMOE_OK;
        return limoe_fail(err, LIMOE_UNSUPPORTED,
                          "picture decoders cannot be confined here (%s); --allow-unsandboxed-decoders takes "
                          "them as they are",
                          hello->unprotected);
    }
    if (clock_now() >= slot->deadline)
        snprintf(why, sizeof why, "it does not say that it is ready");
    else if (end == WIRE_CLOSED || end == WIRE_UNREAD)
        process_kill(&slot->process, why);
    return limoe_fail(err, LIMOE_INTERNAL, "a picture decoder does not start: %s", why);
}

/* Takes the hello of a decoder that is starting, or replaces one whose hello will not come. */
static void take_hello(struct decoders *decoders, struct slot *slot) {
    const struct wire_deadline now = {.until = clock_now()};
    struct wire_hello hello;
    struct limoe_error err;
    const enum wire_end end = wire_receive(slot->process.fd, &hello, sizeof hello, &now);
    if (judge(decoders, slot, end, &hello, &err) != LIMOE_OK) {
        refuse(decoders, slot, &err);
        return;
    }
    if (hello.unprotected[0] && !decoders->warned)
        log_print(decoders->log, LOG_WARNING, NULL, "pictures are decoded without a sandbox (%s)",
                  hello.unprotected);
    decoders->warned = decoders->warned || hello.unprotected[0];
    decoders->failures = 0;
    pthread_mutex_lock(&decoders->lock);
    decoders->failure.status = LIMOE_OK;
    decoders->alive++;
    decoders_put(decoders, slot);
    pthread_mutex_unlock(&decoders->lock);
}

/* ---- watching */

/* Replaces an idle decoder that has ended, or had its share while another was missing. */
static void replace_idle(struct decoders *decoders, struct slot *slot) {
    struct process lost = {.pid = -1}, spent = {.pid = -1};
    char why[PROCESS_WHY_SIZE];
    pthread_mutex_lock(&decoders->lock);
    if (slot->state == SLOT_IDLE && process_ended(&slot->process))
        lost = decoders_lose(decoders, slot);
    else if (slot->state == SLOT_IDLE && decoders_is_spent(decoders, slot))
        spent = decoders_lose(decoders, slot);
    pthread_mutex_unlock(&decoders->lock);
    if (lost.pid > 0)
        decoders_reap(decoders, &lost, NULL, "idle", why);
    if (spent.pid > 0)
        decoders_dismiss(decoders, &spent);
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Sees to a slot; adds what to wait for to *polled (fd -1: nothing) and *until. */
static void poll_slot(struct decoders *decoders, struct slot *slot, struct pollfd *polled, int64_t *until) {
    const int64_t now = clock_now();
    replace_idle(decoders, slot);
    pthread_mutex_lock(&decoders->lock);
    enum slot_state state = slot->state;
    const bool ended = state == SLOT_BUSY && process_ended(&slot->process);
    const int pidfd = state == SLOT_EMPTY ? -1 : slot->process.pidfd;
    pthread_mutex_unlock(&decoders->lock);

    *polled = (struct pollfd){.fd = ended ? -1 : pidfd, .events = POLLIN};
    if (ended)
        *until = earlier(*until, now + BUSY_DELAY);
    if (state == SLOT_EMPTY && now >= decoders->next_start) {
        start(decoders, slot);
        state = slot->state; /* empty or starting: the supervisor's own */
    } else if (state == SLOT_STARTING) {
        struct pollfd said = {.fd = slot->process.fd, .events = POLLIN};
        if (poll(&said, 1, 0) > 0 || now >= slot->deadline) {
            take_hello(decoders, slot);
            *until = now; /* look again: it is idle, or empty */
            return;
        }
    }
    if (state == SLOT_EMPTY)
        *until = earlier(*until, decoders->next_start);
    if (state == SLOT_STARTING) {
        *polled = (struct pollfd){.fd = slot->process.fd, .events = POLLIN};
        *until = earlier(*until, slot->deadline);
    }
}

static bool stopping(struct decoders *decoders) {
    pthread_mutex_lock(&decoders->lock);
    const bool stop = decoders->stopping;
    pthread_mutex_unlock(&decoders->lock);
    return stop;
}

/* Looks at all slots, then sleeps until something happens. */
static void turn(struct decoders *decoders) {
    int64_t until = INT64_MAX;
    for (unsigned i = 0; i < decoders->n; i++)
        poll_slot(decoders, &decoders->slots[i], &decoders->polled[i], &until);
    decoders->polled[decoders->n] = (struct pollfd){.fd = decoders->wake, .events = POLLIN};
    const int64_t left = until - clock_now();
    const struct timespec timeout = {left > 0 ? left / CLOCK_SECOND : 0, left > 0 ? left % CLOCK_SECOND : 0};
    ppoll(decoders->polled, decoders->n + 1, until == INT64_MAX ? NULL : &timeout, NULL);
    event_take(decoders->wake); /* if that is what woke it */
}

/* ---- stopping */

/* Tells all decoders to end before it waits for any, then makes sure that they have. */
static void end_all(struct decoders *decoders) {
    for (unsigned i = 0; i < decoders->n; i++)
        if (decoders->slots[i].state != SLOT_EMPTY)
            shutdown(decoders->slots[i].process.fd, SHUT_RDWR);
    for (unsigned i = 0; i < decoders->n; i++) {
        struct slot *slot = &decoders->slots[i];
        if (slot->state == SLOT_EMPTY)
            continue;
        struct pollfd end = {.fd = slot->process.pidfd, .events = POLLIN};
        poll(&end, 1, STOP_MS);
        process_kill(&slot->process, NULL);
    }
}

void *decoders_supervise(void *argument) {
    struct decoders *decoders = argument;
    pthread_setname_np(pthread_self(), "limoe-decoders");
    while (!stopping(decoders))
        turn(decoders);
    end_all(decoders);
    return NULL;
}
