/* titan.h - Amazon Titan's embeddings as Bedrock's clients and OpenSearch ask for them:
 * POST /model/{id}/invoke. */
#ifndef LIMOE_SERVER_API_DIALECTS_TITAN_H
#define LIMOE_SERVER_API_DIALECTS_TITAN_H

#include "server/api/dialects/dialect.h"

/* {"inputText"?,"inputImage"?} → {"embedding","inputTextTokenCount"}. Both are one vector, the mean of the
 * two. */
bool titan_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

#endif
