/* route.c - the table of routes. Read-only, any thread. */
#include "server/front/calls/route.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/api/request.h"
#include "server/options/suggest.h"

#define VERSION "/v1"

#define JSON      (1u << REQUEST_BODY_JSON)
#define MULTIPART (1u << REQUEST_BODY_MULTIPART)
#define IMAGE     (1u << REQUEST_BODY_IMAGE)

const char *const route_series_names[ROUTE_SERIES] = {
    [ROUTE_CLASSIFY] = "/v1/classify",
    [ROUTE_EMBEDDINGS] = "/v1/embeddings",
    [ROUTE_ROUTING] = "/v1/routing",
    [ROUTE_CLASSIFIERS] = "/v1/classifiers",
    [ROUTE_CLASSIFIER] = "/v1/classifiers/{name}",
    [ROUTE_MODELS] = "/v1/models",
    [ROUTE_MODEL] = "/v1/models/{id}",
    [ROUTE_RELOAD] = "/v1/models/reload",
    [ROUTE_LOADTESTS] = "/v1/loadtests",
    [ROUTE_LOADTEST] = "/v1/loadtests/{id}",
    [ROUTE_HEALTH] = "/health",
    [ROUTE_METRICS] = "/metrics",
    [ROUTE_PAGE] = "/",
    [ROUTE_PAGE_FILE] = "/page/{file}",
    [ROUTE_UNKNOWN] = "unknown",
};

/* The first that fits is taken: an exact path stands before what is below another.
 *
 * To add one: its series (route.h) and their name above, a row here, route_NAME.c, the request (server/api/,
 * call.h), its answer, tests, docs/api.md (docs/development.md#a-route). */
static const struct route routes[] = {
    {.series = ROUTE_CLASSIFY,
     .path = "/v1/classify",
     .method = "POST",
     .parse = route_classify_parse,
     .stored = route_classify_stored,
     .answer = route_classify_answer,
     .bodies = JSON | MULTIPART | IMAGE,
     .accepted = "application/json, multipart/form-data and image/*"},
    {.series = ROUTE_EMBEDDINGS,
     .path = "/v1/embeddings",
     .bare = true,
     .method = "POST",
     .parse = route_embeddings_parse,
     .answer = route_embeddings_answer,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_ROUTING,
     .path = "/v1/routing",
     .method = "POST",
     .parse = route_routing_parse,
     .answer = route_routing_answer,
     .routing = true,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_CLASSIFIERS,
     .path = "/v1/classifiers",
     .method = "GET",
     .parse = route_classifiers_parse,
     .stored = route_classifiers_stored,
     .answer = route_classifiers_answer},
    {.series = ROUTE_CLASSIFIER,
     .path = "/v1/classifiers/",
     .below = true,
     .method = "GET",
     .parse = route_classifier_get_parse,
     .stored = route_classifier_get_stored,
     .answer = route_classifier_get_answer},
    {.series = ROUTE_CLASSIFIER,
     .path = "/v1/classifiers/",
     .below = true,
     .method = "PUT",
     .parse = route_classifier_put_parse,
     .stored = route_classifier_put_stored,
     .answer = route_classifier_put_answer,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_CLASSIFIER,
     .path = "/v1/classifiers/",
     .below = true,
     .method = "DELETE",
     .parse = route_classifier_delete_parse,
     .stored = route_classifier_delete_stored,
     .answer = route_classifier_delete_answer},
    {.series = ROUTE_MODELS, .path = "/v1/models", .bare = true, .method = "GET", .get = route_models},
    {.series = ROUTE_RELOAD,
     .path = "/v1/models/reload",
     .method = "POST",
     .begin = route_reload,
     .admin = true,
     .bodies = JSON,
     .accepted = "application/json, and none at all"},
    {.series = ROUTE_MODEL,
     .path = "/v1/models/",
     .bare = true,
     .below = true,
     .method = "GET",
     .get = route_model},
    {.series = ROUTE_LOADTESTS,
     .path = "/v1/loadtests",
     .method = "GET",
     .get = route_loadtests,
     .admin = true},
    {.series = ROUTE_LOADTESTS,
     .path = "/v1/loadtests",
     .method = "POST",
     .begin = route_loadtest_start,
     .admin = true,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_LOADTEST,
     .path = "/v1/loadtests/",
     .below = true,
     .method = "GET",
     .get = route_loadtest,
     .admin = true},
    {.series = ROUTE_LOADTEST,
     .path = "/v1/loadtests/",
     .below = true,
     .method = "DELETE",
     .begin = route_loadtest_stop,
     .admin = true},
    {.series = ROUTE_HEALTH, .path = "/health", .method = "GET", .get = route_health, .open = true},
    {.series = ROUTE_METRICS, .path = "/metrics", .method = "GET", .get = route_metrics, .open = true},
    {.series = ROUTE_PAGE, .path = "/", .method = "GET", .get = route_page, .open = true},
    {.series = ROUTE_PAGE_FILE,
     .path = "/page/",
     .below = true,
     .method = "GET",
     .get = route_page,
     .open = true},
    {.series = ROUTE_UNKNOWN, .path = NULL, .method = "GET"},
};

#define ROUTES (sizeof routes / sizeof *routes)

static bool answers_path(const struct route *route, const char *path) {
    size_t length = strlen(route->path);
    return route->below ? strncmp(path, route->path, length) == 0 && path[length]
                        : strcmp(path, route->path) == 0;
}

static bool same_paths(const struct route *a, const struct route *b) {
    return a->path && b->path && a->below == b->below && strcmp(a->path, b->path) == 0;
}

bool route_takes(const struct route *route, const char *method) {
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* What answers the path, by whatever method; the last entry where nothing does. */
static const struct route *first_at(const char *path) {
    const struct route *route = routes;
    while (route->path && !answers_path(route, path))
        route++;
    return route;
}

const struct route *route_find(const char *path, const char *method) {
    const struct route *first = first_at(path);
    for (const struct route *route = first; route->path; route++)
        if (same_paths(route, first) && route_takes(route, method))
            return route;
    return first;
}

char *route_methods(const struct route *route, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ROUTES && used < size; i++)
        if (same_paths(&routes[i], route))
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "",
                                     strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
    return out;
}

const struct route *route_nearest(const char *path) {
    const struct route *best = routes;
    size_t least = SIZE_MAX;
    for (const struct route *route = routes; route->path; route++) {
        const size_t distance = suggest_distance(path, route_series_names[route->series]);
        if (distance < least) {
            least = distance;
            best = route;
        }
    }
    return best;
}

char *route_path(const char *url, struct arena *arena) {
    char *whole = arena_print(arena, VERSION "%s", url);
    if (!whole)
        return NULL;
    char *path = whole + strlen(VERSION), *end = path;
    for (const char *c = url; *c; c++)
        if (*c != '/' || end == path || end[-1] != '/')
            *end++ = *c;
    if (end > path + 1 && end[-1] == '/')
        end--;
    *end = '\0';
    if (first_at(whole)->bare)
        return whole;
    /* A proxy may keep these from others by their path, to the letter. */
    const struct route *found = first_at(path);
    return found->open || found->admin ? arena_copy(arena, url, strlen(url)) : path;
}
