/* oip.h - the Open Inference Protocol as Triton, KServe and their clients speak it, below /v2, and KServe's first
 * protocol, POST /v1/models/{model}:predict.
 *
 * A model takes the inputs `text` (also called input_text), `image`, `labels` and `templates`, all of the datatype
 * BYTES and the shape [n]:
 *     text, or image       → the output `embedding`, FP32 [n, embed]
 *     image and labels     → the output `scores`, FP32 [images, labels], in the order of the labels
 * A picture is its file's bytes where data is binary, else base64 or a data URI; as binary data either is taken, as clients
 * put both into arrays of bytes.
 *
 * Models have one version, "1". Sources: the protocol, github.com/kserve/open-inference-protocol; its binary
 * extension and the repository's index, github.com/triton-inference-server/server/tree/main/docs/protocol. */
#ifndef LIMOE_SERVER_API_DIALECTS_OIP_H
#define LIMOE_SERVER_API_DIALECTS_OIP_H

#include "server/api/dialects/dialect.h"
#include "server/api/dialects/oip_body.h" /* OIP_LENGTH_HEADER */

#define OIP_VERSION "1"
#define OIP_BODIES  "application/json and application/octet-stream"

/* What is asked of a model, of "NAME", "NAME/versions/1" and what may stand behind either. */
enum oip_action { OIP_METADATA, OIP_READY, OIP_CONFIG, OIP_STATISTICS, OIP_ALL_STATISTICS, OIP_INFER };
/* What is below /v2/models/ → the model's name and what is asked of it. False: a version that there is not. */
bool oip_split(struct text below, struct text *name, enum oip_action *action, struct api_error *error);

/* POST /v2/models/{model}[/versions/1]/infer */
bool oip_read_infer(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
/* POST /v2/repository/index: nothing is embedded for it. */
bool oip_read_index(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
/* POST /v1/models/{model}:predict */
bool oip_read_predict(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);

/* GET /v2, /v2/health/live, /v2/health/ready, /v2/models/{model}[/versions/1][/ready|/config|/stats], /v2/models/stats */
dialect_teller oip_tell_server, oip_tell_live, oip_tell_ready, oip_tell_model;

#endif
