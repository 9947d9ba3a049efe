/* report.h - a program's findings: a line each for people, a JSON object each for a file. */
#ifndef LIMOE_BENCH_GPU_REPORT_H
#define LIMOE_BENCH_GPU_REPORT_H

#include <stdbool.h>
#include <stdio.h>

struct report {
    const char *part;
    FILE *records; /* NULL: none */
    unsigned failed;
};

/* Appends records to `path`, where that is not NULL. False, after a message: it cannot be written. */
bool report_open(struct report *r, const char *part, const char *path);
/* The exit status: 1 if something failed. */
int report_close(struct report *r);

/* PASS or FAIL, of `name`, whose detail the format gives. */
void report_check(struct report *r, bool passed, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What could not be done here, and why. */
void report_absent(struct report *r, const char *name, const char *why);
/* A figure. target 0: MEASURED; else PASS, or MISSED where it is below, which is no failure. */
void report_figure(struct report *r, const char *name, double value, const char *unit, double target,
                   const char *format, ...) __attribute__((format(printf, 6, 7)));

#endif
