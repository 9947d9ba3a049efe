/* classifying.h - what /v1/classify and /v1/classifiers share on the way to the store. */
#ifndef LIMOE_SERVER_FRONT_CALLS_CLASSIFYING_H
#define LIMOE_SERVER_FRONT_CALLS_CLASSIFYING_H

#include "server/front/calls/call.h"
#include "server/front/calls/stages.h"

/* Whose matrices the call uses. */
struct classifier_model classifying_model(const struct call *call);
/* call->classifier from memory, or stages_ask for it: then classifying_take has it. */
bool classifying_look(struct call *call, struct text name, struct api_error *error);
/* call->classifier from what the store has answered. False: 404, with stored names that look like this one,
 * or as classifying_fail. */
bool classifying_take(struct call *call, struct text name, const char *param, struct api_error *error);
/* For an outcome that is not STORE_DONE: 503 when the store did not answer in time, 507 when it is full, else
 * 500, and the log says why. False. */
bool classifying_fail(struct call *call, struct api_error *error);

#endif
