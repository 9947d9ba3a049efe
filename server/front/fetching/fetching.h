/* fetching.h - pictures by their URLs, fetched by a process (server/fetcher) that is started and replaced here.
 *
 * A thread of its own hands the asks over and takes the pictures in, so that nobody else waits for the network. A fetcher that
 * is lost, by a crash or a kill, takes no picture with it: what it had is asked again, once.
 */
#ifndef LIMOE_SERVER_FRONT_FETCHING_FETCHING_H
#define LIMOE_SERVER_FRONT_FETCHING_FETCHING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/text.h"
#include "limoe.h"
#include "server/front/fetching/settings.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/protocol/fetch_wire.h"

struct fetching;

/* One picture that is wanted. It belongs to the fetching from fetching_ask on, and to the asker again when `done` gives
 * it back. */
struct fetch {
    struct text url; /* at most FETCH_URL_MOST bytes; lives until `done` */
    /* Asked every few milliseconds, on the fetching's thread: false gives the picture up. */
    bool (*wanted)(void *arg);
    /* Called once, on the fetching's thread; must not block. */
    void (*done)(struct fetch *fetch);
    void *arg;

    /* What is answered. */
    enum fetch_outcome outcome;
    uint8_t *bytes; /* [size], the asker's to free; NULL unless FETCH_DONE */
    size_t size;
    char message[FETCH_MESSAGE_SIZE]; /* what was wrong; "": see the outcome */

    /* For the fetching alone. */
    struct fetch *next;
    uint64_t id;
    int64_t late_at;
    unsigned losses; /* fetchers that were lost with it */
};

/* Starts the thread, which starts the fetcher. The options were checked, and outlive the fetching, as do log and
 * metrics. */
enum limoe_status fetching_start(const struct fetching_options *options, struct log *log,
                                 struct metrics *metrics, struct fetching **out, struct limoe_error *err);
/* Asks for n pictures, fetches[n], all of them or none. False: as many wait as may. Any thread. */
bool fetching_ask(struct fetching *fetching, struct fetch *fetches, size_t n);
/* The fetcher's process; 0: there is none just now. Any thread. NULL is fine. */
pid_t fetching_pid(struct fetching *fetching);
/* Ends fetcher and thread, once nobody asks any more and all is given back. NULL is fine. */
void fetching_stop(struct fetching *fetching);

#endif
