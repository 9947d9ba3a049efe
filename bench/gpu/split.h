/* split.h - work of the host's on all its processors, so that the GPU does not wait for it long. */
#ifndef LIMOE_BENCH_GPU_SPLIT_H
#define LIMOE_BENCH_GPU_SPLIT_H

#include <stddef.h>

/* Calls run(context, i) once for each i < n, in any order and on several threads, and returns when all have returned.
 * What a call writes must be its own; results then depend on neither the order nor the number of threads. */
void split(size_t n, void (*run)(void *context, size_t i), void *context);

#endif
