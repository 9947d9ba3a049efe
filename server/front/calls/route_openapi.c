/* route_openapi.c - GET /openapi.json: what all routes take and answer. Made once, when the server starts. */
#include "server/front/calls/call.h"

void route_openapi(struct call *call) {
    const struct buffer *document = &call->server->openapi;
    buffer_bytes(&call->answer, document->data, document->size);
    call_succeed(call, "application/json");
}
