/* roboflow.h - Roboflow's CLIP routes, as inference_sdk asks them: the readers. */
#ifndef LIMOE_SERVER_API_DIALECTS_ROBOFLOW_H
#define LIMOE_SERVER_API_DIALECTS_ROBOFLOW_H

#include "server/api/dialects/dialect.h"

/* POST /clip/embed_text: {"text": string or list} → {"embeddings":[[…],…],"time","frame_id":null}. */
bool roboflow_read_text(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
/* POST /clip/embed_image: {"image": {"type":"base64" or "url","value"} or list}. */
bool roboflow_read_image(const struct dialect_input *in, struct dialect_request *out,
                         struct api_error *error);
/* POST /clip/compare: {"subject","subject_type","prompt","prompt_type"} → {"similarity":[…],"time",…}. */
bool roboflow_read_compare(const struct dialect_input *in, struct dialect_request *out,
                           struct api_error *error);

#endif
