/* cohere.h - Cohere's embeddings: its readers. What it ranks is rerank.h's. */
#ifndef LIMOE_SERVER_API_DIALECTS_COHERE_H
#define LIMOE_SERVER_API_DIALECTS_COHERE_H

#include "server/api/dialects/dialect.h"

/* POST /v2/embed: {"texts"|"images"|"inputs","embedding_types"?} → {"embeddings":{"float":[[…],…]},…}. */
bool cohere_read_v2(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
/* POST /v1/embed: the same without "inputs"; without "embedding_types" the answer has {"embeddings":[[…],…]}. */
bool cohere_read_v1(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

#endif
