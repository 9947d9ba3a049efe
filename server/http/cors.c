/* cors.c - a handful of headers. Credentials are never allowed: keys travel in a header that the page sets.
 */
#include "http/cors.h"

#include <string.h>

#define METHODS "GET, HEAD, POST, PUT, DELETE"
#define REQUEST_HEADERS                                                                                      \
    "Authorization, Content-Type, X-Request-Id, X-Request-Timeout-Ms, traceparent, tracestate"
#define EXPOSED                                                                                              \
    "X-Request-Id, X-Queue-Ms, X-Inference-Ms, X-Total-Ms, Retry-After, traceresponse, WWW-Authenticate"
#define MAX_AGE "7200" /* seconds; the most that all browsers take */

static bool any(const char *allowed) {
    return strcmp(allowed, "*") == 0;
}

static bool allows(const char *allowed, const char *origin) {
    return origin && (any(allowed) || strcmp(allowed, origin) == 0);
}

void cors_add(const char *allowed, struct MHD_Connection *connection, struct MHD_Response *response) {
    if (!allowed)
        return;
    if (any(allowed)) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", "*");
    } else {
        /* Caches must keep the answers to different origins apart, also those without a permission. */
        MHD_add_response_header(response, "Vary", "Origin");
        if (!allows(allowed, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin")))
            return;
        MHD_add_response_header(response, "Access-Control-Allow-Origin", allowed);
    }
    MHD_add_response_header(response, "Access-Control-Expose-Headers", EXPOSED);
}

bool cors_preflight(const char *allowed, struct MHD_Connection *connection, const char *method) {
    return allowed && strcmp(method, "OPTIONS") == 0 &&
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") &&
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Access-Control-Request-Method");
}

enum MHD_Result cors_answer(const char *allowed, struct MHD_Connection *connection) {
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    cors_add(allowed, connection, response);
    if (allows(allowed, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin"))) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", METHODS);
        MHD_add_response_header(response, "Access-Control-Allow-Headers", REQUEST_HEADERS);
        MHD_add_response_header(response, "Access-Control-Max-Age", MAX_AGE);
    }
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, response);
    MHD_destroy_response(response);
    return queued;
}
