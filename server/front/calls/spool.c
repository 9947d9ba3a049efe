/* spool.c - the tail is written to the file as a whole when it has grown; what is read comes from the file first.
 * A file that has been read to its end begins anew. */
#include "server/front/calls/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

static enum limoe_status fail(const struct spool *spool, const char *what, struct limoe_error *err) {
    return limoe_fail(err, LIMOE_IO, "cannot %s a file for answers in %s: %s", what, spool->folder,
                      strerror(errno));
}

static enum limoe_status open_file(struct spool *spool, struct limoe_error *err) {
    if (spool->open)
        return LIMOE_OK;
    char path[PATH_MAX]; /* O_TMPFILE, which needs none, is not to be had on every file system */
    const int length = snprintf(path, sizeof path, "%s/answers-XXXXXX", spool->folder);
    if (length < 0 || (size_t)length >= sizeof path) {
        errno = ENAMETOOLONG;
        return fail(spool, "make", err);
    }
    spool->file = mkostemp(path, O_CLOEXEC);
    if (spool->file < 0)
        return fail(spool, "make", err);
    spool->open = true;
    if (unlink(path) != 0)
        return fail(spool, "hide", err);
    return LIMOE_OK;
}

static size_t unread(const struct spool *spool) {
    return spool->tail.size - spool->tail_read;
}

static enum limoe_status write_tail(struct spool *spool, struct limoe_error *err) {
    enum limoe_status status = open_file(spool, err);
    if (spool->from == spool->to && status == LIMOE_OK) {
        spool->from = spool->to = 0;
        if (ftruncate(spool->file, 0) != 0)
            return fail(spool, "empty", err);
    }
    while (status == LIMOE_OK && unread(spool) > 0) {
        const ssize_t n =
            pwrite(spool->file, spool->tail.data + spool->tail_read, unread(spool), (off_t)spool->to);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(spool, "write", err);
        spool->to += (uint64_t)n;
        spool->tail_read += (size_t)n;
    }
    if (status == LIMOE_OK)
        spool->tail.size = spool->tail_read = 0;
    return status;
}

enum limoe_status spool_append_last(struct spool *spool, const void *bytes, size_t size,
                                    struct limoe_error *err) {
    buffer_bytes(&spool->tail, bytes, size);
    if (!spool->tail.failed)
        return LIMOE_OK;
    spool->tail.failed = false; /* what was there before still is */
    return limoe_fail(err, LIMOE_NO_MEMORY, "no memory for answers");
}

enum limoe_status spool_append(struct spool *spool, const void *bytes, size_t size, struct limoe_error *err) {
    if (unread(spool) > 0 && unread(spool) + size > SPOOL_MEMORY) {
        const enum limoe_status status = write_tail(spool, err);
        if (status != LIMOE_OK)
            return status;
    }
    return spool_append_last(spool, bytes, size, err);
}

static size_t take_tail(struct spool *spool, void *out, size_t size) {
    const size_t n = size < unread(spool) ? size : unread(spool);
    if (n > 0)
        memcpy(out, spool->tail.data + spool->tail_read, n);
    spool->tail_read += n;
    if (unread(spool) > 0)
        return n;
    spool->tail.size = spool->tail_read = 0;
    if (spool->tail.capacity > 2 * SPOOL_MEMORY)
        buffer_free(&spool->tail); /* a large answer's room is not kept */
    return n;
}

enum limoe_status spool_take(struct spool *spool, void *out, size_t size, size_t *taken,
                             struct limoe_error *err) {
    *taken = 0;
    if (spool->from == spool->to) {
        *taken = take_tail(spool, out, size);
        return LIMOE_OK;
    }
    const uint64_t left = spool->to - spool->from;
    ssize_t n;
    do
        n = pread(spool->file, out, left < size ? (size_t)left : size, (off_t)spool->from);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return fail(spool, "read", err);
    spool->from += (uint64_t)n;
    *taken = (size_t)n;
    return LIMOE_OK;
}

uint64_t spool_size(const struct spool *spool) {
    return spool->to - spool->from + unread(spool);
}

void spool_free(struct spool *spool) {
    if (spool->open)
        close(spool->file);
    spool->open = false;
    buffer_free(&spool->tail);
}
