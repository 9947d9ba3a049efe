/* workers.h - a pool of threads for the processor's work around the engine: parsing, decoding, answering.
 *
 * It leaves the HTTP threads nothing to do but to move bytes, and the engine's thread nothing but steps.
 */
#ifndef LIMOE_BASE_WORKERS_H
#define LIMOE_BASE_WORKERS_H

#include <stdbool.h>

#include "limoe.h"

struct workers;

/* A task is embedded in what it works on, and stands in a queue once at a time. Whoever made it owns it until
 * it is pushed; run() owns it from its start. */
struct task {
    void (*run)(struct task *task);
    struct task *next;
};

/* `threads` is at least 1. `name` is what the system calls them: a static string of up to 15 characters. */
enum limoe_status workers_start(unsigned threads, const char *name, struct workers **out,
                                struct limoe_error *err);
/* Runs what was pushed, then joins the threads. Nothing may be pushed from then on. NULL is fine. */
void workers_stop(struct workers *workers);

/* Queues a task behind the others. */
void workers_push(struct workers *workers, struct task *task);
/* Queues it behind the others that were pushed so, but before those of workers_push: for work that frees what
 * a request holds. */
void workers_push_early(struct workers *workers, struct task *task);
/* Takes those tasks of workers_push that `unwanted` says so of out of the queue, if no thread has taken them yet;
 * the order of the others stays. They are the caller's, linked by `next` in the order in which they were pushed;
 * NULL: there is none. `unwanted` is called with the queue locked, once for each that waits. */
struct task *workers_withdraw(struct workers *workers, bool (*unwanted)(struct task *task, void *arg),
                              void *arg);
/* True when another task waits: a long one had better push itself again and return. */
bool workers_wanted(struct workers *workers);

#endif
