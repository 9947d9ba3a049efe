/* hush.h - what mpirun says of its ranks, less what the front says itself. */
#ifndef LIMOE_HUSH_H
#define LIMOE_HUSH_H

/* Copies lines until `in` ends or `out` does, but for mpirun's announcements that a rank has ended and that
 * it takes the others with it, and PMIx's that a rank cannot be reached any more. Everything else is let
 * through line by line: why a job cannot start, ranks' own complaints. */
void hush_copy(int in, int out);

#endif
