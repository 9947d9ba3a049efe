/* membership.c - which ranks are there, and which process is which rank. */
#include "server/front/supervisor/membership.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/error.h"

bool membership_init(struct membership *membership, uint32_t n) {
    *membership = (struct membership){.n = n, .rank = calloc(n, sizeof *membership->rank)};
    for (uint32_t r = 0; membership->rank && r < n; r++) {
        link_init(&membership->rank[r].link, -1);
        membership->rank[r].pidfd = -1;
    }
    return membership->rank;
}

void membership_free(struct membership *membership) {
    if (!membership->rank)
        return;
    membership_close(membership);
    membership_kill(membership);
    for (uint32_t r = 0; r < membership->n; r++)
        link_free(&membership->rank[r].link);
    free(membership->rank);
    membership->rank = NULL;
}

void membership_forget(struct membership *membership) {
    for (uint32_t r = 0; r < membership->n; r++)
        membership->rank[r].heard = membership->rank[r].answered = false;
    membership->heard = membership->answered = 0;
}

void membership_close(struct membership *membership) {
    membership_forget(membership);
    for (uint32_t r = 0; r < membership->n; r++) {
        struct member *rank = &membership->rank[r];
        if (rank->link.fd >= 0)
            close(rank->link.fd);
        link_reset(&rank->link, -1);
        rank->pid = 0;
        rank->connected = false;
    }
    membership->joined = membership->connected = 0;
}

void membership_kill(struct membership *membership) {
    for (uint32_t r = 0; r < membership->n; r++) {
        struct member *rank = &membership->rank[r];
        if (rank->pidfd < 0)
            continue;
        pidfd_send_signal(rank->pidfd, SIGKILL, NULL, 0);
        close(rank->pidfd);
        rank->pidfd = -1;
    }
}

void membership_join(struct membership *membership, int fd, pid_t pid) {
    struct member *rank = &membership->rank[membership->joined++];
    link_reset(&rank->link, fd);
    rank->pid = pid;
    rank->connected = membership->n == 1;
    membership->connected += rank->connected;
    if (membership->n > 1 && pid > 0)
        rank->pidfd = pidfd_open(pid, 0); /* it holds the socket's other end: the number is still its own */
}

bool membership_connected(struct membership *membership, struct member *rank) {
    rank->connected = true;
    return ++membership->connected == membership->n;
}

enum limoe_status membership_hello(struct membership *membership, struct member *rank,
                                   struct limoe_error *err) {
    const struct link *link = &rank->link;
    enum limoe_status status = frame_get_hello(link->payload, link->frame.length, &rank->hello, err);
    if (status != LIMOE_OK)
        return status;
    if (rank->hello.status != LIMOE_OK)
        return limoe_fail(err, rank->hello.status, "%s", rank->hello.message);
    if (!rank->heard)
        membership->heard++;
    rank->heard = true;
    return LIMOE_OK;
}

/* A hello's strings and blocks lie in itself: they move with it. */
static void swap(struct member *a, struct member *b) {
    struct member was = *a;
    *a = *b;
    *b = was;
    struct member *const both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        both[i]->hello.model.name = both[i]->hello.name;
        both[i]->hello.model.moe_blocks = both[i]->hello.moe_blocks;
    }
}

enum limoe_status membership_verify(struct membership *membership, struct limoe_error *err) {
    for (uint32_t r = 0; r < membership->n; r++)
        if (membership->rank[r].hello.ranks != membership->n)
            return limoe_fail(err, LIMOE_CORRUPT, "a rank says that it is rank %u of %u, in a job of %u",
                              membership->rank[r].hello.rank, membership->rank[r].hello.ranks, membership->n);
    for (uint32_t r = 0; r < membership->n; r++)
        while (membership->rank[r].hello.rank != r) {
            struct member *other = &membership->rank[membership->rank[r].hello.rank];
            if (other->hello.rank == membership->rank[r].hello.rank)
                return limoe_fail(err, LIMOE_CORRUPT, "two ranks say that they are rank %u",
                                  other->hello.rank);
            swap(&membership->rank[r], other);
        }
    const struct frame_hello *first = &membership->rank[0].hello;
    for (uint32_t r = 1; r < membership->n; r++) {
        const struct frame_hello *hello = &membership->rank[r].hello;
        if (!frame_hello_equal(hello, first))
            return limoe_fail(
                err, LIMOE_CORRUPT,
                "rank %u does not compute as rank 0 does: it has %s %s, %s on %s, and rank 0 %s "
                "%s, %s on %s",
                r, hello->name, hello->fingerprint, limoe_dtype_name(hello->dtype), hello->backend,
                first->name, first->fingerprint, limoe_dtype_name(first->dtype), first->backend);
    }
    return LIMOE_OK;
}

void membership_describe(const struct membership *membership, const struct member *rank, char *out,
                         size_t size) {
    const unsigned number = (unsigned)(rank - membership->rank);
    if (rank->place)
        snprintf(out, size, "rank %u on %s", number, rank->place);
    else
        snprintf(out, size, "rank %u, process %ld", number, (long)rank->pid);
}

bool membership_sending(const struct membership *membership) {
    for (uint32_t r = 0; r < membership->n; r++)
        if (link_sending(&membership->rank[r].link))
            return true;
    return false;
}

bool membership_answered(struct membership *membership, struct member *rank) {
    rank->answered = true;
    if (++membership->answered < membership->n)
        return false;
    for (uint32_t r = 0; r < membership->n; r++)
        membership->rank[r].answered = false;
    membership->answered = 0;
    return true;
}
