/* workers.h - a pool of threads for the processor's work around the engine: parsing, decoding, answering.
 *
 * So that the HTTP threads only move bytes and the engine's thread only computes.
 */
#ifndef LIMOE_BASE_WORKERS_H
#define LIMOE_BASE_WORKERS_H

#include <stdbool.h>

#include "limoe.h"

struct workers;

/* Embedded in what it works on; one push at a time. The maker owns it until the push,
 * run() from its start. */
struct task {
    void (*run)(struct task *task);
    struct task *next;
};

/* `threads` at least 1. `name`: theirs, of up to 15 characters; a static string. */
enum limoe_status workers_start(unsigned threads, const char *name, struct workers **out,
                                struct limoe_error *err);
/* Runs what was pushed, then joins the threads. Nobody pushes any more. NULL is fine. */
void workers_stop(struct workers *workers);

/* Behind the other tasks. */
void workers_push(struct workers *workers, struct task *task);
/* Behind the other tasks pushed so, before those of workers_push: work that frees what a request holds. */
void workers_push_early(struct workers *workers, struct task *task);
/* True when another task waits: a long one had better push itself again and return. */
bool workers_wanted(struct workers *workers);

#endif
