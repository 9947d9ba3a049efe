/* decoder_wire.c - whole messages over a stream that gives and takes parts. No state.
 *
 * The front tries a transfer before it waits for one: an answer's second part is most often there already.
 */
#include "server/protocol/decoder_wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

/* Leaves out the first `done` bytes of parts[n]; returns how many parts that has used up. */
static int advance(struct iovec *parts, int n, size_t done) {
    int i = 0;
    for (; i < n && done >= parts[i].iov_len; i++)
        done -= parts[i].iov_len;
    if (i < n) {
        parts[i].iov_base = (char *)parts[i].iov_base + done;
        parts[i].iov_len -= done;
    }
    return i;
}

static enum wire_end wait_for(int fd, short events, const struct wire_deadline *deadline) {
    const int64_t tick = deadline->tick ? deadline->tick : WIRE_TICK;
    for (;;) {
        const int64_t left = deadline->until - clock_now();
        if (left <= 0)
            return WIRE_LATE;
        const int64_t pause = deadline->ask && left > tick ? tick : left;
        const struct timespec timeout = {pause / CLOCK_SECOND, pause % CLOCK_SECOND};
        struct pollfd polled = {.fd = fd, .events = events};
        const int ready = ppoll(&polled, 1, &timeout, NULL);
        if (ready > 0)
            return WIRE_DONE; /* or hung up, which the transfer itself tells apart */
        if (ready < 0 && errno != EINTR)
            return WIRE_CLOSED;
        const enum wire_end end = deadline->ask ? deadline->ask(deadline->arg) : WIRE_DONE;
        if (end != WIRE_DONE)
            return end;
    }
}

enum wire_end wire_send(int fd, struct iovec *parts, int n, const struct wire_deadline *deadline) {
    while (n > 0) {
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
        const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            const int used = advance(parts, n, (size_t)sent);
            parts += used;
            n -= used;
        } else if (errno == EAGAIN) {
            const enum wire_end end = wait_for(fd, POLLOUT, deadline);
            if (end != WIRE_DONE)
                return end;
        } else if (errno != EINTR) {
            return WIRE_UNREAD; /* EPIPE: not all of it was sent, so not all was read */
        }
    }
    return WIRE_DONE;
}

enum wire_end wire_receive(int fd, void *bytes, size_t size, const struct wire_deadline *deadline) {
    char *to = bytes;
    while (size > 0) {
        const ssize_t got = recv(fd, to, size, MSG_DONTWAIT);
        if (got > 0) {
            to += got;
            size -= (size_t)got;
        } else if (got == 0) {
            return WIRE_CLOSED;
        } else if (errno == EAGAIN) {
            const enum wire_end end = wait_for(fd, POLLIN, deadline);
            if (end != WIRE_DONE)
                return end;
        } else if (errno == ECONNRESET) {
            return WIRE_UNREAD; /* how a Unix socket tells of bytes that nobody read */
        } else if (errno != EINTR) {
            return WIRE_CLOSED;
        }
    }
    return WIRE_DONE;
}

bool wire_write(int fd, struct iovec *parts, int n) {
    while (n > 0) {
        const ssize_t written = writev(fd, parts, n);
        if (written < 0 && errno != EINTR)
            return false;
        const int used = written < 0 ? 0 : advance(parts, n, (size_t)written);
        parts += used;
        n -= used;
    }
    return true;
}

bool wire_read(int fd, void *bytes, size_t size) {
    char *to = bytes;
    while (size > 0) {
        const ssize_t got = read(fd, to, size);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        if (got > 0) {
            to += got;
            size -= (size_t)got;
        }
    }
    return true;
}

/* A character that would end or hide the line it stands in. */
static bool is_control(const char *c, size_t length) {
    const unsigned char first = (unsigned char)c[0], second = length == 2 ? (unsigned char)c[1] : 0;
    return length == 1 ? first < 0x20 || first == 0x7f : first == 0xc2 && second < 0xa0; /* C0; C1 */
}

enum limoe_status wire_message(struct limoe_error *err, enum limoe_status status, const char *message,
                               size_t size) {
    char clean[sizeof err->message];
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        const size_t length = text_sequence(message + at, size - at);
        const bool good = length > 0 && !is_control(message + at, length);
        const size_t room = good ? length : 1;
        if (used + room >= sizeof clean)
            break;
        memcpy(clean + used, good ? message + at : "?", room);
        used += room;
        at += length ? length : 1;
    }
    clean[used] = '\0';
    return limoe_fail(err, status, "%s", used ? clean : "the decoder gave no reason");
}
