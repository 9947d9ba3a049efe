/* post.h - one batch to the collector: one HTTP request, and what its answer means. One thread. */
#ifndef LIMOE_SERVER_EXPORTER_POST_H
#define LIMOE_SERVER_EXPORTER_POST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "server/protocol/span_wire.h"

struct post;

/* Asked about once a second while a request is under way: true gives it up. */
typedef bool post_given_up(void *arg);

/* NULL: no memory. *settings outlives it. */
struct post *post_new(const struct span_settings *settings, post_given_up *given_up, void *arg);
void post_free(struct post *post); /* NULL is fine */

enum post_outcome {
    POST_TAKEN,
    POST_LATER,   /* it may be sent again: the collector is out of reach, or busy */
    POST_REFUSED, /* it would be refused again */
};

struct post_answer {
    enum post_outcome outcome;
    uint64_t rejected;     /* POST_TAKEN: spans of the batch that the collector did not keep */
    int64_t after_seconds; /* POST_LATER: when the collector wants it again; 0: it does not say */
    char fault[240];       /* what went wrong; "": nothing */
};

/* Sends the JSON, within so many milliseconds. */
void post_send(struct post *post, const struct buffer *json, long milliseconds, struct post_answer *answer);

#endif
