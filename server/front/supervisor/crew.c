/* crew.c - who is there, and who is who. */
#include "server/front/supervisor/crew.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/error.h"

bool crew_init(struct crew *crew, uint32_t n) {
    *crew = (struct crew){.n = n, .rank = calloc(n, sizeof *crew->rank)};
    for (uint32_t r = 0; crew->rank && r < n; r++) {
        link_init(&crew->rank[r].link, -1);
        crew->rank[r].pidfd = -1;
    }
    return crew->rank;
}

void crew_free(struct crew *crew) {
    if (!crew->rank)
        return;
    crew_close(crew);
    crew_kill(crew);
    for (uint32_t r = 0; r < crew->n; r++)
        link_free(&crew->rank[r].link);
    free(crew->rank);
    crew->rank = NULL;
}

void crew_forget(struct crew *crew) {
    for (uint32_t r = 0; r < crew->n; r++)
        crew->rank[r].greeted = crew->rank[r].answered = false;
    crew->greeted = crew->answered = 0;
}

void crew_close(struct crew *crew) {
    crew_forget(crew);
    for (uint32_t r = 0; r < crew->n; r++) {
        struct crew_rank *rank = &crew->rank[r];
        if (rank->link.fd >= 0)
            close(rank->link.fd);
        link_reset(&rank->link, -1);
        rank->pid = 0;
        rank->met = false;
    }
    crew->joined = crew->met = 0;
}

void crew_kill(struct crew *crew) {
    for (uint32_t r = 0; r < crew->n; r++) {
        struct crew_rank *rank = &crew->rank[r];
        if (rank->pidfd < 0)
            continue;
        pidfd_send_signal(rank->pidfd, SIGKILL, NULL, 0);
        close(rank->pidfd);
        rank->pidfd = -1;
    }
}

void crew_join(struct crew *crew, int fd, pid_t pid) {
    struct crew_rank *rank = &crew->rank[crew->joined++];
    link_reset(&rank->link, fd);
    rank->pid = pid;
    rank->met = crew->n == 1;
    crew->met += rank->met;
    if (crew->n > 1 && pid > 0)
        rank->pidfd = pidfd_open(pid, 0); /* it holds the socket's other end: the number is still its own */
}

bool crew_met(struct crew *crew, struct crew_rank *rank) {
    rank->met = true;
    return ++crew->met == crew->n;
}

enum limoe_status crew_hello(struct crew *crew, struct crew_rank *rank, struct limoe_error *err) {
    const struct link *link = &rank->link;
    enum limoe_status status = frame_get_hello(link->payload, link->frame.length, &rank->hello, err);
    if (status != LIMOE_OK)
        return status;
    if (rank->hello.status != LIMOE_OK)
        return limoe_fail(err, rank->hello.status, "%s", rank->hello.message);
    if (!rank->greeted)
        crew->greeted++;
    rank->greeted = true;
    return LIMOE_OK;
}

/* A hello's strings and blocks lie in itself: they move with it. */
static void swap(struct crew_rank *a, struct crew_rank *b) {
    struct crew_rank was = *a;
    *a = *b;
    *b = was;
    struct crew_rank *const both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        both[i]->hello.model.name = both[i]->hello.name;
        both[i]->hello.model.moe_blocks = both[i]->hello.moe_blocks;
    }
}

enum limoe_status crew_muster(struct crew *crew, struct limoe_error *err) {
    for (uint32_t r = 0; r < crew->n; r++)
        if (crew->rank[r].hello.ranks != crew->n)
            return limoe_fail(err, LIMOE_CORRUPT, "a rank says that it is rank %u of %u, in a job of %u",
                              crew->rank[r].hello.rank, crew->rank[r].hello.ranks, crew->n);
    for (uint32_t r = 0; r < crew->n; r++)
        while (crew->rank[r].hello.rank != r) {
            struct crew_rank *place = &crew->rank[crew->rank[r].hello.rank];
            if (place->hello.rank == crew->rank[r].hello.rank)
                return limoe_fail(err, LIMOE_CORRUPT, "two ranks say that they are rank %u",
                                  place->hello.rank);
            swap(&crew->rank[r], place);
        }
    const struct frame_hello *first = &crew->rank[0].hello;
    for (uint32_t r = 1; r < crew->n; r++) {
        const struct frame_hello *hello = &crew->rank[r].hello;
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

bool crew_sending(const struct crew *crew) {
    for (uint32_t r = 0; r < crew->n; r++)
        if (link_sending(&crew->rank[r].link))
            return true;
    return false;
}

bool crew_answered(struct crew *crew, struct crew_rank *rank) {
    rank->answered = true;
    if (++crew->answered < crew->n)
        return false;
    for (uint32_t r = 0; r < crew->n; r++)
        crew->rank[r].answered = false;
    crew->answered = 0;
    return true;
}
