/* classifying.h - what /v1/classify and /v1/classifiers share on the way to the store. */
#ifndef LIMOE_SERVER_FRONT_CALLS_CLASSIFYING_H
#define LIMOE_SERVER_FRONT_CALLS_CLASSIFYING_H

#include "server/api/classify.h"
#include "server/front/calls/call.h"
#include "server/front/calls/stages.h"

#define CLASSIFYING_MOST_SCORES 1000000u /* pictures × labels of one request */

/* Whether the call's model takes pictures and texts, so that the ones can be scored by the others. False: *error says
 * what it lacks. */
bool classifying_possible(const struct call *call, struct api_error *error);
/* Lists what a classification embeds in call->inputs: its pictures, then (with `prompts`) every label's prompts; and
 * counts what its answer takes. False: it is more than one request may ask for. */
bool classifying_list(struct call *call, const struct classify_request *request, bool prompts,
                      struct api_error *error);
/* Ranks labels [n_labels, embed] for each picture, whose embeddings are images [n_images, embed]; a probe scores, if the call's
 * adapter is one, or that of the list which the variant is (or NULL). [n_images], in the arena; NULL, with *error: no memory, or nobody is there to read it. */
const struct classification *classifying_rank(struct call *call, const struct classify_request *request,
                                              const struct adapting_variant *variant, const float *images,
                                              const float *labels, struct api_error *error);
/* The model whose matrices the call uses. */
struct classifier_model classifying_model(const struct call *call);
/* Takes call->classifier from memory, or else asks the store for it with stages_ask, after which
 * classifying_take takes it. */
bool classifying_look(struct call *call, struct text name, struct api_error *error);
/* Takes call->classifier from what the store has answered. False: *error is a 404, with stored names that
 * look like this one, or as classifying_fail has it. */
bool classifying_take(struct call *call, struct text name, const char *param, struct api_error *error);
/* Sets *error for an outcome that is not STORE_DONE: 503 if the store did not answer in time, 507 if it is
 * full, else 500, and the log says why. Returns false. */
bool classifying_fail(struct call *call, struct api_error *error);

#endif
