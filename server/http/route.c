/* route.c - the table of routes. Read-only, any thread. */
#include "http/route.h"

#include <string.h>

#include "codec/request.h"

#define JSON      (1u << REQUEST_BODY_JSON)
#define MULTIPART (1u << REQUEST_BODY_MULTIPART)
#define IMAGE     (1u << REQUEST_BODY_IMAGE)

static const struct route routes[] = {
    {.path = "/v1/classify",
     .label = "/v1/classify",
     .parse = route_classify_parse,
     .answer = route_classify_answer,
     .bodies = JSON | MULTIPART | IMAGE,
     .accepted = "application/json, multipart/form-data and image/*"},
    {.path = "/v1/embeddings",
     .label = "/v1/embeddings",
     .parse = route_embeddings_parse,
     .answer = route_embeddings_answer,
     .bodies = JSON,
     .accepted = "application/json"},
    {.path = "/v1/routing",
     .label = "/v1/routing",
     .parse = route_routing_parse,
     .answer = route_routing_answer,
     .routing = true,
     .bodies = JSON,
     .accepted = "application/json"},
    {.path = "/v1/models", .label = "/v1/models", .get = route_models},
    {.path = "/v1/models/", .below = true, .label = "/v1/models/{id}", .get = route_model},
    {.path = "/health", .label = "/health", .get = route_health},
    {.path = "/metrics", .label = "/metrics", .get = route_metrics},
    {.path = NULL, .label = "unknown"},
};

#define ROUTES (sizeof routes / sizeof *routes)

const struct route *route_table(size_t *n) {
    *n = ROUTES;
    return routes;
}

const struct route *route_find(const char *path) {
    const struct route *route = routes;
    for (; route->path; route++) {
        size_t length = strlen(route->path);
        if (route->below ? strncmp(path, route->path, length) == 0 && path[length]
                         : strcmp(path, route->path) == 0)
            return route;
    }
    return route;
}

const char *route_methods(const struct route *route) {
    return route->get ? "GET, HEAD" : "POST";
}
