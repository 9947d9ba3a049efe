/* guard.c - one list of connections, and one epoll set for the sockets of suspended ones.
 *
 * The library's own timeout is for silence: a client that sends a byte a second never meets it. Here the
 * limits are for the whole of a thing, whatever trickles in meanwhile. And while a call is being worked on
 * the library does not look at its socket at all; the epoll set does.
 *
 * Bodies and answers hold memory, so they must also go on. A client has its patience in seconds: time takes
 * from it, bytes that it sends or reads add to it at the least rate, and it never exceeds the pause that is
 * allowed. What a client has read is what its side has acknowledged, which the kernel counts: the library
 * tells nobody, and what lies in the socket's buffer has not been read.
 *
 * One lock for everything. It is held for a few list operations; by the sweep for a walk over the
 * connections once a second, and over those who have gone otherwise.
 */
#include "server/front/http/guard.h"

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

enum doing {
    DOING_WAITING,   /* for a head, complete; also for the TLS handshake before the first */
    DOING_RECEIVING, /* a body */
    DOING_WORKING,   /* the request is ours: no limit on the client */
    DOING_ANSWERING,
    DOING_NOTHING, /* shut down by the sweep */
};

struct guarded {
    struct guarded *prev, *next;
    int fd;
    enum doing doing;
    int64_t limit;         /* when what it is doing must be over; 0: no limit */
    int64_t patience;      /* until when it may make no progress; 0: for ever */
    _Atomic uint64_t come; /* bytes of the body */
    uint64_t seen;         /* bytes sent or read when they were last looked at; UNSEEN: not yet */
    uint64_t size;         /* of the answer */
    void (*gone)(void *arg);
    void *arg;
};

struct guard {
    struct guard_limits limits;
    bool encrypted;
    int epoll;
    pthread_mutex_t lock;
    struct guarded *first;
    int64_t swept;
};

/* ---- life */

enum limoe_status guard_new(const struct guard_limits *limits, bool encrypted, struct guard **out,
                            struct limoe_error *err) {
    struct guard *guard = calloc(1, sizeof *guard);
    if (!guard || pthread_mutex_init(&guard->lock, NULL) != 0) {
        free(guard);
        return limoe_fail(err, LIMOE_NO_MEMORY, "no memory to watch over connections");
    }
    guard->limits = *limits;
    guard->encrypted = encrypted;
    guard->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (guard->epoll < 0) {
        int code = errno;
        guard_free(guard);
        return limoe_fail(err, LIMOE_IO, "cannot watch over connections: %s", strerror(code));
    }
    *out = guard;
    return LIMOE_OK;
}

void guard_free(struct guard *guard) {
    if (!guard)
        return;
    if (guard->epoll >= 0)
        close(guard->epoll);
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}

/* ---- entries */

static int64_t after(int64_t now, uint64_t seconds) {
    return seconds ? now + (int64_t)seconds * CLOCK_SECOND : 0;
}

/* A second more than the library gives to silence, so that those who are found here have sent something. */
static int64_t head_limit(const struct guard *guard, int64_t now) {
    return after(now, guard->limits.idle_seconds ? guard->limits.idle_seconds + 1u : 0);
}

struct guarded *guard_open(struct guard *guard, int fd, int64_t now) {
    struct guarded *entry = malloc(sizeof *entry);
    if (!entry)
        return NULL;
    pthread_mutex_lock(&guard->lock);
    *entry = (struct guarded){.next = guard->first, .fd = fd, .limit = head_limit(guard, now)};
    if (entry->next)
        entry->next->prev = entry;
    guard->first = entry;
    pthread_mutex_unlock(&guard->lock);
    return entry;
}

static void forget(struct guard *guard, struct guarded *entry) {
    if (entry->gone)
        epoll_ctl(guard->epoll, EPOLL_CTL_DEL, entry->fd, NULL);
    entry->gone = NULL;
}

void guard_close(struct guard *guard, struct guarded *entry) {
    if (!entry)
        return;
    pthread_mutex_lock(&guard->lock);
    forget(guard, entry);
    if (entry->prev)
        entry->prev->next = entry->next;
    else
        guard->first = entry->next;
    if (entry->next)
        entry->next->prev = entry->prev;
    pthread_mutex_unlock(&guard->lock);
    free(entry);
}

/* What an entry is to be from now on; its links, socket and watch stay. */
struct turn {
    enum doing doing;
    int64_t limit, patience;
    uint64_t seen, size;
};

static bool turn_to(struct guard *guard, struct guarded *entry, const struct turn *turn) {
    pthread_mutex_lock(&guard->lock);
    bool open = entry->doing != DOING_NOTHING;
    if (open) {
        entry->doing = turn->doing;
        entry->limit = turn->limit;
        entry->patience = turn->patience;
        entry->seen = turn->seen;
        entry->size = turn->size;
    }
    pthread_mutex_unlock(&guard->lock);
    return open;
}

bool guard_receiving(struct guard *guard, struct guarded *entry, int64_t now) {
    atomic_store(&entry->come, 0);
    return turn_to(guard, entry,
                   &(struct turn){.doing = DOING_RECEIVING,
                                  .limit = after(now, guard->limits.receive_seconds),
                                  .patience = after(now, guard->limits.stall_seconds)});
}

void guard_received(struct guarded *entry, size_t bytes) {
    atomic_fetch_add(&entry->come, bytes);
}

bool guard_working(struct guard *guard, struct guarded *entry) {
    return turn_to(guard, entry, &(struct turn){.doing = DOING_WORKING});
}

bool guard_answering(struct guard *guard, struct guarded *entry, size_t size, int64_t now) {
    return turn_to(guard, entry,
                   &(struct turn){.doing = DOING_ANSWERING,
                                  .patience = after(now, guard->limits.stall_seconds),
                                  .seen = UNSEEN,
                                  .size = size});
}

bool guard_waiting(struct guard *guard, struct guarded *entry, int64_t now) {
    return turn_to(guard, entry, &(struct turn){.doing = DOING_WAITING, .limit = head_limit(guard, now)});
}

/* ---- who has gone */

/* A socket that the set does not take (no memory) is not watched: its call is computed for nobody, as it was
 * before anyone looked. */
void guard_watch(struct guard *guard, struct guarded *entry, void (*gone)(void *arg), void *arg) {
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = entry};
    pthread_mutex_lock(&guard->lock);
    if (!entry->gone && epoll_ctl(guard->epoll, EPOLL_CTL_ADD, entry->fd, &event) == 0) {
        entry->gone = gone;
        entry->arg = arg;
    }
    pthread_mutex_unlock(&guard->lock);
}

void guard_unwatch(struct guard *guard, struct guarded *entry) {
    pthread_mutex_lock(&guard->lock);
    forget(guard, entry);
    pthread_mutex_unlock(&guard->lock);
}

int guard_fd(const struct guard *guard) {
    return guard->epoll;
}

static void call_back(struct guard *guard) {
    struct epoll_event events[GONE_BATCH];
    int n;
    do {
        n = epoll_wait(guard->epoll, events, GONE_BATCH, 0);
        for (int i = 0; i < n; i++) {
            const struct guarded *entry = events[i].data.ptr; /* of the set, so watched, so alive */
            entry->gone(entry->arg);
        }
    } while (n == GONE_BATCH);
}

/* ---- who is slow */

/* Nothing of an answer has been sent, and with the lock held nothing will be: the connection's thread asks
 * before it answers. What does not fit into the socket's buffer is not worth waiting for. */
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

/* It has sent what nobody has looked at yet, or has read all that it was given: a machine that is busy, or
 * was stopped for a while, is not its client's fault. */
static bool waits_for_us(const struct guarded *entry) {
    int bytes;
    if (entry->doing == DOING_RECEIVING)
        return ioctl(entry->fd, FIONREAD, &bytes) == 0 && bytes > 0;
    return ioctl(entry->fd, SIOCOUTQ, &bytes) == 0 && bytes == 0;
}

/* Adds to the patience for what has been sent or read since the last look; from it, pressed or not, follows
 * whether the client has been too slow. An answer's first look only finds where its bytes begin. */
static bool is_stalled(const struct guard *guard, struct guarded *entry, int64_t now, bool pressed) {
    const bool receiving = entry->doing == DOING_RECEIVING;
    if (!entry->patience || (!receiving && entry->doing != DOING_ANSWERING))
        return false;
    const uint64_t done = receiving ? atomic_load(&entry->come) : acknowledged(entry->fd);
    if (done == UNSEEN) { /* then an answer has the time that it takes at the least rate, and no more */
        entry->patience = 0;
        entry->limit = after(now, guard->limits.stall_seconds + entry->size / GUARD_LEAST_RATE);
        return false;
    }
    const uint64_t held = receiving ? done : entry->size;
    const bool first = entry->seen == UNSEEN;
    const bool hurried = pressed && held / GUARD_PRESSED_SECONDS > GUARD_LEAST_RATE;
    const uint64_t rate = hurried ? held / GUARD_PRESSED_SECONDS : GUARD_LEAST_RATE;
    const uint64_t more = first ? 0 : done - entry->seen;
    entry->seen = done;

    const int64_t pause = (int64_t)guard->limits.stall_seconds * CLOCK_SECOND;
    const double earned = (double)more / (double)rate * (double)CLOCK_SECOND;
    entry->patience =
        earned < (double)(now + pause - entry->patience) ? entry->patience + (int64_t)earned : now + pause;
    const int64_t allowed = hurried ? pause / GUARD_PRESSED_PAUSE : pause;
    if (first || now < entry->patience - pause + allowed)
        return false;
    if (waits_for_us(entry))
        entry->patience = now + pause;
    return entry->patience < now + pause;
}

static void shut(struct guard *guard, struct guarded *entry, bool stalled) {
    char message[160];
    if (stalled)
        snprintf(message, sizeof message,
                 "the body came in too slowly; accepted are %u KiB/s and pauses of %u s, and less where the "
                 "server has much to hold",
                 GUARD_LEAST_RATE / 1024, guard->limits.stall_seconds);
    else
        snprintf(message, sizeof message, "the body did not come in within %u s",
                 guard->limits.receive_seconds);
    if (entry->doing == DOING_RECEIVING && !guard->encrypted)
        say_timeout(entry->fd, message);
    shutdown(entry->fd, SHUT_RDWR); /* wakes the connection's thread, which closes it */
    entry->doing = DOING_NOTHING;
    entry->limit = 0;
}

static size_t shut_slow(struct guard *guard, int64_t now, bool pressed) {
    size_t n = 0;
    for (struct guarded *entry = guard->first; entry; entry = entry->next) {
        const bool late = entry->limit && now >= entry->limit;
        const bool stalled = !late && is_stalled(guard, entry, now, pressed);
        if (!late && !stalled)
            continue;
        shut(guard, entry, stalled);
        n++;
    }
    return n;
}

size_t guard_sweep(struct guard *guard, int64_t now, bool pressed) {
    size_t slow = 0;
    pthread_mutex_lock(&guard->lock);
    call_back(guard);
    if (now - guard->swept >= SWEEP_NS) {
        guard->swept = now;
        slow = shut_slow(guard, now, pressed);
    }
    pthread_mutex_unlock(&guard->lock);
    return slow;
}
