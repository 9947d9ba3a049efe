/* voyage.h - Voyage's multimodal embeddings: the reader. Its texts' are /v1/embeddings. */
#ifndef LIMOE_SERVER_API_DIALECTS_VOYAGE_H
#define LIMOE_SERVER_API_DIALECTS_VOYAGE_H

#include "server/api/dialects/dialect.h"

/* POST /v1/multimodalembeddings: {"inputs":[{"content":[part]},…]} → {"data":[{"embedding","index"},…],"usage"}. */
bool voyage_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

#endif
