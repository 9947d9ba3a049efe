/* decoders.c - the pool as its users see it: take a process, exchange a picture for pixels, put it back.
 *
 * Whose fault a loss is: a decoder that was gone before it had read its picture, or that somebody else killed
 * (SIGKILL is what operators, tests and the system short of memory use), says nothing about the picture.
 * Every other end is held against it.
 */
#include "server/front/decoders/decoders.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"
#include "server/front/decoders/pool.h"
#include "server/protocol/decoder_wire.h"

enum {
    MOST_BROKEN = 2,  /* losses held against a picture */
    MOST_LOSSES = 16, /* losses altogether: somebody kills faster than decoders can work */
};

/* However little a picture may take, a decoder must have the time to start. */
#define LEAST_TIMEOUT (10 * CLOCK_SECOND)

/* By the clock a picture may take longer than in processor time: as often as this. */
#define STARVED 10u

/* After so many encoded bytes a decoder is replaced, however few pictures they were. */
#define MOST_BYTES (UINT64_C(4) << 30)

/* Variables that every decoder keeps: where its libraries are, and what sanitizers are told. */
static const char *const always_kept[] = {"LD_LIBRARY_PATH",
                                          "ASAN_*",
                                          "UBSAN_*",
                                          "TSAN_*",
#ifdef LIMOE_TEST_HOOKS
                                          "LIMOE_TEST_*",
#endif
                                          NULL};

/* ---- the stack of idle decoders */

void decoders_put(struct decoders *decoders, struct slot *slot) {
    slot->state = SLOT_IDLE;
    slot->next = decoders->idle;
    decoders->idle = slot;
    pthread_cond_signal(&decoders->change);
}

struct process decoders_lose(struct decoders *decoders, struct slot *slot) {
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

int decoders_reap(struct decoders *decoders, struct process *lost, const char *fault, const char *when,
                  char why[PROCESS_WHY_SIZE]) {
    const long pid = lost->pid;
    const int signal_number = process_kill(lost, why);
    if (fault)
        snprintf(why, PROCESS_WHY_SIZE, "%s", fault);
    metrics_count(decoders->metrics, METRICS_DECODER_RESTARTS, 1);
    log_print(decoders->log, LOG_WARNING, NULL, "picture decoder %ld lost, %s: %s; another takes its place",
              pid, when, why);
    return signal_number;
}

void decoders_dismiss(struct decoders *decoders, struct process *process) {
    event_signal(decoders->wake);
    process_kill(process, NULL);
}

static bool wanted(const struct decoders_picture *picture) {
    return !picture->wanted || picture->wanted(picture->arg);
}

static enum limoe_status give_up(struct limoe_error *err) {
    return limoe_fail(err, LIMOE_LOST, "the picture was given up: nobody waits for it");
}

/* Sleeps until something changes, a tick at most. Without any decoder there is a limit to waiting. */
static enum limoe_status await(struct decoders *decoders, struct limoe_error *err) {
    const int64_t now = clock_now(), tick = now + WIRE_TICK;
    if (!decoders->alive && now >= decoders->none_since + decoders->absence_timeout)
        return limoe_fail(err, LIMOE_INTERNAL, "for %lld s there has been no picture decoder: %s",
                          (long long)(decoders->absence_timeout / CLOCK_SECOND),
                          decoders->failure.status ? decoders->failure.message : "none has started yet");
    const struct timespec at = {tick / CLOCK_SECOND, tick % CLOCK_SECOND};
    pthread_cond_timedwait(&decoders->change, &decoders->lock, &at);
    return LIMOE_OK;
}

/* Waits for an idle decoder, for as long as any is at work and the picture is wanted. */
static enum limoe_status take(struct decoders *decoders, const struct decoders_picture *picture,
                              struct slot **out, struct limoe_error *err) {
    enum limoe_status status = wanted(picture) ? LIMOE_OK : give_up(err);
    pthread_mutex_lock(&decoders->lock);
    while (status == LIMOE_OK && !decoders->idle) {
        status = await(decoders, err);
        if (status == LIMOE_OK && !wanted(picture))
            status = give_up(err);
    }
    if (status == LIMOE_OK) {
        *out = decoders->idle;
        decoders->idle = (*out)->next;
        (*out)->state = SLOT_BUSY;
        (*out)->pictures++;
        (*out)->bytes += picture->size;
    }
    pthread_mutex_unlock(&decoders->lock);
    return status;
}

bool decoders_is_spent(const struct decoders *decoders, const struct slot *slot) {
    return decoders->pictures && decoders->alive == decoders->n &&
           (slot->pictures >= decoders->pictures || slot->bytes >= MOST_BYTES);
}

static void put(struct decoders *decoders, struct slot *slot) {
    struct process spent = {.pid = -1};
    pthread_mutex_lock(&decoders->lock);
    if (decoders_is_spent(decoders, slot))
        spent = decoders_lose(decoders, slot);
    else
        decoders_put(decoders, slot);
    pthread_mutex_unlock(&decoders->lock);
    if (spent.pid > 0)
        decoders_dismiss(decoders, &spent);
}

/* ---- one picture */

/* A picture that a decoder is at work on. */
struct turn {
    const struct decoders *decoders;
    const struct decoders_picture *picture;
    const struct process *process;
    int64_t spent; /* the decoder's processor time when it was first asked for; -1: it was not yet */
};

/* Nanoseconds that the process has computed so far; -1: it has ended. */
static int64_t processor_time(pid_t pid) {
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return -1;
    return time.tv_sec * CLOCK_SECOND + time.tv_nsec;
}

/* A picture that is done within a tick is never asked about: that costs no system call, and a tick is all
 * that the others are given too much. */
static enum wire_end ask(void *argument) {
    struct turn *turn = argument;
    if (!wanted(turn->picture))
        return WIRE_UNWANTED;
    const int64_t spent = processor_time(turn->process->pid);
    if (turn->spent < 0)
        turn->spent = spent;
    return spent - turn->spent > turn->decoders->spend ? WIRE_SPENT : WIRE_DONE;
}

/* The decoder's answer, or why there is none. What the decoder says is not trusted: its sizes are compared
 * with those expected before anything is read, its status with those there are. */
static enum wire_end exchange(const struct decoders *decoders, const struct process *process,
                              const struct decoders_picture *picture, uint8_t *pixels,
                              enum limoe_status *status, struct limoe_error *err) {
    struct turn turn = {decoders, picture, process, -1};
    const struct wire_deadline deadline = {.until = clock_now() + decoders->limit, .ask = ask, .arg = &turn};
    const size_t side = picture->settings->preprocess.size, pixels_size = side * side * 3;
    struct wire_request request = {
        .magic = WIRE_REQUEST,
        .size = picture->size,
        .settings = *picture->settings,
    };
    request.settings.limits.found_pixels = picture->most_pixels ? picture->most_pixels : UINT64_MAX;
    struct iovec parts[] = {{&request, sizeof request},
                            {(void *)picture->bytes, picture->size}}; /* sendmsg does not write */
    struct wire_answer answer;
    char message[sizeof err->message];

    enum wire_end end = wire_send(process->fd, parts, 2, &deadline);
    if (end == WIRE_DONE)
        end = wire_receive(process->fd, &answer, sizeof answer, &deadline);
    if (end != WIRE_DONE)
        return end;
    if (answer.magic != WIRE_ANSWER || answer.status > LIMOE_INTERNAL)
        return WIRE_BROKEN;
    *status = (enum limoe_status)answer.status;
    if (*status == LIMOE_OK)
        return answer.size == pixels_size ? wire_receive(process->fd, pixels, pixels_size, &deadline)
                                          : WIRE_BROKEN;
    if (answer.size == 0 || answer.size >= sizeof message)
        return WIRE_BROKEN;
    end = wire_receive(process->fd, message, answer.size, &deadline);
    if (end == WIRE_DONE)
        wire_message(err, *status, message, answer.size);
    return end;
}

static struct process take_away(struct decoders *decoders, struct slot *slot) {
    pthread_mutex_lock(&decoders->lock);
    struct process process = decoders_lose(decoders, slot);
    pthread_mutex_unlock(&decoders->lock);
    return process;
}

/* Gives up a decoder that did not answer. True: it is held against the picture. */
static bool lose(struct decoders *decoders, struct slot *slot, enum wire_end end, size_t size,
                 char why[PROCESS_WHY_SIZE]) {
    char when[64], late[64];
    snprintf(when, sizeof when, "%s a picture of %zu bytes", end == WIRE_UNREAD ? "before" : "over", size);
    snprintf(late, sizeof late, "no answer for %lld s", (long long)(decoders->limit / CLOCK_SECOND));
    const char *fault = end == WIRE_LATE     ? late
                        : end == WIRE_SPENT  ? "too much processor time"
                        : end == WIRE_BROKEN ? "a malformed answer"
                                             : NULL;
    struct process lost = take_away(decoders, slot);
    event_signal(decoders->wake);
    const int signal_number = decoders_reap(decoders, &lost, fault, when, why);
    return fault || (end == WIRE_CLOSED && signal_number != SIGKILL);
}

/* Gives up a picture that nobody waits for. Its decoder ends with it, which frees the processor at once. */
static enum limoe_status abandon(struct decoders *decoders, struct slot *slot, struct limoe_error *err) {
    struct process process = take_away(decoders, slot);
    decoders_dismiss(decoders, &process);
    metrics_count(decoders->metrics, METRICS_GIVEN_UP_PICTURES, 1);
    return give_up(err);
}

/* Refuses a picture that has had its time: it would take as long again. */
static enum limoe_status refuse(const struct decoders *decoders, struct limoe_error *err) {
    return limoe_fail(
        err, LIMOE_TOO_LARGE,
        "the picture takes its decoder more than the %lld s of processor time that are accepted",
        (long long)(decoders->spend / CLOCK_SECOND));
}

/* Of a size that no decoder is asked about. */
static enum limoe_status refuse_unread(const struct decoders *decoders,
                                       const struct decoders_picture *picture, uint8_t *pixels,
                                       struct limoe_error *err) {
    struct limoe_image_settings settings = *picture->settings;
    settings.limits = decoders->limits;
    return limoe_process_image_by(&settings, picture->bytes, picture->size, pixels, err);
}

enum limoe_status decoders_decode(struct decoders *decoders, const struct decoders_picture *picture,
                                  uint8_t *pixels, struct limoe_error *err) {
    struct limoe_error unwanted;
    char why[PROCESS_WHY_SIZE];
    if (!err)
        err = &unwanted;
    if (picture->size == 0 || picture->size > decoders->limits.max_bytes) /* refused unread */
        return refuse_unread(decoders, picture, pixels, err);
    int losses = 0, broken = 0;
    while (losses < MOST_LOSSES && broken < MOST_BROKEN) {
        struct slot *slot;
        enum limoe_status status = take(decoders, picture, &slot, err);
        if (status != LIMOE_OK)
            return status;
        const enum wire_end end = exchange(decoders, &slot->process, picture, pixels, &status, err);
        if (end == WIRE_DONE) {
            put(decoders, slot);
            return status;
        }
        if (end == WIRE_UNWANTED)
            return abandon(decoders, slot, err);
        losses++;
        broken += lose(decoders, slot, end, picture->size, why);
        if (end == WIRE_SPENT)
            return refuse(decoders, err);
    }
    if (broken < MOST_BROKEN)
        return limoe_fail(err, LIMOE_INTERNAL, "the picture's decoder was lost %d times: %s", losses, why);
    metrics_count_model(decoders->metrics, picture->served, METRICS_POISON_PICTURES, 1);
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
    free(decoders->keep);
    free(decoders);
}

/* The variables that every decoder keeps, and those of the options. NULL: no memory. */
static const char **join_kept(const char *const *more) {
    const size_t always = sizeof always_kept / sizeof *always_kept - 1;
    size_t n = 0;
    while (more && more[n])
        n++;
    const char **kept = calloc(always + n + 1, sizeof *kept);
    for (size_t i = 0; kept && i < always + n; i++)
        kept[i] = i < always ? always_kept[i] : more[i - always];
    return kept;
}

/* NULL: no memory or descriptors, as *err says. */
static struct decoders *decoders_new(const struct decoders_options *options, struct limoe_error *err) {
    const unsigned n = options->processes + DECODERS_SPARE;
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
    decoders->limits = options->limits;
    if (!decoders->limits.max_bytes)
        decoders->limits.max_bytes = LIMOE_MAX_BYTES;
    if (!decoders->limits.max_pixels)
        decoders->limits.max_pixels = LIMOE_MAX_PIXELS;
    const unsigned wall = options->wall_seconds ? options->wall_seconds : options->seconds * STARVED;
    decoders->spend = (int64_t)options->seconds * CLOCK_SECOND;
    decoders->limit = (int64_t)wall * CLOCK_SECOND;
    decoders->absence_timeout = decoders->spend > LEAST_TIMEOUT ? decoders->spend : LEAST_TIMEOUT;
    decoders->pictures = options->pictures;
    decoders->nice = options->nice;
    decoders->unconfined = options->unconfined;
    decoders->keep = join_kept(options->keep);
    decoders->metrics = options->metrics;
    decoders->log = options->log;
    decoders->none_since = clock_now();
    decoders->n = n;
    decoders->polled = calloc(n + 1, sizeof *decoders->polled);
    decoders->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!decoders->polled || !decoders->keep || decoders->wake < 0) {
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
    const int code = pthread_create(&decoders->supervisor, NULL, decoders_supervise, decoders);
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
    pthread_join(decoders->supervisor, NULL);
    decoders_free(decoders);
}
