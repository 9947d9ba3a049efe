/* timeouts.h - every open connection, and how long it may take over what it does.
 *
 * A connection's own HTTP thread says what it is at; one thread calls timeouts_sweep. Where a client is too
 * slow or has gone, the sweep shuts the socket down or calls back; it closes nothing, so that the library
 * remains the only owner of descriptors. An entry's socket is open for as long as the entry lives.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_TIMEOUTS_H
#define LIMOE_SERVER_FRONT_HTTP_TIMEOUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe.h"

struct timeouts;
struct timed; /* one connection's entry */

/* The least rate, in bytes a second, at which a body is to be sent and an answer to be read. Pauses of up to
 * stall_seconds do not count; a client that has made up for one by being faster may pause again. */
#define TIMEOUTS_LEAST_RATE (8u * 1024)
/* While memory is short, what a client holds is to be sent or read at a rate that takes so many seconds
 * for all of it, and pauses may be a quarter as long. It concerns clients that hold more than 128 KiB: for
 * others the least rate is more. */
#define TIMEOUTS_PRESSED_SECONDS 16
#define TIMEOUTS_PRESSED_PAUSE   4

struct timeouts_limits {
    unsigned idle_seconds;    /* for a request's head; 0: no limit */
    unsigned receive_seconds; /* for a request's body, from its head on; 0: no limit */
    unsigned stall_seconds;   /* for being slower than TIMEOUTS_LEAST_RATE; 0: no limit */
};

/* Slow bodies are answered 408 before the connection is closed, unless connections are `encrypted`. */
enum limoe_status timeouts_new(const struct timeouts_limits *limits, bool encrypted, struct timeouts **out,
                               struct limoe_error *err);
void timeouts_free(struct timeouts *timeouts); /* no entry is left; NULL is fine */

/* ---- a connection's HTTP thread */

/* Enters a new connection, which waits for a head. NULL: no memory. */
struct timed *timeouts_open(struct timeouts *timeouts, int fd, int64_t now);
/* Called before fd is closed. NULL is fine. */
void timeouts_close(struct timeouts *timeouts, struct timed *entry);

/* Notes that so many bytes of its body have come. Takes no lock. */
void timeouts_received(struct timed *entry, size_t bytes);

/* Tell what the connection is doing. False if it was shut down for being slow: what has come in late is
 * not to be answered. */
bool timeouts_receiving(struct timeouts *timeouts, struct timed *entry,
                        int64_t now);                                  /* the head is complete */
bool timeouts_working(struct timeouts *timeouts, struct timed *entry); /* the body is complete */
bool timeouts_answering(struct timeouts *timeouts, struct timed *entry, size_t size, int64_t now);
bool timeouts_waiting(struct timeouts *timeouts, struct timed *entry, int64_t now); /* for the next head */

/* ---- whoever has the call */

/* Calls gone(arg), once, when the client has closed its side or reset the connection. A client that closes
 * only its sending side cannot be told from one that has left, and counts as gone. `gone` runs inside
 * timeouts_sweep with the timeouts locked: it must be short and must not call the timeouts. */
void timeouts_watch(struct timeouts *timeouts, struct timed *entry, void (*gone)(void *arg), void *arg);
/* Ends the watch. When it returns, `gone` neither runs nor will. Fine without timeouts_watch. */
void timeouts_unwatch(struct timeouts *timeouts, struct timed *entry);

/* ---- the sweeping thread */

/* A descriptor for the sweeper's poll: readable while a watched client has gone and no sweep has seen it. */
int timeouts_fd(const struct timeouts *timeouts);
/* Calls back for those who have gone; at most once a second it also shuts down those who are too slow, for
 * which it matters whether memory is short (`pressed`). Returns how many of the latter. */
size_t timeouts_sweep(struct timeouts *timeouts, int64_t now, bool pressed);

#endif
