/* nim.h - what clients of NVIDIA's NIM ask before they send /v1/embeddings: which model it is, and whether it
 * answers. */
#ifndef LIMOE_SERVER_API_DIALECTS_NIM_H
#define LIMOE_SERVER_API_DIALECTS_NIM_H

#include "server/api/dialects/dialect.h"

bool nim_tell_metadata(const struct dialect_about *about, struct dialect_answer *out,
                       struct api_error *error);
bool nim_tell_ready(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error);
bool nim_tell_live(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error);

#endif
