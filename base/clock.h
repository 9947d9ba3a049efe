/* clock.h - monotonic time, in nanoseconds. */
#ifndef LIMOE_BASE_CLOCK_H
#define LIMOE_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_MILLISECOND INT64_C(1000000)
#define CLOCK_SECOND      INT64_C(1000000000)

/* Nanoseconds of CLOCK_MONOTONIC: never 0, so that 0 can mean "not yet". */
int64_t clock_now(void);

#endif
