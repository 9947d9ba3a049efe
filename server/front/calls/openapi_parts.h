/* openapi_parts.h - what the writers of the document share. Private to openapi*.c. */
#ifndef LIMOE_SERVER_FRONT_CALLS_OPENAPI_PARTS_H
#define LIMOE_SERVER_FRONT_CALLS_OPENAPI_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "server/front/calls/operation.h"

struct route;

#define OPENAPI_NAME_BYTES 200

/* The route that answers the operation. */
const struct route *openapi_route(const struct operation *operation);
/* The groups of errors that it may answer. */
uint64_t openapi_errors(const struct operation *operation, const struct route *route);

/* Whether one of the groups' errors has the status. */
bool openapi_has_error(int status, uint64_t groups);
/* "400_any_body": the response of all errors of the status and the groups, as a component; equal ones have equal
 * names. `error` is the component of an error (NULL: Error); `head`: without a body. Returns name. */
const char *openapi_error_name(int status, uint64_t groups, const char *error, bool head,
                               char name[OPENAPI_NAME_BYTES]);
/* What such a response's body is. */
void openapi_error_schema(struct buffer *out, int status, uint64_t groups, const char *error);
/* The headers of an answer; `work` tells how long it waited and was computed. */
void openapi_headers(struct buffer *out, int status, bool work);

/* ,"components":{…} */
void openapi_components(struct buffer *out);

#endif
