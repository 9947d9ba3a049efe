/* hf.h - Hugging Face's inference API and Text Embeddings Inference (TEI): its readers, and what it tells.
 *
 * The shape of a body says what is asked for, as there: `parameters.candidate_labels` a zero-shot
 * classification of the picture in `inputs`, `inputs.source_sentence` a similarity, other `inputs` vectors. */
#ifndef LIMOE_SERVER_API_DIALECTS_HF_H
#define LIMOE_SERVER_API_DIALECTS_HF_H

#include "server/api/dialects/dialect.h"

/* POST / and /hf: any of the three; below /hf the path names the model. */
bool hf_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
bool hf_read_embed(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
bool hf_read_similarity(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

bool hf_tell_info(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error);
bool hf_tell_ping(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error);

/* {"error":"…","error_type":"validation"}, and TEI's statuses: 422 what is wrong with a request, 424 what the
 * engine could not compute. The rerank dialect has the same. */
const char *hf_error_type(int status);
int hf_status(const struct api_error *error);

#endif
