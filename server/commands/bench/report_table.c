/* report_table.c - a tally for people. */
#include "server/commands/bench/report.h"

#include <stdio.h>

#include "server/commands/table.h"

enum { COLUMNS = 8, ROWS = 16, CELL = 32 };

struct sheet {
    char cells[ROWS][COLUMNS][CELL];
    size_t rows;
};

static void head(struct sheet *sheet) {
    static const char *const names[COLUMNS] = {"ms", "count", "mean", "p50", "p90", "p99", "p99.9", "max"};
    for (int i = 0; i < COLUMNS; i++)
        snprintf(sheet->cells[0][i], CELL, "%s", names[i]);
    sheet->rows = 1;
}

static void row(struct sheet *sheet, const char *name, const struct hdr *hdr) {
    static const double shown[] = {0.5, 0.9, 0.99, 0.999};
    if (!hdr->count || sheet->rows == ROWS)
        return;
    char(*cells)[CELL] = sheet->cells[sheet->rows++];
    snprintf(cells[0], CELL, "%s", name);
    table_number(cells[1], hdr->count);
    snprintf(cells[2], CELL, "%.2f", hdr_mean(hdr) / 1e3);
    for (int i = 0; i < 4; i++)
        snprintf(cells[3 + i], CELL, "%.2f", (double)hdr_percentile(hdr, shown[i]) / 1e3);
    snprintf(cells[7], CELL, "%.2f", (double)hdr->max / 1e3);
}

static void print_sheet(const struct sheet *sheet, struct buffer *out) {
    static const bool right[COLUMNS] = {false, true, true, true, true, true, true, true};
    const char *cells[ROWS * COLUMNS];
    for (size_t i = 0; i < sheet->rows; i++)
        for (size_t k = 0; k < COLUMNS; k++)
            cells[i * COLUMNS + k] = sheet->cells[i][k];
    table_append(out, 0, COLUMNS, right, cells, sheet->rows);
}

static void latencies(const struct tally *tally, struct buffer *out) {
    struct sheet sheet;
    size_t kinds = 0;
    head(&sheet);
    row(&sheet, "ok", &tally->latency);
    for (int kind = 0; kind < LOAD_KINDS; kind++)
        kinds += tally->kinds[kind].count > 0;
    for (int kind = 0; kinds > 1 && kind < LOAD_KINDS; kind++)
        row(&sheet, load_kind_names[kind], &tally->kinds[kind]);
    row(&sheet, "refused", &tally->refusals);
    row(&sheet, "waiting to be sent", &tally->waited);
    row(&sheet, "server: queue", &tally->server[CLIENT_QUEUE_MS]);
    row(&sheet, "server: inference", &tally->server[CLIENT_INFERENCE_MS]);
    row(&sheet, "server: total", &tally->server[CLIENT_TOTAL_MS]);
    print_sheet(&sheet, out);
}

static void troubles(const struct tally *tally, struct buffer *out) {
    for (int status = 0; status < TALLY_STATUSES; status++)
        if (tally->statuses[status])
            buffer_print(out, "answered %d: %llu\n", status, (unsigned long long)tally->statuses[status]);
    for (int error = 0; error < CLIENT_ERRORS; error++)
        if (tally->errors[error])
            buffer_print(out, "no answer, %s: %llu\n", client_error_names[error],
                         (unsigned long long)tally->errors[error]);
    if (tally->dropped_full || tally->dropped_waiting)
        buffer_print(out, "never sent: %llu because the backlog was full, %llu that waited too long\n",
                     (unsigned long long)tally->dropped_full, (unsigned long long)tally->dropped_waiting);
    if (tally->retry_after.count)
        buffer_print(out, "Retry-After: %.10g s at least, %.10g s median, %.10g s at most\n",
                     (double)tally->retry_after.min / 1e3,
                     (double)hdr_percentile(&tally->retry_after, 0.5) / 1e3,
                     (double)tally->retry_after.max / 1e3);
    for (uint64_t i = 0; i < tally->failed && i < TALLY_SHOWN_FAILED; i++)
        buffer_print(out, "failed: %s\n", tally->failures[i]);
    for (uint64_t i = 0; i < tally->wrong && i < TALLY_SHOWN_WRONG; i++)
        buffer_print(out, "wrong: %s\n", tally->wrongs[i]);
}

void report_table(const struct report *report, struct buffer *out) {
    const struct tally *tally = report->tally;
    const double seconds = (double)(tally->end_ns - tally->start_ns) / 1e9;
    const unsigned long long dropped = tally->dropped_full + tally->dropped_waiting;
    report_intent(report, out);
    buffer_print(out, "\nsent %llu: ok %llu, refused %llu, failed %llu; dropped %llu",
                 (unsigned long long)tally->sent, (unsigned long long)tally->ok,
                 (unsigned long long)tally->refused, (unsigned long long)tally->failed, dropped);
    if (report->plan->check)
        buffer_print(out, "; wrong %llu", (unsigned long long)tally->wrong);
    if (seconds > 0)
        buffer_print(out, "\noffered %.1f/s, answered ok %.1f/s, in %.1f s%s; longest stall %.1f ms\n\n",
                     (double)tally->arrived / seconds, (double)tally->ok_within / seconds, seconds,
                     report->result->interrupted ? " (interrupted)" : "",
                     (double)tally->longest_stall_ns / 1e6);
    else
        buffer_string(out, "\ninterrupted before anything was measured\n\n");
    latencies(tally, out);
    troubles(tally, out);
}
