/* captioning.h - a call's captions by the decoder: a job that goes through the queue once for each token.
 *
 * The job of each token is the same one, pushed again from its done(), behind whatever waits: so captions are fair beside all
 * else, leave with their client or at their deadline, and an engine that is lost with some is asked again for the same token.
 * The queue's limit on captions counts what they may come to, from admission until the last has its end.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_CAPTIONING_H
#define LIMOE_SERVER_FRONT_CALLS_CAPTIONING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limoe_caption.h"
#include "server/api/api_error.h"
#include "server/api/captions.h"
#include "server/front/schedule/job.h"

struct call;

struct captioning {
    size_t n;                          /* pictures; 0: the call has no captions made */
    uint32_t texts;                    /* of each, while they are made */
    struct limoe_caption_options each; /* checked */
    struct limoe_caption *captions;    /* [n, each.n] */
    struct job job;                    /* of those that are not done, which come first in its arrays */
    void (*end)(struct call *call);    /* the job has ended for good; not to be waited in */
};

/* The request is to have captions made, of the pictures that call->inputs are then. False: the model's engine makes none, or
 * they are more than a request may ask for. */
bool captioning_choose(struct call *call, const struct captions_request *request, struct api_error *error);
/* Tokens that all of them may come to: what admission counts. */
uint64_t captioning_tokens(const struct call *call);
/* Begins, once call->items are pictures that are prepared. end() is called, on any thread, after the last token or when it is
 * given up, and may have been by the time this returns. False: there is no memory, or the server is stopping. */
bool captioning_begin(struct call *call, void (*end)(struct call *call), struct api_error *error);
/* Of the job that has ended: whether it failed for its own sake, then *error is set. */
bool captioning_fail(const struct call *call, struct api_error *error);

#endif
