/* classifying.h - what /v1/classify and /v1/classifiers share on the way to the store. */
#ifndef LIMOE_SERVER_FRONT_CALLS_CLASSIFYING_H
#define LIMOE_SERVER_FRONT_CALLS_CLASSIFYING_H

#include "server/front/calls/call.h"
#include "server/front/calls/stages.h"

/* Whose matrices the call uses. */
struct classifier_model classifier_model_of(const struct call *call);
/* call->classifier from memory, or stages_ask for it: then classifier_take has it. */
bool classifier_look(struct call *call, struct text name, struct api_error *error);
/* call->classifier from what the store has answered. False: 404, with stored names that look like this one,
 * or as classifier_fail. */
bool classifier_take(struct call *call, struct text name, const char *param, struct api_error *error);
/* For an outcome that is not STORE_DONE: 503 when the store did not answer in time, 507 when it is full, else
 * 500, and the log says why. False. */
bool classifier_fail(struct call *call, struct api_error *error);

#endif
