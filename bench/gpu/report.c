/* report.c - lines and records. Names and details are this folder's own words, without quotes in them. */
#include "bench/gpu/report.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

bool report_open(struct report *r, const char *part, const char *path) {
    *r = (struct report){.part = part, .records = path ? fopen(path, "a") : NULL};
    if (path && !r->records)
        fprintf(stderr, "cannot write %s: %s\n", path, strerror(errno));
    return !path || r->records;
}

int report_close(struct report *r) {
    if (r->records && fclose(r->records) != 0) {
        fprintf(stderr, "cannot write the report: %s\n", strerror(errno));
        return 1;
    }
    return r->failed ? 1 : 0;
}

/* value NULL: none. JSON has no infinities. */
static void put(struct report *r, const char *verdict, const char *name, const char *detail,
                const double *value, const char *unit, double target) {
    printf("%-8s %-8s %-56s %s\n", verdict, r->part, name, detail);
    fflush(stdout);
    if (!r->records)
        return;
    fprintf(r->records, "{\"part\": \"%s\", \"verdict\": \"%s\", \"name\": \"%s\", \"detail\": \"%s\"",
            r->part, verdict, name, detail);
    if (value && isfinite(*value))
        fprintf(r->records, ", \"value\": %.6g, \"unit\": \"%s\"", *value, unit);
    if (target > 0)
        fprintf(r->records, ", \"target\": %.6g", target);
    fputs("}\n", r->records);
    fflush(r->records);
}

void report_check(struct report *r, bool passed, const char *name, const char *format, ...) {
    char detail[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    r->failed += !passed;
    put(r, passed ? "PASS" : "FAIL", name, detail, NULL, NULL, 0);
}

void report_absent(struct report *r, const char *name, const char *why) {
    put(r, "n.a.", name, why, NULL, NULL, 0);
}

void report_figure(struct report *r, const char *name, double value, const char *unit, double target,
                   const char *format, ...) {
    char detail[512];
    va_list arguments;
    const int n = snprintf(detail, sizeof detail, "%.4g %s", value, unit);
    va_start(arguments, format);
    vsnprintf(detail + n, sizeof detail - (size_t)n, format, arguments);
    va_end(arguments);
    put(r,
        target <= 0       ? "MEASURED"
        : value >= target ? "PASS"
                          : "MISSED",
        name, detail, &value, unit, target);
}
