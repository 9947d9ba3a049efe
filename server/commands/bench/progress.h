/* progress.h - what is said while a load goes on: a line a second, for people or for programs. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_PROGRESS_H
#define LIMOE_SERVER_COMMANDS_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "server/commands/bench/plan.h"
#include "server/commands/bench/tally.h"

/* Where the load is. */
enum progress_phase { PROGRESS_WARMUP, PROGRESS_LOAD, PROGRESS_DRAIN /* sent; waits for answers */ };

/* The counts and spans are of the time since the line before. */
struct progress {
    enum progress_phase phase;
    double seconds; /* since the load began */
    double span_s;
    double fraction; /* of the warm-up and the duration: 0 … 1 */
    uint64_t offered, outcomes[OUTCOMES];
    size_t in_flight, waiting; /* now */
    bool interrupted;
};

/* One line, with its end. Both read tally->second and tally->second_server, and do not clear them. */
void progress_text(const struct progress *progress, const struct tally *tally, struct buffer *out);
/* {"object":"bench.progress",…}, as docs/api.md describes it. */
void progress_json(const struct progress *progress, const struct tally *tally, struct buffer *out);

#endif
