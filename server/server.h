/* server.h - everything a running server is made of.
 *
 * serve.c owns it: it builds the parts in the order below, and takes them down in reverse. Others read the
 * pointers and the options, which do not change while requests are served, and count in the atomics.
 */
#ifndef LIMOE_SERVER_H
#define LIMOE_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/health.h"
#include "http/workers.h"
#include "limoe.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "schedule/queue.h"
#include "serve/serve_options.h"

enum server_phase {
    SERVER_STARTING,
    SERVER_READY,
    SERVER_DRAINING, /* finishes what it has */
    SERVER_STOPPED,  /* gives up the rest */
};

struct server {
    struct serve_options options;
    struct log *log;
    struct metrics *metrics;
    struct limoe_processor *processor;
    const struct limoe_info *model; /* the processor's: shapes and name, known before the weights are */
    struct queue *queue;
    struct health *health;
    struct engine *engine;
    struct workers *workers;

    _Atomic(enum server_phase) phase;
    _Atomic uint64_t connections; /* open */
    _Atomic uint64_t calls;       /* requests from their headers to the end of their answer */
    _Atomic uint64_t handed;      /* calls that the workers or the engine have, their connections suspended */
};

#endif
