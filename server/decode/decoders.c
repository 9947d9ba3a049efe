/* decoders.c - the pool as its users see it: take a process, exchange a picture for pixels, put it back.
 *
 * Whose fault a loss is: a decoder that was gone before it had read its picture, or that somebody else killed
 * (SIGKILL is what operators, tests and the system short of memory use), says nothing about the picture.
 * Every other end is held against it.
 */
#include "decode/decoders.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "decode/pool.h"
#include "decode/wire.h"
#include "error.h"
#include "event.h"
#include "observe/clock.h"

enum {
    MOST_BROKEN = 2,  /* losses held against a picture */
    MOST_LOSSES = 16, /* losses altogether: somebody kills faster than decoders can work */
};

/* However little a picture may take, a decoder must have the time to start. */
#define LEAST_PATIENCE (10 * CLOCK_SECOND)

/* ---- the stack of idle decoders */

void pool_put(struct decoders *decoders, struct slot *slot) {
    slot->state = SLOT_IDLE;
    slot->next = decoders->idle;
    decoders->idle = slot;
    pthread_cond_signal(&decoders->change);
}

struct process pool_lose(struct decoders *decoders, struct slot *slot) {
    if (slot->state == SLOT_IDLE) {
        struct slot **at = &decoders->idle;
        while (*at != slot)
            at = &(*at)->next;
        *at = slot->next;
    }
    slot->state = SLOT_EMPTY;
    if (--decoders->alive == 0) {
        decoders->none_since = clock_now();
        pthread_cond_broadcast(&decoders->change); /* from now on there is a limit to waiting */
    }
    return slot->process;
}

int pool_bury(struct decoders *decoders, struct process *lost, const char *fault, const char *doing,
              char why[PROCESS_WHY_SIZE]) {
    const long pid = lost->pid;
    const int signal_number = process_kill(lost, why);
    if (fault)
        snprintf(why, PROCESS_WHY_SIZE, "%s", fault);
    metrics_count(decoders->metrics, METRICS_DECODER_RESTARTS, 1);
    log_print(decoders->log, LOG_WARNING, NULL, "picture decoder %ld lost, %s: %s; another takes its place",
              pid, doing, why);
    return signal_number;
}

/* Waits for an idle decoder, for as long as any is at work; for a limited time while there is none. */
static enum limoe_status take(struct decoders *decoders, struct slot **out, struct limoe_error *err) {
    enum limoe_status status = LIMOE_OK;
    pthread_mutex_lock(&decoders->lock);
    while (!decoders->idle && status == LIMOE_OK) {
        if (decoders->alive) {
            pthread_cond_wait(&decoders->change, &decoders->lock);
            continue;
        }
        const int64_t until = decoders->none_since + decoders->patience;
        const struct timespec at = {until / CLOCK_SECOND, until % CLOCK_SECOND};
        if (clock_now() >= until)
            status =
                limoe_fail(err, LIMOE_INTERNAL, "for %lld s there has been no picture decoder: %s",
                           (long long)(decoders->patience / CLOCK_SECOND),
                           decoders->failure.status ? decoders->failure.message : "none has started yet");
        else
            pthread_cond_timedwait(&decoders->change, &decoders->lock, &at);
    }
    if (status == LIMOE_OK) {
        *out = decoders->idle;
        decoders->idle = (*out)->next;
        (*out)->state = SLOT_BUSY;
    }
    pthread_mutex_unlock(&decoders->lock);
    return status;
}

static void put(struct decoders *decoders, struct slot *slot) {
    pthread_mutex_lock(&decoders->lock);
    pool_put(decoders, slot);
    pthread_mutex_unlock(&decoders->lock);
}

/* ---- one picture */

/* The decoder's answer, or why there is none. What the decoder says is not trusted: its sizes are compared
 * with those expected before anything is read, its status with those there are. */
static enum wire_end exchange(const struct decoders *decoders, int fd, const uint8_t *bytes, size_t size,
                              uint8_t *pixels, enum limoe_status *status, struct limoe_error *err) {
    const int64_t deadline = clock_now() + decoders->limit;
    const size_t pixels_size = (size_t)decoders->settings.size * decoders->settings.size * 3;
    struct wire_request request = {.magic = WIRE_REQUEST, .size = size};
    struct iovec parts[] = {{&request, sizeof request}, {(void *)bytes, size}}; /* sendmsg does not write */
    struct wire_answer answer;
    char message[sizeof err->message];

    enum wire_end end = wire_send(fd, parts, 2, deadline);
    if (end == WIRE_DONE)
        end = wire_receive(fd, &answer, sizeof answer, deadline);
    if (end != WIRE_DONE)
        return end;
    if (answer.magic != WIRE_ANSWER || answer.status > LIMOE_INTERNAL)
        return WIRE_BROKEN;
    *status = (enum limoe_status)answer.status;
    if (*status == LIMOE_OK)
        return answer.size == pixels_size ? wire_receive(fd, pixels, pixels_size, deadline) : WIRE_BROKEN;
    if (answer.size == 0 || answer.size >= sizeof message)
        return WIRE_BROKEN;
    end = wire_receive(fd, message, answer.size, deadline);
    if (end == WIRE_DONE)
        wire_message(err, *status, message, answer.size);
    return end;
}

/* Gives up a decoder that did not answer. True: it is held against the picture. */
static bool lose(struct decoders *decoders, struct slot *slot, enum wire_end end, size_t size,
                 char why[PROCESS_WHY_SIZE]) {
    char doing[64], late[64];
    snprintf(doing, sizeof doing, "%s a picture of %zu bytes", end == WIRE_UNREAD ? "before" : "over", size);
    snprintf(late, sizeof late, "no answer for %lld s", (long long)(decoders->limit / CLOCK_SECOND));
    const char *fault = end == WIRE_LATE ? late : end == WIRE_BROKEN ? "an answer that is none" : NULL;
    pthread_mutex_lock(&decoders->lock);
    struct process lost = pool_lose(decoders, slot);
    pthread_mutex_unlock(&decoders->lock);
    event_signal(decoders->wake);
    const int signal_number = pool_bury(decoders, &lost, fault, doing, why);
    return fault || (end == WIRE_CLOSED && signal_number != SIGKILL);
}

enum limoe_status decoders_decode(struct decoders *decoders, const uint8_t *bytes, size_t size,
                                  uint8_t *pixels, struct limoe_error *err) {
    struct limoe_error unwanted;
    char why[PROCESS_WHY_SIZE];
    if (!err)
        err = &unwanted;
    if (size == 0 || size > decoders->settings.limits.max_bytes) /* refused by its size, unread */
        return limoe_process_image_by(&decoders->settings, bytes, size, pixels, err);
    int losses = 0, broken = 0;
    while (losses < MOST_LOSSES && broken < MOST_BROKEN) {
        struct slot *slot;
        enum limoe_status status = take(decoders, &slot, err);
        if (status != LIMOE_OK)
            return status;
        const enum wire_end end = exchange(decoders, slot->process.fd, bytes, size, pixels, &status, err);
        if (end == WIRE_DONE) {
            put(decoders, slot);
            return status;
        }
        losses++;
        broken += lose(decoders, slot, end, size, why);
    }
    if (broken < MOST_BROKEN)
        return limoe_fail(err, LIMOE_INTERNAL, "the picture's decoder was lost %d times: %s", losses, why);
    metrics_count(decoders->metrics, METRICS_GUILTY_PICTURES, 1);
    return limoe_fail(err, LIMOE_INTERNAL, "the picture broke its decoder twice: %s", why);
}

void decoders_processes(struct decoders *decoders, pid_t *pids) {
    pthread_mutex_lock(&decoders->lock);
    for (unsigned i = 0; i < decoders->n; i++) {
        const struct slot *slot = &decoders->slots[i];
        pids[i] = slot->state == SLOT_IDLE || slot->state == SLOT_BUSY ? slot->process.pid : 0;
    }
    pthread_mutex_unlock(&decoders->lock);
}

/* ---- life */

static void decoders_free(struct decoders *decoders) {
    pthread_cond_destroy(&decoders->change);
    pthread_mutex_destroy(&decoders->lock);
    if (decoders->wake >= 0)
        close(decoders->wake);
    free(decoders->polled);
    free(decoders);
}

/* NULL: *err says why. */
static struct decoders *decoders_new(const struct decoders_options *options, struct limoe_error *err) {
    const unsigned n = options->processes;
    struct decoders *decoders = calloc(1, sizeof *decoders + n * sizeof *decoders->slots);
    pthread_condattr_t monotonic;
    if (!decoders) {
        limoe_fail(err, LIMOE_INTERNAL, "no memory for %u picture decoders", n);
        return NULL;
    }
    pthread_mutex_init(&decoders->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&decoders->change, &monotonic);
    pthread_condattr_destroy(&monotonic);
    decoders->settings = limoe_processor_image_settings(options->processor);
    decoders->limit = (int64_t)options->seconds * CLOCK_SECOND;
    decoders->patience = decoders->limit > LEAST_PATIENCE ? decoders->limit : LEAST_PATIENCE;
    decoders->metrics = options->metrics;
    decoders->log = options->log;
    decoders->none_since = clock_now();
    decoders->n = n;
    decoders->polled = calloc(n + 1, sizeof *decoders->polled);
    decoders->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!decoders->polled || decoders->wake < 0) {
        limoe_fail(err, LIMOE_INTERNAL, "cannot start picture decoders: %s", strerror(errno));
        decoders_free(decoders);
        return NULL;
    }
    return decoders;
}

enum limoe_status decoders_start(const struct decoders_options *options, struct decoders **out,
                                 struct limoe_error *err) {
    struct decoders *decoders = decoders_new(options, err);
    enum limoe_status status = LIMOE_OK;
    if (!decoders)
        return LIMOE_INTERNAL;
    const int code = pthread_create(&decoders->keeper, NULL, keeper_main, decoders);
    if (code) {
        decoders_free(decoders);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start the thread that keeps picture decoders: %s",
                          strerror(code));
    }
    pthread_mutex_lock(&decoders->lock);
    while (!decoders->alive && decoders->failure.status == LIMOE_OK)
        pthread_cond_wait(&decoders->change, &decoders->lock);
    if (!decoders->alive)
        status = limoe_fail(err, decoders->failure.status, "%s", decoders->failure.message);
    pthread_mutex_unlock(&decoders->lock);
    if (status != LIMOE_OK)
        decoders_stop(decoders);
    else
        *out = decoders;
    return status;
}

void decoders_stop(struct decoders *decoders) {
    if (!decoders)
        return;
    pthread_mutex_lock(&decoders->lock);
    decoders->stopping = true;
    pthread_mutex_unlock(&decoders->lock);
    event_signal(decoders->wake);
    pthread_join(decoders->keeper, NULL);
    decoders_free(decoders);
}
