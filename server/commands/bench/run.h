/* run.h - sends a plan's load and tallies what comes of it. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_RUN_H
#define LIMOE_SERVER_COMMANDS_BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "server/commands/bench/plan.h"
#include "server/commands/bench/pool.h"
#include "server/commands/bench/tally.h"

struct run_result {
    bool interrupted;
    uint64_t connects; /* connections opened */
};

/* Blocks until the load is over and all that was sent has ended, for at most the plan's warm-up, duration and
 * timeout, with a line a second on standard error. SIGINT or SIGTERM ends the sending, a second one the
 * waiting. False: no memory or no descriptors; nothing was sent. */
bool run_load(const struct plan *plan, struct pool *pool, struct tally *tally, struct run_result *result);

#endif
