/* server.h - everything a running server is made of.
 *
 * serve.c owns it: it builds the parts in the order below, and takes them down in reverse. Others read the
 * pointers and the options, which do not change while requests are served, and count in the atomics. What
 * does change is which generations are in force: server_roster gives them out.
 *
 * Each model that is served has generations of its own, each with its own engine, queue, cache and probe.
 * Threads, decoders and the classifiers are shared by all.
 */
#ifndef LIMOE_SERVER_FRONT_SERVER_H
#define LIMOE_SERVER_FRONT_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/workers.h"
#include "limoe.h"
#include "server/front/decoders/decoders.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/options.h"
#include "server/front/roster.h"
#include "server/front/schedule/queue.h"
#include "server/front/store/adapters.h"
#include "server/front/store/classifiers.h"

enum server_phase {
    SERVER_STARTING,
    SERVER_READY,
    SERVER_DRAINING, /* finishes what it has */
    SERVER_STOPPED,  /* gives up the rest */
};

/* Pictures are decoded in two lanes, each with threads and processes of its own: a request that asks for
 * little does not wait behind those that ask for much, and these stand back for all else on the machine. */
enum lane { LANE_QUICK, LANE_LONG, LANES };

/* Someone who waits to be told how a reload went. */
struct reload_waiter {
    /* `generation` is the new one in force; or it is NULL, and *err says why the old one still is. Called
     * on the main thread; must not block. */
    void (*done)(struct reload_waiter *waiter, struct generation *generation, const struct limoe_error *err);
    struct reload_waiter *next;
};

/* One of the models as the options name it. */
struct served {
    const char *name; /* NULL: as the model itself is called */
    const char *dir;
    struct reload_waiter *reloads;  /* who has asked since its last loading began; guarded by server->lock */
    int reload_event, unused_event; /* eventfds: a reload is asked for; a generation is unused */
};

struct auth;
struct timeouts;
struct hosts;
struct tracing;
struct fetching;
struct relaying;
struct tls;
struct loadtests;
struct training;
struct vocabularies;

struct server {
    struct serve_options options;
    struct served *served; /* [n_served], at least 1; the first is the default */
    size_t n_served;
    uint32_t dialects; /* the set of those that are served (dialect.h) */
    struct log *log;
    struct metrics *metrics;
    struct classifiers *classifiers;
    struct adapters *adapters;
    struct workers *workers;         /* for all that waits for nobody and is soon done */
    struct workers *bulk;            /* for large bodies and answers, which are not cut into slices */
    struct workers *decoding[LANES]; /* for pictures: they sleep while decoders compute */
    struct decoders *decoders[LANES];
    struct auth *auth;
    struct hosts *hosts;
    struct tls *tls;           /* NULL: plain HTTP */
    struct tracing *tracing;   /* NULL: no spans are exported */
    struct fetching *fetching; /* NULL: no picture is fetched by its URL */
    struct relaying *relaying; /* NULL: there is no language model to ask */
    struct timeouts *timeouts;
    struct loadtests *loadtests;
    struct training *training;
    struct vocabularies *vocabularies;
    /* What requests hold before they have said which model they are for, as a queue without jobs; from then
     * on that model's own counts it. NULL with one model, whose own counts all. */
    struct queue *intake;
    struct buffer openapi; /* what /openapi.json answers */

    pthread_mutex_t lock;  /* guards the two below, and who waits for reloads */
    struct roster *roster; /* in force, with a reference; NULL until all models are ready */
    bool closed;           /* nobody will be told any more */

    _Atomic int64_t look_at; /* when calls that wait for workers are to be looked at next (waiting.h) */
    int64_t looked;          /* when they were last; the sweeping thread's */

    _Atomic(enum server_phase) phase;
    _Atomic uint64_t connections; /* open */
    _Atomic uint64_t calls;       /* requests from their headers to the end of their answer */
    _Atomic uint64_t spooled;     /* bytes of answers that wait for their requests' ends (bulk.h) */
    _Atomic uint64_t handed; /* calls that others than the HTTP threads have, their connections suspended */
};

/* The generations in force, with a reference for the caller; NULL before the first. Any thread. */
struct roster *server_roster(struct server *server);
/* Puts others in force, and takes over the caller's reference. */
void server_put_roster(struct server *server, struct roster *roster);
/* Asks for models first … first + n - 1 to be loaded anew; each has one of waiters[n] (NULL: nobody), which is
 * told when that is done. False: the server is stopping, and nobody will be told. Any thread. */
bool server_reload(struct server *server, size_t first, size_t n, struct reload_waiter *const *waiters);
/* Requests hold much of the memory that they may (queue_pressed), of one model at least. Any thread. */
bool server_pressed(struct server *server);

#endif
