/* ollama.h - Ollama's API, as far as it is of embeddings: its readers, and what it tells. */
#ifndef LIMOE_SERVER_API_DIALECTS_OLLAMA_H
#define LIMOE_SERVER_API_DIALECTS_OLLAMA_H

#include "server/api/dialects/dialect.h"

/* POST /api/embed: {"model","input"} → {"model","embeddings":[[…],…],…}. */
bool ollama_read_embed(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
/* POST /api/embeddings: {"model","prompt"} → {"embedding":[…]}. */
bool ollama_read_prompt(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

/* GET /api/tags: the models, each with the tag ":latest". */
bool ollama_tell_tags(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error);
bool ollama_tell_version(const struct dialect_about *about, struct dialect_answer *out,
                         struct api_error *error);

#endif
