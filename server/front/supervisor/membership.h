/* membership.h - the processes of one engine, as the front sees them: a link to each.
 *
 * An engine of one rank is a membership of one, on the socket that it was started with, as those of a group are.
 * Those of a job come to a rendezvous; nobody knows who is which rank until it has said HELLO.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_MEMBERSHIP_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_MEMBERSHIP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/protocol/frame.h"
#include "server/protocol/link.h"

struct member {
    struct link link;         /* its socket is the membership's to close; -1: nobody is there */
    pid_t pid;                /* 0: not on this host */
    int pidfd;                /* of one that is not our child; -1: none */
    bool connected;           /* it has looked for the others, and said CONNECTED; or there are none */
    bool heard;               /* it has said HELLO */
    bool answered;            /* the oldest step */
    struct frame_hello hello; /* heard */
};

struct membership {
    uint32_t n;
    uint32_t joined, connected, heard, answered; /* how many have; answered: the oldest step */
    struct member *rank; /* [n]; in the order of their coming, until membership_verify */
};

bool membership_init(struct membership *membership, uint32_t n); /* false: no memory */
void membership_free(struct membership *membership);
/* What they have said so far counts no more: they are to say HELLO again. */
void membership_forget(struct membership *membership);
/* Closes every socket; the buffers stay. Ranks end by themselves then. */
void membership_close(struct membership *membership);
/* After membership_close: kills those on this host that have not ended, as one that was stopped cannot. */
void membership_kill(struct membership *membership);

/* The next to have come, on a non-blocking socket. Fewer than n have. */
void membership_join(struct membership *membership, int fd, pid_t pid);
/* This one has said CONNECTED. True: all have. */
bool membership_connected(struct membership *membership, struct member *rank);
/* What this one's link has received is its HELLO. Fails as frame_get_hello, or as the HELLO says. */
enum limoe_status membership_hello(struct membership *membership, struct member *rank,
                                   struct limoe_error *err);
/* All have said HELLO: puts them in order. LIMOE_CORRUPT: they are not ranks 0 to n - 1 of one model, and the
 * message says who is not. */
enum limoe_status membership_verify(struct membership *membership, struct limoe_error *err);

/* Is something on its way out to any of them? */
bool membership_sending(const struct membership *membership);
/* This one has answered the oldest step. True: all have, and the next is the oldest. */
bool membership_answered(struct membership *membership, struct member *rank);

#endif
