/* quotas.h - a call's key, where that has a name: what the call is counted with, and whether it may go on. */
#ifndef LIMOE_SERVER_FRONT_CALLS_QUOTAS_H
#define LIMOE_SERVER_FRONT_CALLS_QUOTAS_H

#include <microhttpd.h>
#include <stdbool.h>

struct call;

/* The call's head was read and its key is known. False: a quota is used up, and the call answered with 429. */
bool quotas_begin(struct call *call);
/* Its texts are tokenised, so that its tokens are known; its pictures are not decoded yet. False: as above. */
bool quotas_charge(struct call *call);
/* The call is answered, before that is sent. What was not computed is not charged, unless the client left while it was. */
void quotas_settle(struct call *call);

/* Adds RateLimit-Policy and RateLimit to the answer, where the key has quotas. */
void quotas_describe(const struct call *call, struct MHD_Response *response);

#endif
