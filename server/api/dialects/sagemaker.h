/* sagemaker.h - the two routes that Amazon SageMaker asks of a container: POST /invocations, GET /ping.
 *
 * /invocations takes the bodies of our own routes and of some dialects, each answered in its own form. What a
 * body is, its type and its fields say:
 *     a picture                      its vector; with labels in the query its classification
 *     a form                         /v1/classify
 *     instances                      Vertex AI's and KServe's predictions
 *     inputs                         Hugging Face's
 *     query                          a rerank
 *     labels, classifier, images     /v1/classify
 *     anything else                  /v1/embeddings
 * A stored classifier is not looked up here. */
#ifndef LIMOE_SERVER_API_DIALECTS_SAGEMAKER_H
#define LIMOE_SERVER_API_DIALECTS_SAGEMAKER_H

#include "server/api/dialects/dialect.h"

#define SAGEMAKER_BODIES "application/json, multipart/form-data, image/* and application/x-image"

bool sagemaker_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
bool sagemaker_tell_ping(const struct dialect_about *about, struct dialect_answer *out,
                         struct api_error *error);

#endif
