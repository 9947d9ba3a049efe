/* route.c - the table of routes. Read-only, any thread. */
#include "server/front/calls/route.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/api/dialects/cohere.h"
#include "server/api/dialects/hf.h"
#include "server/api/dialects/immich.h"
#include "server/api/dialects/nim.h"
#include "server/api/dialects/oip.h"
#include "server/api/dialects/ollama.h"
#include "server/api/dialects/rerank.h"
#include "server/api/dialects/roboflow.h"
#include "server/api/dialects/sagemaker.h"
#include "server/api/dialects/titan.h"
#include "server/api/dialects/vertex.h"
#include "server/api/dialects/voyage.h"
#include "server/api/dialects/weaviate.h"
#include "server/api/request.h"
#include "server/options/suggest.h"

#define VERSION "/v1"

#define JSON      (1u << REQUEST_BODY_JSON)
#define MULTIPART (1u << REQUEST_BODY_MULTIPART)
#define IMAGE     (1u << REQUEST_BODY_IMAGE)
#define LINES     (1u << REQUEST_BODY_LINES)
#define OTHER     (1u << REQUEST_BODY_OTHER)
#define ANY       (JSON | MULTIPART | IMAGE | OTHER)

const char *const route_series_names[ROUTE_SERIES] = {
    [ROUTE_CLASSIFY] = "/v1/classify",
    [ROUTE_EMBEDDINGS] = "/v1/embeddings",
    [ROUTE_ROUTING] = "/v1/routing",
    [ROUTE_ATTENTION] = "/v1/attention",
    [ROUTE_DESCRIBE] = "/v1/describe",
    [ROUTE_CAPTIONS] = "/v1/captions",
    [ROUTE_ASK] = "/v1/ask",
    [ROUTE_CHAT] = "/v1/chat/completions",
    [ROUTE_CLASSIFIERS] = "/v1/classifiers",
    [ROUTE_CLASSIFIER] = "/v1/classifiers/{name}",
    [ROUTE_VOCABULARIES] = "/v1/vocabularies",
    [ROUTE_VOCABULARY] = "/v1/vocabularies/{name}",
    [ROUTE_ADAPTERS] = "/v1/adapters",
    [ROUTE_ADAPTER] = "/v1/adapters/{name}",
    [ROUTE_MODELS] = "/v1/models",
    [ROUTE_MODEL] = "/v1/models/{id}",
    [ROUTE_RERANK] = "/v1/rerank",
    [ROUTE_RELOAD] = "/v1/models/reload",
    [ROUTE_LOADTESTS] = "/v1/loadtests",
    [ROUTE_LOADTEST] = "/v1/loadtests/{id}",
    [ROUTE_HEALTH] = "/health",
    [ROUTE_LIVE] = "/livez",
    [ROUTE_READY] = "/readyz",
    [ROUTE_METRICS] = "/metrics",
    [ROUTE_OPENAPI] = "/openapi.json",
    [ROUTE_ROOT] = "/",
    [ROUTE_PAGE_FILE] = "/page/{file}",
    [ROUTE_HF] = "/hf",
    [ROUTE_HF_MODEL] = "/hf/{model}",
    [ROUTE_HF_EMBED] = "/embed",
    [ROUTE_HF_SIMILARITY] = "/similarity",
    [ROUTE_HF_INFO] = "/info",
    [ROUTE_PING] = "/ping",
    [ROUTE_PEERS_RERANK] = "/rerank",
    [ROUTE_COHERE_RERANK] = "/v2/rerank",
    [ROUTE_NIM_METADATA] = "/v1/metadata",
    [ROUTE_NIM_READY] = "/v1/health/ready",
    [ROUTE_NIM_LIVE] = "/v1/health/live",
    [ROUTE_SAGEMAKER] = "/invocations",
    [ROUTE_VERTEX_PREDICT] = VERTEX_PREDICT,
    [ROUTE_VERTEX_HEALTH] = VERTEX_HEALTH,
    [ROUTE_TITAN] = "/model/{id}/invoke",
    [ROUTE_IMMICH] = "/predict",
    [ROUTE_OLLAMA_EMBED] = "/api/embed",
    [ROUTE_OLLAMA_EMBEDDINGS] = "/api/embeddings",
    [ROUTE_OLLAMA_TAGS] = "/api/tags",
    [ROUTE_OLLAMA_VERSION] = "/api/version",
    [ROUTE_COHERE_V1] = "/v1/embed",
    [ROUTE_COHERE_V2] = "/v2/embed",
    [ROUTE_VOYAGE] = "/v1/multimodalembeddings",
    [ROUTE_WEAVIATE] = "/vectorize",
    [ROUTE_WEAVIATE_META] = "/meta",
    [ROUTE_WEAVIATE_LIVE] = "/.well-known/live",
    [ROUTE_WEAVIATE_READY] = "/.well-known/ready",
    [ROUTE_ROBOFLOW_TEXT] = "/clip/embed_text",
    [ROUTE_ROBOFLOW_IMAGE] = "/clip/embed_image",
    [ROUTE_ROBOFLOW_COMPARE] = "/clip/compare",
    [ROUTE_OIP] = "/v2",
    [ROUTE_OIP_LIVE] = "/v2/health/live",
    [ROUTE_OIP_READY] = "/v2/health/ready",
    [ROUTE_OIP_INDEX] = "/v2/repository/index",
    [ROUTE_OIP_MODEL] = "/v2/models/{model}",
    [ROUTE_KSERVE_PREDICT] = "/v1/models/{model}:predict",
    [ROUTE_UNKNOWN] = "unknown",
};

/* A route that a dialect's reader reads, and one that its teller answers without a body. */
#define READS(name, where, whose, reader, ...)                                                               \
    READS_TOO(name, where, whose, reader, JSON, "application/json", __VA_ARGS__)
/* The same with bodies that are not JSON, or not alone. */
#define READS_TOO(name, where, whose, reader, kinds, words, ...)                                             \
    {                                                                                                        \
        .series = (name), .path = (where), .method = "POST", .dialect = (whose), .read = (reader),           \
        .parse = route_dialect_parse, .answer = route_dialect_answer, .bodies = (kinds),                     \
        .accepted = (words), __VA_ARGS__                                                                     \
    }
#define TELLS(name, where, whose, teller, ...)                                                               \
    {                                                                                                        \
        .series = (name), .path = (where), .method = "GET", .dialect = (whose), .tell = (teller),            \
        .get = route_dialect_get, __VA_ARGS__                                                                \
    }

/* The first that fits is taken: an exact path stands before what is below another.
 *
 * To add one: its series (route.h) and their name above, a row here, route_NAME.c, the request (server/api/,
 * call.h), its answer, what is said of it (operations.c), tests, docs/api.md (docs/development.md#a-route). */
static const struct route routes[] = {
    {.series = ROUTE_CLASSIFY,
     .path = "/v1/classify",
     .method = "POST",
     .parse = route_classify_parse,
     .stored = route_classify_stored,
     .answer = route_classify_answer,
     .bodies = JSON | LINES | MULTIPART | IMAGE,
     .accepted =
         "application/json, application/x-ndjson, multipart/form-data, image/* and application/octet-stream"},
    {.series = ROUTE_EMBEDDINGS,
     .path = "/v1/embeddings",
     .bare = true,
     .method = "POST",
     .parse = route_embeddings_parse,
     .answer = route_embeddings_answer,
     .bodies = JSON | LINES,
     .accepted = "application/json and application/x-ndjson"},
    {.series = ROUTE_ROUTING,
     .path = "/v1/routing",
     .method = "POST",
     .parse = route_routing_parse,
     .answer = route_routing_answer,
     .routing = true,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_ATTENTION,
     .path = "/v1/attention",
     .method = "POST",
     .parse = route_attention_parse,
     .answer = route_attention_answer,
     .shares = true,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_DESCRIBE,
     .path = "/v1/describe",
     .method = "POST",
     .parse = route_describe_parse,
     .stored = route_describe_stored,
     .answer = route_describe_answer,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_CAPTIONS,
     .path = "/v1/captions",
     .method = "POST",
     .parse = route_captions_parse,
     .stored = route_captions_stored,
     .answer = route_captions_answer,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_ASK,
     .path = "/v1/ask",
     .method = "POST",
     .parse = route_ask_parse,
     .stored = route_ask_stored,
     .answer = route_ask_answer,
     .relayed = route_ask_relayed,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_CHAT,
     .path = "/v1/chat/completions",
     .bare = true,
     .method = "POST",
     .parse = route_chat_parse,
     .stored = route_chat_stored,
     .answer = route_chat_answer,
     .relayed = route_chat_relayed,
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
    {.series = ROUTE_VOCABULARIES,
     .path = "/v1/vocabularies",
     .method = "GET",
     .parse = route_vocabularies_parse,
     .answer = route_vocabularies_answer},
    {.series = ROUTE_VOCABULARY,
     .path = "/v1/vocabularies/",
     .below = true,
     .method = "GET",
     .parse = route_vocabulary_get_parse,
     .answer = route_vocabulary_get_answer},
    {.series = ROUTE_VOCABULARY,
     .path = "/v1/vocabularies/",
     .below = true,
     .method = "PUT",
     .parse = route_vocabulary_put_parse,
     .answer = route_vocabulary_put_answer,
     .success = 202,
     .bodies = JSON,
     .accepted = "application/json"},
    {.series = ROUTE_VOCABULARY,
     .path = "/v1/vocabularies/",
     .below = true,
     .method = "DELETE",
     .parse = route_vocabulary_delete_parse,
     .answer = route_vocabulary_delete_answer},
    {.series = ROUTE_ADAPTERS,
     .path = "/v1/adapters",
     .method = "GET",
     .parse = route_adapters_parse,
     .answer = route_adapters_answer},
    {.series = ROUTE_ADAPTER,
     .path = "/v1/adapters/",
     .below = true,
     .method = "GET",
     .parse = route_adapter_get_parse,
     .answer = route_adapter_get_answer},
    {.series = ROUTE_ADAPTER,
     .path = "/v1/adapters/",
     .below = true,
     .method = "PUT",
     .parse = route_adapter_put_parse,
     .answer = route_adapter_put_answer,
     .bodies = OTHER,
     .accepted = "application/octet-stream"},
    {.series = ROUTE_ADAPTER,
     .path = "/v1/adapters/",
     .below = true,
     .method = "POST",
     .parse = route_adapter_post_parse,
     .answer = route_adapter_post_answer,
     .success = 202,
     .bodies = JSON | MULTIPART,
     .accepted = "application/json and multipart/form-data"},
    {.series = ROUTE_ADAPTER,
     .path = "/v1/adapters/",
     .below = true,
     .method = "DELETE",
     .parse = route_adapter_delete_parse,
     .answer = route_adapter_delete_answer},
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
    READS(ROUTE_RERANK, "/v1/rerank", NULL, rerank_read),
    {.series = ROUTE_HEALTH, .path = "/health", .method = "GET", .get = route_health, .open = true},
    {.series = ROUTE_LIVE, .path = "/livez", .method = "GET", .get = route_live, .open = true},
    {.series = ROUTE_READY, .path = "/readyz", .method = "GET", .get = route_ready, .open = true},
    {.series = ROUTE_METRICS, .path = "/metrics", .method = "GET", .get = route_metrics, .open = true},
    {.series = ROUTE_OPENAPI, .path = "/openapi.json", .method = "GET", .get = route_openapi, .open = true},

    READS(ROUTE_ROOT, "/", &dialect_hf, hf_read),
    READS(ROUTE_HF, "/hf", &dialect_hf, hf_read),
    READS(ROUTE_HF_MODEL, "/hf/", &dialect_hf, hf_read, .below = true),
    READS(ROUTE_HF_EMBED, "/embed", &dialect_hf, hf_read_embed),
    READS(ROUTE_HF_SIMILARITY, "/similarity", &dialect_hf, hf_read_similarity),
    TELLS(ROUTE_HF_INFO, "/info", &dialect_hf, hf_tell_info),
    TELLS(ROUTE_PING, "/ping", &dialect_hf, hf_tell_ping, .open = true),
    READS(ROUTE_PEERS_RERANK, "/rerank", &dialect_rerank, rerank_read_peers),
    READS(ROUTE_COHERE_RERANK, "/v2/rerank", &dialect_rerank, rerank_read_peers),
    TELLS(ROUTE_NIM_METADATA, "/v1/metadata", &dialect_nim, nim_tell_metadata),
    TELLS(ROUTE_NIM_READY, "/v1/health/ready", &dialect_nim, nim_tell_ready, .open = true),
    TELLS(ROUTE_NIM_LIVE, "/v1/health/live", &dialect_nim, nim_tell_live, .open = true),
    READS_TOO(ROUTE_SAGEMAKER, "/invocations", &dialect_sagemaker, sagemaker_read, ANY, SAGEMAKER_BODIES),
    TELLS(ROUTE_PING, "/ping", &dialect_sagemaker, sagemaker_tell_ping, .open = true),
    READS(ROUTE_VERTEX_PREDICT, VERTEX_PREDICT, &dialect_vertex, vertex_read),
    TELLS(ROUTE_VERTEX_HEALTH, VERTEX_HEALTH, &dialect_vertex, vertex_tell_health, .open = true),
    READS(ROUTE_TITAN, "/model/", &dialect_titan, titan_read, .below = true),
    READS_TOO(ROUTE_IMMICH, "/predict", &dialect_immich, immich_read, MULTIPART, "multipart/form-data"),
    TELLS(ROUTE_PING, "/ping", &dialect_immich, immich_tell_ping, .open = true),
    READS(ROUTE_OLLAMA_EMBED, "/api/embed", &dialect_ollama, ollama_read_embed),
    READS(ROUTE_OLLAMA_EMBEDDINGS, "/api/embeddings", &dialect_ollama, ollama_read_prompt),
    TELLS(ROUTE_OLLAMA_TAGS, "/api/tags", &dialect_ollama, ollama_tell_tags),
    TELLS(ROUTE_OLLAMA_VERSION, "/api/version", &dialect_ollama, ollama_tell_version),
    READS(ROUTE_COHERE_V1, "/v1/embed", &dialect_cohere, cohere_read_v1),
    READS(ROUTE_COHERE_V2, "/v2/embed", &dialect_cohere, cohere_read_v2),
    READS(ROUTE_VOYAGE, "/v1/multimodalembeddings", &dialect_voyage, voyage_read),
    READS(ROUTE_WEAVIATE, "/vectorize", &dialect_weaviate, weaviate_read),
    TELLS(ROUTE_WEAVIATE_META, "/meta", &dialect_weaviate, weaviate_tell_meta),
    TELLS(ROUTE_WEAVIATE_LIVE, "/.well-known/live", &dialect_weaviate, weaviate_tell_live, .open = true),
    TELLS(ROUTE_WEAVIATE_READY, "/.well-known/ready", &dialect_weaviate, weaviate_tell_ready, .open = true),
    READS(ROUTE_ROBOFLOW_TEXT, "/clip/embed_text", &dialect_roboflow, roboflow_read_text),
    READS(ROUTE_ROBOFLOW_IMAGE, "/clip/embed_image", &dialect_roboflow, roboflow_read_image),
    READS(ROUTE_ROBOFLOW_COMPARE, "/clip/compare", &dialect_roboflow, roboflow_read_compare),
    TELLS(ROUTE_OIP, "/v2", &dialect_oip, oip_tell_server),
    TELLS(ROUTE_OIP_LIVE, "/v2/health/live", &dialect_oip, oip_tell_live, .open = true),
    TELLS(ROUTE_OIP_READY, "/v2/health/ready", &dialect_oip, oip_tell_ready, .open = true),
    READS_TOO(ROUTE_OIP_INDEX, "/v2/repository/index", &dialect_oip, oip_read_index, JSON | OTHER,
              OIP_BODIES),
    TELLS(ROUTE_OIP_MODEL, "/v2/models/", &dialect_oip, oip_tell_model, .below = true),
    READS_TOO(ROUTE_OIP_MODEL, "/v2/models/", &dialect_oip, oip_read_infer, JSON | OTHER, OIP_BODIES,
              .below = true, .header = OIP_LENGTH_HEADER),
    READS(ROUTE_KSERVE_PREDICT, "/v1/models/", &dialect_oip, oip_read_predict, .below = true),

    {.series = ROUTE_ROOT, .path = "/", .method = "GET", .get = route_page, .open = true},
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

const struct route *route_at(size_t i) {
    return i < ROUTES && routes[i].path ? &routes[i] : NULL;
}

static bool is_served(const struct route *route, uint32_t dialects) {
    return dialects_have(dialects, route->dialect);
}

/* What answers the path, by whatever method; the last entry where nothing does. */
static const struct route *first_at(const char *path, uint32_t dialects) {
    const struct route *route = routes;
    while (route->path && !(answers_path(route, path) && is_served(route, dialects)))
        route++;
    return route;
}

const struct route *route_find(const char *path, const char *method, uint32_t dialects) {
    const struct route *first = first_at(path, dialects);
    for (const struct route *route = first; route->path; route++)
        if (same_paths(route, first) && is_served(route, dialects) && route_takes(route, method))
            return route;
    return first;
}

/* Whether one before it answers the same, for another dialect. */
static bool is_again(const struct route *route, uint32_t dialects) {
    for (const struct route *before = routes; before < route; before++)
        if (same_paths(before, route) && is_served(before, dialects) &&
            strcmp(before->method, route->method) == 0)
            return true;
    return false;
}

char *route_methods(const struct route *route, uint32_t dialects, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ROUTES && used < size; i++)
        if (same_paths(&routes[i], route) && is_served(&routes[i], dialects) &&
            !is_again(&routes[i], dialects))
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "",
                                     strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
    return out;
}

const struct route *route_nearest(const char *path, const struct dialect *dialect) {
    const struct route *best = routes;
    size_t least = SIZE_MAX;
    for (const struct route *route = routes; route->path; route++) {
        const size_t distance = suggest_distance(path, route_series_names[route->series]);
        const bool named = route->series != ROUTE_ROOT; /* "/" is near to whatever is short */
        if (named && route->dialect == dialect && distance < least) {
            least = distance;
            best = route;
        }
    }
    return best;
}

static bool is_name(const char *name, const char *url) {
    return name && strcmp(name, url) == 0;
}

const char *route_named(const char *url, const char *method, const struct route_names *names,
                        uint32_t dialects) {
    const bool gets = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (!dialects_have(dialects, &dialect_vertex))
        return url;
    if (strcmp(method, "POST") == 0 && is_name(names->predict, url))
        return VERTEX_PREDICT;
    const struct route *there = route_find(url, method, dialects);
    return gets && is_name(names->health, url) && !(there->path && route_takes(there, method)) ? VERTEX_HEALTH
                                                                                               : url;
}

char *route_path(const char *url, uint32_t dialects, struct arena *arena) {
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
    if (first_at(whole, dialects)->bare)
        return whole;
    /* A proxy may keep these from others by their path, to the letter. */
    const struct route *found = first_at(path, dialects);
    return found->open || found->admin ? arena_copy(arena, url, strlen(url)) : path;
}
