/* generation.h - one loading of a model, and everything that is tied to it.
 *
 * A reload builds a new generation beside the running one and swaps them: requests that came before are
 * prepared, computed and answered by the old one to their end, requests that come after by the new one; so no
 * answer is a mix. A call keeps the generation it began with alive by a reference.
 *
 * Who owns what: serve.c opens generations and closes them, once nobody holds a reference any more. The
 * pointers do not change in a generation's life; what they point to has rules of its own.
 */
#ifndef LIMOE_SERVER_FRONT_GENERATION_H
#define LIMOE_SERVER_FRONT_GENERATION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/options.h"
#include "server/front/schedule/queue.h"
#include "server/front/store/text_cache.h"
#include "server/front/supervisor/engine.h"
#include "server/front/supervisor/health.h"

struct generation {
    size_t index;    /* of its model among those that are served */
    uint64_t number; /* 1 for the first of its model */
    struct limoe_processor *processor;
    const struct limoe_info
        *model;             /* the processor's, under the name by which it is served: shapes, which are
                                       known before the weights are */
    struct limoe_info info; /* that */
    struct limoe_image_settings image; /* what decoders make of its pictures */
    struct text_cache *cache;          /* NULL: none */
    struct queue *queue;
    struct health *health;
    struct engine *engine;
    int opened_event, answered_event; /* eventfds: the engine has opened the model (or cannot); a probe has
                                         been answered */
    int unused_event;                 /* eventfd, not its own: written when the last reference goes */
    _Atomic uint64_t references;
    /* For loading.c alone. */
    struct generation *next; /* in its list */
    bool replaced;           /* its engine is superseded, and a reload was asked for */
};

struct generation_options {
    const struct serve_options *serve; /* outlives the generation, as does all below */
    const char *name, *dir;            /* of the model; name NULL: its own */
    size_t index;                      /* of the model, for the metrics */
    bool several;                      /* it is not the only one: the log names it */
    const char *adapters;              /* directory of their files */
    struct metrics *metrics;
    struct log *log;
    uint64_t number;
    int unused_event;
};

/* Opens the processor and starts all that works for the model; the engine opens the model meanwhile and
 * writes opened_event. The caller has one reference. */
enum limoe_status generation_open(const struct generation_options *options, struct generation **out,
                                  struct limoe_error *err);
/* Takes a reference. The caller has one already, or holds the lock under which one may be had. */
void generation_retain(struct generation *generation);
void generation_release(struct generation *generation); /* any thread; NULL is fine */
/* Computes what is still in the queue and waits for threads and processes to end. Nobody has a reference
 * any more. NULL is fine. */
void generation_close(struct generation *generation);

#endif
