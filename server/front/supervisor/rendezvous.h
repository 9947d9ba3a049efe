/* rendezvous.h - where ranks that come to the front find it: a listening socket, and a token that they must
 * show.
 *
 * Ranks are started by mpirun, or in sessions with other hosts, so the front cannot hand them a socket: they
 * connect to one of the front's. On one host that is a Unix socket in a directory of the front's own, on several it
 * is TCP. A peer that connects is pending until it has sent a JOIN with the token, which is new for each
 * rendezvous and which only those have that were started for it. Others are turned away, and so is a peer that
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
    char token[FRAME_TOKEN_BYTES + 1];
    char address[RENDEZVOUS_ADDRESS_SIZE]; /* as a rank is told it */
    char dir[128];                         /* of the Unix socket; "": none */
    struct pending_peer {
        struct link link; /* fd -1: no peer */
        int64_t until;    /* clock_now() when it is turned away */
    } pending[RENDEZVOUS_PENDING];
    unsigned silent;   /* s without a sign of life, after which a peer on another host is taken for gone */
    char refused[160]; /* why the last peer was turned away; "": none was, or it has been logged */
};

void rendezvous_init(struct rendezvous *rendezvous); /* closed */

/* Listens, with a new token; the rendezvous is closed. host NULL: a Unix socket; else TCP at "HOST" or
 * "HOST:PORT", without a port at any that is free. silent: JOIN_SILENT, or less. */
enum limoe_status rendezvous_open(struct rendezvous *rendezvous, const char *host, unsigned silent,
                                  struct limoe_error *err);
/* Turns away the peers that are still pending. A rendezvous that is closed is fine. */
void rendezvous_close(struct rendezvous *rendezvous);

/* Sets what to poll for, and returns how many there are. */
size_t rendezvous_events(const struct rendezvous *rendezvous, struct pollfd events[RENDEZVOUS_EVENTS]);
/* Lets in the next peer that has shown the token: its non-blocking socket, which is the caller's from then
 * on, its process, or 0 if that is on another host, and what it says of itself. False if there is no other
 * just now. */
bool rendezvous_next(struct rendezvous *rendezvous, int64_t now, int *fd, pid_t *pid,
                     struct frame_join *join);

#endif
