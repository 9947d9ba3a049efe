/* relaying.c - the relay's socket, what it was asked, its life.
 *
 * Requests go from `asked`, which any thread adds to, to `waiting`, then to `flying` once the relay has been told of them, as
 * many at a time as the options say. All but `asked` is the thread's own. Each ends by itself when its time is over, whatever
 * the relay does.
 */
#include "server/front/relaying/relaying.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/event.h"
#include "base/process.h"

#define TICK_MS     20 /* between two looks at who still waits */
#define FIRST_PAUSE (100 * CLOCK_MILLISECOND)
#define MOST_PAUSE  (10 * CLOCK_SECOND)
#define GRACE       (500 * CLOCK_MILLISECOND) /* for the relay to say itself that it is late */
#define MOST_LOSSES 2

/* What resolving and TLS are set by. No proxy, no key of another's. */
static const char *const kept[] = {"SSL_CERT_*",      "RES_*",    "LOCALDOMAIN", "PATH",   "LANG",
                                   "LD_LIBRARY_PATH", "MALLOC_*", "GLIBC_*",     "ASAN_*", "UBSAN_*",
                                   "LSAN_*",          "TSAN_*",   NULL};

static const enum metrics_event outcomes[RELAY_OUTCOMES] = {
    [RELAY_DONE] = METRICS_UPSTREAM_DONE,         [RELAY_ERROR] = METRICS_UPSTREAM_ERROR,
    [RELAY_INVALID] = METRICS_UPSTREAM_INVALID,   [RELAY_LATE] = METRICS_UPSTREAM_LATE,
    [RELAY_LOST] = METRICS_UPSTREAM_LOST,         [RELAY_UNREACHABLE] = METRICS_UPSTREAM_UNREACHABLE,
    [RELAY_GIVEN_UP] = METRICS_UPSTREAM_GIVEN_UP,
};

struct list {
    struct inquiry *first, **last;
};

struct relaying {
    const struct relaying_options *options;
    struct relay_settings settings;
    struct log *log;
    struct metrics *metrics;
    pthread_t thread;
    int event;         /* something is asked, or it is to stop */
    _Atomic pid_t pid; /* process.pid, for who asks; 0: none */
    atomic_bool stopping;

    pthread_mutex_t lock; /* guards these two */
    struct list asked;
    size_t n; /* not given back */

    /* The rest is the thread's. */
    struct list waiting, flying;
    size_t n_flying;
    uint64_t last_id;
    struct process process; /* pid -1: none */
    int64_t start_at;
    unsigned failures;          /* relays lost since one has answered */
    struct buffer out;          /* asks on their way */
    size_t sent;                /* of out */
    struct relay_answer answer; /* being received, */
    uint8_t *bytes;             /* with its bytes */
    size_t received;
};

/* ---- lists */

static void empty(struct list *list) {
    *list = (struct list){.last = &list->first};
}

static void append(struct list *list, struct inquiry *inquiry) {
    inquiry->next = NULL;
    *list->last = inquiry;
    list->last = &inquiry->next;
}

/* Takes out the one that *at points to. */
static struct inquiry *take(struct list *list, struct inquiry **at) {
    struct inquiry *inquiry = *at;
    *at = inquiry->next;
    if (!*at)
        list->last = at;
    return inquiry;
}

/* ---- given back */

static void give_back(struct relaying *relaying, struct inquiry *inquiry, enum relay_outcome outcome,
                      const char *message) {
    inquiry->outcome = outcome;
    inquiry->ns = clock_now() - inquiry->asked_at;
    snprintf(inquiry->message, sizeof inquiry->message, "%s", message);
    metrics_count(relaying->metrics, outcomes[outcome], 1);
    metrics_count_upstream(relaying->metrics, inquiry->ns);
    pthread_mutex_lock(&relaying->lock);
    relaying->n--;
    pthread_mutex_unlock(&relaying->lock);
    inquiry->done(inquiry); /* from here on it is not ours to touch */
}

/* ---- asks */

bool relaying_ask(struct relaying *relaying, struct inquiry *inquiry) {
    inquiry->outcome = RELAY_GIVEN_UP;
    inquiry->bytes = NULL;
    inquiry->size = 0;
    inquiry->losses = 0;
    inquiry->begun = false;
    atomic_init(&inquiry->taken, 0);
    inquiry->asked_at = clock_now();
    pthread_mutex_lock(&relaying->lock);
    const bool room = relaying->n < (size_t)relaying->options->requests * (1 + RELAYING_WAITING);
    if (room)
        append(&relaying->asked, inquiry);
    relaying->n += room;
    pthread_mutex_unlock(&relaying->lock);
    if (room)
        event_signal(relaying->event);
    return room;
}

void relaying_taken(struct relaying *relaying, struct inquiry *inquiry, size_t bytes) {
    atomic_fetch_add(&inquiry->taken, bytes);
    event_signal(relaying->event);
}

static void take_asked(struct relaying *relaying) {
    event_take(relaying->event);
    pthread_mutex_lock(&relaying->lock);
    if (relaying->asked.first) {
        *relaying->waiting.last = relaying->asked.first;
        relaying->waiting.last = relaying->asked.last;
        empty(&relaying->asked);
    }
    pthread_mutex_unlock(&relaying->lock);
}

static int64_t late_at(const struct relaying *relaying, const struct inquiry *inquiry) {
    return inquiry->asked_at + (int64_t)relaying->options->seconds * CLOCK_SECOND;
}

static void write_ask(struct relaying *relaying, const struct inquiry *inquiry, int64_t now) {
    const int64_t left = late_at(relaying, inquiry) - now;
    const struct relay_ask ask = {
        .id = inquiry->id,
        .size = inquiry->body.size,
        .kind = RELAY_ASK,
        .timeout_ms = (uint32_t)((left > 0 ? left : 0) / CLOCK_MILLISECOND) + 1,
        .endpoint = inquiry->endpoint,
        .streamed = inquiry->streamed,
    };
    buffer_bytes(&relaying->out, &ask, sizeof ask);
    buffer_bytes(&relaying->out, inquiry->body.data, inquiry->body.size);
}

static void take_back(struct relaying *relaying, const struct inquiry *inquiry) {
    const struct relay_ask ask = {.id = inquiry->id, .kind = RELAY_TAKE_BACK};
    buffer_bytes(&relaying->out, &ask, sizeof ask);
}

/* Tells the relay what of its pieces was passed on. */
static void tell_taken(struct relaying *relaying) {
    for (struct inquiry *inquiry = relaying->flying.first; inquiry; inquiry = inquiry->next) {
        const struct relay_ask ask = {
            .id = inquiry->id, .size = atomic_exchange(&inquiry->taken, 0), .kind = RELAY_TAKEN};
        if (ask.size)
            buffer_bytes(&relaying->out, &ask, sizeof ask);
    }
}

static void hand_out(struct relaying *relaying, int64_t now) {
    while (relaying->process.pid > 0 && relaying->waiting.first &&
           relaying->n_flying < relaying->options->requests) {
        struct inquiry *inquiry = take(&relaying->waiting, &relaying->waiting.first);
        inquiry->id = ++relaying->last_id;
        append(&relaying->flying, inquiry);
        relaying->n_flying++;
        write_ask(relaying, inquiry, now);
    }
}

/* Gives back what nobody waits for any more, and what is late. */
static void sweep(struct relaying *relaying, bool flying, int64_t now) {
    struct list *list = flying ? &relaying->flying : &relaying->waiting;
    for (struct inquiry **at = &list->first; *at;) {
        const bool wanted = (*at)->wanted((*at)->arg);
        if (wanted && now < late_at(relaying, *at) + (flying ? GRACE : 0)) {
            at = &(*at)->next;
            continue;
        }
        struct inquiry *inquiry = take(list, at);
        if (flying) {
            relaying->n_flying--;
            take_back(relaying, inquiry);
        }
        give_back(relaying, inquiry, wanted ? RELAY_LATE : RELAY_GIVEN_UP,
                  "the language model has not answered in time (--llm-timeout)");
    }
}

/* Sends what the socket takes. False: the relay is lost, or there was no memory for an ask. */
static bool send_out(struct relaying *relaying) {
    struct buffer *out = &relaying->out;
    while (!out->failed && relaying->sent < out->size) {
        const ssize_t size = send(relaying->process.fd, out->data + relaying->sent,
                                  out->size - relaying->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        relaying->sent += (size_t)size;
    }
    const bool good = !out->failed;
    buffer_free(out);
    relaying->sent = 0;
    return good;
}

/* ---- answers */

/* The answer has come, its bytes follow. False: it is none. */
static bool open_answer(struct relaying *relaying) {
    const struct relay_answer *answer = &relaying->answer;
    if (!relay_check_answer(answer, relaying->options->bytes))
        return false;
    relaying->bytes = answer->size ? malloc(answer->size) : NULL;
    return relaying->bytes || !answer->size;
}

static struct inquiry **find_flying(struct relaying *relaying, uint64_t id) {
    struct inquiry **at = &relaying->flying.first;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    return at; /* *at NULL: it was given back meanwhile */
}

/* The bytes are the inquiry's from here on. */
static void hand_in(struct relaying *relaying, struct inquiry **at) {
    const struct relay_answer *answer = &relaying->answer;
    struct inquiry *inquiry = *at;
    if (answer->outcome == RELAY_MORE) {
        inquiry->begun = true;
        inquiry->more(inquiry, (char *)relaying->bytes, answer->size);
        return;
    }
    take(&relaying->flying, at);
    relaying->n_flying--;
    inquiry->bytes = relaying->bytes;
    inquiry->size = answer->size;
    inquiry->status = answer->status;
    give_back(relaying, inquiry, (enum relay_outcome)answer->outcome, answer->message);
}

/* False: it is none of the ask that it is to. */
static bool close_answer(struct relaying *relaying) {
    struct inquiry **at = find_flying(relaying, relaying->answer.id);
    relaying->received = 0;
    relaying->failures = 0;
    if (*at && !relay_is_of(&relaying->answer, (*at)->streamed))
        return false;
    if (*at)
        hand_in(relaying, at);
    else
        free(relaying->bytes);
    relaying->bytes = NULL;
    return true;
}

/* Takes in what has come. False: the relay is lost, or says what it must not. */
static bool receive(struct relaying *relaying) {
    const size_t head = sizeof relaying->answer;
    for (;;) {
        const bool in_head = relaying->received < head;
        char *to = in_head ? (char *)&relaying->answer + relaying->received
                           : (char *)relaying->bytes + (relaying->received - head);
        const size_t left =
            in_head ? head - relaying->received : head + relaying->answer.size - relaying->received;
        const ssize_t size = recv(relaying->process.fd, to, left, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        relaying->received += (size_t)size;
        if (relaying->received < head)
            continue;
        if (in_head && !open_answer(relaying))
            return false;
        if (relaying->received == head + relaying->answer.size && !close_answer(relaying))
            return false;
    }
}

/* ---- the relay's life */

static void plan_start(struct relaying *relaying) {
    int64_t pause = FIRST_PAUSE;
    for (unsigned i = 0; i < relaying->failures && pause < MOST_PAUSE; i++)
        pause *= 2;
    relaying->failures++;
    relaying->start_at = clock_now() + (pause < MOST_PAUSE ? pause : MOST_PAUSE);
}

static void start(struct relaying *relaying) {
    static const char *const argv[] = {"relay", NULL};
    struct limoe_error err;
    if (process_spawn(argv, kept, &relaying->process, &err) != LIMOE_OK) {
        relaying->process.pid = -1;
        plan_start(relaying);
        log_print(relaying->log, LOG_WARNING, NULL, "language model: %s", err.message);
        return;
    }
    atomic_store(&relaying->pid, relaying->process.pid);
    buffer_bytes(&relaying->out, &relaying->settings, sizeof relaying->settings);
}

/* What it had is asked again, before what waits; what has lost two relays is not, nor what has begun to be answered. */
static void requeue(struct relaying *relaying) {
    struct list again;
    empty(&again);
    while (relaying->flying.first) {
        struct inquiry *inquiry = take(&relaying->flying, &relaying->flying.first);
        if (inquiry->begun)
            give_back(relaying, inquiry, RELAY_LOST, "the process that asks the language model was lost");
        else if (++inquiry->losses >= MOST_LOSSES)
            give_back(relaying, inquiry, RELAY_LOST,
                      "the process that asks the language model was lost twice with the request");
        else
            append(&again, inquiry);
    }
    relaying->n_flying = 0;
    while (relaying->waiting.first)
        append(&again, take(&relaying->waiting, &relaying->waiting.first));
    while (again.first)
        append(&relaying->waiting, take(&again, &again.first));
}

static void lost(struct relaying *relaying) {
    char why[PROCESS_WHY_SIZE];
    atomic_store(&relaying->pid, 0);
    process_kill(&relaying->process, why);
    relaying->process.pid = -1;
    plan_start(relaying);
    log_print(relaying->log, LOG_WARNING, NULL, "language model: the relay was lost (%s), another is started",
              why);
    metrics_count(relaying->metrics, METRICS_UPSTREAM_RESTARTS, 1);
    free(relaying->bytes);
    relaying->bytes = NULL;
    relaying->received = 0;
    buffer_free(&relaying->out);
    relaying->sent = 0;
    requeue(relaying);
}

/* ---- the thread */

/* Milliseconds until something has to be looked at by itself; -1: nothing. */
static int sleep_ms(const struct relaying *relaying, int64_t now) {
    if (relaying->waiting.first || relaying->flying.first)
        return TICK_MS;
    if (relaying->process.pid > 0)
        return -1;
    const int64_t left = relaying->start_at - now;
    return left > 0 ? (int)(left / CLOCK_MILLISECOND) + 1 : 0;
}

static void sleep_until_news(const struct relaying *relaying) {
    struct pollfd polled[2] = {{.fd = relaying->event, .events = POLLIN},
                               {.fd = relaying->process.fd, .events = POLLIN}};
    if (relaying->out.size)
        polled[1].events |= POLLOUT;
    poll(polled, relaying->process.pid > 0 ? 2 : 1, sleep_ms(relaying, clock_now()));
}

static bool is_over(struct relaying *relaying) {
    pthread_mutex_lock(&relaying->lock);
    const bool over = atomic_load(&relaying->stopping) && relaying->n == 0;
    pthread_mutex_unlock(&relaying->lock);
    return over;
}

static void *run(void *arg) {
    struct relaying *relaying = arg;
    while (!is_over(relaying)) {
        if (relaying->process.pid <= 0 && clock_now() >= relaying->start_at)
            start(relaying);
        take_asked(relaying);
        if (relaying->process.pid > 0 && !receive(relaying))
            lost(relaying);
        const int64_t now = clock_now();
        sweep(relaying, true, now);
        sweep(relaying, false, now);
        hand_out(relaying, now);
        tell_taken(relaying);
        if (relaying->process.pid > 0 && !send_out(relaying))
            lost(relaying);
        sleep_until_news(relaying);
    }
    atomic_store(&relaying->pid, 0);
    process_kill(&relaying->process, NULL);
    return NULL;
}

/* ---- life */

static void free_all(struct relaying *relaying) {
    if (relaying->event >= 0)
        close(relaying->event);
    pthread_mutex_destroy(&relaying->lock);
    buffer_free(&relaying->out);
    free(relaying->bytes);
    explicit_bzero(&relaying->settings, sizeof relaying->settings);
    free(relaying);
}

enum limoe_status relaying_start(const struct relaying_options *options, struct log *log,
                                 struct metrics *metrics, struct relaying **out, struct limoe_error *err) {
    struct relaying *relaying = calloc(1, sizeof *relaying);
    if (!relaying)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for requests to a language model");
    relaying->options = options;
    relaying->log = log;
    relaying->metrics = metrics;
    relaying->process = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    empty(&relaying->asked);
    empty(&relaying->waiting);
    empty(&relaying->flying);
    pthread_mutex_init(&relaying->lock, NULL);
    relaying->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum limoe_status status = relaying_settings(options, &relaying->settings, err);
    if (status != LIMOE_OK) {
        free_all(relaying);
        return status;
    }
    const int code = relaying->event < 0 ? errno : pthread_create(&relaying->thread, NULL, run, relaying);
    if (code) {
        free_all(relaying);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start the thread of requests to a language model: %s",
                          strerror(code));
    }
    pthread_setname_np(relaying->thread, "limoe-relaying");
    *out = relaying;
    return LIMOE_OK;
}

pid_t relaying_pid(struct relaying *relaying) {
    return relaying ? atomic_load(&relaying->pid) : 0;
}

void relaying_stop(struct relaying *relaying) {
    if (!relaying)
        return;
    atomic_store(&relaying->stopping, true);
    event_signal(relaying->event);
    pthread_join(relaying->thread, NULL);
    free_all(relaying);
}
