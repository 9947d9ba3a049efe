/* immich.h - the machine-learning protocol that Immich's server speaks for its smart search: POST /predict, GET
 * /ping.
 *
 * A form: `entries` is {"clip":{"visual":{"modelName"}}} with a picture in the part `image`, or
 * {"clip":{"textual":{"modelName"}}} with a part `text`. The answer's "clip" is a vector as JSON within a
 * string. The model is the one of that name, or that the operator's aliases say: another one's vectors must not
 * come among those that Immich has.
 *
 * Immich takes any status but 2xx for the end of a server's health and sends what follows to its next one, whose
 * vectors may be of another model. What it asks of every server, faces and text in pictures, is therefore
 * refused with 200 and an answer that has no result: its job fails, and the server stays in use. */
#ifndef LIMOE_SERVER_API_DIALECTS_IMMICH_H
#define LIMOE_SERVER_API_DIALECTS_IMMICH_H

#include "server/api/dialects/dialect.h"

bool immich_read(const struct dialect_input *in, struct dialect_request *out, struct api_error *error);
bool immich_tell_ping(const struct dialect_about *about, struct dialect_answer *out, struct api_error *error);

#endif
