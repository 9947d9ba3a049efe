/* weaviate.h - what Weaviate's module multi2vec-clip asks of its inference container. */
#ifndef LIMOE_SERVER_API_DIALECTS_WEAVIATE_H
#define LIMOE_SERVER_API_DIALECTS_WEAVIATE_H

#include "server/api/dialects/dialect.h"

/* POST /vectorize: {"texts":[…]|null,"images":[base64,…]|null} → {"textVectors":[[…],…],"imageVectors":[[…],…]}. */
bool weaviate_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

/* GET /meta: an object about the model, which Weaviate shows with its own. */
bool weaviate_tell_meta(const struct dialect_about *about, struct dialect_answer *out,
                        struct api_error *error);
/* GET /.well-known/live and /.well-known/ready: 204; ready only while every model answers, else 503. */
bool weaviate_tell_live(const struct dialect_about *about, struct dialect_answer *out,
                        struct api_error *error);
bool weaviate_tell_ready(const struct dialect_about *about, struct dialect_answer *out,
                         struct api_error *error);

#endif
