/* link.c - recv and sendmsg, continued where they stopped. */
#include "server/protocol/link.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"

void link_init(struct link *link, int fd) {
    *link = (struct link){.fd = fd};
}

void link_free(struct link *link) {
    free(link->payload);
    free(link->out);
    free(link->rest);
    link_init(link, -1);
}

void link_reset(struct link *link, int fd) {
    link->fd = fd;
    link->head_got = 0;
    link->got = 0;
    link->n_out = link->out_at = 0;
}

/* ---- receiving */

/* Bytes received; 0: the other side closed; -1: see errno. */
static ssize_t receive_some(const struct link *link, uint8_t *to, uint64_t size) {
    ssize_t n;
    do
        n = recv(link->fd, to, size, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

static enum link_event stopped(ssize_t n, bool between_frames, struct limoe_error *err) {
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return LINK_WAITS;
    if (n == 0 && between_frames)
        return LINK_ENDED;
    if (n == 0)
        limoe_fail(err, LIMOE_IO, "the connection ended inside a frame");
    else
        limoe_fail(err, LIMOE_IO, "the connection is broken: %s", strerror(errno));
    return LINK_BROKEN;
}

static bool make_room(struct link *link, uint64_t size, struct limoe_error *err) {
    if (size <= link->capacity)
        return true;
    free(link->payload);
    link->payload = malloc(size);
    link->capacity = link->payload ? size : 0;
    if (!link->payload)
        limoe_fail(err, LIMOE_NO_MEMORY, "no memory for a frame of %llu bytes", (unsigned long long)size);
    return link->payload;
}

enum link_event link_receive(struct link *link, enum frame_type type, uint64_t most,
                             struct limoe_error *err) {
    return link_receive_any(link, FRAME_IN(type), most, err);
}

enum link_event link_receive_any(struct link *link, unsigned types, uint64_t most, struct limoe_error *err) {
    while (link->head_got < FRAME_HEADER_BYTES) {
        ssize_t n = receive_some(link, link->head + link->head_got, FRAME_HEADER_BYTES - link->head_got);
        if (n <= 0)
            return stopped(n, link->head_got == 0, err);
        link->head_got += (size_t)n;
        if (link->head_got < FRAME_HEADER_BYTES)
            continue;
        if (frame_get_header(link->head, types, most, &link->frame, err) != LIMOE_OK ||
            !make_room(link, link->frame.length, err))
            return LINK_BROKEN;
        link->got = 0;
    }
    while (link->got < link->frame.length) {
        ssize_t n = receive_some(link, link->payload + link->got, link->frame.length - link->got);
        if (n <= 0)
            return stopped(n, false, err);
        link->got += (uint64_t)n;
    }
    link->head_got = 0;
    return LINK_DONE;
}

/* ---- sending */

bool link_stage(struct link *link, const struct frame_header *header, const struct iovec *parts, size_t n) {
    if (n + 1 > link->out_room) {
        struct iovec *out = realloc(link->out, (n + 1) * sizeof *out);
        if (!out)
            return false;
        link->out = out;
        link->out_room = n + 1;
    }
    frame_put_header(header, link->out_head);
    link->out[0] = (struct iovec){link->out_head, FRAME_HEADER_BYTES};
    if (n > 0)
        memcpy(link->out + 1, parts, n * sizeof *parts);
    link->n_out = n + 1;
    link->out_at = 0;
    return true;
}

void link_unstage(struct link *link) {
    link->n_out = link->out_at = 0;
}

bool link_detach(struct link *link) {
    const struct iovec *left = link->out + link->out_at;
    const size_t n = link->n_out - link->out_at;
    size_t size = 0;
    if (!link_sending(link))
        return true;
    if (left->iov_base == link->out_head && left->iov_len == FRAME_HEADER_BYTES) {
        link_unstage(link);
        return true;
    }
    for (size_t i = 0; i < n; i++)
        size += left[i].iov_len;
    uint8_t *rest = malloc(size + 1), *at = rest;
    if (!rest)
        return false;
    for (size_t i = 0; i < n; at += left[i++].iov_len)
        memcpy(at, left[i].iov_base, left[i].iov_len);
    free(link->rest); /* of which some may be what was just copied */
    link->rest = rest;
    link->out[0] = (struct iovec){rest, size};
    link->n_out = 1;
    link->out_at = 0;
    return true;
}

bool link_sending(const struct link *link) {
    return link->out_at < link->n_out;
}

static void advance(struct link *link, size_t sent) {
    while (link->out_at < link->n_out && sent >= link->out[link->out_at].iov_len)
        sent -= link->out[link->out_at++].iov_len;
    if (sent > 0) {
        struct iovec *part = &link->out[link->out_at];
        part->iov_base = (uint8_t *)part->iov_base + sent;
        part->iov_len -= sent;
    }
}

enum link_event link_send(struct link *link, struct limoe_error *err) {
    while (link_sending(link)) {
        size_t left = link->n_out - link->out_at;
        const struct msghdr message = {.msg_iov = link->out + link->out_at,
                                       .msg_iovlen = left < IOV_MAX ? left : IOV_MAX};
        ssize_t n = sendmsg(link->fd, &message, MSG_NOSIGNAL);
        if (n >= 0)
            advance(link, (size_t)n);
        else if (errno != EINTR)
            return stopped(n, false, err);
    }
    return LINK_DONE;
}
