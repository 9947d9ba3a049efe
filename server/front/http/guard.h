/* guard.h - every open connection, and how long it may take over what it does.
 *
 * A connection's own HTTP thread says what it is at; one thread calls guard_sweep. Where a client is too slow
 * or has gone, the sweep shuts the socket down or calls back; it closes nothing, so that the library remains
 * the only owner of descriptors. An entry's socket is open for as long as the entry lives.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_GUARD_H
#define LIMOE_SERVER_FRONT_HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct guard;
struct guarded; /* one connection's entry */

/* Bytes a second, at which a body is to be sent and an answer to be read. A pause of up to stall_seconds is
 * nothing that counts; who has made up for one by being faster may pause again. */
#define GUARD_LEAST_RATE (8u * 1024)
/* While memory is short: what a client holds is to be sent or read at a rate that takes so many seconds for
 * all of it, and pauses are to be a quarter as long. It concerns those of whom that asks for more than the
 * least rate, so who hold more than 128 KiB. */
#define GUARD_PRESSED_SECONDS 16
#define GUARD_PRESSED_PAUSE   4

struct guard_limits {
    unsigned idle_seconds;    /* for a request's head; 0: no limit */
    unsigned receive_seconds; /* for a request's body, from its head on; 0: no limit */
    unsigned stall_seconds;   /* for being slower than GUARD_LEAST_RATE; 0: no limit */
};

/* Answers slow bodies (plain HTTP only) with 408 before it hangs up, unless `encrypted`. */
enum limoe_status guard_new(const struct guard_limits *limits, bool encrypted, struct guard **out,
                            struct limoe_error *err);
void guard_free(struct guard *guard); /* no entry is left; NULL is fine */

/* ---- a connection's HTTP thread */

/* A connection has come, and waits for a head. NULL: no memory. */
struct guarded *guard_open(struct guard *guard, int fd, int64_t now);
/* Before fd is closed. NULL is fine. */
void guard_close(struct guard *guard, struct guarded *entry);

/* So many bytes of its body have come. Without a lock. */
void guard_received(struct guarded *entry, size_t bytes);

/* What the connection is at. False: it was shut down for being slow, and what has come in late is not to be
 * answered. */
bool guard_receiving(struct guard *guard, struct guarded *entry, int64_t now); /* the head is complete */
bool guard_working(struct guard *guard, struct guarded *entry);                /* the body is complete */
bool guard_answering(struct guard *guard, struct guarded *entry, size_t size, int64_t now);
bool guard_waiting(struct guard *guard, struct guarded *entry, int64_t now); /* for the next head */

/* ---- whoever has the call */

/* Calls gone(arg), once, when the client has closed its side or reset the connection. A client that closes
 * only its sending side cannot be told from one that has left, and counts as gone. `gone` runs inside
 * guard_sweep with the guard locked: it must be short and must not call the guard. */
void guard_watch(struct guard *guard, struct guarded *entry, void (*gone)(void *arg), void *arg);
/* No longer. When it returns, `gone` neither runs nor will. Fine without guard_watch. */
void guard_unwatch(struct guard *guard, struct guarded *entry);

/* ---- the sweeping thread */

/* Readable while a watched client has gone and no sweep has seen it: for the sweeper's poll. */
int guard_fd(const struct guard *guard);
/* Calls back for those who have gone; at most once a second it also shuts down those who are too slow, for
 * which it matters whether memory is short (`pressed`). Returns how many of the latter. */
size_t guard_sweep(struct guard *guard, int64_t now, bool pressed);

#endif
