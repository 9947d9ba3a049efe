/* openapi.h - the OpenAPI 3.1 document of all routes.
 *
 * Made of the tables that the server works by: routes (route.c) and what is said of them (operations.c),
 * fields, answers and errors (server/api/). It is the same for every server of a version: what needs an
 * option to be served is in it. Dialects are not: what they are is their servers' to say.
 */
#ifndef LIMOE_SERVER_FRONT_CALLS_OPENAPI_H
#define LIMOE_SERVER_FRONT_CALLS_OPENAPI_H

#include "base/buffer.h"

#define OPENAPI_MOST_BYTES 524288u /* what it stays below, which a test sees to */

/* Appends it. */
void openapi_write(struct buffer *out);

#endif
