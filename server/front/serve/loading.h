/* loading.h - how generations are loaded, swapped in, retired and closed. The main thread uses it.
 *
 * At most one is being loaded. It is put in force once its engine has answered a probe and, unless it is the
 * first, the stored classifiers are ready for it; if it fails before, the one in force stays so. One that was
 * in force is closed when the last call that began with it has ended.
 */
#ifndef LIMOE_SERVER_FRONT_SERVE_LOADING_H
#define LIMOE_SERVER_FRONT_SERVE_LOADING_H

#include <poll.h>
#include <stdbool.h>

#include "server/front/serve/warming.h"
#include "server/front/server.h"

struct loading {
    struct server *server;
    struct generation *next;       /* being loaded, or NULL */
    struct generation *retired;    /* linked by next */
    struct warming *warming;       /* classifiers made ready for the latest, or NULL */
    int warmed_event;              /* eventfd, the caller's: they are */
    struct reload_waiter *waiters; /* for the one being loaded */
    uint64_t count;                /* of generations so far */
    int64_t began;                 /* clock_now() of the loading under way */
};

/* Begins to load a generation; if one is being loaded, the request is kept until that is done. A failure
 * is told like one that shows later. */
void loading_begin(struct loading *loading);

enum loading_outcome { LOADING_NOTHING, LOADING_SWAPPED, LOADING_FAILED };
/* Looks after all generations: events of the one being loaded, probes, deadlines, those that are unused
 * and can be closed. Called at least once a second. LOADING_FAILED: *err says why. */
enum loading_outcome loading_poll(struct loading *loading, struct limoe_error *err);

/* Puts the descriptors to sleep on into polled[], at most LOADING_EVENTS, and returns how many.
 * loading_poll reads them. */
enum { LOADING_EVENTS = 5 };
size_t loading_events(const struct loading *loading, struct pollfd *polled);

/* Ends reloads: whoever waits for one is told that the server stops. */
void loading_stop(struct loading *loading);
/* Gives up what waits in every generation's queue. */
void loading_abandon(struct loading *loading);
/* Closes every generation. Called after the last call has ended. */
void loading_close(struct loading *loading);

#endif
