/* threads.h - a pool that runs the chunks of one loop at a time.
 *
 * The caller is thread 0 and works too. Chunks are claimed one by one, so a thread that the system took off
 * its processor delays no more than the chunk that it computes; what a chunk computes must not depend on who
 * runs it. Between loops the other threads look out for the next one for some tens of microseconds, then
 * sleep: a step's loops follow each other without a system call, and an idle process takes no processor time.
 */
#ifndef LIMOE_KERNELS_CPU_THREADS_H
#define LIMOE_KERNELS_CPU_THREADS_H

#include "limoe.h"

struct threads;

/* One chunk; `thread` is below the pool's count and names the thread's scratch. */
typedef void threads_chunk(void *context, uint32_t chunk, uint32_t thread);

enum { THREADS_MOST = 1024, THREADS_MOST_CHUNKS = 65535 };

/* The processors this process may run on. */
uint32_t threads_allowed(void);

/* A pool of `count` threads, the caller among them: count - 1 are started. */
enum limoe_status threads_create(uint32_t count, struct threads **out, struct limoe_error *err);
void threads_destroy(struct threads *t); /* NULL is fine */
uint32_t threads_count(const struct threads *t);

/* Runs chunk(context, 0 .. chunks - 1, thread) and returns when all are done. Not to be called from a
 * chunk. */
void threads_run(struct threads *t, uint32_t chunks, threads_chunk *chunk, void *context);

#endif
