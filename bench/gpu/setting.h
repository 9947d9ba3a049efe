/* setting.h - the options that all programs in this folder take. */
#ifndef LIMOE_BENCH_GPU_SETTING_H
#define LIMOE_BENCH_GPU_SETTING_H

#include <stdbool.h>
#include <stdint.h>

#include "limoe.h"

struct setting {
    const char *device; /* default "cuda" */
    const char *model;  /* a directory; NULL where the program needs none */
    const char *report; /* a file that records are appended to; NULL: none */
    uint64_t seed;      /* of all random data; default: from the clock, since fresh data find more */
    bool quick;         /* fewer shapes, shorter samples */
    bool probe;         /* only to say whether there is a device */
    bool tiny;          /* shapes for a device that is emulated */
    double bandwidth;   /* bytes/s that the card was measured to copy, read and write counted; 0: not known */
    double rate;        /* operations/s of its dense bfloat16 products, measured; 0: not known */
};

/* 0: read. Else the exit status, after a message, of a command line that is wrong.
 * --help ends the program. */
int setting_read(int argc, char **argv, struct setting *s);

/* An instance on the setting's device, or NULL after a message and *exit_status: 2, "no GPU was found", where
 * there is none; 1 where it fails. */
struct kernels *setting_open(const struct setting *s, enum limoe_dtype dtype, int *exit_status);

#endif
