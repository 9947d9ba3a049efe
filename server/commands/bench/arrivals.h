/* arrivals.h - when requests arrive: a schedule made ahead, whatever the server does.
 *
 * That is what makes the load open: a slow answer does not delay the requests behind it, and each latency is
 * counted from the scheduled moment, so waiting is never left out (coordinated omission).
 */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_ARRIVALS_H
#define LIMOE_SERVER_COMMANDS_BENCH_ARRIVALS_H

#include <stdint.h>

#include "server/commands/bench/random.h"

enum arrivals_kind {
    ARRIVALS_CONSTANT, /* request i at i / rate */
    ARRIVALS_POISSON,  /* exponential gaps: independent clients */
};

struct arrivals {
    enum arrivals_kind kind;
    double rate; /* per second, above 0 */
    struct random random;
    uint64_t index; /* of the next */
    double at;      /* seconds: the last one's moment, of Poisson arrivals */
};

struct arrivals arrivals_start(enum arrivals_kind kind, double rate, uint64_t seed);
/* Nanoseconds from the start to the next arrival; never falls. */
int64_t arrivals_next(struct arrivals *arrivals);

#endif
