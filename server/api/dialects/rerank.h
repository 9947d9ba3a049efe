/* rerank.h - documents ordered for a query: our own /v1/rerank, and the shapes of others. */
#ifndef LIMOE_SERVER_API_DIALECTS_RERANK_H
#define LIMOE_SERVER_API_DIALECTS_RERANK_H

#include "server/api/dialects/dialect.h"
#include "server/api/fields.h"

/* What /v1/rerank reads. */
extern const struct field_table rerank_fields;

/* POST /v1/rerank: {"query","documents","top_n"?,"return_documents"?}. */
bool rerank_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
/* POST /rerank and /v2/rerank: the same, or TEI's {"query","texts","return_text"?}, answered in its form. */
bool rerank_read_peers(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

#endif
