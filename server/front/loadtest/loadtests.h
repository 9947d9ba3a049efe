/* loadtests.h - load tests that the server runs: one at a time, each a `limoe bench` as a child process.
 *
 * Any thread starts one, asks for it or stops it, which changes its record alone. What touches the child is
 * the main thread's: it starts it, reads its lines (one a second) and sees it end, in loadtests_poll. So nothing
 * of a test computes in the front, and the child dies with it.
 */
#ifndef LIMOE_SERVER_FRONT_LOADTEST_LOADTESTS_H
#define LIMOE_SERVER_FRONT_LOADTEST_LOADTESTS_H

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "server/api/request_loadtest.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"

#define LOADTESTS_KEPT 20 /* that have ended */

struct loadtests;

struct loadtests_options {
    int listening;        /* the server's socket: what "this server" is */
    bool encrypted;       /* it speaks TLS */
    const char *key_file; /* its first line is the key for other servers; NULL: none. Kept, not copied */
    struct log *log;
    struct metrics *metrics;
};

/* LIMOE_IO or LIMOE_INVALID: the key file has no key. */
enum limoe_status loadtests_new(const struct loadtests_options *options, struct loadtests **out,
                                struct limoe_error *err);
void loadtests_free(struct loadtests *loadtests); /* ends the child, if there is one; NULL is fine */

/* ---- any thread; objects are appended to *out */

/* `authorization` is the header of the request, whose key a test of this server shows; it is copied, and
 * wiped once the child has it. False: 409, or no memory. */
bool loadtests_start(struct loadtests *loadtests, const struct loadtest_request *request,
                     const char *authorization, struct buffer *out, struct api_error *error);
void loadtests_list(struct loadtests *loadtests, struct buffer *out);
bool loadtests_get(struct loadtests *loadtests, struct text id, struct buffer *out, struct api_error *error);
/* *ending: it had not ended, and will soon. */
bool loadtests_stop(struct loadtests *loadtests, struct text id, bool *ending, struct buffer *out,
                    struct api_error *error);
/* The one that runs, if any, is to end, because of `why` (static). `own`: only if it is of this server. */
void loadtests_stop_any(struct loadtests *loadtests, bool own, const char *why);
/* The child's, 0 without one. */
pid_t loadtests_pid(struct loadtests *loadtests);

/* ---- the main thread */

enum { LOADTESTS_EVENTS = 3 };
/* What to sleep on, at most LOADTESTS_EVENTS; returns how many. loadtests_poll reads them. */
size_t loadtests_events(struct loadtests *loadtests, struct pollfd *polled);
void loadtests_poll(struct loadtests *loadtests);

#endif
