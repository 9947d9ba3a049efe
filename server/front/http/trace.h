/* trace.h - W3C Trace Context: the trace that a request belongs to, and our own span in it.
 *
 * Pure functions, but for the random ids. Any thread.
 */
#ifndef LIMOE_SERVER_FRONT_HTTP_TRACE_H
#define LIMOE_SERVER_FRONT_HTTP_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#define TRACE_SAMPLED     0x01 /* of the flags */
#define TRACE_HEADER_SIZE 56   /* "00-{trace}-{span}-{flags}", with its NUL */

struct trace {
    char trace_id[33];  /* lower-case hexadecimal, as in all three */
    char span_id[17];   /* this server's part in the trace */
    char parent_id[17]; /* the caller's span; "" when the trace begins here */
    uint8_t flags;      /* the caller's; bit 0: sampled */
};

/* Reads the trace and parent ids and the flags of a `traceparent`. Of a version after 00, which may carry
 * more fields, only those of 00 are read. False: malformed, *trace is as it was. */
bool trace_parse(const char *header, struct trace *trace);

/* The trace that `header` names, or a new one when it is NULL or malformed; in either, a span of our own. */
void trace_begin(const char *header, struct trace *trace);

/* Whether the trace is recorded, and says so in its flags where it begins here: of those the share `ratio` (0 … 1),
 * chosen by the trace's id, so that all who choose so choose the same; others as the caller has decided. */
bool trace_sample(struct trace *trace, double ratio);

/* Writes the value of `traceresponse`, by which the caller finds our span. */
void trace_print(const struct trace *trace, char out[TRACE_HEADER_SIZE]);

#endif
