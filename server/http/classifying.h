/* classifying.h - what /v1/classify and /v1/classifiers share on the way to the store. */
#ifndef LIMOE_CLASSIFYING_H
#define LIMOE_CLASSIFYING_H

#include "http/call.h"

/* Whose matrices the call uses. */
struct classifier_model classifier_model_of(const struct call *call);
/* Logs what the store said; the client gets 500. False. */
bool classifier_fail(struct call *call, const struct limoe_error *cause, struct api_error *error);
/* 404, with stored names that look like this one. False. */
bool classifier_fail_unknown(struct call *call, struct text name, const char *param, struct api_error *error);

#endif
