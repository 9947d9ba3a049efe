/* tracing.h - finished requests handed to the exporter (server/exporter), a process that is started and replaced here.
 *
 * Nothing waits for it: a record that the pipe has no room for is dropped and counted.
 */
#ifndef LIMOE_SERVER_FRONT_TRACING_TRACING_H
#define LIMOE_SERVER_FRONT_TRACING_TRACING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "limoe.h"
#include "server/front/observe/log.h"
#include "server/front/observe/metrics.h"
#include "server/front/tracing/settings.h"

struct tracing;

/* Starts the exporter, which dies with the calling thread. *options was checked and is not kept; log and metrics
 * outlive it. */
enum limoe_status tracing_start(const struct tracing_options *options, struct log *log,
                                struct metrics *metrics, struct tracing **out, struct limoe_error *err);
/* Whether the pipe had no room a moment ago, so that a record need not be made. Any thread. */
bool tracing_is_full(const struct tracing *tracing, int64_t now);
/* Counts spans of which no record was made. Any thread. */
void tracing_drop(struct tracing *tracing, size_t spans);
/* Hands over a finished request. Any thread; does not block. */
void tracing_record(struct tracing *tracing, struct span_record *record, const char *const texts[SPAN_TEXTS]);
/* Takes in what the exporter has reported, and starts another if it has ended. The thread of tracing_start, now and
 * then. NULL is fine. */
void tracing_poll(struct tracing *tracing);
/* The exporter's process; 0: there is none just now. Any thread. NULL is fine. */
pid_t tracing_pid(struct tracing *tracing);
/* Gives the exporter a few seconds for what it has, then ends it. Nobody records any more. NULL is fine. */
void tracing_stop(struct tracing *tracing);

#endif
