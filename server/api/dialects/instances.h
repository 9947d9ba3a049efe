/* instances.h - {"instances":[…],"parameters"?} → {"predictions":[…]}: what Vertex AI, KServe's first protocol
 * and TensorFlow Serving send and read.
 *
 * An instance is a text or a picture: a string, {"text": …}, {"image": …} and whatever else is an item of
 * /v1/embeddings; {"b64": …} is a picture, also within "image". Its prediction is its vector. With
 * parameters.labels each is a picture, and its prediction [{"label","score"}] by descending score. */
#ifndef LIMOE_SERVER_API_DIALECTS_INSTANCES_H
#define LIMOE_SERVER_API_DIALECTS_INSTANCES_H

#include "server/api/dialects/dialect.h"

/* A dialect_reader's work. `model` is the name that the path has; empty: the body's "model", or the default. */
bool instances_read(const struct dialect_input *in, struct text model, struct dialect_request *out,
                    struct api_error *error);

#endif
