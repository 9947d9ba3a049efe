/* progress.c - the same numbers, as text and as one object. */
#include "server/commands/bench/progress.h"

#include "server/commands/bench/report.h"

void progress_text(const struct progress *progress, const struct tally *tally, struct buffer *out) {
    buffer_print(
        out,
        "%5.0f s%s  offered %.0f/s  ok %.0f/s  in flight %zu  waiting %zu  p50 %.1f ms  p99 %.1f ms  "
        "refused %llu  failed %llu\n",
        progress->seconds, progress->phase == PROGRESS_WARMUP ? " (warm-up)" : "",
        (double)progress->offered / progress->span_s,
        (double)progress->outcomes[OUTCOME_OK] / progress->span_s, progress->in_flight, progress->waiting,
        (double)hdr_percentile(&tally->second, 0.5) / 1e3, (double)hdr_percentile(&tally->second, 0.99) / 1e3,
        (unsigned long long)progress->outcomes[OUTCOME_REFUSED],
        (unsigned long long)progress->outcomes[OUTCOME_FAILED]);
}

/* Every answer by its status, and what was none. */
static void answers(const struct tally *tally, struct buffer *out) {
    const char *comma = "";
    uint64_t none = 0;
    buffer_string(out, "\"answers\":{");
    for (int status = 0; status < TALLY_STATUSES; status++)
        if (tally->answers[status]) {
            buffer_print(out, "%s\"%d\":%llu", comma, status, (unsigned long long)tally->answers[status]);
            comma = ",";
        }
    for (int error = 0; error < CLIENT_ERRORS; error++)
        none += tally->errors[error];
    if (none)
        buffer_print(out, "%s\"none\":%llu", comma, (unsigned long long)none);
    buffer_string(out, "}");
}

/* "all":{…}: of the whole measured time. */
static void whole(const struct tally *tally, struct buffer *out) {
    const uint64_t dropped = tally->dropped_full + tally->dropped_waiting;
    buffer_print(out, "\"all\":{\"sent\":%llu,\"ok\":%llu,\"refused\":%llu,\"failed\":%llu,\"dropped\":%llu,",
                 (unsigned long long)tally->sent, (unsigned long long)tally->ok,
                 (unsigned long long)tally->refused, (unsigned long long)tally->failed,
                 (unsigned long long)dropped);
    answers(tally, out);
    buffer_string(out, ",");
    report_histogram(out, "latency_ms", &tally->latency, 1e3);
    buffer_print(out, ",\"latency_sum_ms\":%.3f,", (double)tally->latency.sum / 1e3);
    report_latency_counts(out, tally);
    buffer_string(out, "}");
}

void progress_json(const struct progress *progress, const struct tally *tally, struct buffer *out) {
    static const char *const phases[] = {
        [PROGRESS_WARMUP] = "warmup", [PROGRESS_LOAD] = "load", [PROGRESS_DRAIN] = "drain"};
    buffer_print(out,
                 "{\"object\":\"bench.progress\",\"phase\":\"%s\",\"seconds\":%.3f,\"span_s\":%.3f,"
                 "\"fraction\":%.4f,\"interrupted\":%s,",
                 phases[progress->phase], progress->seconds, progress->span_s, progress->fraction,
                 progress->interrupted ? "true" : "false");
    buffer_print(
        out,
        "\"offered\":%llu,\"ok\":%llu,\"refused\":%llu,\"failed\":%llu,\"in_flight\":%zu,\"waiting\":%zu,",
        (unsigned long long)progress->offered, (unsigned long long)progress->outcomes[OUTCOME_OK],
        (unsigned long long)progress->outcomes[OUTCOME_REFUSED],
        (unsigned long long)progress->outcomes[OUTCOME_FAILED], progress->in_flight, progress->waiting);
    report_histogram(out, "latency_ms", &tally->second, 1e3);
    buffer_string(out, ",");
    report_server_times(out, tally->second_server);
    buffer_string(out, ",");
    whole(tally, out);
    buffer_string(out, "}\n");
}
