/* rendezvous.h - where the ranks of a job find the front: a listening socket, and a token that they must
 * show.
 *
 * Ranks are started by mpirun, perhaps on other hosts, so the front cannot hand them a socket: they connect
 * to one of the front's. On one host that is a Unix socket in a directory of the front's own, on several it
 * is TCP. A peer that connects is pending until it has sent a JOIN with the token, which is new for each job
 * and which only the job's processes have in their environment. Others are turned away, and so is a peer that
 * takes too long.
 *
 * An address is "unix:PATH" or "tcp:HOST:PORT", a HOST with colons in brackets.
 */
#ifndef LIMOE_SERVER_FRONT_SUPERVISOR_RENDEZVOUS_H
#define LIMOE_SERVER_FRONT_SUPERVISOR_RENDEZVOUS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/protocol/frame.h"
#include "server/protocol/link.h"

enum { RENDEZVOUS_PENDING = 16, RENDEZVOUS_EVENTS = RENDEZVOUS_PENDING + 1, RENDEZVOUS_ADDRESS_SIZE = 320 };

struct rendezvous {
    int listening; /* -1: closed */
    char token[FRAME_JOIN_BYTES + 1];
    char address[RENDEZVOUS_ADDRESS_SIZE]; /* as a rank is told it */
    char dir[128];                         /* of the Unix socket; "": none */
    struct pending_peer {
        struct link link; /* fd -1: no peer */
        int64_t until;    /* clock_now() when it is turned away */
    } pending[RENDEZVOUS_PENDING];
    uint64_t refused; /* peers turned away so far */
};

void rendezvous_init(struct rendezvous *rendezvous); /* closed */

/* Listens, with a new token. host NULL: a Unix socket; else TCP at "HOST" or "HOST:PORT", without a port at
 * any that is free. */
enum limoe_status rendezvous_open(struct rendezvous *rendezvous, const char *host, struct limoe_error *err);
/* Turns away the peers that are still pending. A rendezvous that is closed is fine. */
void rendezvous_close(struct rendezvous *rendezvous);

/* Sets what to poll for, and returns how many there are. */
size_t rendezvous_events(const struct rendezvous *rendezvous, struct pollfd events[RENDEZVOUS_EVENTS]);
/* Lets in the next peer that has shown the token: its non-blocking socket, which is the caller's from then
 * on, and its process, or 0 if that is on another host. False if there is no other just now. */
bool rendezvous_next(struct rendezvous *rendezvous, int64_t now, int *fd, pid_t *pid);

#endif
