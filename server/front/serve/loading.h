/* loading.h - how generations are loaded, swapped in, retired and closed. The main thread uses it.
 *
 * Of each model at most one is being loaded; models are loaded independently of each other. A generation is
 * put in force once its engine has answered a probe and, unless it is its model's first, the stored
 * classifiers are ready for it; if it fails before, the one in force stays so. One that was in force is closed
 * when the last call that began with it has ended.
 */
#ifndef LIMOE_SERVER_FRONT_SERVE_LOADING_H
#define LIMOE_SERVER_FRONT_SERVE_LOADING_H

#include <poll.h>
#include <stdbool.h>

#include "server/front/serve/warming.h"
#include "server/front/server.h"

/* Of one model. */
struct loading {
    struct served *served;
    struct generation *current;    /* in force, with a reference; NULL until the first is ready */
    struct generation *next;       /* being loaded, or NULL */
    struct generation *retired;    /* linked by next */
    struct warming *warming;       /* classifiers made ready for the latest, or NULL */
    int warmed_event;              /* eventfd: they are */
    struct reload_waiter *waiters; /* for the one being loaded */
    uint64_t count;                /* of generations so far */
    int64_t began;                 /* clock_now() of the loading under way */
};

/* Of all models. */
struct loadings {
    struct server *server;
    struct loading *of; /* [server->n_served] */
};

/* For a server whose models are set. loadings_close also after a failure. */
enum limoe_status loadings_open(struct loadings *loadings, struct server *server, struct limoe_error *err);
/* Begins to load the first generation of each model, if there is memory for all. Failures while they load are
 * told by loadings_poll. */
enum limoe_status loadings_begin(struct loadings *loadings, struct limoe_error *err);

/* SWAPPED: others are in force. FAILED: one could not be loaded, *err says which and why; no matter what
 * became of the other models. */
enum loading_outcome { LOADING_NOTHING, LOADING_SWAPPED, LOADING_FAILED };
/* Looks after all generations: events of those being loaded, probes, deadlines, closing the unused. Any
 * time, at least once a second. */
enum loading_outcome loadings_poll(struct loadings *loadings, struct limoe_error *err);

/* What to sleep on: descriptors into polled[], at most LOADING_EVENTS a model; returns how many.
 * loadings_poll reads them. */
enum { LOADING_EVENTS = 5 };
size_t loadings_events(const struct loadings *loadings, struct pollfd *polled);

/* No more reloads: who waits for one is told that the server stops. */
void loadings_stop(struct loadings *loadings);
/* Gives up what waits in every generation's queue. */
void loadings_abandon(struct loadings *loadings);
/* After the last call has ended: closes every generation. */
void loadings_close(struct loadings *loadings);

#endif
