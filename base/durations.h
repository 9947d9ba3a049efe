/* durations.h - the bounds by which latencies are counted, wherever histograms are to be laid side by side. */
#ifndef LIMOE_BASE_DURATIONS_H
#define LIMOE_BASE_DURATIONS_H

#include <stdint.h>

enum { DURATIONS = 15 };

/* [DURATIONS], ascending: inclusive upper ends in nanoseconds, 0.5 ms … 30 s. */
extern const uint64_t durations[DURATIONS];

#endif
