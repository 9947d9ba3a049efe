/* vertex.h - what Vertex AI asks of a container: a route for predictions, and one for its health, at paths that
 * it says itself (--vertex-predict-route, --vertex-health-route). */
#ifndef LIMOE_SERVER_API_DIALECTS_VERTEX_H
#define LIMOE_SERVER_API_DIALECTS_VERTEX_H

#include "server/api/dialects/dialect.h"

/* Where the two are, whatever other path they are asked for at. */
#define VERTEX_PREDICT "/vertex/predict"
#define VERTEX_HEALTH  "/vertex/health"

bool vertex_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
bool vertex_tell_health(const struct dialect_about *about, struct dialect_answer *out,
                        struct api_error *error);

#endif
