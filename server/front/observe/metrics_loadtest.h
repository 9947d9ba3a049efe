/* metrics_loadtest.h - what the server counts of the load tests that it runs: limoe_loadtest_*.
 *
 * The load generator counts from each test's start; these counters go on over all tests, as a rate needs. Any
 * thread.
 */
#ifndef LIMOE_SERVER_FRONT_OBSERVE_METRICS_LOADTEST_H
#define LIMOE_SERVER_FRONT_OBSERVE_METRICS_LOADTEST_H

#include <stdint.h>

#include "base/durations.h"
#include "server/front/observe/metrics.h"

#define METRICS_LOADTEST_STATUSES 600

/* Since the start of a test, or what came since the last time. */
struct metrics_loadtest_counts {
    uint64_t sent, dropped;
    uint64_t answers[METRICS_LOADTEST_STATUSES];        /* by HTTP status; [0]: requests without an answer */
    uint64_t latency_counts[DURATIONS + 1], latency_ns; /* of those that were answered well */
};

enum metrics_loadtest_target { METRICS_LOADTEST_NONE, METRICS_LOADTEST_SELF, METRICS_LOADTEST_OTHER };
enum metrics_loadtest_end {
    METRICS_LOADTEST_DONE,
    METRICS_LOADTEST_STOPPED,
    METRICS_LOADTEST_FAILED,
    METRICS_LOADTEST_ENDS,
};

/* A test runs from now on, with so many arrivals a second; NONE: none does. */
void metrics_loadtest_running(struct metrics *metrics, enum metrics_loadtest_target target, double rate);
void metrics_loadtest_ended(struct metrics *metrics, enum metrics_loadtest_end end);
void metrics_loadtest_count(struct metrics *metrics, const struct metrics_loadtest_counts *more);

#endif
