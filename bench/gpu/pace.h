/* pace.h - how long a queued operation takes, by the host's clock. */
#ifndef LIMOE_BENCH_GPU_PACE_H
#define LIMOE_BENCH_GPU_PACE_H

#include <stddef.h>

#include "kernels/kernels.h"

/* Seconds for one call of queue(context, turn), turns counting up: the median of samples taken within about
 * `budget` seconds after a warm-up. A sample is many calls, 2 ms and more, queued one behind the other and
 * waited for at its end, so that neither the clock nor the wait matters; what a call costs the host is hidden
 * behind the device's work where that takes longer, as in the product. A negative number: the device failed.
 */
double pace(struct kernels *k, void (*queue)(void *context, size_t turn), void *context, double budget);

#endif
