/* crew.h - the processes of one engine, as the front sees them: a link to each.
 *
 * An engine of one rank is a crew of one, on the socket that it was started with, as those of a group are.
 * Those of a job come to a meeting; nobody knows who is which rank until it has said HELLO.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_CREW_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_CREW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/protocol/frame.h"
#include "server/protocol/link.h"

struct crew_rank {
    struct link link;         /* its socket is the crew's to close; -1: nobody is there */
    pid_t pid;                /* 0: not on this host */
    int pidfd;                /* of one that is not our child; -1: none */
    bool met;                 /* it has looked for the others, and said MET; or there are none */
    bool greeted;             /* it has said HELLO */
    bool answered;            /* the oldest step */
    struct frame_hello hello; /* greeted */
};

struct crew {
    uint32_t n;
    uint32_t joined, met, greeted, answered; /* how many have; answered: the oldest step */
    struct crew_rank *rank;                  /* [n]; in the order of their coming, until crew_muster */
};

bool crew_init(struct crew *crew, uint32_t n); /* false: no memory */
void crew_free(struct crew *crew);
/* What they have said so far counts no more: they are to say HELLO again. */
void crew_forget(struct crew *crew);
/* Closes every socket; the buffers stay. Ranks end by themselves then. */
void crew_close(struct crew *crew);
/* After crew_close: kills those on this host that have not ended, as one that was stopped cannot. */
void crew_kill(struct crew *crew);

/* The next to have come, on a non-blocking socket. Fewer than n have. */
void crew_join(struct crew *crew, int fd, pid_t pid);
/* This one has said MET. True: all have. */
bool crew_met(struct crew *crew, struct crew_rank *rank);
/* What this one's link has received is its HELLO. Fails as frame_get_hello, or as the HELLO says. */
enum limoe_status crew_hello(struct crew *crew, struct crew_rank *rank, struct limoe_error *err);
/* All have said HELLO: puts them in order. LIMOE_CORRUPT: they are not ranks 0 to n - 1 of one model, and the
 * message says who is not. */
enum limoe_status crew_muster(struct crew *crew, struct limoe_error *err);

/* Is something on its way out to any of them? */
bool crew_sending(const struct crew *crew);
/* This one has answered the oldest step. True: all have, and the next is the oldest. */
bool crew_answered(struct crew *crew, struct crew_rank *rank);

#endif
