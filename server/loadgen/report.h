/* report.h - a tally for people and for programs. */
#ifndef LIMOE_REPORT_H
#define LIMOE_REPORT_H

#include "codec/buffer.h"
#include "loadgen/plan.h"
#include "loadgen/pool.h"
#include "loadgen/probe.h"
#include "loadgen/run.h"
#include "loadgen/tally.h"

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

#endif
