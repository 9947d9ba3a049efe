/* report.h - a tally for people and for programs. */
#ifndef LIMOE_SERVER_COMMANDS_BENCH_REPORT_H
#define LIMOE_SERVER_COMMANDS_BENCH_REPORT_H

#include "base/buffer.h"
#include "server/commands/bench/plan.h"
#include "server/commands/bench/pool.h"
#include "server/commands/bench/probe.h"
#include "server/commands/bench/run.h"
#include "server/commands/bench/tally.h"

/* All that a report is made of. */
struct report {
    const struct plan *plan;
    const struct pool *pool;
    const struct probe *probe;
    const struct tally *tally;
    const struct run_result *result;
};

/* What is about to be measured, a line or two. */
void report_intent(const struct report *report, struct buffer *out);
void report_table(const struct report *report, struct buffer *out);
/* One object, as docs/benchmarks.md describes it. A latency of no answers is null. */
void report_json(const struct report *report, struct buffer *out);

/* Parts of it: "name":{…} of a histogram, whose unit is `scale` of the one shown, "latency_counts":[…] by
 * durations[], and "server_ms":{…}. */
void report_histogram(struct buffer *out, const char *name, const struct hdr *hdr, double scale);
void report_latency_counts(struct buffer *out, const struct tally *tally);
void report_server_times(struct buffer *out, const struct hdr times[CLIENT_SERVER_TIMES]);

#endif
