/* cors.c - a handful of headers. Credentials are never allowed:
 * keys travel in a header that the page sets. */
#include "server/front/http/cors.h"

#include <string.h>

#define METHODS "GET, HEAD, POST, PUT, DELETE"
#define REQUEST_HEADERS                                                                                      \
    "Authorization, Content-Type, X-Request-Id, X-Request-Timeout-Ms, traceparent, tracestate"
#define MOST_ASKED 4096u /* bytes of a list of headers that a page would send */
#define EXPOSED                                                                                              \
    "X-Request-Id, X-Queue-Ms, X-Inference-Ms, X-Total-Ms, Retry-After, RateLimit-Policy, RateLimit, "       \
    "traceresponse, WWW-Authenticate"
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

/* A list of header names as a preflight may have it: names of RFC 9110's letters, divided by commas with
 * blanks around them, of at most MOST_ASKED bytes. It goes into an answer as it is. */
static bool is_list_of_names(const char *list) {
    static const char letters[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if (strlen(list) > MOST_ASKED)
        return false;
    for (;; list++) {
        list += strspn(list, " \t");
        const size_t size = strspn(list, letters);
        list += size;
        list += strspn(list, " \t");
        if (!size || (*list && *list != ','))
            return false;
        if (!*list)
            return true;
    }
}

/* Headers that a page may send: all that it asks for, since clients in browsers add their own to each
 * request, and one that is not read does no harm. */
static const char *headers_for(struct MHD_Connection *connection) {
    const char *asked =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Access-Control-Request-Headers");
    return asked && is_list_of_names(asked) ? asked : REQUEST_HEADERS;
}

bool cors_preflight(const char *allowed, struct MHD_Connection *connection, const char *method) {
    return allowed && strcmp(method, "OPTIONS") == 0 &&
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") &&
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Access-Control-Request-Method");
}

enum MHD_Result cors_answer(const char *allowed, struct MHD_Connection *connection, bool last) {
    struct MHD_Response *response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    cors_add(allowed, connection, response);
    if (allows(allowed, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin"))) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", METHODS);
        MHD_add_response_header(response, "Access-Control-Allow-Headers", headers_for(connection));
        MHD_add_response_header(response, "Vary", "Access-Control-Request-Headers");
        MHD_add_response_header(response, "Access-Control-Max-Age", MAX_AGE);
    }
    if (last)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(connection, MHD_HTTP_NO_CONTENT, response);
    MHD_destroy_response(response);
    return queued;
}
