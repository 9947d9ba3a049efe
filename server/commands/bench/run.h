/* run.h - sends a plan's load and tallies what comes of it. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_RUN_H
#define LIMOE_SERVER_COMMANDS_BENCH_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "server/commands/bench/plan.h"
#include "server/commands/bench/pool.h"
#include "server/commands/bench/progress.h"
#include "server/commands/bench/tally.h"

struct run_result {
    bool interrupted;
    uint64_t connects; /* connections opened */
};

/* Is given each line's numbers; tally->second is cleared behind it. */
typedef void run_line(void *context, const struct progress *progress, const struct tally *tally);

/* Blocks until the load is over and all that was sent has ended, for at most the plan's warm-up, duration and
 * timeout, with a line a second, and one at the end. SIGINT or SIGTERM ends the sending, a second one the
 * waiting. False: no memory or no descriptors; nothing was sent. */
bool run_load(const struct plan *plan, struct pool *pool, struct tally *tally, run_line *line, void *context,
              struct run_result *result);

#endif
