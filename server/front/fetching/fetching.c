/* fetching.c - the fetcher's socket, what it was asked, its life.
 *
 * Asks go from `asked`, which any thread adds to, to `waiting`, then to `flying` once the fetcher has been told of them, as
 * many at a time as the options say. All but `asked` is the thread's own. Each ask ends by itself at its `late_at`, whatever
 * the fetcher does.
 */
#include "server/front/fetching/fetching.h"

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

#define MOST_ASKED  1024 /* pictures that are asked for and not given back */
#define TICK_MS     20   /* between two looks at who still waits */
#define FIRST_PAUSE (100 * CLOCK_MILLISECOND)
#define MOST_PAUSE  (10 * CLOCK_SECOND)
#define GRACE       (500 * CLOCK_MILLISECOND) /* for the fetcher to say itself that it is late */
#define MOST_LOSSES 2

/* What resolving and TLS are set by. No proxy: it would be asked in place of the address that was judged. */
static const char *const kept[] = {"SSL_CERT_*",      "RES_*",    "LOCALDOMAIN", "PATH",   "LANG",
                                   "LD_LIBRARY_PATH", "MALLOC_*", "GLIBC_*",     "ASAN_*", "UBSAN_*",
                                   "LSAN_*",          "TSAN_*",   NULL};

static const enum metrics_event outcomes[FETCH_OUTCOMES] = {
    [FETCH_DONE] = METRICS_FETCH_DONE,           [FETCH_REFUSED] = METRICS_FETCH_REFUSED,
    [FETCH_TOO_LARGE] = METRICS_FETCH_TOO_LARGE, [FETCH_LATE] = METRICS_FETCH_LATE,
    [FETCH_FAILED] = METRICS_FETCH_FAILED,       [FETCH_LOST] = METRICS_FETCH_LOST,
    [FETCH_GIVEN_UP] = METRICS_FETCH_GIVEN_UP,
};

struct list {
    struct fetch *first, **last;
};

struct fetching {
    const struct fetching_options *options;
    struct fetch_settings settings;
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
    unsigned failures;          /* fetchers lost since one has answered */
    struct buffer out;          /* asks on their way */
    size_t sent;                /* of out */
    struct fetch_answer answer; /* being received, */
    uint8_t *bytes;             /* with its picture */
    size_t received;
};

/* ---- lists */

static void empty(struct list *list) {
    *list = (struct list){.last = &list->first};
}

static void append(struct list *list, struct fetch *fetch) {
    fetch->next = NULL;
    *list->last = fetch;
    list->last = &fetch->next;
}

/* Takes out the fetch that *at points to. */
static struct fetch *take(struct list *list, struct fetch **at) {
    struct fetch *fetch = *at;
    *at = fetch->next;
    if (!*at)
        list->last = at;
    return fetch;
}

/* ---- given back */

static void give_back(struct fetching *fetching, struct fetch *fetch, enum fetch_outcome outcome,
                      const char *message) {
    fetch->outcome = outcome;
    snprintf(fetch->message, sizeof fetch->message, "%s", message);
    metrics_count(fetching->metrics, outcomes[outcome], 1);
    metrics_count(fetching->metrics, METRICS_FETCH_BYTES, fetch->size);
    pthread_mutex_lock(&fetching->lock);
    fetching->n--;
    pthread_mutex_unlock(&fetching->lock);
    fetch->done(fetch); /* from here on it is not ours to touch */
}

/* ---- asks */

bool fetching_ask(struct fetching *fetching, struct fetch *fetches, size_t n) {
    const int64_t late_at = clock_now() + (int64_t)fetching->options->seconds * CLOCK_SECOND;
    pthread_mutex_lock(&fetching->lock);
    const bool room = fetching->n + n <= MOST_ASKED;
    for (size_t i = 0; room && i < n; i++) {
        fetches[i].outcome = FETCH_GIVEN_UP;
        fetches[i].bytes = NULL;
        fetches[i].size = 0;
        fetches[i].losses = 0;
        fetches[i].late_at = late_at;
        append(&fetching->asked, &fetches[i]);
    }
    fetching->n += room ? n : 0;
    pthread_mutex_unlock(&fetching->lock);
    if (room)
        event_signal(fetching->event);
    return room;
}

static void take_asked(struct fetching *fetching) {
    event_take(fetching->event);
    pthread_mutex_lock(&fetching->lock);
    if (fetching->asked.first) {
        *fetching->waiting.last = fetching->asked.first;
        fetching->waiting.last = fetching->asked.last;
        empty(&fetching->asked);
    }
    pthread_mutex_unlock(&fetching->lock);
}

/* url NULL: what was asked with this id is taken back. */
static void write_ask(struct fetching *fetching, uint64_t id, const struct text *url, int64_t time_left) {
    const struct fetch_ask ask = {
        .id = id,
        .timeout_ms = (uint32_t)(time_left / CLOCK_MILLISECOND) + 1,
        .url_size = url ? (uint32_t)url->size : 0,
    };
    buffer_bytes(&fetching->out, &ask, sizeof ask);
    if (url)
        buffer_bytes(&fetching->out, url->data, url->size);
}

static void hand_out(struct fetching *fetching, int64_t now) {
    while (fetching->process.pid > 0 && fetching->waiting.first &&
           fetching->n_flying < fetching->options->fetches) {
        struct fetch *fetch = take(&fetching->waiting, &fetching->waiting.first);
        fetch->id = ++fetching->last_id;
        append(&fetching->flying, fetch);
        fetching->n_flying++;
        write_ask(fetching, fetch->id, &fetch->url, fetch->late_at > now ? fetch->late_at - now : 0);
    }
}

/* Gives back what nobody waits for any more, and what is late. */
static void sweep(struct fetching *fetching, bool flying, int64_t now) {
    struct list *list = flying ? &fetching->flying : &fetching->waiting;
    for (struct fetch **at = &list->first; *at;) {
        const bool wanted = (*at)->wanted((*at)->arg);
        if (wanted && now < (*at)->late_at + (flying ? GRACE : 0)) {
            at = &(*at)->next;
            continue;
        }
        struct fetch *fetch = take(list, at);
        if (flying) {
            fetching->n_flying--;
            write_ask(fetching, fetch->id, NULL, 0);
        }
        give_back(fetching, fetch, wanted ? FETCH_LATE : FETCH_GIVEN_UP,
                  "what its URL names has not come in time");
    }
}

/* Sends what the socket takes. False: the fetcher is lost, or there was no memory for an ask. */
static bool send_out(struct fetching *fetching) {
    struct buffer *out = &fetching->out;
    while (!out->failed && fetching->sent < out->size) {
        const ssize_t size = send(fetching->process.fd, out->data + fetching->sent,
                                  out->size - fetching->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK;
        fetching->sent += (size_t)size;
    }
    const bool good = !out->failed;
    buffer_free(out);
    fetching->sent = 0;
    return good;
}

/* ---- answers */

/* The answer has come, its picture follows. False: it is none. */
static bool open_answer(struct fetching *fetching) {
    const struct fetch_answer *answer = &fetching->answer;
    if (!fetch_check_answer(answer, fetching->options->bytes))
        return false;
    fetching->bytes = answer->size ? malloc(answer->size) : NULL;
    return fetching->bytes || !answer->size;
}

static struct fetch *take_flying(struct fetching *fetching, uint64_t id) {
    for (struct fetch **at = &fetching->flying.first; *at; at = &(*at)->next)
        if ((*at)->id == id) {
            fetching->n_flying--;
            return take(&fetching->flying, at);
        }
    return NULL; /* it was given back meanwhile */
}

static void close_answer(struct fetching *fetching) {
    const struct fetch_answer *answer = &fetching->answer;
    struct fetch *fetch = take_flying(fetching, answer->id);
    fetching->received = 0;
    fetching->failures = 0;
    metrics_count(fetching->metrics, METRICS_FETCH_SOCKETS, answer->opened);
    if (fetch) {
        fetch->bytes = fetching->bytes;
        fetch->size = answer->size;
        give_back(fetching, fetch, (enum fetch_outcome)answer->outcome, answer->message);
    } else {
        free(fetching->bytes);
    }
    fetching->bytes = NULL;
}

/* Takes in what has come. False: the fetcher is lost, or says what it must not. */
static bool receive(struct fetching *fetching) {
    const size_t head = sizeof fetching->answer;
    for (;;) {
        const bool in_head = fetching->received < head;
        char *to = in_head ? (char *)&fetching->answer + fetching->received
                           : (char *)fetching->bytes + (fetching->received - head);
        const size_t left =
            in_head ? head - fetching->received : head + fetching->answer.size - fetching->received;
        const ssize_t size = recv(fetching->process.fd, to, left, MSG_DONTWAIT);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
        fetching->received += (size_t)size;
        if (fetching->received < head)
            continue;
        if (in_head && !open_answer(fetching))
            return false;
        if (fetching->received == head + fetching->answer.size)
            close_answer(fetching);
    }
}

/* ---- the fetcher's life */

static void plan_start(struct fetching *fetching) {
    int64_t pause = FIRST_PAUSE;
    for (unsigned i = 0; i < fetching->failures && pause < MOST_PAUSE; i++)
        pause *= 2;
    fetching->failures++;
    fetching->start_at = clock_now() + (pause < MOST_PAUSE ? pause : MOST_PAUSE);
}

static void start(struct fetching *fetching) {
    static const char *const argv[] = {"fetcher", NULL};
    struct limoe_error err;
    if (process_spawn(argv, kept, &fetching->process, &err) != LIMOE_OK) {
        fetching->process.pid = -1;
        plan_start(fetching);
        log_print(fetching->log, LOG_WARNING, NULL, "pictures by URL: %s", err.message);
        return;
    }
    atomic_store(&fetching->pid, fetching->process.pid);
    buffer_bytes(&fetching->out, &fetching->settings, sizeof fetching->settings);
}

/* What it had is asked again, before what waits; what has lost two fetchers is not. */
static void lost(struct fetching *fetching) {
    char why[PROCESS_WHY_SIZE];
    struct list again;
    atomic_store(&fetching->pid, 0);
    process_kill(&fetching->process, why);
    fetching->process.pid = -1;
    plan_start(fetching);
    log_print(fetching->log, LOG_WARNING, NULL,
              "pictures by URL: the fetcher was lost (%s), another is started", why);
    metrics_count(fetching->metrics, METRICS_FETCH_RESTARTS, 1);
    free(fetching->bytes);
    fetching->bytes = NULL;
    fetching->received = 0;
    buffer_free(&fetching->out);
    fetching->sent = 0;
    empty(&again);
    while (fetching->flying.first) {
        struct fetch *fetch = take(&fetching->flying, &fetching->flying.first);
        if (++fetch->losses >= MOST_LOSSES)
            give_back(fetching, fetch, FETCH_LOST,
                      "the process that fetches pictures was lost twice with it");
        else
            append(&again, fetch);
    }
    fetching->n_flying = 0;
    while (fetching->waiting.first)
        append(&again, take(&fetching->waiting, &fetching->waiting.first));
    while (again.first)
        append(&fetching->waiting, take(&again, &again.first));
}

/* ---- the thread */

/* Milliseconds until something has to be looked at by itself; -1: nothing. */
static int sleep_ms(const struct fetching *fetching, int64_t now) {
    if (fetching->waiting.first || fetching->flying.first)
        return TICK_MS;
    if (fetching->process.pid > 0)
        return -1;
    const int64_t left = fetching->start_at - now;
    return left > 0 ? (int)(left / CLOCK_MILLISECOND) + 1 : 0;
}

static void sleep_until_news(const struct fetching *fetching) {
    struct pollfd polled[2] = {{.fd = fetching->event, .events = POLLIN},
                               {.fd = fetching->process.fd, .events = POLLIN}};
    if (fetching->out.size)
        polled[1].events |= POLLOUT;
    poll(polled, fetching->process.pid > 0 ? 2 : 1, sleep_ms(fetching, clock_now()));
}

static bool is_over(struct fetching *fetching) {
    pthread_mutex_lock(&fetching->lock);
    const bool over = atomic_load(&fetching->stopping) && fetching->n == 0;
    pthread_mutex_unlock(&fetching->lock);
    return over;
}

static void *run(void *arg) {
    struct fetching *fetching = arg;
    while (!is_over(fetching)) {
        if (fetching->process.pid <= 0 && clock_now() >= fetching->start_at)
            start(fetching);
        take_asked(fetching);
        if (fetching->process.pid > 0 && !receive(fetching))
            lost(fetching);
        const int64_t now = clock_now();
        sweep(fetching, true, now);
        sweep(fetching, false, now);
        hand_out(fetching, now);
        if (fetching->process.pid > 0 && !send_out(fetching))
            lost(fetching);
        sleep_until_news(fetching);
    }
    atomic_store(&fetching->pid, 0);
    process_kill(&fetching->process, NULL);
    return NULL;
}

/* ---- life */

static void free_all(struct fetching *fetching) {
    if (fetching->event >= 0)
        close(fetching->event);
    pthread_mutex_destroy(&fetching->lock);
    buffer_free(&fetching->out);
    free(fetching->bytes);
    free(fetching);
}

enum limoe_status fetching_start(const struct fetching_options *options, struct log *log,
                                 struct metrics *metrics, struct fetching **out, struct limoe_error *err) {
    struct fetching *fetching = calloc(1, sizeof *fetching);
    if (!fetching)
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for pictures by URL");
    fetching->options = options;
    fetching->log = log;
    fetching->metrics = metrics;
    fetching->process = (struct process){.pid = -1, .pidfd = -1, .fd = -1};
    fetching_settings(options, &fetching->settings);
    empty(&fetching->asked);
    empty(&fetching->waiting);
    empty(&fetching->flying);
    pthread_mutex_init(&fetching->lock, NULL);
    fetching->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const int code = fetching->event < 0 ? errno : pthread_create(&fetching->thread, NULL, run, fetching);
    if (code) {
        free_all(fetching);
        return limoe_fail(err, LIMOE_INTERNAL, "cannot start the thread of pictures by URL: %s",
                          strerror(code));
    }
    pthread_setname_np(fetching->thread, "limoe-fetches");
    *out = fetching;
    return LIMOE_OK;
}

pid_t fetching_pid(struct fetching *fetching) {
    return fetching ? atomic_load(&fetching->pid) : 0;
}

void fetching_stop(struct fetching *fetching) {
    if (!fetching)
        return;
    atomic_store(&fetching->stopping, true);
    event_signal(fetching->event);
    pthread_join(fetching->thread, NULL);
    free_all(fetching);
}
