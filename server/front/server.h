/* server.h - everything a running server is made of.
 *
 * serve.c owns it: it builds the parts in the order below, and takes them down in reverse. Others read the
 * pointers and the options, which do not change while requests are served, and count in the atomics. What
 * does change is the generation in force: server_generation gives it out.
 */
#ifndef LIMOE_SERVER_FRONT_SERVER_H
#define LIMOE_SERVER_FRONT_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/workers.h"
#include "limoe.h"
#include "server/front/generation.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/options.h"
#include "server/front/store/classifiers.h"

enum server_phase {
    SERVER_STARTING,
    SERVER_READY,
    SERVER_DRAINING, /* finishes what it has */
    SERVER_STOPPED,  /* gives up the rest */
};

/* Someone who waits to be told how a reload went. */
struct reload_waiter {
    /* `generation` is the new one in force; or it is NULL, and *err says why the old one still is. Called
     * on the main thread; must not block. */
    void (*done)(struct reload_waiter *waiter, struct generation *generation, const struct limoe_error *err);
    struct reload_waiter *next;
};

struct auth;
struct timeouts;
struct hosts;
struct tls;

struct server {
    struct serve_options options;
    struct log *log;
    struct metrics *metrics;
    struct classifiers *classifiers;
    struct workers *workers;         /* for all that waits for nobody and is soon done */
    struct workers *bulk;            /* for large bodies and answers, which are not cut into slices */
    struct workers *decoding[LANES]; /* for pictures: they sleep while decoders compute */
    struct auth *auth;
    struct hosts *hosts;
    struct tls *tls; /* NULL: plain HTTP */
    struct timeouts *timeouts;

    pthread_mutex_t lock;           /* guards the three below */
    struct generation *generation;  /* in force, with a reference; NULL until the first is ready */
    struct reload_waiter *reloads;  /* who has asked since the last loading began */
    bool closed;                    /* nobody will be told any more */
    int reload_event, unused_event; /* eventfds: a reload is asked for; a generation is unused */

    _Atomic(enum server_phase) phase;
    _Atomic uint64_t connections; /* open */
    _Atomic uint64_t calls;       /* requests from their headers to the end of their answer */
    _Atomic uint64_t handed; /* calls that others than the HTTP threads have, their connections suspended */
};

/* The generation in force, with a reference for the caller; NULL before the first. Any thread. */
struct generation *server_generation(struct server *server);
/* Asks for the model to be loaded anew; `waiter` (NULL: nobody) is told when that is done. False: the server
 * is stopping, and nobody will be told. Any thread. */
bool server_reload(struct server *server, struct reload_waiter *waiter);

#endif
