/* membership.h - the processes of one engine, as the front sees them: a link to each.
 *
 * An engine of one rank is a membership of one. Its socket is the one that it was started with, and so are
 * those of a group's ranks on this host; others come to a rendezvous. So do the ranks of a job, and nobody knows
 * which of those is which until it has said HELLO.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_MEMBERSHIP_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_MEMBERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/protocol/frame.h"
#include "server/protocol/link.h"

struct member {
    struct link link;         /* its socket is the membership's to close; -1: nobody is there */
    pid_t pid;                /* 0: not on this host */
    const char *place;        /* "HOST, cuda:N", its launcher's; NULL: on this host, or it is not known */
    bool proven;              /* it has been ready for steps together with all others */
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
/* Forgets what they have said so far: they are to say HELLO again. */
void membership_forget(struct membership *membership);
/* Closes every socket, upon which ranks end by themselves; the buffers stay. */
void membership_close(struct membership *membership);
/* After membership_close: kills those on this host that have not ended, as a process that was stopped
 * cannot. */
void membership_kill(struct membership *membership);

/* Takes in the next rank to have come, on a non-blocking socket; fewer than n have come before. */
void membership_join(struct membership *membership, int fd, pid_t pid);
/* Notes that this one has said CONNECTED. True if all have. */
bool membership_connected(struct membership *membership, struct member *rank);
/* Takes the HELLO that this one's link has received. Fails as frame_get_hello does, or as the HELLO says. */
enum limoe_status membership_hello(struct membership *membership, struct member *rank,
                                   struct limoe_error *err);
/* Puts the ranks, which have all said HELLO, in order. LIMOE_CORRUPT if they are not ranks 0 to n - 1 of one
 * model; the message says which is not. */
enum limoe_status membership_verify(struct membership *membership, struct limoe_error *err);

/* Which rank it is and where, for messages: "rank 1, process 7", "rank 1 on HOST, cuda:0". */
void membership_describe(const struct membership *membership, const struct member *rank, char *out,
                         size_t size);

/* Whether anything is on its way out to any of them. */
bool membership_sending(const struct membership *membership);
/* Notes that this one has answered the oldest step. True if all have, and the next is the oldest now. */
bool membership_answered(struct membership *membership, struct member *rank);

#endif
