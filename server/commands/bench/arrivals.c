/* arrivals.c - constant and Poisson schedules. */
#include "server/commands/bench/arrivals.h"

#include <math.h>

struct arrivals arrivals_start(enum arrivals_kind kind, double rate, uint64_t seed) {
    return (struct arrivals){.kind = kind, .rate = rate, .random = {seed}};
}

int64_t arrivals_next(struct arrivals *arrivals) {
    if (arrivals->kind == ARRIVALS_CONSTANT) /* not a sum of gaps: rounding would drift */
        return llround((double)arrivals->index++ * 1e9 / arrivals->rate);
    arrivals->at -= log(random_unit(&arrivals->random)) / arrivals->rate;
    arrivals->index++;
    return llround(arrivals->at * 1e9);
}
