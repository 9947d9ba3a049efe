/* timeouts.c - one list of connections, and one epoll set for the sockets of suspended ones.
 *
 * The library's own timeout is for silence: a client that sends a byte a second never meets it. Here the
 * limits are for the whole of a thing, whatever trickles in meanwhile. And while a call is being worked on
 * the library does not look at its socket at all; the epoll set does.
 *
 * Bodies and answers hold memory, so they must also go on. A client has a deadline for its progress. Each
 * byte that it sends or reads puts it off by the time that a byte takes at the least rate, but never farther
 * than the pause that is allowed. What a client has read is what its side has acknowledged, which the kernel
 * counts: the library does not tell, and what lies in the socket's buffer has not been read.
 *
 * One lock for everything. It is held for a few list operations; by the sweep for a walk over the
 * connections once a second, and over those who have gone otherwise.
 */
#include "server/front/http/timeouts.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define SWEEP_NS   CLOCK_SECOND
#define GONE_BATCH 64
#define UNSEEN     UINT64_MAX

enum phase {
    PHASE_WAITING,   /* for a head, complete; also for the TLS handshake before the first */
    PHASE_RECEIVING, /* a body */
    PHASE_WORKING,   /* the request is ours: no limit on the client */
    PHASE_ANSWERING,
    PHASE_NOTHING, /* shut down by the sweep */
};

struct timed {
    struct timed *prev, *next;
    int fd;
    enum phase phase;
    int64_t limit;             /* when its phase must be over; 0: no limit */
    int64_t progress_deadline; /* until when it may make no progress; 0: for ever */
    _Atomic uint64_t come;     /* bytes of the body */
    uint64_t seen;             /* bytes sent or read when they were last looked at; UNSEEN: not yet */
    uint64_t size;             /* of the answer */
    void (*gone)(void *arg);
    void *arg;
};

struct timeouts {
    struct timeouts_limits limits;
    bool encrypted;
    int epoll;
    pthread_mutex_t lock;
    struct timed *first;
    int64_t swept;
};

/* ---- life */

enum limoe_status timeouts_new(const struct timeouts_limits *limits, bool encrypted, struct timeouts **out,
                               struct limoe_error *err) {
    struct timeouts *timeouts = calloc(1, sizeof *timeouts);
    if (!timeouts || pthread_mutex_init(&timeouts->lock, NULL) != 0) {
        free(timeouts);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to watch over connections");
    }
    timeouts->limits = *limits;
    timeouts->encrypted = encrypted;
    timeouts->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (timeouts->epoll < 0) {
        int code = errno;
        timeouts_free(timeouts);
        return limoe_fail(err, LIMOE_IO, "cannot watch over connections: %s", strerror(code));
    }
    *out = timeouts;
    return LIMOE_OK;
}

void timeouts_free(struct timeouts *timeouts) {
    if (!timeouts)
        return;
    if (timeouts->epoll >= 0)
        close(timeouts->epoll);
    pthread_mutex_destroy(&timeouts->lock);
    free(timeouts);
}

/* ---- entries */

static int64_t after(int64_t now, uint64_t seconds) {
    return seconds ? now + (int64_t)seconds * CLOCK_SECOND : 0;
}

/* The limit is a second more than the library gives to silence, so that connections found here have sent
 * something. */
static int64_t head_limit(const struct timeouts *timeouts, int64_t now) {
    return after(now, timeouts->limits.idle_seconds ? timeouts->limits.idle_seconds + 1u : 0);
}

struct timed *timeouts_open(struct timeouts *timeouts, int fd, int64_t now) {
    struct timed *entry = malloc(sizeof *entry);
    if (!entry)
        return NULL;
    pthread_mutex_lock(&timeouts->lock);
    *entry = (struct timed){.next = timeouts->first, .fd = fd, .limit = head_limit(timeouts, now)};
    if (entry->next)
        entry->next->prev = entry;
    timeouts->first = entry;
    pthread_mutex_unlock(&timeouts->lock);
    return entry;
}

static void forget(struct timeouts *timeouts, struct timed *entry) {
    if (entry->gone)
        epoll_ctl(timeouts->epoll, EPOLL_CTL_DEL, entry->fd, NULL);
    entry->gone = NULL;
}

void timeouts_close(struct timeouts *timeouts, struct timed *entry) {
    if (!entry)
        return;
    pthread_mutex_lock(&timeouts->lock);
    forget(timeouts, entry);
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        timeouts->first = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    pthread_mutex_unlock(&timeouts->lock);
    free(entry);
}

/* What an entry is from now on; its links, socket and watch stay. */
struct turn {
    enum phase phase;
    int64_t limit, progress_deadline;
    uint64_t seen, size;
};

static bool turn_to(struct timeouts *timeouts, struct timed *entry, const struct turn *turn) {
    pthread_mutex_lock(&timeouts->lock);
    bool open = entry->phase != PHASE_NOTHING;
    if (open) {
        entry->phase = turn->phase;
        entry->limit = turn->limit;
        entry->progress_deadline = turn->progress_deadline;
        entry->seen = turn->seen;
        entry->size = turn->size;
    }
    pthread_mutex_unlock(&timeouts->lock);
    return open;
}

bool timeouts_receiving(struct timeouts *timeouts, struct timed *entry, int64_t now) {
    atomic_store(&entry->come, 0);
    return turn_to(timeouts, entry,
                   &(struct turn){.phase = PHASE_RECEIVING,
                                  .limit = after(now, timeouts->limits.receive_seconds),
                                  .progress_deadline = after(now, timeouts->limits.stall_seconds)});
}

void timeouts_received(struct timed *entry, size_t bytes) {
    atomic_fetch_add(&entry->come, bytes);
}

bool timeouts_working(struct timeouts *timeouts, struct timed *entry) {
    return turn_to(timeouts, entry, &(struct turn){.phase = PHASE_WORKING});
}

bool timeouts_answering(struct timeouts *timeouts, struct timed *entry, size_t size, int64_t now) {
    return turn_to(timeouts, entry,
                   &(struct turn){.phase = PHASE_ANSWERING,
                                  .progress_deadline = after(now, timeouts->limits.stall_seconds),
                                  .seen = UNSEEN,
                                  .size = size});
}

bool timeouts_waiting(struct timeouts *timeouts, struct timed *entry, int64_t now) {
    return turn_to(timeouts, entry,
                   &(struct turn){.phase = PHASE_WAITING, .limit = head_limit(timeouts, now)});
}

/* ---- who has gone */

/* A socket that the set does not take (no memory) is not watched: its call is computed for nobody, as it was
 * before anyone looked. */
void timeouts_watch(struct timeouts *timeouts, struct timed *entry, void (*gone)(void *arg), void *arg) {
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = entry};
    pthread_mutex_lock(&timeouts->lock);
    if (!entry->gone && epoll_ctl(timeouts->epoll, EPOLL_CTL_ADD, entry->fd, &event) == 0) {
        entry->gone = gone;
        entry->arg = arg;
    }
    pthread_mutex_unlock(&timeouts->lock);
}

void timeouts_unwatch(struct timeouts *timeouts, struct timed *entry) {
    pthread_mutex_lock(&timeouts->lock);
    forget(timeouts, entry);
    pthread_mutex_unlock(&timeouts->lock);
}

int timeouts_fd(const struct timeouts *timeouts) {
    return timeouts->epoll;
}

static void call_back(struct timeouts *timeouts) {
    struct epoll_event events[GONE_BATCH];
    int n;
    do {
        n = epoll_wait(timeouts->epoll, events, GONE_BATCH, 0);
        for (int i = 0; i < n; i++) {
            const struct timed *entry = events[i].data.ptr; /* of the set, so watched, so alive */
            entry->gone(entry->arg);
        }
    } while (n == GONE_BATCH);
}

/* ---- who is slow */

/* Answers 408. Nothing of an answer has been sent, and with the lock held nothing will be: the
 * connection's thread asks before it answers. What does not fit into the socket's buffer is dropped. */
static void say_timeout(int fd, const char *message) {
    char body[320], answer[512];
    int size = snprintf(body, sizeof body,
                        "{\"error\":{\"message\":\"%s\",\"type\":"
                        "\"invalid_request_error\",\"param\":null,\"code\":\"request_timeout\"}}\n",
                        message);
    int all = snprintf(answer, sizeof answer,
                       "HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\n"
                       "Content-Length: %d\r\nConnection: close\r\n\r\n%s",
                       size, body);
    ssize_t sent = send(fd, answer, (size_t)all, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
}

/* Bytes that the other side has acknowledged in the connection's life; UNSEEN: the kernel does not tell. */
static uint64_t acknowledged(int fd) {
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked)
        return UNSEEN;
    return info.tcpi_bytes_acked;
}

/* Whether it is for the server to go on: the client has sent what nobody has looked at yet, or has read
 * all that it was given. A machine that is busy, or was stopped for a while, is not the client's fault. */
static bool waits_for_us(const struct timed *entry) {
    int bytes;
    if (entry->phase == PHASE_RECEIVING)
        return ioctl(entry->fd, FIONREAD, &bytes) == 0 && bytes > 0;
    return ioctl(entry->fd, SIOCOUTQ, &bytes) == 0 && bytes == 0;
}

/* Puts off the deadline for progress by what has been sent or read since the last look, and says whether it
 * has passed. The first look at an answer only finds where its bytes begin. */
static bool is_stalled(const struct timeouts *timeouts, struct timed *entry, int64_t now, bool pressed) {
    const bool receiving = entry->phase == PHASE_RECEIVING;
    if (!entry->progress_deadline || (!receiving && entry->phase != PHASE_ANSWERING))
        return false;
    const uint64_t done = receiving ? atomic_load(&entry->come) : acknowledged(entry->fd);
    if (done == UNSEEN) { /* then an answer has the time that it takes at the least rate, and no more */
        entry->progress_deadline = 0;
        entry->limit = after(now, timeouts->limits.stall_seconds + entry->size / TIMEOUTS_LEAST_RATE);
        return false;
    }
    const uint64_t held = receiving ? done : entry->size;
    const bool first = entry->seen == UNSEEN;
    const bool hurried = pressed && held / TIMEOUTS_PRESSED_SECONDS > TIMEOUTS_LEAST_RATE;
    const uint64_t rate = hurried ? held / TIMEOUTS_PRESSED_SECONDS : TIMEOUTS_LEAST_RATE;
    const uint64_t more = first ? 0 : done - entry->seen;
    entry->seen = done;

    const int64_t pause = (int64_t)timeouts->limits.stall_seconds * CLOCK_SECOND;
    const double earned = (double)more / (double)rate * (double)CLOCK_SECOND;
    entry->progress_deadline = earned < (double)(now + pause - entry->progress_deadline)
                                   ? entry->progress_deadline + (int64_t)earned
                                   : now + pause;
    const int64_t allowed = hurried ? pause / TIMEOUTS_PRESSED_PAUSE : pause;
    if (first || now < entry->progress_deadline - pause + allowed)
        return false;
    if (waits_for_us(entry))
        entry->progress_deadline = now + pause;
    return entry->progress_deadline < now + pause;
}

static void shut(struct timeouts *timeouts, struct timed *entry, bool stalled) {
    char message[160];
    if (stalled)
        snprintf(message, sizeof message,
                 "the body came in too slowly; accepted are %u KiB/s and pauses of %u s, and less where the "
                 "server has much to hold",
                 TIMEOUTS_LEAST_RATE / 1024, timeouts->limits.stall_seconds);
    else
        snprintf(message, sizeof message, "the body did not come in within %u s",
                 timeouts->limits.receive_seconds);
    if (entry->phase == PHASE_RECEIVING && !timeouts->encrypted)
        say_timeout(entry->fd, message);
    shutdown(entry->fd, SHUT_RDWR); /* wakes the connection's thread, which closes it */
    entry->phase = PHASE_NOTHING;
    entry->limit = 0;
}

static size_t shut_slow(struct timeouts *timeouts, int64_t now, bool pressed) {
    size_t n = 0;
    for (struct timed *entry = timeouts->first; entry; entry = entry->next) {
        const bool late = entry->limit && now >= entry->limit;
        const bool stalled = !late && is_stalled(timeouts, entry, now, pressed);
        if (!late && !stalled)
            continue;
        shut(timeouts, entry, stalled);
        n++;
    }
    return n;
}

size_t timeouts_sweep(struct timeouts *timeouts, int64_t now, bool pressed) {
    size_t slow = 0;
    pthread_mutex_lock(&timeouts->lock);
    call_back(timeouts);
    if (now - timeouts->swept >= SWEEP_NS) {
        timeouts->swept = now;
        slow = shut_slow(timeouts, now, pressed);
    }
    pthread_mutex_unlock(&timeouts->lock);
    return slow;
}
