/* report.c - what report_table and report_json share, and the lines before the load. */
#include "server/commands/bench/report.h"

#include <stdio.h>

static void describe_load(const struct plan *plan, struct buffer *out) {
    if (plan->closed)
        buffer_print(out, "closed loop, %zu clients that are always busy", plan->closed);
    else
        buffer_print(out, "open loop, %.10g/s, %s arrivals, at most %zu in flight and %zu waiting",
                     plan->rate, plan->arrivals == ARRIVALS_POISSON ? "Poisson" : "constant",
                     plan->connections, plan->backlog);
}

void report_intent(const struct report *report, struct buffer *out) {
    const struct plan *plan = report->plan;
    const struct pool *pool = report->pool;
    const char *comma = "";
    buffer_print(out, "server     %s, model %s, health %s\n", plan->url,
                 report->probe->model ? report->probe->model : "unknown", report->probe->health);
    buffer_string(out, "load       ");
    describe_load(plan, out);
    buffer_print(out, ", for %.10g s", plan->duration_s);
    if (plan->warmup_s > 0)
        buffer_print(out, " after %.10g s of warm-up", plan->warmup_s);
    buffer_string(out, "\nrequests   ");
    for (int kind = 0; kind < LOAD_KINDS; kind++)
        if (plan->mix[kind]) {
            buffer_print(out, "%s%s=%u", comma, load_kind_names[kind], plan->mix[kind]);
            comma = ", ";
        }
    if (pool->pictures)
        buffer_print(out, "; %zu pictures%s", pool->pictures,
                     pool->own_pictures ? " of our own (PNG, 48 to 320 wide)" : "");
    if (pool->unique)
        buffer_string(out, "; every text different");
    else if (pool->texts)
        buffer_print(out, "; %zu texts%s", pool->texts, pool->own_texts ? " of our own" : "");
    buffer_print(out, "; seed %llu\n", (unsigned long long)plan->seed);
}
