/* arguments.h - the options that the benchmarks of a model share. */
#ifndef LIMOE_BENCH_ARGUMENTS_H
#define LIMOE_BENCH_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>

#include "limoe.h"

/* What usage messages say of them. */
#define ARGUMENTS_USAGE                                                                                      \
    "--model DIR [--device auto|cpu|cuda|cuda:N] [--dtype float32|bfloat16] [--threads N]\n"                 \
    "       [--batch N] [--seconds S] [--tokens N] [--mixed]"

struct arguments {
    const char *model;
    struct limoe_options options;
    size_t batch;
    uint32_t tokens; /* of each item, a text; 0: items are pictures */
    double seconds;
    const char *profile; /* a file; NULL: operations are not timed. Of bench/model alone. */
    bool mixed;          /* every second item is a text, the others pictures */
    bool flag;           /* the benchmark's own option was given */
};

/* Options given replace what is there. `flag` names one more option, without a value. False: the command line
 * is not as ARGUMENTS_USAGE has it. */
bool arguments_read(int argc, char **argv, const char *flag, struct arguments *a);

/* text is a number from min to max, and nothing else. */
bool arguments_number(const char *text, double min, double max, double *out);

#endif
