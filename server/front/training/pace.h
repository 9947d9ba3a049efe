/* pace.h - when a trainer is stopped for the requests' sake. Private to this folder; no state but the caller's, nothing of it waits.
 *
 * Idle work costs requests nothing at the scheduler, but takes caches and memory bandwidth from beside them. So it is stopped for
 * most of the time, as long as there are requests, and the share that is left to it is what a job is sure to get on by.
 *
 * The front does it, by signals: it alone knows that there are requests, also those for which processors are free. A trainer would
 * have to guess from how often it is displaced, and could give way no sooner than at the end of a piece of work, of which each kind
 * would need its own place to ask.
 */
#ifndef LIMOE_SERVER_FRONT_TRAINING_PACE_H
#define LIMOE_SERVER_FRONT_TRAINING_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define PACE_TICK (4 * CLOCK_MILLISECOND)  /* how often pace_step is to be called */
#define PACE_ON   PACE_TICK                /* a trainer works so long while there are requests … */
#define PACE_OFF  (8 * CLOCK_MILLISECOND)  /* … and is then stopped so long */
#define PACE_CALM (50 * CLOCK_MILLISECOND) /* without a request seen, after which it is left alone */

/* All zeros: a trainer that works, and no request was seen. Times are on base/clock.h's clock. */
struct pace {
    bool stopped;   /* it is to be */
    int64_t change; /* when this is looked at again; 0: at the next request */
    int64_t calm;   /* until then requests count as going on */
};

/* `requests`: there are some now. True: `stopped` has changed. */
bool pace_step(struct pace *pace, int64_t now, bool requests);

#endif
