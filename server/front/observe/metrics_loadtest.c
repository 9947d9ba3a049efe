/* metrics_loadtest.c - the counters of load tests, and their part of the page. */
#include "server/front/observe/metrics_loadtest.h"

#include "server/front/observe/metrics_parts.h"

void metrics_loadtest_running(struct metrics *metrics, enum metrics_loadtest_target target, double rate) {
    struct metrics_loadtest *loadtest = &metrics->loadtest;
    atomic_store(&loadtest->target, (unsigned)target);
    atomic_store(&loadtest->rate, target == METRICS_LOADTEST_NONE ? 0 : rate);
}

void metrics_loadtest_ended(struct metrics *metrics, enum metrics_loadtest_end end) {
    counter_add(&metrics->loadtest.ends[end], 1);
}

void metrics_loadtest_count(struct metrics *metrics, const struct metrics_loadtest_counts *more) {
    struct metrics_loadtest *loadtest = &metrics->loadtest;
    counter_add(&loadtest->sent, more->sent);
    counter_add(&loadtest->dropped, more->dropped);
    for (int status = 0; status < METRICS_LOADTEST_STATUSES; status++)
        if (more->answers[status])
            counter_add(&loadtest->answers[status], more->answers[status]);
    for (int i = 0; i <= DURATIONS; i++)
        atomic_fetch_add_explicit(&loadtest->latency.counts[i], more->latency_counts[i],
                                  memory_order_relaxed);
    atomic_fetch_add_explicit(&loadtest->latency.sum, more->latency_ns, memory_order_relaxed);
}

static void write_running(struct metrics_loadtest *loadtest, struct buffer *out) {
    const unsigned target = atomic_load(&loadtest->target);
    metrics_head(out, "limoe_loadtest_running", "gauge",
                 "1 while a load test runs that the server started, by whether it is its own target.");
    buffer_print(out, "limoe_loadtest_running{target=\"self\"} %d\n", target == METRICS_LOADTEST_SELF);
    buffer_print(out, "limoe_loadtest_running{target=\"other\"} %d\n", target == METRICS_LOADTEST_OTHER);
    metrics_head(out, "limoe_loadtest_rate", "gauge",
                 "Arrivals per second that the running load test asks for.");
    buffer_print(out, "limoe_loadtest_rate %.15g\n", atomic_load(&loadtest->rate));
}

void metrics_write_loadtest(struct metrics *metrics, struct buffer *out) {
    static const char *const ends[METRICS_LOADTEST_ENDS] = {[METRICS_LOADTEST_DONE] = "done",
                                                            [METRICS_LOADTEST_STOPPED] = "stopped",
                                                            [METRICS_LOADTEST_FAILED] = "failed"};
    struct metrics_loadtest *loadtest = &metrics->loadtest;
    write_running(loadtest, out);
    metrics_head(out, "limoe_loadtest_ended_total", "counter", "Load tests that have ended, by how.");
    for (int end = 0; end < METRICS_LOADTEST_ENDS; end++)
        buffer_print(out, "limoe_loadtest_ended_total{state=\"%s\"} %llu\n", ends[end],
                     counter_get(&loadtest->ends[end]));
    metrics_head(out, "limoe_loadtest_sent_total", "counter", "Requests that load tests have sent.");
    buffer_print(out, "limoe_loadtest_sent_total %llu\n", counter_get(&loadtest->sent));
    metrics_head(out, "limoe_loadtest_dropped_total", "counter",
                 "Requests that load tests were to send and could not.");
    buffer_print(out, "limoe_loadtest_dropped_total %llu\n", counter_get(&loadtest->dropped));
    metrics_head(out, "limoe_loadtest_answers_total", "counter",
                 "Answers that load tests got, by HTTP status; none: no answer.");
    buffer_print(out, "limoe_loadtest_answers_total{code=\"none\"} %llu\n",
                 counter_get(&loadtest->answers[0]));
    for (int status = 1; status < METRICS_LOADTEST_STATUSES; status++)
        if (counter_get(&loadtest->answers[status]))
            buffer_print(out, "limoe_loadtest_answers_total{code=\"%d\"} %llu\n", status,
                         counter_get(&loadtest->answers[status]));
    metrics_head(
        out, "limoe_loadtest_latency_seconds", "histogram",
        "Time from the moment at which a load test's request was due to its answer, of those answered "
        "well.");
    histogram_write(&loadtest->latency, &histogram_seconds, "limoe_loadtest_latency_seconds", "", out);
}
