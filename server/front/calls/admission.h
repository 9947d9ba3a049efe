/* admission.h - what a call will hold, by what its body asks for. Its owner's thread. */
#ifndef LIMOE_SERVER_FRONT_CALLS_ADMISSION_H
#define LIMOE_SERVER_FRONT_CALLS_ADMISSION_H

#include "server/front/calls/call.h"

/* Whether an input is the one before it, for another answer: it is prepared once. */
bool admission_again(const struct call *call, size_t i);
/* How many pixels a picture counts as: those in its header. One that does not say, or says more than any
 * may have, counts as the most that a picture may have. */
uint64_t admission_pixels(const struct call *call, const struct request_item *input);
/* What the call will hold; one item is counted already, since its headers came. Sets its pictures and its lane. */
struct queue_load admission_measure(struct call *call);
/* Checks the pixels of all pictures together. A picture that is too large by itself is refused by its
 * decoder, which says why. */
bool admission_check(const struct call *call, const struct queue_load *load, struct api_error *error);
/* Makes room for items, embeddings and what else the route wants. False: no memory. */
bool admission_allocate(struct call *call, const struct queue_load *load);

#endif
