/* report_json.c - a tally as one object. */
#include "server/commands/bench/report.h"

#include <stdio.h>

static void number(struct buffer *out, const char *name, uint64_t value) {
    buffer_print(out, "\"%s\":%llu", name, (unsigned long long)value);
}

void report_histogram(struct buffer *out, const char *name, const struct hdr *hdr, double scale) {
    static const struct {
        const char *name;
        double q;
    } shown[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    buffer_print(out, "\"%s\":{", name);
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        if (hdr->count)
            buffer_print(out, "\"%s\":%.3f,", shown[i].name, (double)hdr_percentile(hdr, shown[i].q) / scale);
        else
            buffer_print(out, "\"%s\":null,", shown[i].name);
    if (hdr->count)
        buffer_print(out, "\"max\":%.3f,\"min\":%.3f,\"mean\":%.3f}", (double)hdr->max / scale,
                     (double)hdr->min / scale, hdr_mean(hdr) / scale);
    else
        buffer_string(out, "\"max\":null,\"min\":null,\"mean\":null}");
}

static void kinds(struct buffer *out, const struct report *report) {
    const char *comma = "";
    buffer_string(out, "\"by_kind\":{");
    for (int kind = 0; kind < LOAD_KINDS; kind++) {
        if (!report->plan->mix[kind])
            continue;
        buffer_print(out, "%s\"%s\":{", comma, load_kind_names[kind]);
        number(out, "sent", report->tally->kind_sent[kind]);
        buffer_string(out, ",");
        number(out, "ok", report->tally->kind_ok[kind]);
        buffer_string(out, ",");
        report_histogram(out, "latency_ms", &report->tally->kinds[kind], 1e3);
        buffer_string(out, "}");
        comma = ",";
    }
    buffer_string(out, "}");
}

/* Answers that are not ok by status, and what was no answer by its reason. */
static void reasons(struct buffer *out, const struct tally *tally) {
    const char *comma = "";
    buffer_string(out, "\"statuses\":{");
    for (int status = 0; status < TALLY_STATUSES; status++)
        if (tally->statuses[status]) {
            buffer_print(out, "%s\"%d\":%llu", comma, status, (unsigned long long)tally->statuses[status]);
            comma = ",";
        }
    buffer_string(out, "},\"errors\":{");
    comma = "";
    for (int error = 0; error < CLIENT_ERRORS; error++)
        if (tally->errors[error]) {
            buffer_print(out, "%s\"%s\":%llu", comma, client_error_names[error],
                         (unsigned long long)tally->errors[error]);
            comma = ",";
        }
    buffer_string(out, "}");
}

void report_latency_counts(struct buffer *out, const struct tally *tally) {
    buffer_string(out, "\"latency_counts\":[");
    for (int i = 0; i <= DURATIONS; i++)
        buffer_print(out, "%s%llu", i ? "," : "", (unsigned long long)tally->latency_counts[i]);
    buffer_string(out, "]");
}

void report_server_times(struct buffer *out, const struct hdr times[CLIENT_SERVER_TIMES]) {
    static const char *const names[CLIENT_SERVER_TIMES] = {"queue", "inference", "total"};
    buffer_string(out, "\"server_ms\":{");
    for (int i = 0; i < CLIENT_SERVER_TIMES; i++) {
        buffer_string(out, i ? "," : "");
        report_histogram(out, names[i], &times[i], 1e3);
    }
    buffer_string(out, "}");
}

static void load(struct buffer *out, const struct report *report) {
    const struct plan *plan = report->plan;
    const char *comma = "";
    buffer_string(out, "\"load\":{\"url\":");
    buffer_json_string(out, plan->url);
    buffer_string(out, ",\"model\":");
    buffer_json_string(out, report->probe->model);
    if (plan->closed)
        buffer_print(out, ",\"loop\":\"closed\",\"clients\":%zu", plan->closed);
    else
        buffer_print(
            out, ",\"loop\":\"open\",\"arrivals\":\"%s\",\"rate\":%.10g,\"connections\":%zu,\"backlog\":%zu",
            plan->arrivals == ARRIVALS_POISSON ? "poisson" : "constant", plan->rate, plan->connections,
            plan->backlog);
    buffer_print(
        out, ",\"duration_s\":%.10g,\"warmup_s\":%.10g,\"timeout_s\":%.10g,\"items\":%zu,\"seed\":%llu",
        plan->duration_s, plan->warmup_s, plan->timeout_s, plan->items, (unsigned long long)plan->seed);
    buffer_print(out, ",\"checked\":%s,\"mix\":{", plan->check ? "true" : "false");
    for (int kind = 0; kind < LOAD_KINDS; kind++)
        if (plan->mix[kind]) {
            buffer_print(out, "%s\"%s\":%u", comma, load_kind_names[kind], plan->mix[kind]);
            comma = ",";
        }
    buffer_string(out, "}}");
}

void report_json(const struct report *report, struct buffer *out) {
    const struct tally *tally = report->tally;
    const double seconds = (double)(tally->end_ns - tally->start_ns) / 1e9;
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"sent", tally->sent},
        {"ok", tally->ok},
        {"refused", tally->refused},
        {"failed", tally->failed},
        {"dropped", tally->dropped_full + tally->dropped_waiting},
        {"wrong", tally->wrong},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        buffer_string(out, i ? "," : "{");
        number(out, counts[i].name, counts[i].value);
    }
    buffer_string(out, ",");
    report_histogram(out, "latency_ms", &tally->latency, 1e3);
    buffer_print(
        out, ",\"offered_rps\":%.3f,\"achieved_rps\":%.3f,\"seconds\":%.3f,\"longest_stall_ms\":%.3f,",
        seconds > 0 ? (double)tally->arrived / seconds : 0,
        seconds > 0 ? (double)tally->ok_within / seconds : 0, seconds, (double)tally->longest_stall_ns / 1e6);
    report_latency_counts(out, tally);
    buffer_string(out, ",");
    kinds(out, report);
    buffer_string(out, ",");
    reasons(out, tally);
    buffer_print(out, ",\"dropped_for\":{\"backlog_full\":%llu,\"waited_too_long\":%llu},",
                 (unsigned long long)tally->dropped_full, (unsigned long long)tally->dropped_waiting);
    report_histogram(out, "refused_latency_ms", &tally->refusals, 1e3);
    buffer_string(out, ",\"retry_after_s\":");
    if (tally->retry_after.count)
        buffer_print(
            out, "{\"min\":%.3f,\"median\":%.3f,\"max\":%.3f},", (double)tally->retry_after.min / 1e3,
            (double)hdr_percentile(&tally->retry_after, 0.5) / 1e3, (double)tally->retry_after.max / 1e3);
    else
        buffer_string(out, "null,");
    report_histogram(out, "waiting_ms", &tally->waited, 1e3);
    buffer_string(out, ",");
    report_server_times(out, tally->server);
    buffer_print(out, ",\"connections_opened\":%llu,\"interrupted\":%s,",
                 (unsigned long long)report->result->connects,
                 report->result->interrupted ? "true" : "false");
    load(out, report);
    buffer_string(out, "}");
}
