/* profile.h - what each operation of a model takes: an instance that stands before another and times it.
 *
 * Each operation is waited for, so those of a GPU are timed whole, and nothing is recorded there to be run as one. The
 * bits are those of the instance behind it. One thread at a time. */
#ifndef LIMOE_BENCH_PROFILE_H
#define LIMOE_BENCH_PROFILE_H

#include <stdio.h>

#include "kernels/kernels.h"

struct profile; /* what was timed; outlives the instance */

/* Puts an instance before `inner`, which is its own from here on, on failure too. */
enum limoe_status profile_create(struct kernels *inner, struct profile **profile, struct kernels **out,
                                 struct limoe_error *err);
/* Forgets what was timed, a warm-up. */
void profile_restart(struct profile *p);
/* Writes a Chrome trace (chrome://tracing, Perfetto): an event an operation, with "rows", "in", "out" and "groups" in
 * its "args" where it has them. Of attention "in" is the rows that a row attends to on the average, "out" the width;
 * of a grouped product "groups" is how many of its matrices met a row. False: the file was not written. */
bool profile_write(const struct profile *p, FILE *to);
void profile_free(struct profile *p); /* NULL is fine */

#endif
